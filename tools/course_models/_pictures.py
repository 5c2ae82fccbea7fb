"""What the models of pictures share: scenes to train on, and positions to start from."""

from collections.abc import Iterator
from itertools import count

import torch

from lecture_lib.drawn_shapes import N_HELD_OUT, Scene, draw_scene

HALF = [0.5, 0.5, 0.5]  # mean and spread of each colour: pixels become numbers from -1 to 1
DATA = """All drawn (`lecture_lib/drawn_shapes.py`): one to four balls, cubes and cones in
five colours stand on a plain, the smaller the farther, and hide one another in part. The scenes
with a seed below 10,000 are held out: no model is ever trained on them."""


def scenes(seed: int, size: int) -> Iterator[list[Scene]]:
    """Endless lists of this many scenes of 128 by 128 pixels, none of them held out."""
    first = N_HELD_OUT + seed * 1_000_000_000
    for start in count(first, size):
        yield [draw_scene(number, side=128) for number in range(start, start + size)]


def held_out(n: int, seed: int) -> list[Scene]:
    """n scenes that no model was trained on: the lecture's own have the smallest numbers."""
    first = 1000 * (1 + seed)
    return [draw_scene(number) for number in range(first, first + n)]


def at_places(places: torch.Tensor, width: int) -> torch.Tensor:
    """Sines and cosines of places (n, 2) from 0 to 1: (n, width), similar where places are near.

    From these position embeddings, patches know their neighbours before the first step.
    """
    rates = torch.pi * 1.6 ** torch.arange(width // 4)
    angles = places[:, :, None] * rates  # (n, 2, width / 4)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


def grid(n: int) -> torch.Tensor:
    """The centres of n × n fields, row by row: (n · n, 2), each (x, y) between 0 and 1."""
    steps = (torch.arange(n) + 0.5) / n
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([columns, rows], dim=-1).flatten(0, 1)
