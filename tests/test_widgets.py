"""Widgets without a browser: set a value, see the right thing change."""

import json
import re

import pytest

from lecture_lib.engine import Engine
from lecture_lib.scoring import DOCUMENT_START, next_token_probs, score_text, top_tokens
from lecture_lib.widgets import CacheWatcher, GenerationStepper, SentenceScorer

pytestmark = pytest.mark.real_model
SENTENCES = ["the mouse ate the cheese", "the cheese ate the mouse"]


def table_totals(widget):
    return [float(x) for x in re.findall(r"<td>(-?\d+\.\d\d)</td>", widget.table.value)]


def test_scorer_shows_what_score_text_computes(loaded):
    widget = SentenceScorer(loaded, SENTENCES)
    totals = [score_text(loaded, sentence).total for sentence in SENTENCES]
    assert table_totals(widget) == pytest.approx(sorted(totals, reverse=True), abs=0.006)
    widget.start.value = True
    totals = [score_text(loaded, sentence, start=DOCUMENT_START).total for sentence in SENTENCES]
    assert table_totals(widget) == pytest.approx(sorted(totals, reverse=True), abs=0.006)
    widget.text.value = "中文 <b>\n\n  hello  "
    assert len(table_totals(widget)) == 2
    assert "中文 &lt;b&gt;" in widget.table.value
    assert widget.strip.value.count("<span") == sum(
        len(score_text(loaded, sentence).tokens) for sentence in ("中文 <b>", "hello")
    )


def test_scorer_says_what_is_wrong_and_keeps_the_last_picture(loaded):
    widget = SentenceScorer(loaded, SENTENCES)
    before = widget.table.value
    widget.text.value = "\n \n"
    assert "type at least one line" in widget.message.value
    assert widget.table.value == before
    widget.text.value = "a\n" * 13
    assert "at most 12 fit" in widget.message.value
    widget.text.value = "fine again"
    assert widget.message.value == ""
    assert "fine again" in widget.table.value
    with pytest.raises(ValueError, match="type at least one line"):
        SentenceScorer(loaded, [])


def test_stepper_walks_as_the_model_says(loaded):
    widget = GenerationStepper(loaded, "The quick brown")
    assert widget.back.disabled
    for _ in range(3):
        best, p = top_tokens(loaded, next_token_probs(loaded, widget.text), 1)[0]
        assert f"{best.replace(' ', '␣')} {p:.3f}" in widget.picture.alt
        before = widget.text
        widget.next.click()
        assert widget.text == before + best
    widget.back.click()
    assert widget.text == before
    widget.restart.click()
    assert widget.text == "The quick brown"
    assert widget.back.disabled


def test_stepper_takes_the_readers_choice_and_prompt(loaded):
    widget = GenerationStepper(loaded, "The quick brown")
    options = dict(widget.choice.options)
    assert len(options) == 10
    shown = widget.picture_view.value
    widget.choice.index = 3
    assert widget.picture_view.value != shown
    assert "Chosen: ␣cob" in widget.picture.alt
    widget.next.click()
    assert widget.text == "The quick brown cob"
    assert widget.choice.index == 0
    widget.prompt.value = "Hello 🙂 <i>"
    assert widget.text == "Hello 🙂 <i>"
    assert "&lt;i&gt;" in widget.text_so_far.value
    widget.prompt.value = ""
    assert "Prompt: is empty" in widget.message.value
    assert widget.text == "Hello 🙂 <i>"


def test_stepper_runs_the_model_once_a_step(loaded):
    widget = GenerationStepper(loaded, "The quick brown")
    seen = []
    hook = loaded.model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: seen.append(args[0].shape[-1])
    )
    try:
        widget.next.click()
        widget.choice.index = 2
        widget.back.click()
        widget.next.click()
    finally:
        hook.remove()
    assert seen == [4]


def test_a_step_that_fails_leaves_the_steppers_text_alone(loaded, monkeypatch):
    widget = GenerationStepper(loaded, "The quick brown")
    shown = widget.text_so_far.value
    with monkeypatch.context() as patch:
        patch.setattr(loaded.model, "forward", lambda *args, **kwargs: 1 / 0)
        widget.next.click()  # the error goes to the notebook's log
    assert (widget.text, widget.text_so_far.value) == ("The quick brown", shown)
    widget.next.click()
    assert widget.text == "The quick brown fox"


def test_cache_watcher_shows_the_engines_cache(loaded):
    widget = CacheWatcher(Engine(loaded), "The quick brown fox", n_steps=4)
    assert "saw 4 tokens, 0 came out of the cache, 4 are in it now" in widget.facts.value
    assert f"{4 * loaded.spec.kv_bytes_per_token(4):,} bytes" in widget.facts.value
    for step in range(1, 5):
        widget.step.value = step
        assert f"saw 1 token, {3 + step} came out" in widget.facts.value
        assert f"Cache with {4 + step} keys of width 64, 1 new" in widget.picture.alt
    told = set()
    for layer, head in ((0, 0), (12, 0), (12, 5)):
        widget.layer.value, widget.head.value = layer, head
        told.add(widget.picture.alt)
    assert len(told) == 3, "another layer or head has other scores"
    widget.step.value = 0
    first = CacheWatcher(Engine(loaded), "The quick brown fox", n_steps=4, layer=12, head=5)
    assert first.picture.alt == widget.picture.alt
    widget.step.value = 4
    with pytest.raises(ValueError, match="layer: needs an integer from 0 to 29, got 30"):
        CacheWatcher(Engine(loaded), layer=30)
    widget.prompt.value = ""
    assert "Prompt: is empty" in widget.message.value
    widget.prompt.value = "word " * 30
    assert "at most 24 fit" in widget.message.value
    widget.prompt.value = "Hello"
    assert widget.message.value == ""
    assert "Cache with 5 keys" in widget.picture.alt


@pytest.mark.parametrize("kind", [SentenceScorer, GenerationStepper])
def test_a_widget_has_a_picture_where_there_is_no_kernel(loaded, kind):
    start = SENTENCES if kind is SentenceScorer else "The quick brown"
    widget = kind(loaded, start)
    first = widget._repr_mimebundle_()
    assert {"image/png", "text/html", "text/plain"} < set(first)
    assert "application/vnd.jupyter.widget-view+json" in first
    assert "run the cell" in first["text/plain"]
    assert re.search(r'<img alt="[^"]{30,}"', first["text/html"])
    json.dumps(first)
    if kind is GenerationStepper:
        widget.next.click()
    else:
        widget.text.value = "something else"
    assert widget._repr_mimebundle_()["image/png"] == first["image/png"]  # the default state
