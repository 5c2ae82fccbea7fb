"""Lecture 08's looks at what changed, at reloading, adding tokens, truncation and settings."""

import importlib.metadata
import inspect
from collections.abc import Callable

import pytest
import torch
import transformers
from tiny_models import save_tiny_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from lecture_lib.course_t5 import FOLDER
from lecture_lib.hub_tools import (
    added_token_report,
    changes_table,
    compare_models,
    compare_truncation_sides,
    token_pieces,
)
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


def _missing(*names: str, owner: str = "") -> Callable[[], bool]:
    """A probe: Transformers (or its class ``owner``) has none of these names."""

    def probe() -> bool:
        place = getattr(transformers, owner) if owner else transformers
        return not any(hasattr(place, name) for name in names)

    return probe


def _defaults(function: Callable) -> dict:
    """The parameters of a function, and their defaults."""
    parameters = inspect.signature(function).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def _saves_safetensors_only() -> bool:
    defaults = _defaults(transformers.PreTrainedModel.save_pretrained)
    return "safe_serialization" not in defaults and defaults["max_shard_size"] == "50GB"


def _samples_by_default() -> bool:
    defaults = transformers.TextGenerationPipeline._default_generation_config
    return (defaults.do_sample, defaults.temperature, defaults.max_new_tokens) == (True, 0.7, 256)


def _one_tokenizer_class() -> bool:
    one, other = transformers.LlamaTokenizer, transformers.LlamaTokenizerFast
    return one is other and issubclass(one, transformers.TokenizersBackend)


def _is_the_command_hf() -> bool:
    scripts = importlib.metadata.distribution("huggingface_hub").entry_points
    names = {script.name for script in scripts if script.group == "console_scripts"}
    return "hf" in names and "huggingface-cli" not in names


# By the topic of a row in changes.csv: whether what it says of today is true here.
PROBES = {
    "frameworks": _missing("TFAutoModel", "FlaxAutoModel"),
    "pipelines for text to text": _missing(
        "SummarizationPipeline", "TranslationPipeline", "Text2TextGenerationPipeline"
    ),
    "pipelines for pictures and words": lambda: (
        _missing("VisualQuestionAnsweringPipeline", "ImageToTextPipeline")()
        and hasattr(transformers, "ImageTextToTextPipeline")
    ),
    "text-generation's defaults": _samples_by_default,
    "number type of loaded weights": lambda: _defaults(transformers.pipeline)["dtype"] == "auto",
    "saved weights": _saves_safetensors_only,
    "head pruning": _missing("prune_heads", owner="PreTrainedModel"),
    "generation settings": lambda: not hasattr(transformers.LlamaConfig(), "num_beams"),
    "tokenizer classes": _one_tokenizer_class,
    "encoding": _missing("encode_plus", "batch_encode_plus", owner="PreTrainedTokenizerBase"),
    "apply_chat_template": lambda: _defaults(
        transformers.PreTrainedTokenizerBase.apply_chat_template
    )["return_dict"],
    "command line": _is_the_command_hf,
}


@pytest.mark.parametrize("topic", PROBES)
def test_what_the_table_says_of_today_holds_here(topic):
    version = importlib.metadata.version("transformers")
    assert PROBES[topic](), f"{topic}: Transformers {version} is not as the table says"


def test_every_row_of_the_table_has_a_probe():
    assert list(changes_table().topic) == list(PROBES)


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
