"""Lecture 08's looks at what changed, at reloading, adding tokens, truncation and settings."""

import importlib.metadata

import pytest
import torch
from tiny_models import save_tiny_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    StoppingCriteriaList,
)

from lecture_lib.course_t5 import FOLDER
from lecture_lib.hub_tools import (
    StopAtSentenceEnd,
    added_token_report,
    changes_table,
    compare_models,
    compare_truncation_sides,
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


@pytest.fixture(scope="module")
def t5():
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(FOLDER)


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


# -- saving and reloading ------------------------------------------------------------------------


def test_a_reloaded_model_is_equal_in_shards_too(tiny, tmp_path):
    tiny.model.save_pretrained(tmp_path / "saved", max_shard_size="4KB")
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) > 1
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    found = compare_models(tiny.model, again)
    assert found.equal
    assert (found.n_tensors, found.largest_difference) == (len(again.state_dict()), 0.0)


def test_a_changed_number_is_found(tiny, tmp_path):
    tiny.model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    name = "model.layers.1.mlp.up_proj.weight"
    again.state_dict()[name][0, 0] += 0.25
    found = compare_models(tiny.model, again)
    assert (found.equal, found.differing, found.missing) == (False, (name,), ())
    assert found.largest_difference == pytest.approx(0.25, abs=1e-6)
    half = compare_models(tiny.model, again.half())
    assert len(half.differing) == half.n_tensors, "another dtype is another tensor"
    save_tiny_model(tmp_path / "opt", "opt")
    other = compare_models(tiny.model, AutoModelForCausalLM.from_pretrained(tmp_path / "opt"))
    assert not other.equal
    assert name in other.missing


# -- adding tokens -------------------------------------------------------------------------------


def test_new_tokens_need_rows_of_the_embedding(tiny):
    before, n_known = tiny.model.get_input_embeddings().weight.clone(), len(tiny.tokenizer)
    report = added_token_report(
        tiny.model, tiny.tokenizer, ["<city>", "<year>"], text="<city> <year>"
    )
    assert report["vocabulary"].tolist() == [9, 11, 11]
    assert report["embedding rows"].tolist() == [9, 9, 11]
    assert report["ids"].tolist()[1:] == [[9, 10]] * 2
    assert report["ids"][1] != [9, 10]
    works, fails, again = report["forward pass"]
    assert (works, again) == ("works", "works")
    assert fails.startswith("IndexError: index out of range")
    # Copies were changed, not these.
    assert torch.equal(tiny.model.get_input_embeddings().weight, before)
    assert len(tiny.tokenizer) == n_known


def test_spare_rows_hide_a_forgotten_resize(t5):
    model, tokenizer = t5
    spare = type(model)(model.config.__class__(**{**model.config.to_dict(), "vocab_size": 1700}))
    report = added_token_report(spare, tokenizer, ["<city>"], text="<city> cats")
    assert report["forward pass"].tolist() == ["works"] * 3
    assert report["embedding rows"].tolist() == [1700] * 3, "a resize never takes rows away"


def test_a_token_that_is_known_is_not_added(tiny):
    with pytest.raises(ValueError, match="tokens: 'fox' is in the vocabulary already"):
        added_token_report(tiny.model, tiny.tokenizer, ["<city>", "fox"], text="fox")
    for bad, said in (([], "is empty"), ("<city>", "needs a list of at least one")):
        with pytest.raises(ValueError, match=f"tokens: {said}"):
            added_token_report(tiny.model, tiny.tokenizer, bad, text="fox")


@pytest.mark.real_model
def test_an_added_tokens_bytes_are_its_texts(loaded):
    import copy

    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.add_tokens(["dîné", "中文"])
    text = "Il a dîné 中文!"
    pieces = token_pieces(tokenizer, text)
    assert b"".join(piece.data for piece in pieces) == text.encode()
    assert {"dîné", "中文"} <= {piece.text for piece in pieces}


# -- truncation ----------------------------------------------------------------------------------


def test_each_side_keeps_its_end(tiny):
    text = "the quick brown fox ate the cheese"
    table = compare_truncation_sides(tiny.tokenizer, text, max_length=3)
    assert table["kept"].tolist() == ["the quick brown", "ate the cheese"]
    assert table["side"].tolist() == ["right", "left"]
    assert tiny.tokenizer.truncation_side == "right", "as it was"
    for max_length, words in (
        (7, "has 7 tokens and max_length is 7"),
        (0, "needs an integer of 1 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            compare_truncation_sides(tiny.tokenizer, text, max_length=max_length)


def test_special_tokens_stay_and_count(t5):
    table = compare_truncation_sides(t5[1], "four hundred and twenty-one", max_length=3)
    assert table["tokens"].tolist() == [3, 3], "two and the end token"
    assert table["kept"][1].endswith("one")
    with pytest.raises(ValueError, match="needs an integer of 2 or more"):
        compare_truncation_sides(t5[1], "four hundred", max_length=1)


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
