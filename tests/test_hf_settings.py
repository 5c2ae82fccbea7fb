"""Lecture 08's looks at what changed, at reloading, adding tokens, truncation and settings."""

import importlib.metadata
import inspect
from collections.abc import Callable

import pytest
import transformers

from lecture_lib.hub_tools import (
    changes_table,
    token_pieces,
)

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
