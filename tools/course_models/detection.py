"""Object detection: where in the picture is which coloured shape?"""

from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from torch.nn.functional import cross_entropy, l1_loss
from transformers import YolosConfig, YolosImageProcessorPil, pipeline

from lecture_lib.drawn_shapes import COLOURS, KINDS, Scene

from ._pictures import DATA as DATA
from ._pictures import HALF, at_places, grid, held_out, scenes

TASK = "object-detection"
STEPS, BATCH_SIZE, LEARNING_RATE = 3000, 24, 1e-3
MUON = False
LABELS = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
SIDE, PATCH, WIDTH = 64, 8, 96
ANCHORS = grid(4)  # (16, 2): a place for each detection token, where it starts to look

ABOUT = """Finds coloured balls, cubes and cones in a picture, each with its box, also the
part of a shape that another one hides. It is a YOLOS: a plain vision transformer that reads the
patches of the picture and beside them 16 learned tokens, each of which answers with one shape and
its box, or with "nothing here"."""
LIMITS = """Photographs, and shapes of another form or colour. Its own pictures are all that it has
ever seen."""


class YolosForObjectDetection(transformers.YolosForObjectDetection):
    """The same, with a loss for detection tokens of which each has its place."""

    def forward(self, pixel_values, labels=None, boxes=None, **kwargs):
        """As in the library; with labels (B, 16) and boxes (B, 16, 4) the loss is added."""
        output = super().forward(pixel_values, **kwargs)
        if labels is not None:
            weight = torch.ones(len(LABELS) + 1)
            weight[-1] = 0.3  # "nothing here" is right for most tokens
            shown = labels < len(LABELS)
            output.loss = cross_entropy(output.logits.flatten(0, 1), labels.flatten(), weight)
            output.loss += 10 * l1_loss(output.pred_boxes[shown], boxes[shown])
        return output


def build(seed: int) -> tuple[YolosForObjectDetection, YolosImageProcessorPil]:
    """A small YOLOS whose detection tokens start in a grid, and its image processor."""
    config = YolosConfig(
        hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=4, intermediate_size=192,
        image_size=[SIDE, SIDE], patch_size=PATCH, num_detection_tokens=len(ANCHORS),
        use_mid_position_embeddings=False, initializer_range=0.08, id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    model = YolosForObjectDetection(config)
    places = model.vit.embeddings.position_embeddings.data[0]
    places[1:] = 0.3 * at_places(torch.cat([grid(SIDE // PATCH), ANCHORS]), WIDTH)
    processor = YolosImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=HALF, image_std=HALF, do_pad=False
    )
    return model, processor


def targets(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """What each detection token is to say: labels (16,), boxes (16, 4) as centre and size.

    From near to far, each shape goes to the free token whose place is nearest to its centre. (Where
    a shape may go to any token, as in the original, a model needs a hundred times as long.)
    """
    labels = torch.full((len(ANCHORS),), len(LABELS))
    boxes = torch.zeros(len(ANCHORS), 4)
    for shape in scene.shapes:
        left, top, right, bottom = (value / scene.image.width for value in shape.box)
        box = torch.tensor([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
        distances = (ANCHORS - box[:2]).norm(dim=-1)
        chosen = distances.masked_fill(labels < len(LABELS), torch.inf).argmin()
        labels[chosen], boxes[chosen] = LABELS.index(str(shape)), box
    return labels, boxes


def batches(seed: int, processor, batch_size: int) -> Iterator[dict]:
    """Endless batches: pixel_values (B, 3, 64, 64), labels (B, 16), boxes (B, 16, 4)."""
    for drawn in scenes(seed, batch_size):
        pixels = processor([scene.image for scene in drawn], return_tensors="pt").pixel_values
        labels, boxes = zip(*(targets(scene) for scene in drawn), strict=True)
        yield {"pixel_values": pixels, "labels": torch.stack(labels), "boxes": torch.stack(boxes)}


def overlap(one, other) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def compare(scene: Scene, found: list[dict], least: float = 0.5) -> tuple[int, int]:
    """How many shapes were found, and how many answers were none: label right, overlap enough."""
    answers = [(answer["label"], tuple(answer["box"].values())) for answer in found]
    hits = 0
    for shape in scene.shapes:
        for answer in answers:
            if answer[0] == str(shape) and overlap(answer[1], shape.box) >= least:
                answers.remove(answer)
                hits += 1
                break
    return hits, len(answers)


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Share of shapes found and of answers that are right, in scenes never trained on."""
    detect = pipeline(TASK, model=str(folder), threshold=0.5)
    drawn = held_out(n, seed)
    given = detect([scene.image for scene in drawn], batch_size=50)
    total = sum(len(scene.shapes) for scene in drawn)
    pairs = [compare(scene, answers) for scene, answers in zip(drawn, given, strict=True)]
    hits, extra = (sum(numbers) for numbers in zip(*pairs, strict=True))
    found = "shapes found (label right, overlap at least 0.5)"
    return [
        {"measure": found, "value": hits / total, "n": total},
        {"measure": "answers that are right", "value": hits / (hits + extra), "n": hits + extra},
    ]  # fmt: skip
