"""The chat, worked as a student does: the text grows, Stop ends it, p is what the model says."""

import math
import re

import pytest
from lab_page import keep_screenshot
from playwright.sync_api import expect

from lecture_lib.inference_script import TaskInfo, generate

pytestmark = [pytest.mark.real_model, pytest.mark.slow]

ANSWER_MS = 120_000
QUESTION = "What is the capital of France?"


@pytest.fixture
def chat(widgets_page, request):
    """A new, live widget with 100 new tokens at most."""
    cell = widgets_page.find_cell("ChatWidget(")
    source = "chat = ChatWidget(loaded)\nchat.output_len.value = 100\nchat"
    widgets_page.type_source(cell, source)
    widgets_page.run(cell)
    assert widgets_page.errors == []
    widget = widgets_page.cell(cell).locator(".lecture-widget")
    widget.wait_for()
    yield widget
    keep_screenshot(widget, request.node.name)


def prompt_box(chat):
    return chat.get_by_role("textbox", name="Prompt")


def test_answer_and_its_probabilities(chat, loaded):
    prompt_box(chat).fill(QUESTION)
    chat.get_by_role("button", name="Send").click()
    expect(chat).to_contain_text("the model ended it", timeout=ANSWER_MS)
    expect(chat).to_contain_text("tokens/s")
    text = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, tokenize=False
    )
    answer = generate(TaskInfo(text, output_len=100, temperature=0.0), loaded)[0]
    tokens = chat.locator(".chat-token")
    expect(tokens).to_have_count(len(answer.token_ids))
    for token, position in zip(tokens.all(), answer.logprobs, strict=True):
        p = f"p = {math.exp(position.log_prob):.3f};"
        expect(token).to_have_attribute("title", re.compile(re.escape(p)))
    # The same without a pointer: the slider goes to the first token by the keyboard.
    slider = chat.get_by_role("slider").first
    slider.focus()
    slider.page.keyboard.press("Home")
    best = f"{math.exp(answer.logprobs[0].top[0][1]):.3f}"
    expect(chat.get_by_role("img")).to_have_attribute("alt", re.compile(re.escape(best)))


def test_stop_by_keyboard_alone_while_the_text_grows(chat):
    press = chat.page.keyboard.press
    prompt_box(chat).focus()
    chat.page.keyboard.type("Tell me a long story about <b>a fox</b>.")
    press("Tab")
    expect(chat.get_by_role("button", name="Send")).to_be_focused()
    press("Enter")
    tokens = chat.locator(".chat-token")
    expect(tokens.nth(0)).to_be_visible(timeout=ANSWER_MS)
    before = tokens.count()
    expect(tokens.nth(before + 2)).to_be_visible(timeout=ANSWER_MS)  # it grows
    expect(chat).to_contain_text("still growing")
    press("Tab")
    expect(chat.get_by_role("button", name="Stop")).to_be_focused()
    press("Enter")
    expect(chat).to_contain_text("stopped by you", timeout=ANSWER_MS)
    assert before < tokens.count() < 100
    expect(chat).to_contain_text("Tell me a long story about <b>a fox</b>.")


def test_what_is_wrong_is_said_in_the_widget(chat):
    chat.get_by_role("button", name="Send").click()
    expect(chat.get_by_role("alert")).to_contain_text("Prompt: is empty")
    box = prompt_box(chat)
    box.fill("word " * 9000)
    chat.get_by_role("button", name="Send").click()
    expect(chat.get_by_role("alert")).to_contain_text("too long", timeout=ANSWER_MS)
    assert box.input_value() == "word " * 9000
