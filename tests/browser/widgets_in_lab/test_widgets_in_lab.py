"""The widgets, worked as a student does: what they show is what the library says."""

import re

import pytest
from playwright.sync_api import expect

from lecture_lib.scoring import DOCUMENT_START, next_token_probs, score_text, top_tokens

pytestmark = [pytest.mark.real_model, pytest.mark.slow]
PROMPT = "My grandmother always said that"  # of lecture 02
SENTENCES = [  # of lecture 01
    "The early bird catches the worm.",
    "The early bird catches the moon.",
    "my aunt sells blue bicycles, my aunt sells blue bicycles",
]


@pytest.fixture
def scorer(widgets_page):
    """The widget of lecture 01, live and new."""
    return widgets_page.show_widget("SentenceScorer(")


@pytest.fixture
def stepper(widgets_page):
    """The widget of lecture 02, live and new."""
    return widgets_page.show_widget("GenerationStepper(")


@pytest.fixture
def watcher(widgets_page):
    """The widget of lecture 04, live and new."""
    return widgets_page.show_widget("CacheWatcher(")


def expect_ranking(widget, scores):
    """The table has these scores, the likeliest first."""
    rows = widget.locator("tr:has(td)")
    expect(rows).to_have_count(len(scores))
    for row, score in zip(rows.all(), sorted(scores, key=lambda s: -s.total), strict=True):
        expect(row.locator("td").nth(1)).to_have_text(score.text)
        expect(row.locator("td").nth(2)).to_have_text(f"{score.total:.2f}")


def expect_step(widget, loaded, text, chosen=0):
    """Text, picture and list show what the model says after ``text``."""
    expect(widget).to_contain_text(f"{text}▁")
    top = top_tokens(loaded, next_token_probs(loaded, text), 10)
    top = [(token.replace(" ", "␣").replace("\n", "↵"), p) for token, p in top]
    shown = [re.escape(f"{token} {p:.3f}") for token, p in top]
    picture = widget.get_by_role("img")
    marked = re.escape(top[chosen][0])
    says = re.compile(f": {', '.join(shown)}; all others .* Chosen: {marked}\\.")
    expect(picture).to_have_attribute("alt", says)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    return [token.replace("␣", " ") for token, _p in top]


def test_scorer_shows_what_score_text_says(scorer, loaded):
    expect_ranking(scorer, [score_text(loaded, sentence) for sentence in SENTENCES])

    sentences = ["An apple a day keeps the doctor away.", "An apple a day keeps the <b>away."]
    scorer.get_by_role("textbox", name="Sentences").fill("\n".join(sentences))
    expect_ranking(scorer, [score_text(loaded, sentence) for sentence in sentences])

    scorer.get_by_role("checkbox").check()
    with_start = [score_text(loaded, sentence, start=DOCUMENT_START) for sentence in sentences]
    expect_ranking(scorer, with_start)
    # The coloured tokens too: all of them, and none without a number now.
    strip = scorer.locator("span:has(> br)")
    expect(strip).to_have_count(sum(len(score.tokens) for score in with_start))
    expect(scorer).not_to_contain_text("given")


def test_scorer_by_keyboard_alone(scorer, loaded):
    press = scorer.page.keyboard.press
    scorer.get_by_role("textbox", name="Sentences").focus()
    press("ControlOrMeta+a")
    scorer.page.keyboard.type("one two three")
    press("Enter")
    scorer.page.keyboard.type("three one two")
    sentences = ("one two three", "three one two")
    expect_ranking(scorer, [score_text(loaded, sentence) for sentence in sentences])
    press("Tab")
    press("Space")
    expect(scorer.get_by_role("checkbox")).to_be_checked()
    with_start = [score_text(loaded, sentence, start=DOCUMENT_START) for sentence in sentences]
    expect_ranking(scorer, with_start)


