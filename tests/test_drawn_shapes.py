"""The drawn scenes: what is said of one is what is to be seen in it."""

from itertools import pairwise

import numpy as np
import pytest

from lecture_lib.drawn_shapes import CLASSES, COLOURS, KINDS, draw_scene

SCENES = [draw_scene(seed) for seed in range(40)]


def test_a_seed_is_a_scene():
    again, other = draw_scene(7), draw_scene(8)
    assert again.shapes == SCENES[7].shapes != other.shapes
    assert np.array_equal(again.image, SCENES[7].image)
    assert not np.array_equal(again.image, other.image)
    assert {len(scene.shapes) for scene in SCENES} == {1, 2, 3, 4}


def test_a_larger_picture_is_the_same_scene():
    small, large = draw_scene(7, side=64), draw_scene(7, side=128)
    assert str(small.shapes[0]) == str(large.shapes[0])
    assert np.allclose(2 * np.array(small.shapes[0].box), large.shapes[0].box)
    assert small.image.size == small.classes.shape == small.nearness.shape == (64, 64)


def test_boxes_classes_and_nearness_are_those_of_the_picture():
    for scene in SCENES:
        shape = scene.shapes[0]  # nothing hides the nearest
        left, top, right, bottom = shape.box
        shown = scene.nearness == shape.nearness
        rows, columns = np.nonzero(shown)
        found = (columns.min(), rows.min(), columns.max(), rows.max())
        assert np.abs(np.subtract(found, shape.box)).max() <= 2
        assert set(np.unique(scene.classes[shown])) == {CLASSES.index(shape.kind)}
        inside = round(left * 0.6 + right * 0.4), round(top * 0.3 + bottom * 0.7)
        assert scene.image.getpixel(inside) == COLOURS[shape.colour]
        share = shown.sum() / ((right - left) * (bottom - top))
        expected = {"ball": np.pi / 4, "cube": 1, "cone": 0.5}[shape.kind]
        assert share == pytest.approx(expected, rel=0.1)


def test_what_is_nearer_stands_lower_and_hides_what_is_behind():
    for scene in SCENES:
        nearness = [shape.nearness for shape in scene.shapes]
        assert nearness == sorted(nearness, reverse=True)
        assert all(a >= 1.12 * b for a, b in pairwise(nearness))
        bottoms = [shape.box[3] for shape in scene.shapes]
        assert bottoms == sorted(bottoms, reverse=True)
        for shape in scene.shapes:
            assert (scene.nearness == shape.nearness).sum() > 100  # enough of each is to be seen
        assert 0 <= scene.nearness.min() < scene.nearness.max() <= 1


def test_caption_and_answers_follow_from_the_shapes():
    for scene in SCENES:
        words = [f"a {shape}" for shape in scene.shapes]
        assert scene.caption.startswith(words[0])
        assert all(word in scene.caption for word in words)
        asked, kinds = scene.questions(), [shape.kind for shape in scene.shapes]
        counts = ["zero", "one", "two", "three", "four"]
        for kind in KINDS:
            assert counts.index(asked[f"How many {kind}s are there?"]) == kinds.count(kind)
            assert (f"What colour is the {kind}?" in asked) == (kinds.count(kind) == 1)
        assert asked["Which shape is nearest?"] == str(scene.shapes[0])
        for question, answer in asked.items():
            if question.startswith("What colour"):
                assert f"{answer} {question[19:-1]}" in scene.caption
    assert draw_scene(5).caption == "a yellow cube"
    assert draw_scene(9).caption == "a blue cone in front of a red ball"


@pytest.mark.parametrize(
    ("given", "message"),
    [({"seed": -1}, "seed: needs an integer"), ({"seed": 1, "side": 5}, "side: needs an integer")],
)
def test_a_wrong_number_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(**given)
