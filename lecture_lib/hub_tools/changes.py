"""What changed in Transformers since the lecture's 4.39, and its twelve tasks as they are today.

Source of changes.csv: Transformers' MIGRATION_GUIDE_V5.md and its release notes. A row's probe says
whether "today" is true of the installed version, so that an upgrade that changes it back is seen.
lecture_tasks.csv is written down for Transformers 5.23, and a test compares it with the installed
one.
"""

import importlib.metadata
import inspect
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import transformers


def written_table(name: str) -> pd.DataFrame:
    """A table that is written down in a file beside this one; its rows are numbered from 1."""
    table = pd.read_csv(Path(__file__).with_name(f"{name}.csv"), keep_default_na=False)
    return table.set_index(pd.RangeIndex(1, len(table) + 1))


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


def changes_table() -> pd.DataFrame:
    """What changed since the lecture, one topic per row; the last column is looked up here and now.

    Returns:
        topic, in 4.39, today, seen here (yes or no).
    """
    table = written_table("changes")
    return table.assign(**{"seen here": ["yes" if PROBES[t]() else "no" for t in table.topic]})


def task_table() -> pd.DataFrame:
    """The lecture's twelve tasks as they are today, one per row."""
    return written_table("lecture_tasks")
