"""Scenes of drawn shapes, each with its truth: what stands where, how near, and what to say of it.

The small vision models of lecture 08 are trained on these; tools/train_vision_models.py does it.
"""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .checks import check_count

KINDS = ("ball", "cube", "cone")
COLOURS = {
    "red": (208, 52, 44), "green": (46, 140, 72), "blue": (44, 92, 188),
    "yellow": (236, 196, 52), "purple": (132, 72, 156),
}  # fmt: skip
CLASSES = ("sky", "ground", *KINDS)  # what a pixel shows
N_HELD_OUT = 10_000  # a scene with a smaller seed is never trained on
_COUNTS = ("zero", "one", "two", "three", "four")


@dataclass(frozen=True)
class Shape:
    """One shape of a scene: ``box`` is (left, top, right, bottom) in pixels, hidden parts too."""

    kind: str
    colour: str
    box: tuple[float, float, float, float]
    nearness: float  # 1 at the lower edge, 0 at the horizon; the size goes with it

    def __str__(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """A picture and its truth; the shapes from near to far."""

    image: Image.Image
    shapes: tuple[Shape, ...]
    classes: np.ndarray  # (side, side), numbers of CLASSES
    nearness: np.ndarray  # (side, side), from 0 (the sky) to 1

    def __repr__(self) -> str:
        return f"Scene: {self.caption}"

    @property
    def caption(self) -> str:
        """The nearest shape in front of the others, these from near to far."""
        first, *others = (f"a {shape}" for shape in self.shapes)
        if not others:
            return first
        *middle, last = others
        return f"{first} in front of " + (f"{', '.join(middle)} and {last}" if middle else last)

    def questions(self) -> dict[str, str]:
        """Questions with one right answer of one or two words."""
        kinds = [shape.kind for shape in self.shapes]
        colours = [shape.colour for shape in self.shapes]
        asked = {f"How many {kind}s are there?": _COUNTS[kinds.count(kind)] for kind in KINDS}
        asked["How many shapes are there?"] = _COUNTS[len(kinds)]
        asked["Which shape is nearest?"] = str(self.shapes[0])
        for shape in self.shapes:
            if kinds.count(shape.kind) == 1:
                asked[f"What colour is the {shape.kind}?"] = shape.colour
            if colours.count(shape.colour) == 1:
                asked[f"What shape is {shape.colour}?"] = shape.kind
        return asked


def draw_scene(seed: int, side: int = 256) -> Scene:
    """A scene of one to four shapes on a plain; the same for the same seed.

    Args:
        seed: 0 or more; below ``N_HELD_OUT`` the models have never seen the scene.
        side: the picture's width and height in pixels.
    """
    seed = check_count("seed", seed, least=0)
    side = check_count("side", side, least=32, most=2048)
    random = Random(f"scene {seed}")
    horizon = random.uniform(0.3, 0.45)
    wanted = random.randint(1, 4)
    shapes: list[Shape] = []
    for _ in range(40):  # tries; some scenes have no room for as many as wanted
        if len(shapes) == wanted:
            break
        nearness = random.uniform(0.4, 1)
        size = 0.45 * nearness * random.uniform(0.8, 1.2)
        left = random.uniform(0.02, 0.98 - size)
        bottom = horizon + (0.96 - horizon) * nearness
        box = tuple(side * value for value in (left, bottom - size, left + size, bottom))
        new = Shape(random.choice(KINDS), random.choice(list(COLOURS)), box, nearness)
        if all(_clear(new, old) for old in shapes):
            shapes.append(new)
    shapes.sort(key=lambda shape: -shape.nearness)

    tint = [random.randint(-18, 18) for _ in range(6)]
    image = Image.new("RGB", (side, side), tuple(np.add((206, 224, 238), tint[:3])))
    picture, labels = ImageDraw.Draw(image), Image.new("L", (side, side), 0)
    marks = ImageDraw.Draw(labels)
    for draw, fill in ((picture, tuple(np.add((178, 170, 150), tint[3:]))), (marks, 1)):
        draw.rectangle((0, round(horizon * side), side, side), fill=fill)
    rows = (np.arange(side) / side - horizon) / (0.96 - horizon)
    near = np.repeat(np.clip(rows, 0, 1)[:, None], side, axis=1)
    for shape in reversed(shapes):  # what is near hides what is behind it
        left, _, right, bottom = shape.box
        depth = 0.06 * (right - left)
        picture.ellipse((left, bottom - depth, right, bottom + depth), fill=(128, 122, 108))
        _paint(picture, shape, width=max(1, side // 128))
        alone = Image.new("L", (side, side), 0)
        _outline(ImageDraw.Draw(alone), shape, fill=1)
        inside = np.asarray(alone) > 0
        near[inside] = shape.nearness
        labels.paste(2 + KINDS.index(shape.kind), mask=Image.fromarray(inside))
    return Scene(image, tuple(shapes), np.asarray(labels), near)


def _clear(one: Shape, other: Shape) -> bool:
    """Whether two shapes stand at different distances and hide at most a part of each other."""
    far, near = sorted((one, other), key=lambda shape: shape.nearness)
    if near.nearness < 1.12 * far.nearness:
        return False
    sides = zip(far.box[:2], far.box[2:], near.box[:2], near.box[2:], strict=True)
    width, height = (max(0, min(b, d) - max(a, c)) for a, b, c, d in sides)
    return width * height < 0.35 * (far.box[2] - far.box[0]) ** 2


def _outline(draw: ImageDraw.ImageDraw, shape: Shape, **style) -> None:
    left, top, right, bottom = shape.box
    if shape.kind == "ball":
        draw.ellipse(shape.box, **style)
    elif shape.kind == "cube":
        draw.rectangle(shape.box, **style)
    else:
        draw.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], **style)


def _paint(draw: ImageDraw.ImageDraw, shape: Shape, width: int) -> None:
    """The shape in its colour, lit from above on the left."""
    colour = np.array(COLOURS[shape.colour])
    light, dark = (tuple(map(int, mixed)) for mixed in (0.5 * colour + 128, 0.6 * colour))
    left, top, right, bottom = shape.box
    size, middle = right - left, (left + right) / 2
    _outline(draw, shape, fill=tuple(map(int, colour)))
    if shape.kind == "ball":
        spot = (left + 0.2 * size, top + 0.15 * size, left + 0.5 * size, top + 0.45 * size)
        draw.ellipse(spot, fill=light)
    elif shape.kind == "cube":
        draw.rectangle((left, top, right, top + 0.28 * size), fill=light)
    else:
        draw.polygon([(middle, top), (right, bottom), (middle, bottom)], fill=dark)
    _outline(draw, shape, outline=dark, width=width)
