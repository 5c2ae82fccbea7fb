"""Depth estimation: how near is what each pixel shows?"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.nn.functional import l1_loss
from transformers import DPTConfig, DPTImageProcessorPil, pipeline

from lecture_lib.drawn_shapes import Scene

from ._pictures import DATA as DATA
from ._pictures import HALF, at_places, grid, held_out, scenes

TASK = "depth-estimation"
STEPS, BATCH_SIZE, LEARNING_RATE = 500, 16, 1e-3
MUON = False
SIDE, PATCH, WIDTH = 64, 8, 96

ABOUT = """Estimates from one picture how near everything is: 1 at the lower edge, 0 for the sky. As
the larger models of its kind it gives the inverse of the distance, without a unit. It is a DPT: a
vision transformer whose layers' findings are put together to a picture again by convolutions."""
LIMITS = """Photographs. It has learned the rules of its own drawn world alone: all stands on one
plain, and what stands higher in the picture is farther away."""


class DPTForDepthEstimation(transformers.DPTForDepthEstimation):
    """The same, with the loss that the library leaves to its user."""

    def forward(self, pixel_values, labels=None, **kwargs):
        """As in the library; with labels (B, 64, 64) the mean distance to them is the loss."""
        output = super().forward(pixel_values, **kwargs)
        if labels is not None:
            output.loss = l1_loss(output.predicted_depth, labels)
        return output


def build(seed: int) -> tuple[DPTForDepthEstimation, DPTImageProcessorPil]:
    """A small DPT with random weights, and its image processor."""
    config = DPTConfig(
        hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=4, intermediate_size=192,
        image_size=SIDE, patch_size=PATCH, backbone_out_indices=[0, 1, 2, 3],
        reassemble_factors=[2, 1, 0.5, 0.25], neck_hidden_sizes=[16, 24, 48, 64],
        fusion_hidden_size=24, head_in_index=-1, readout_type="ignore", initializer_range=0.08,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = DPTForDepthEstimation(config)
    places = model.dpt.embeddings.position_embeddings.data[0]
    places[1:] = 0.3 * at_places(grid(SIDE // PATCH), WIDTH)
    processor = DPTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=HALF, image_std=HALF,
        do_resize=True, keep_aspect_ratio=False,
    )  # fmt: skip
    return model, processor


def batches(seed: int, processor, batch_size: int) -> Iterator[dict]:
    """Endless batches: pixel_values (B, 3, 64, 64), labels (B, 64, 64)."""
    for drawn in scenes(seed, batch_size):
        pixels = processor([scene.image for scene in drawn], return_tensors="pt").pixel_values
        nearness = np.stack([scene.nearness[1::2, 1::2] for scene in drawn])
        yield {"pixel_values": pixels, "labels": torch.from_numpy(nearness).float()}


def error(scene: Scene, found: dict) -> float:
    """Mean difference of true and estimated nearness, of at most 1."""
    return float(np.abs(found["predicted_depth"].numpy() - scene.nearness).mean())


def order(scene: Scene, found: dict) -> tuple[int, int]:
    """Of the pairs of neighbours in the order from near to far, how many are right; of how many.

    Of each shape the median over the pixels that show it counts.
    """
    depth = found["predicted_depth"].numpy()
    middles = [np.median(depth[scene.nearness == shape.nearness]) for shape in scene.shapes]
    pairs = list(pairwise(middles))
    return sum(bool(near > far) for near, far in pairs), len(pairs)


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Error of the nearness and share of shapes in the right order, in scenes never trained on."""
    estimate = pipeline(TASK, model=str(folder))
    drawn = held_out(n, seed)
    found = estimate([scene.image for scene in drawn], batch_size=50)
    errors = [error(scene, answer) for scene, answer in zip(drawn, found, strict=True)]
    pairs = [order(scene, answer) for scene, answer in zip(drawn, found, strict=True)]
    right, total = (sum(numbers) for numbers in zip(*pairs, strict=True))
    return [
        {"measure": "mean error of the nearness (from 0 to 1)", "value": sum(errors) / n, "n": n},
        {"measure": "neighbours in the right order", "value": right / total, "n": total},
    ]
