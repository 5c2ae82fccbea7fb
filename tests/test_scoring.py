"""Scores of texts, against Transformers' own loss and against direct computation."""

import math
from types import SimpleNamespace

import pytest
import torch
from engine_models import assert_logits_close, byte_tokenizer, sentencepiece_tokenizer
from tiny_models import tiny_tokenizer

from lecture_lib.figures.chat import title_of
from lecture_lib.figures.style import visible
from lecture_lib.hub_tools.tokenizers import token_pieces
from lecture_lib.inference_script.run import TokenLogprobs
from lecture_lib.scoring import (
    DOCUMENT_START,
    TextScore,
    next_token_logits,
    next_token_probs,
    score_text,
    text_to_ids,
    token_text,
    token_texts,
    top_tokens,
)

pytestmark = [pytest.mark.real_model, pytest.mark.parity]
TEXT = "The mouse ate the cheese, and then the cat ate the mouse."


def test_total_is_transformers_loss(loaded):
    ids = torch.tensor([loaded.tokenizer(TEXT).input_ids])
    loss = loaded.model(ids, labels=ids).loss.item()  # the mean over L-1 predicted tokens
    score = score_text(loaded, TEXT)
    assert score.n_scored == ids.shape[1] - 1
    assert -score.total / score.n_scored == pytest.approx(loss, abs=1e-4)
    assert score.perplexity == pytest.approx(math.exp(loss), rel=1e-4)


def test_each_log_prob_is_that_of_its_own_prefix(loaded):
    ids = loaded.tokenizer(TEXT).input_ids
    score = score_text(loaded, TEXT)
    assert math.isnan(score.log_probs[0])
    for i in range(1, len(ids)):
        alone = next_token_logits(loaded, ids[:i]).log_softmax(-1)[ids[i]].item()
        assert score.log_probs[i] == pytest.approx(alone, abs=1e-3)


def test_a_start_token_scores_the_first_token_too(loaded):
    score = score_text(loaded, TEXT, start=DOCUMENT_START)
    start_id = loaded.tokenizer.convert_tokens_to_ids(DOCUMENT_START)
    first = next_token_logits(loaded, [start_id]).log_softmax(-1)[score.token_ids[0]].item()
    assert score.log_probs[0] == pytest.approx(first, abs=1e-3)
    assert score.n_scored == len(score.tokens) == len(score.token_ids)
    assert "".join(score.tokens) == TEXT


def test_the_published_continuations(loaded):
    probs = next_token_probs(loaded, "The quick brown")
    assert probs.sum().item() == pytest.approx(1, abs=1e-4)
    (token, p), *_ = top_tokens(loaded, probs, 3)
    assert (token, round(p, 3)) == (" fox", 0.243)
    (token, p), *_ = top_tokens(loaded, next_token_probs(loaded, "The quick brown fox"), 1)
    assert (token, round(p, 3)) == (" with", 0.487)


def test_all_positions_are_the_models_logits(loaded):
    ids = loaded.tokenizer(TEXT).input_ids
    theirs = loaded.model(torch.tensor([ids])).logits[0]
    assert_logits_close(next_token_logits(loaded, ids, all_positions=True), theirs)
    assert_logits_close(next_token_logits(loaded, ids), theirs[-1])


@pytest.mark.parametrize("text", ["🙂", "中文", "naïve é", "a\n\tb", "𐍈"])
def test_tokens_that_split_a_character_are_shown_as_bytes(loaded, text):
    shown = [token_text(loaded.tokenizer, i) for i in loaded.tokenizer(text).input_ids]
    assert all("\ufffd" not in token for token in shown)
    raw = b"".join(
        bytes.fromhex(token[1:-1].replace("·", " ")) if token.startswith("⟨") else token.encode()
        for token in shown
    )
    assert raw.decode() == text


@pytest.mark.parametrize("text", ["the food 👋", "the the", "a  the", "👋", " the", "thefood\n"])
def test_tokens_of_sentencepiece_join_to_the_text(text):
    tokenizer = sentencepiece_tokenizer("▁the", "the", "▁food")
    ids = tokenizer(text).input_ids
    shown = token_texts(tokenizer, ids)
    raw = b"".join(
        bytes.fromhex(token[1:-1]) if token.startswith("⟨") else token.encode() for token in shown
    )
    assert raw.decode() == text
    pieces = token_pieces(tokenizer, text, add_special_tokens=False)
    assert [piece.text for piece in pieces] == shown


def test_a_word_with_its_space_is_told_from_one_without():
    tokenizer = sentencepiece_tokenizer("▁the", "the", "▁food")
    with_space, without = (tokenizer.convert_tokens_to_ids(piece) for piece in ("▁the", "the"))
    assert [token_text(tokenizer, i) for i in (with_space, without)] == [" the", "the"]
    assert token_text(tokenizer, tokenizer.convert_tokens_to_ids("<0xF0>")) == "⟨F0⟩"
    assert token_text(tokenizer, tokenizer.convert_tokens_to_ids("<0x0A>")) == "\n"
    assert token_text(tokenizer, tokenizer.bos_token_id) == "<s>"


@pytest.mark.parametrize("make", [byte_tokenizer, sentencepiece_tokenizer, tiny_tokenizer])
def test_an_id_that_the_tokenizer_does_not_have_is_written_by_its_number(make):
    """A model's vocabulary is often padded to a round number."""
    tokenizer = make()
    unknown = len(tokenizer) + 5
    named = f"⟨id {unknown}⟩"
    assert token_text(tokenizer, unknown) == named
    assert token_texts(tokenizer, [3, unknown])[1] == named
    probs = torch.zeros(unknown + 1).index_fill(0, torch.tensor(unknown), 1.0)
    loaded = SimpleNamespace(tokenizer=tokenizer, model=SimpleNamespace(config=None))
    assert top_tokens(loaded, probs, 1) == [(named, 1.0)]
    position = TokenLogprobs(unknown, -1.0, ((unknown, -1.0),))
    assert visible(named) in title_of(position, tokenizer)


def test_an_added_token_is_written_as_it_is():
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["é!"])
    assert token_text(tokenizer, tokenizer.convert_tokens_to_ids("é!")) == "é!"


def test_perplexity_of_a_uniform_model_is_the_vocabulary_size():
    score = TextScore("abc", (0, 1, 2), ("a", "b", "c"), (math.log(1 / 50),) * 3)
    assert score.perplexity == pytest.approx(50)


def test_bad_input_is_refused(loaded):
    with pytest.raises(ValueError, match="text: is empty"):
        score_text(loaded, "")
    with pytest.raises(ValueError, match="text: needs a string, got int"):
        score_text(loaded, 3)
    with pytest.raises(ValueError, match="start: '<bos>' is no special token"):
        score_text(loaded, "a", start="<bos>")
    with pytest.raises(ValueError, match="token_ids: needs at least one token"):
        next_token_logits(loaded, [])
    with pytest.raises(ValueError, match=r"49152 is outside the vocabulary, 0\.\.49151"):
        next_token_logits(loaded, [49152])
    with pytest.raises(ValueError, match="but the context holds 8192"):
        next_token_logits(loaded, [1] * 8193)
    with pytest.raises(ValueError, match="n: needs an integer from 1 to 3, got 4"):
        top_tokens(loaded, torch.ones(3) / 3, 4)
    with pytest.raises(ValueError, match="no token was predicted"):
        _ = score_text(loaded, text_of_one_token(loaded)).perplexity


def text_of_one_token(loaded):
    assert len(text_to_ids(loaded, "the")) == 1
    return "the"