def test_scorer_with_nothing_to_score(scorer, loaded):
    box = scorer.get_by_role("textbox", name="Sentences")
    box.fill("  \n ")
    expect(scorer.get_by_role("alert")).to_contain_text("type at least one line")
    expect_ranking(scorer, [score_text(loaded, sentence) for sentence in SENTENCES])
    box.fill("never mind")
    expect(scorer.get_by_role("alert")).to_have_count(0)
    expect_ranking(scorer, [score_text(loaded, "never mind")])


def test_stepper_walks_as_the_model_says(stepper, loaded):
    button = {name: stepper.get_by_role("button", name=name) for name in ("Next", "Back")}
    expect(button["Back"]).to_be_disabled()
    texts = [PROMPT]
    for _ in range(2):
        best = expect_step(stepper, loaded, texts[-1])[0]
        button["Next"].click()
        texts.append(texts[-1] + best)
    expect_step(stepper, loaded, texts[2])
    button["Back"].click()
    top = expect_step(stepper, loaded, texts[1])

    stepper.get_by_role("combobox", name="Next token").select_option(index=4)
    expect_step(stepper, loaded, texts[1], chosen=4)
    button["Next"].click()
    expect_step(stepper, loaded, texts[1] + top[4])

    prompt = stepper.get_by_role("textbox", name="Prompt")
    prompt.fill("Once upon a")
    prompt.press("Enter")
    expect_step(stepper, loaded, "Once upon a")
    expect(button["Back"]).to_be_disabled()


def test_stepper_by_keyboard_alone(stepper, loaded):
    press = stepper.page.keyboard.press
    stepper.get_by_role("textbox", name="Prompt").focus()
    press("ControlOrMeta+a")
    stepper.page.keyboard.type("The capital of France is")
    press("Enter")
    text = "The capital of France is"
    top = expect_step(stepper, loaded, text)
    press("Tab")
    # In a closed list JupyterLab takes the arrow keys to move between cells; Space opens it.
    press("Space")
    press("ArrowDown")
    press("Enter")
    expect_step(stepper, loaded, text, chosen=1)
    press("Tab")
    press("Enter")
    text += top[1]
    expect_step(stepper, loaded, text)
    press("Tab")
    press("Space")  # Back
    expect_step(stepper, loaded, "The capital of France is")


def test_stepper_without_a_prompt(stepper, loaded):
    prompt = stepper.get_by_role("textbox", name="Prompt")
    prompt.fill("")
    prompt.press("Enter")
    expect(stepper.get_by_role("alert")).to_contain_text("is empty")
    expect_step(stepper, loaded, PROMPT)
    stepper.get_by_role("button", name="Next").click()
    best, _p = top_tokens(loaded, next_token_probs(loaded, PROMPT), 1)[0]
    expect_step(stepper, loaded, PROMPT + best)
    expect(stepper.get_by_role("alert")).to_have_count(0)


def test_cache_watcher_by_keyboard_alone(watcher, loaded):
    press, picture = watcher.page.keyboard.press, watcher.get_by_role("img")
    n_prompt = len(loaded.tokenizer("The quick brown fox and the quick brown").input_ids)
    expect(picture).to_have_attribute("alt", re.compile(f"Cache with {n_prompt} keys"))
    sliders = watcher.get_by_role("slider")  # step, layer, query head
    expect(sliders).to_have_count(3)
    for slider in sliders.all():
        before = picture.get_attribute("alt")
        slider.focus()
        press("ArrowRight")
        expect(picture).not_to_have_attribute("alt", before)
    expect(picture).to_have_attribute("alt", re.compile(f"Cache with {n_prompt + 1} keys"))
    n_bytes = (n_prompt + 1) * loaded.spec.kv_bytes_per_token(4)
    expect(watcher).to_contain_text(f"the model saw 1 token, {n_prompt} came out of the cache")
    expect(watcher).to_contain_text(f"{n_bytes:,} bytes")
