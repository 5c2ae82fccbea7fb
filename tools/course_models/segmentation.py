"""Image segmentation: what does each pixel show: sky, ground, a ball, a cube, a cone?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
    pipeline,
)

from lecture_lib.drawn_shapes import CLASSES, Scene

from ._pictures import DATA as DATA
from ._pictures import HALF, held_out, scenes

TASK = "image-segmentation"
STEPS, BATCH_SIZE, LEARNING_RATE = 1000, 16, 2e-3
MUON = False
SIDE = 64

ABOUT = """Says for each pixel what it shows: sky, ground, a ball, a cube or a cone. It is a
Segformer: four stages of attention on ever coarser patches, whose findings are brought back to one
size and put together."""
LIMITS = """Photographs, and everything but these five kinds of things. Edges come out a few pixels
off, because it works on a picture of 64 by 64 pixels and answers at half of that."""


def build(seed: int) -> tuple[SegformerForSemanticSegmentation, SegformerImageProcessorPil]:
    """A small Segformer with random weights, and its image processor."""
    config = SegformerConfig(
        depths=[1, 1, 2, 1], hidden_sizes=[16, 32, 64, 96], sr_ratios=[4, 2, 1, 1],
        strides=[2, 2, 2, 2], patch_sizes=[5, 3, 3, 3], mlp_ratios=[2, 2, 2, 2],
        num_attention_heads=[1, 2, 4, 4], decoder_hidden_size=32, classifier_dropout_prob=0.0,
        drop_path_rate=0.0, initializer_range=0.08, id2label=dict(enumerate(CLASSES)),
        label2id={name: i for i, name in enumerate(CLASSES)},
    )  # fmt: skip
    processor = SegformerImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=HALF, image_std=HALF
    )
    return SegformerForSemanticSegmentation(config), processor


def batches(seed: int, processor, batch_size: int) -> Iterator[dict]:
    """Endless batches: pixel_values (B, 3, 64, 64), labels (B, 64, 64): every other pixel's."""
    for drawn in scenes(seed, batch_size):
        pixels = processor([scene.image for scene in drawn], return_tensors="pt").pixel_values
        labels = np.stack([scene.classes[1::2, 1::2] for scene in drawn])
        yield {"pixel_values": pixels, "labels": torch.from_numpy(labels).long()}


def overlaps(scene: Scene, found: list[dict]) -> dict[str, float]:
    """For each class of the scene: intersection over union of its true and its found pixels."""
    masks = {answer["label"]: np.asarray(answer["mask"]) > 0 for answer in found}
    result = {}
    for i, name in enumerate(CLASSES):
        true = scene.classes == i
        if true.any():
            mask = masks.get(name, np.zeros_like(true))
            result[name] = float((mask & true).sum() / (mask | true).sum())
    return result


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Mean overlap of each class, in scenes never trained on."""
    segment = pipeline(TASK, model=str(folder))
    drawn = held_out(n, seed)
    found = (segment(scene.image) for scene in drawn)
    each = [overlaps(scene, answer) for scene, answer in zip(drawn, found, strict=True)]
    scores = []
    for name in CLASSES:
        values = [row[name] for row in each if name in row]
        measure = f"intersection over union, {name}"
        scores.append({"measure": measure, "value": sum(values) / len(values), "n": len(values)})
    return scores
