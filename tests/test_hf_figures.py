"""Pictures and the widget of lecture 08."""

import io
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from lecture_lib.course_t5 import FOLDER
from lecture_lib.drawn_shapes import draw_scene
from lecture_lib.figures.hugging_face import (
    cross_attention_map,
    head_importance,
    image_panels,
    spectrograms,
    token_html,
    token_strip,
)
from lecture_lib.hub_tools import TokenPiece
from lecture_lib.widgets.tokenizer_view import TokenizerView

PIECES = [
    TokenPiece("Hi", 7, b"Hi", 0, 2),
    TokenPiece(" <b>", 8, b" <b>", 2, 6),
    TokenPiece("⟨F0·9F⟩", 9, b"\xf0\x9f", 6, 7),
    TokenPiece("</s>", 1, b"", 7, 7, special=True),
]
RISES = np.array([[0.01, -0.02], [0.5, 0.0], [0.03, -0.04]])
SCORES = torch.tensor([[[[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]]], [[[0.4, 0.3, 0.3], [0.0, 0.9, 0.1]]]])
CAT = (["▁the", "▁cat", "</s>"], ["▁le", "▁chat"])
WAVE = np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)  # 500 hertz
SCENE = draw_scene(0)
BOX = {"xmin": 20, "ymin": 30, "xmax": 90, "ymax": 100}
ALL = {
    "heads": lambda: head_importance(RISES, layers=[3, 7, 9]),
    "many heads": lambda: head_importance(
        np.random.default_rng(0).normal(size=(30, 9)), layers=range(30)
    ),
    "strip": lambda: token_strip(PIECES),
    "long strip": lambda: token_strip(PIECES * 9),
    "attention": lambda: cross_attention_map(SCORES, *CAT),
    "images": lambda: image_panels(
        {"in": SCENE.image, "depth": SCENE.image.convert("L")},
        objects=[{"label": "red cube", "score": 0.98, "box": BOX}],
    ),
    "sounds": lambda: spectrograms({"low": WAVE, "high": WAVE[::3]}, sampling_rate=8000),
}


@pytest.mark.parametrize("name", ALL)
def test_a_picture_is_a_png_with_words_and_is_repeatable(name):
    picture = ALL[name]()
    assert len(picture.alt) > 30
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    assert image.std() > 5, "the picture is blank"
    assert picture.width <= 960
    assert len(picture.png) < 40_000
    assert ALL[name]().png == picture.png


def test_the_words_say_the_data():
    alt = ALL["heads"]().alt
    assert "3 layers by 2 heads" in alt
    assert "-0.040 to 0.500 nats per token" in alt
    assert "head 0 of layer 7" in alt
    assert "Without 2 of the 6 heads the loss falls" in alt
    assert "4 tokens, 8 bytes, each with its id: Hi 7, ␣<b> 8" in ALL["strip"]().alt
    # 512 samples at 8,000 a second: frequencies 15.6 hertz apart.
    assert "low: strongest near 500 hertz first, 500 last" in ALL["sounds"]().alt
    assert "high: strongest near 1500 hertz first, 1500 last" in ALL["sounds"]().alt
    alt = ALL["images"]().alt
    assert alt == "Images beside one another: in, depth. Framed: red cube 0.98."
    # Means over layers and heads: 0.6 and 0.8.
    assert "␣le to ␣the (0.60); ␣chat to ␣cat (0.80)" in ALL["attention"]().alt


def test_html_shows_ids_bytes_and_no_markup_of_the_text():
    shown = token_html(PIECES)
    assert "␣&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert "20 3C 62 3E" in shown
    assert [int(i) for i in re.findall(r"<small>(\d+)</small>", shown)] == [7, 8, 9, 1]
    colours = re.findall(r"background:(#\w+)", shown)
    assert all(a != b for a, b in pairwise(colours))


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: head_importance([1, 2], layers=[0, 1]), "rises: needs a finite array"),
        (lambda: head_importance([[np.nan]], layers=[0]), "rises: needs a finite array"),
        (lambda: head_importance(RISES, layers=[1]), "layers: needs 3 numbers, got 1"),
        (lambda: cross_attention_map(SCORES, *CAT[::-1]), r"scores: needs \(layers, heads, 3, 2\)"),
        (lambda: spectrograms({"a": [0.1] * 9}, sampling_rate=8), "sounds: needs a title -> wave"),
        (lambda: image_panels({"a": 5}), "images: needs a title -> PIL image, or more"),
        (lambda: token_strip([]), "pieces: is empty; needs at least one"),
        (lambda: token_html(PIECES * 101), "got 404"),
    ],
)
def test_nonsense_is_refused(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()


@pytest.fixture
def view():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    view = TokenizerView({"course-t5": tokenizer, "again": tokenizer})
    view.text.value = "Elle a 12 clés."
    return view


def test_the_widget_follows_the_text(view):
    tokenizer = view.tokenizers["course-t5"]
    ids = tokenizer("Elle a 12 clés.").input_ids
    assert [int(i) for i in re.findall(r"<small>(\d{1,4})</small><br>", view.strip.value)] == ids
    assert "15 characters, 16 bytes" in view.facts.value
    assert f"{len(ids)} tokens" in view.facts.value
    view.text.value = "中文 👋"
    assert "4 characters, 11 bytes" in view.facts.value
    assert "E4 B8 AD" in view.strip.value
    view.special.value = False
    assert "&lt;/s&gt;" not in view.strip.value
    view.choice.value = "again"
    assert view.message.value == ""


def test_the_widgets_messages(view):
    before = view.strip.value
    view.text.value = ""
    assert "Text: is empty" in view.message.value
    view.text.value = "x" * 401
    assert "at most 400 fit" in view.message.value
    assert view.strip.value == before, "the last good one stays"
    view.text.value = "clés"
    assert view.message.value == ""


def test_a_saved_notebook_shows_the_default_state():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    view = TokenizerView({"course-t5": tokenizer})
    data = view._repr_mimebundle_()
    assert "TokenizerView (run the cell to use it)" in data["text/plain"]
    assert view.strip.value in data["text/html"], "as HTML: the browser has every script and emoji"


@pytest.mark.real_model
def test_the_bundled_tokenizer_in_the_widget(loaded):
    view = TokenizerView({"SmolLM2": loaded.tokenizer})
    text = view.text.value
    # An emoji with a skin tone and Chinese: bytes of all pieces are the text's.
    assert b"".join(p.data for p in view.pieces) == text.encode()
    assert any(p.text.startswith("⟨") for p in view.pieces)
