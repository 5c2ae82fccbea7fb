"""What lecture 08 says of Transformers, against the installed one and against plain computation."""

import copy

import pytest
import torch
from tiny_models import save_tiny_model
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from lecture_lib.course_t5 import FOLDER
from lecture_lib.hub_tools import (
    token_pieces,
)
from lecture_lib.loading import load_model
from lecture_lib.pipelines import SummarizationPipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder)
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def t5():
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(FOLDER)


# -- tokenizer -----------------------------------------------------------------------------------


@pytest.mark.real_model
@pytest.mark.parametrize(
    "text", ["Hi there", "naïve 👋🏽 中文\n\tx", " two  spaces", "🏳️‍🌈", "\u0e01\u0e33"]
)
def test_pieces_of_a_byte_level_tokenizer_make_up_the_text(loaded, text):
    pieces = token_pieces(loaded.tokenizer, text)
    assert b"".join(piece.data for piece in pieces) == text.encode()
    assert [piece.token_id for piece in pieces] == loaded.tokenizer(text).input_ids
    assert {i for piece in pieces for i in range(piece.start, piece.end)} == set(range(len(text)))
    whole = [piece for piece in pieces if not piece.text.startswith("⟨")]
    assert all(piece.text.encode() == piece.data for piece in whole)


def test_pieces_of_a_vocabulary_without_bytes(t5):
    _, tokenizer = t5
    pieces = token_pieces(tokenizer, "Elle a 12 clés 中")
    assert [p.token_id for p in pieces] == tokenizer("Elle a 12 clés 中").input_ids
    assert (pieces[-1].text, pieces[-1].special, pieces[-1].data) == ("</s>", True, b"")
    assert b"".join(p.data for p in pieces).replace(b" ", b"") == "Ellea12clés中".encode()
    unknown = next(p for p in pieces if p.token_id == tokenizer.unk_token_id)
    assert unknown.data.strip() == "中".encode()
    without = token_pieces(tokenizer, "Elle", add_special_tokens=False)
    assert [p.text for p in without] == ["Elle"]
    with pytest.raises(ValueError, match="text: is empty; needs at least one character"):
        token_pieces(tokenizer, "")


def test_what_a_tokenizer_returns_and_its_model_does_not_know_is_left_out(tiny):
    """GPT-NeoX's returns token_type_ids, which generate() refuses."""
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    pipe = SummarizationPipeline(model=tiny.model, tokenizer=tokenizer, task="summarization")
    expected = pipe("the fox", max_new_tokens=3)
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert "token_type_ids" in tokenizer("the fox")
    assert pipe("the fox", max_new_tokens=3) == expected
