"""The beam tree, its table and its stepper: they say what the search did."""

import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from lecture_lib.decoding import (
    BeamTrace,
    ToyLM,
    beam_loses_to_greedy,
    beam_search,
    engine_beam_search,
    lecture_tree,
)
from lecture_lib.engine import Engine
from lecture_lib.figures import beam_table, beam_tree
from lecture_lib.figures.beam_tree import BEAM, FULL, GREEDY, lay_out
from lecture_lib.widgets import BeamStepper


def searched(model, k=2, n=3, **options):
    return beam_search(model, num_beams=k, max_new_tokens=n, **options)


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"))


@pytest.fixture
def lecture():
    model = lecture_tree()
    return searched(model), lambda token: model.vocab[token]


def test_words_say_what_was_kept_finished_and_best(lecture):
    alt = beam_tree(*lecture).alt
    assert "Step 1: kept I (p .6, p(text) .6); L (p .3, p(text) .3), 1 pruned." in alt
    assert "Step 2: kept I L (p .7, p(text) .42); L I (p .5, p(text) .15), 4 pruned." in alt
    assert "Step 3: finished I L U (p .7, p(text) .294); I L L (p .2, p(text) .084)" in alt
    assert "Beam's result: I L U, score -0.408." in alt


def drawn_texts(monkeypatch, *arguments, **options):
    """What the figure writes on paper."""
    from matplotlib.axes import Axes

    written, text = [], Axes.text

    def noted(self, x, y, s, **kwargs):
        written.append(s)
        return text(self, x, y, s, **kwargs)

    monkeypatch.setattr(Axes, "text", noted)
    beam_tree(*arguments, **options)
    return written


def test_token_p_and_score_stand_on_each_node(lecture, monkeypatch):
    written = drawn_texts(monkeypatch, *lecture, as_probability=True)
    assert {"I", "U", "× .7 = .42", "× .2 = .084", "score −0.41", "beam's result"} <= set(written)
    assert sum(s.startswith("× .") for s in written) == len(lecture[0].nodes)
    assert any("score: sum of log p / length" in s for s in written)
    written = drawn_texts(monkeypatch, *lecture)
    assert "p .7  Σ −0.87" in written


def test_without_a_length_penalty_there_is_no_second_score(monkeypatch):
    trace = searched(lecture_tree(), length_penalty=0.0)
    written = drawn_texts(monkeypatch, trace, lambda token: "ILU"[token])
    assert not any("score" in s or "length" in s for s in written)


def test_of_a_large_vocabulary_it_says_how_many_are_not_drawn(monkeypatch):
    model = ToyLM({}, vocab=[str(i) for i in range(300)], default={"0": 0.6, "1": 0.4})
    trace = searched(model)
    written = drawn_texts(monkeypatch, trace)
    assert any("drawn: the best of up to 600 candidates per step" in s for s in written)
    assert "298 pruned. Step 2" in beam_tree(trace).alt
    assert "598 pruned. Beam's result" in beam_tree(trace).alt


def test_a_step_limit_reveals_no_more_than_its_steps(lecture, monkeypatch):
    greedy = searched(lecture_tree(), k=1)
    for n, nodes in ((0, 0), (1, 3), (2, 9), (3, 15)):
        written = drawn_texts(monkeypatch, *lecture, up_to_step=n, greedy=greedy)
        assert sum(s.startswith("p .") and "Σ sum" not in s for s in written) == nodes
    sizes, alts = set(), []
    for n in range(4):
        picture = beam_tree(*lecture, up_to_step=n, greedy=greedy)
        sizes.add((picture.width, picture.height))
        alts.append(picture.alt)
    assert len(sizes) == 1  # the page doesn't jump while a reader steps
    assert "Beam's result" not in alts[2]
    assert "I L U" not in alts[2]
    assert "Beam's result" in alts[3]


def test_greedy_s_path_is_in_the_tree_even_where_the_beam_never_went(monkeypatch):
    model = beam_loses_to_greedy()
    trace, greedy, full = searched(model), searched(model, k=1), searched(model, k=27)
    tree = lay_out(trace, greedy, full)
    assert tree.results == {FULL: (0, 0, 0), BEAM: (1, 0, 0), GREEDY: (0, 0, 0)}
    path = [tree.nodes[(0,) * n].status for n in (1, 2, 3)]
    assert path == ["kept", "pruned", "not searched"]
    options = {"token_text": lambda t: model.vocab[t], "greedy": greedy, "full": full}
    alt = beam_tree(trace, **options).alt
    assert (
        "Beam's result: B A A, score -0.954. Best of all: A A A. Greedy search goes A A A." in alt
    )
    written = drawn_texts(monkeypatch, trace, **options)
    assert {"beam's result", "best of all\ngreedy's result"} <= set(written)
    without = beam_tree(trace, lambda t: model.vocab[t])
    seven_in_a_row = beam_tree(trace, **options)
    assert seven_in_a_row.width > without.width


def test_children_stand_in_the_order_of_their_parents_and_of_their_tokens(lecture):
    tree = lay_out(lecture[0], None)
    assert tree.rows[1] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert tree.rows[2] == [(0, 1, 0), (0, 1, 1), (0, 1, 2), (1, 0, 0), (1, 0, 1), (1, 0, 2)]


