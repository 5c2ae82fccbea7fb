"""Pictures of drafts, and the widget: what it replays is what a run of the engine does."""

import pytest
from engine_models import CONFIGS, loaded_model

from lecture_lib.engine import Engine, Lookup, ModelDrafter, first_layers
from lecture_lib.figures import draft_tree, speculation_html, speculation_strip
from lecture_lib.widgets import SpeculationView
from lecture_lib.widgets.speculation_view import _N_NEW

PROMPTS = {"words": "a b c a b", "again": "the the the"}


@pytest.fixture(scope="module")
def engine():
    return Engine(loaded_model(CONFIGS["llama"]))


def test_a_tree_says_which_node_sees_which():
    picture = draft_tree(["a", "b", "c", "b"], [-1, 0, 0, 2], root="text")
    assert "1 b looks at 0, 1;" in picture.alt
    assert "3 b looks at 0, 2, 3." in picture.alt
    with pytest.raises(ValueError, match="parents: needs an integer from -1 to 0, got 1"):
        draft_tree(["a", "b"], [-1, 1])
    with pytest.raises(ValueError, match="tokens and parents"):
        draft_tree(["a"], [-1, 0])


def test_a_strip_has_a_tile_for_each_token_and_few_of_a_long_draft():
    passes = [(["a", "b"], list("cdefgh"), "<x>"), ([], [], "y")]
    assert "2 accepted, 6 rejected, then <x>; 0 accepted" in speculation_strip(passes).alt
    shown = speculation_html(passes)
    assert shown.count("<span") == 2 + 3 + 1 + 1 + 1  # three of six, and how many more
    assert "and␣3␣more" in shown
    assert "&lt;x&gt;" in shown


@pytest.mark.parametrize("name", ["prompt lookup", "draft model"])
@pytest.mark.parametrize("k", [1, 4])
def test_the_widget_replays_what_the_engine_does(engine, name, k):
    small = first_layers(engine, 2)
    widget = SpeculationView(engine, PROMPTS, draft_engine=small)
    widget.drafter.value, widget.k.value = name, k
    drafter = Lookup(k) if name == "prompt lookup" else ModelDrafter(small, k)
    prompt = PROMPTS["words"]
    run = engine.generate(prompt, _N_NEW, ignore_eos=True, speculate=drafter)
    assert len(widget.passes) == len(run.passes)
    for (draft, new), one in zip(widget.passes[:-1], run.passes, strict=False):
        # At the end a replay drafts one token less: it doesn't know what the model says after it.
        assert (draft, len(new) - 1) == (one.draft[: len(draft)], one.n_accepted)
    assert sum(len(new) for _, new in widget.passes) == _N_NEW - 1


def test_the_predicted_speed_up_is_tokens_over_costs(engine):
    free = SpeculationView(engine, PROMPTS, row_costs=[1.0] * 11)
    assert free.predicted_speed_up == pytest.approx((_N_NEW - 1) / len(free.passes))
    dear = SpeculationView(engine, PROMPTS, row_costs=list(range(1, 12)))
    n_rows = sum(len(draft) + 1 for draft, _ in dear.passes)
    assert dear.predicted_speed_up == pytest.approx((_N_NEW - 1) / n_rows)
    assert f"<b>{len(dear.passes)}</b> passes" in dear.facts.value
    assert SpeculationView(engine, PROMPTS).predicted_speed_up is None
    with pytest.raises(ValueError, match="row_costs"):
        SpeculationView(engine, PROMPTS, row_costs=[1.0])


def test_measure_shows_both_speeds_until_a_control_moves(engine):
    widget = SpeculationView(engine, PROMPTS)
    widget.button.click()
    assert "measured: plain" in widget.measured.value
    widget.text.index = 1
    assert widget.measured.value == ""
