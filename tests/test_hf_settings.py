"""Lecture 08's looks at what changed, at reloading, adding tokens, truncation and settings."""

import importlib.metadata

import pytest
import torch
from tiny_models import save_tiny_model
from transformers import (
    StoppingCriteriaList,
)

from lecture_lib.hub_tools import (
    StopAtSentenceEnd,
    changes_table,
    model_settings,
    observe_generation,
    token_pieces,
)
from lecture_lib.hub_tools.changes import PROBES
from lecture_lib.loading import load_model


@pytest.fixture
def tiny(tmp_path):
    save_tiny_model(tmp_path)
    return load_model(tmp_path, device="cpu")


# -- what changed --------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", PROBES)
def test_what_the_table_says_of_today_holds_here(topic):
    version = importlib.metadata.version("transformers")
    assert PROBES[topic](), f"{topic}: Transformers {version} is not as the table says"


def test_the_table_says_no_where_something_is_back(monkeypatch):
    assert set(changes_table()["seen here"]) == {"yes"}
    monkeypatch.setattr(
        "transformers.PreTrainedModel.prune_heads", lambda self, heads: None, raising=False
    )
    table = changes_table().set_index("topic")
    assert table.loc["head pruning", "seen here"] == "no"
    assert (table["seen here"] == "no").sum() == 1


# -- adding tokens -------------------------------------------------------------------------------


@pytest.mark.real_model
def test_an_added_tokens_bytes_are_its_texts(loaded):
    import copy

    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.add_tokens(["dîné", "中文"])
    text = "Il a dîné 中文!"
    pieces = token_pieces(tokenizer, text)
    assert b"".join(piece.data for piece in pieces) == text.encode()
    assert {"dîné", "中文"} <= {piece.text for piece in pieces}


# -- settings ------------------------------------------------------------------------------------


def test_the_models_own_settings_for_a_while(tiny):
    def candidates(**call):
        return observe_generation(
            tiny, "the quick", do_sample=True, max_new_tokens=1, **call
        ).n_candidates

    before, everything = tiny.model.generation_config, candidates()
    with model_settings(tiny.model, top_k=4):
        assert candidates() == 4, "the model's own goes before the default"
        assert candidates(top_k=2) == 2, "the call's goes before the model's own"
    assert tiny.model.generation_config is before
    assert candidates() == everything == 8  # 50 by default, and there are 8 without the end token
    with (
        pytest.raises(ValueError, match="GenerationConfig has no topk"),
        model_settings(tiny.model, topk=4),
    ):
        pass
    with pytest.raises(RuntimeError), model_settings(tiny.model, top_k=1):
        raise RuntimeError
    assert tiny.model.generation_config is before


class Spelled:
    """A tokenizer of single characters: id = code point."""

    def batch_decode(self, rows, skip_special_tokens):
        return ["".join(chr(i) for i in row.tolist()) for row in rows]


def test_a_sentence_ends_a_row():
    texts = ["No. Go on", "No  Stop!", "No! a b. ", "No  Why? "]
    rows = torch.tensor([[ord(c) for c in text] for text in texts])
    criterion = StopAtSentenceEnd(Spelled(), 3)
    done = criterion(rows, None)
    assert (done.dtype, done.tolist()) == (torch.bool, [False, True, True, True])
    assert not criterion(rows[:, :3], None).any(), "the prompt's own end doesn't count"
    with pytest.raises(ValueError, match="prompt_len: needs an integer of 0 or more, got -1"):
        StopAtSentenceEnd(Spelled(), -1)


@pytest.mark.real_model
def test_generation_ends_with_the_sentence(loaded):
    prompts = ["The capital of France is", "Water boils when it is heated to"]
    batch = loaded.tokenizer(prompts, padding=True, return_tensors="pt")
    prompt_len = batch.input_ids.shape[1]
    stop = StopAtSentenceEnd(loaded.tokenizer, prompt_len)
    options = {"max_new_tokens": 24, "do_sample": False}
    free = loaded.model.generate(**batch, **options)[:, prompt_len:]
    stopped = loaded.model.generate(
        **batch, **options, stopping_criteria=StoppingCriteriaList([stop])
    )[:, prompt_len:]
    assert stopped.shape[1] < free.shape[1], "it ended before the limit"
    for row, unbounded in zip(stopped, free, strict=True):
        text = loaded.tokenizer.decode(row, skip_special_tokens=True)
        whole = loaded.tokenizer.decode(unbounded, skip_special_tokens=True)
        first_end = min(i for i in (whole.find(c) for c in ".!?") if i >= 0)
        assert text == whole[: first_end + 1]