def test_what_went_on_is_drawn_however_few_are_drawn(lecture, monkeypatch):
    monkeypatch.setattr(sys.modules["lecture_lib.figures.beam_tree"], "_MOST_PER_STEP", 1)
    tree = lay_out(lecture[0], None)
    assert [len(row) for row in tree.rows] == [2, 2, 2]


def test_four_beams_of_eight_steps_fit_a_page():
    """Nine candidates a step: some thousand pixels wide, letters of 8 points or more."""
    row = dict(zip("ABCDEFGH", [0.3, 0.2] + [0.5 / 6] * 6, strict=True))
    model = ToyLM({}, vocab=list("ABCDEFGH"), default=row)
    trace = searched(model, k=4, n=8, eos_token_id=1)
    picture = beam_tree(trace, lambda t: model.vocab[t])
    assert picture.width < 1020
    assert picture.height < 850
    assert picture._repr_mimebundle_()["text/html"].count("alt=") == 1


def test_the_table_has_a_caption_headers_and_a_row_for_each_candidate(lecture):
    table = beam_table(*lecture)
    assert "<caption>Candidates of a beam search with 2 beams" in table
    assert table.count('<th scope="col">') == 9
    assert table.count("<tr") == len(lecture[0].nodes) + 1
    assert "<b>" not in beam_table(lecture[0], lambda token: "<b>")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"up_to_step": 4}, "up_to_step: needs an integer from 0 to 3, got 4"),
        ({"up_to_step": -1}, "up_to_step"),
        ({"greedy": "two beams"}, "num_beams=1, got one with 2"),
    ],
)
def test_nonsense_is_refused(lecture, options, message):
    if "greedy" in options:
        options = {"greedy": lecture[0]}
    with pytest.raises(ValueError, match=message):
        beam_tree(*lecture, **options)


def test_an_empty_trace_is_refused():
    with pytest.raises(ValueError, match="trace: is empty"):
        beam_tree(BeamTrace(2, 3))


def test_the_stepper_goes_back_and_forth():
    widget = BeamStepper()
    assert widget.step.value == widget.step.max == 3
    assert widget.next.disabled
    assert "Beam's result: I L U" in widget.picture.alt
    widget.back.click()
    assert widget.step.value == 2
    assert "Beam's result" not in widget.picture.alt
    for _ in range(4):
        widget.back.click()
    assert widget.step.value == 0
    assert widget.back.disabled
    for _ in range(4):
        widget.next.click()
    assert "Beam's result: I L U" in widget.picture.alt


def test_the_stepper_s_settings_change_the_search():
    widget = BeamStepper()
    widget.model.value = "beam loses to greedy"
    assert "greedy search: <b>A A A</b>, p(text) 0.144" in widget.table.value
    assert "p(text) 0.0571," in widget.table.value
    widget.beams.value = 3
    assert widget.trace.num_beams == 3
    assert "beam search: <b>A A A</b>" in widget.table.value  # three beams find it, too
    widget.penalty.value = 0.0
    assert widget.trace.length_penalty == 0.0


def test_a_setting_is_searched_once_and_a_step_drawn_once(monkeypatch):
    from lecture_lib.widgets import beam_stepper

    counts = {"beam_search": 0, "beam_tree": 0}

    def counted(name):
        function = getattr(beam_stepper, name)

        def call(*args, **options):
            counts[name] += 1
            return function(*args, **options)

        monkeypatch.setattr(beam_stepper, name, call)

    for name in counts:
        counted(name)
    widget = BeamStepper()
    for step in (0, 1, 2, 3, 2, 1, 0):
        widget.step.value = step
    assert counts == {
        "beam_search": 4,
        "beam_tree": 4,
    }  # the beam, greedy, and twice for the full one


def test_the_stepper_has_a_picture_where_there_is_no_kernel():
    widget = BeamStepper()
    first = widget._repr_mimebundle_()
    assert {"image/png", "text/html", "text/plain"} < set(first)
    assert re.search(r'<img alt="[^"]{30,}"', first["text/html"])
    json.dumps(first)
    widget.step.value = 1
    assert widget._repr_mimebundle_()["image/png"] == first["image/png"]


def test_the_stepper_refuses_what_it_does_not_have():
    with pytest.raises(ValueError, match="model: must be one of"):
        BeamStepper(model="the real model")


@pytest.mark.real_model
def test_the_stepper_searches_with_the_real_model(loaded, monkeypatch):
    monkeypatch.setattr("lecture_lib.widgets.beam_stepper._REAL_STEPS", 3)
    engine = Engine(loaded)
    widget = BeamStepper(engine, model="the real model")
    widget.prompt.value = "The quick brown"
    expected = engine_beam_search(engine, "The quick brown", num_beams=2, max_new_tokens=3)
    assert widget.trace.sequences == expected.sequences
    assert "after “The quick brown”" in widget.picture.alt
    before = widget.picture
    widget.prompt.value = " "
    assert "Prompt: is empty; needs at least one word" in widget.message.value
    assert widget.picture is before
    widget.prompt.value = "The capital of France is"
    assert "␣Paris" in widget.picture.alt
