"""What changed in Transformers since the lecture's 4.39, each row looked up in the installed one.

Source: Transformers' MIGRATION_GUIDE_V5.md and its release notes. A row's probe says whether what
stands under "today" holds here, so that an upgrade that changes it back is seen.
"""

import importlib.metadata
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        topic: what it is about.
        lecture: what version 4.39 had.
        today: what version 5 has in its place.
        holds: looks whether the installed Transformers is as ``today`` says.
    """

    topic: str
    lecture: str
    today: str
    holds: Callable[[], bool]


def _missing(name: str, owner: str = "") -> Callable[[], bool]:
    """A probe: Transformers (or its class ``owner``) has no such name."""

    def probe() -> bool:
        import transformers

        return not hasattr(getattr(transformers, owner) if owner else transformers, name)

    return probe


def _parameters(owner: str, method: str) -> dict[str, inspect.Parameter]:
    import transformers

    return dict(inspect.signature(getattr(getattr(transformers, owner), method)).parameters)


def _saves_safetensors_only() -> bool:
    parameters = _parameters("PreTrainedModel", "save_pretrained")
    return "safe_serialization" not in parameters and parameters["max_shard_size"].default == "50GB"


def _keeps_the_saved_dtype() -> bool:
    from transformers import pipeline

    return inspect.signature(pipeline).parameters["dtype"].default == "auto"


def _samples_by_default() -> bool:
    from transformers import TextGenerationPipeline

    defaults = TextGenerationPipeline._default_generation_config
    return (defaults.do_sample, defaults.temperature, defaults.max_new_tokens) == (True, 0.7, 256)


def _has_no_generation_settings_in_the_config() -> bool:
    from transformers import LlamaConfig

    return not hasattr(LlamaConfig(), "num_beams")


def _templates_give_a_dict() -> bool:
    parameters = _parameters("PreTrainedTokenizerBase", "apply_chat_template")
    return parameters["return_dict"].default is True


def _one_tokenizer_class() -> bool:
    from transformers import LlamaTokenizer, LlamaTokenizerFast, TokenizersBackend

    return LlamaTokenizerFast is LlamaTokenizer and issubclass(LlamaTokenizer, TokenizersBackend)


def _is_the_command_hf() -> bool:
    scripts = importlib.metadata.distribution("huggingface_hub").entry_points
    names = {script.name for script in scripts if script.group == "console_scripts"}
    return "hf" in names and "huggingface-cli" not in names


CHANGES = (
    Change(
        "frameworks", "PyTorch, TensorFlow, JAX (TFAutoModel, FlaxAutoModel)", "PyTorch only",
        lambda: _missing("TFAutoModel")() and _missing("FlaxAutoModel")(),
    ),
    Change(
        "pipelines for text to text", "summarization, translation, text2text-generation",
        "text-generation with a chat model, or lecture_lib.pipelines",
        lambda: all(
            _missing(f"{name}Pipeline")()
            for name in ("Summarization", "Translation", "Text2TextGeneration")
        ),
    ),
    Change(
        "pipelines for pictures and words", "visual-question-answering, image-to-text",
        "image-text-to-text",
        lambda: _missing("VisualQuestionAnsweringPipeline")()
        and _missing("ImageToTextPipeline")()
        and not _missing("ImageTextToTextPipeline")(),
    ),
    Change(
        "text-generation's defaults", "none of its own: 20 tokens, greedy",
        "max_new_tokens=256, do_sample=True, temperature=0.7, unless model or call says otherwise",
        _samples_by_default,
    ),
    Change(
        "number type of loaded weights", "torch_dtype=..., default float32",
        'dtype=..., default "auto": as they were saved', _keeps_the_saved_dtype,
    ),
    Change(
        "saved weights", "safe_serialization=True or False, shards of 5GB",
        "always safetensors, shards of 50GB", _saves_safetensors_only,
    ),
    Change(
        "head pruning", "model.prune_heads({layer: [heads]})",
        "gone; lecture_lib.hub_tools.without_head shows what it did",
        _missing("prune_heads", "PreTrainedModel"),
    ),
    Change(
        "generation settings", "in config.json and generation_config.json",
        "in generation_config.json only", _has_no_generation_settings_in_the_config,
    ),
    Change(
        "tokenizer classes", "a slow and a fast one for each model",
        "one, on the tokenizers library where it can (TokenizersBackend)",
        _one_tokenizer_class,
    ),
    Change(
        "encoding", "encode_plus, batch_encode_plus", "call the tokenizer: tokenizer(texts)",
        lambda: _missing("encode_plus", "PreTrainedTokenizerBase")()
        and _missing("batch_encode_plus", "PreTrainedTokenizerBase")(),
    ),
    Change(
        "apply_chat_template", "returns a list of ids",
        "returns a dict: input_ids, attention_mask", _templates_give_a_dict,
    ),
    Change("command line", "huggingface-cli login", "hf auth login", _is_the_command_hf),
)  # fmt: skip


def changes_table() -> pd.DataFrame:
    """What changed since the lecture, one topic a row; the last column is looked up here and now.

    Returns:
        topic, in 4.39, today, seen here (yes or no).
    """
    rows = [
        {
            "topic": change.topic, "in 4.39": change.lecture, "today": change.today,
            "seen here": "yes" if change.holds() else "no",
        }
        for change in CHANGES
    ]  # fmt: skip
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))
