"""What changed in Transformers since the lecture's 4.39, and its twelve tasks as they are today.

Source of the changes: Transformers' MIGRATION_GUIDE_V5.md and its release notes. A row's probe says
whether "today" is true of the installed version, so that an upgrade that changes it back is seen.
The tasks, lecture_tasks.csv, are written down for Transformers 5.23, and a test compares them with
the installed one.
"""

import importlib.metadata
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import transformers


@dataclass(frozen=True)
class Change:
    """One difference: what version 4.39 had, what is there today, and whether that holds here."""

    topic: str
    lecture: str
    today: str
    holds: Callable[[], bool]


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


CHANGES = (
    Change(
        "frameworks", "PyTorch, TensorFlow, JAX (TFAutoModel, FlaxAutoModel)", "PyTorch only",
        _missing("TFAutoModel", "FlaxAutoModel"),
    ),
    Change(
        "pipelines for text to text", "summarization, translation, text2text-generation",
        "text-generation with a chat model, or lecture_lib.pipelines",
        _missing("SummarizationPipeline", "TranslationPipeline", "Text2TextGenerationPipeline"),
    ),
    Change(
        "pipelines for pictures and words", "visual-question-answering, image-to-text",
        "image-text-to-text",
        lambda: _missing("VisualQuestionAnsweringPipeline", "ImageToTextPipeline")()
        and hasattr(transformers, "ImageTextToTextPipeline"),
    ),
    Change(
        "text-generation's defaults", "none of its own: 20 tokens, greedy",
        "max_new_tokens=256, do_sample=True, temperature=0.7, unless model or call says otherwise",
        _samples_by_default,
    ),
    Change(
        "number type of loaded weights", "torch_dtype=..., default float32",
        'dtype=..., default "auto": as they were saved',
        lambda: _defaults(transformers.pipeline)["dtype"] == "auto",
    ),
    Change(
        "saved weights", "safe_serialization=True or False, shards of 5GB",
        "always safetensors, shards of 50GB", _saves_safetensors_only,
    ),
    Change(
        "head pruning", "model.prune_heads({layer: [heads]})",
        "gone; lecture_lib.hub_tools.without_head shows what it did",
        _missing("prune_heads", owner="PreTrainedModel"),
    ),
    Change(
        "generation settings", "in config.json and generation_config.json",
        "in generation_config.json only",
        lambda: not hasattr(transformers.LlamaConfig(), "num_beams"),
    ),
    Change(
        "tokenizer classes", "a slow and a fast one for each model",
        "one, on the tokenizers library where it can (TokenizersBackend)",
        _one_tokenizer_class,
    ),
    Change(
        "encoding", "encode_plus, batch_encode_plus", "call the tokenizer: tokenizer(texts)",
        _missing("encode_plus", "batch_encode_plus", owner="PreTrainedTokenizerBase"),
    ),
    Change(
        "apply_chat_template", "returns a list of ids",
        "returns a dict: input_ids, attention_mask",
        lambda: _defaults(transformers.PreTrainedTokenizerBase.apply_chat_template)["return_dict"],
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


def task_table() -> pd.DataFrame:
    """The lecture's twelve tasks, one a row, for the reader."""
    table = pd.read_csv(Path(__file__).with_name("lecture_tasks.csv"), keep_default_na=False)
    return table.set_index(pd.RangeIndex(1, len(table) + 1))
