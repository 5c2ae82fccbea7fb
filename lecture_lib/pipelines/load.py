"""load_pipeline(): the lecture's own model for a task, else the course's stand-in.

register_pipelines() makes the pipelines of this package known to Transformers.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.pipelines
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    Pipeline,
    pipeline,
)
from transformers.pipelines import PIPELINE_REGISTRY

from ..checks import check_choice, check_text, check_type
from ..loading import ModelLoadError, load_model
from ..loading.bundled_model import NAME as SMOLLM2
from ..loading.devices import check_memory, choose_device, choose_dtype
from ..loading.errors import CorruptModelError, MissingPackageError, NetworkError, shortened
from ..loading.load import find_folder
from ..loading.optional_models import FETCH, OPTIONAL, ensure_optional_model
from ..loading.quiet import quiet_transformers
from .label_words import TextClassification
from .tasks import BUNDLED, TASKS
from .text_to_text import SummarizationPipeline, TranslationPipeline

STORED = Path(__file__).with_name("stored_answers.json")
_ALIASES = {"sentiment-analysis": "text-classification"}


def register_pipelines() -> None:
    """Registers translation, summarization and text-classification; twice does no harm.

    Then ``transformers.pipeline("translation")`` and its like work again on version 5.
    """
    # No class for text-classification: then the model is loaded as what its config says it is, and
    # a causal model stays one.
    text_to_text = (AutoModelForSeq2SeqLM, AutoModelForCausalLM)
    with quiet_transformers():  # it would warn that text-classification is there already
        for task, pipeline_class, model_classes in (
            ("translation", TranslationPipeline, text_to_text),
            ("summarization", SummarizationPipeline, text_to_text),
            ("text-classification", TextClassification, ()),
        ):
            # pipeline() refuses the names of removed tasks before it looks into the registry.
            getattr(transformers.pipelines, "REMOVED_TASKS", {}).pop(task, None)
            PIPELINE_REGISTRY.register_pipeline(
                task, pipeline_class, pt_model=model_classes, type="text",
                default={"model": (TASKS[task].lectures, "main")},
            )  # fmt: skip


def load_pipeline(
    task: str,
    model: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    **kwargs: Any,
) -> Pipeline:
    """The task's pipeline, ready to call; prints which model runs, and why.

    Args:
        task: a name of ``task_table()``, or sentiment-analysis.
        model: None for the lecture's own model where the Hub or its cache has it, else a stand-in;
            or what is to run: "course-t5", "smollm2-135m-instruct", a folder, a name on the Hub.
        device, dtype: as in ``load_model``.
        kwargs: for the pipeline: ``batch_size``, ``labels``, generation arguments, ...

    Raises:
        ValueError: another task; a device or dtype that is not here.
        ModelLoadError: a model that was named can't be loaded. (The lecture's gives way.)
    """
    name = check_choice("task", task, [*TASKS, *_ALIASES])
    row = TASKS[_ALIASES.get(name, name)]
    if model is not None:
        check_type("model", model, str | Path, "a model's name or a folder")
        model = check_text("model", str(model), "word")
    device = choose_device(device)
    dtype = choose_dtype(dtype, device)
    if model is not None:
        made = _make(row.runs_as, model, device, dtype, kwargs)
        print(f"{task}: {model} runs, as asked.")
        return made
    why = ""
    if row.lectures:
        try:
            made = _make(row.runs_as, row.lectures, device, dtype, kwargs)
        except ModelLoadError as error:
            why = f" in place of {row.lectures},\n    because {_reason(error)}"
        else:
            print(f"{task}: {row.lectures} runs, the lecture's own model.")
            return made
    try:
        made = _make(row.runs_as, row.model, device, dtype, kwargs)
    except MissingPackageError as error:
        if row.model not in OPTIONAL:
            raise
        print(f"{task}: {error}. Until then there is its stored answer to the lecture's input.")
        return StoredAnswer(task)
    about = f" ({row.origin}, {row.licence}, {row.megabytes} MB)" if not why else ""
    print(f"{task}: {row.model} runs{about}{why}.")
    return made


class StoredAnswer:
    """In place of a model that was not fetched: its answer to the lecture's own input."""

    def __init__(self, task: str):
        self.answers = json.loads(STORED.read_text(encoding="utf-8"))[task]

    def __call__(self, inputs: Any) -> Any:
        """The stored answer.

        Raises:
            ModelLoadError: another input than the lecture's.
        """
        values = inputs["raw"] if isinstance(inputs, dict) else inputs
        key = hashlib.sha256(np.asarray(values).tobytes()).hexdigest()
        if key not in self.answers:
            raise MissingPackageError(
                f"the model is not on this machine, and only its answer to the lecture's own input "
                f"is stored. To fetch the model: `{FETCH}`"
            )
        return self.answers[key]


def _make(task, name, device, dtype, kwargs) -> Pipeline:
    """The pipeline on this model: a bundled one, a folder, or a name on the Hub."""
    if name == SMOLLM2:
        loaded = load_model(SMOLLM2, device=device, dtype=dtype)
        parts = {"model": loaded.model, "tokenizer": loaded.tokenizer}
        return pipeline(task, **parts, device=device, **kwargs)
    mend = "fetch it again"
    if name in OPTIONAL:
        folder = ensure_optional_model(name)
    elif name in {row.model for row in TASKS.values()}:
        folder = BUNDLED / name.replace("-", "_")
        mend = f"restore its folder {folder} from the course's files"
    else:
        folder, _ = find_folder(name, lambda n: check_memory(name, n, dtype, device))
    parts = {"model": str(folder)}
    with quiet_transformers():
        if (folder / "tokenizer_config.json").exists():
            with _reading(name, mend):
                parts["tokenizer"] = AutoTokenizer.from_pretrained(folder)
                parts["tokenizer"].name_or_path = name
        with _reading(name, mend, "Could not load model", "Unrecognized model"):
            made = pipeline(task, **parts, device=device, dtype=dtype, **kwargs)
    # Not the path that the cache happens to have here: what is printed is the same everywhere.
    made.model.config._name_or_path = name
    return made


@contextmanager
def _reading(name: str, mend: str, *damage: str) -> Iterator[None]:
    """Damaged or missing files become a CorruptModelError that says how to mend it.

    With ``damage``, a ValueError is about the files only if its message has one of these words.
    """
    try:
        yield
    except (OSError, SafetensorError, ValueError) as error:
        if isinstance(error, ValueError) and damage and not any(d in str(error) for d in damage):
            raise
        raise CorruptModelError(
            f"a file of {name} is damaged or missing ({shortened(error)}); {mend}"
        ) from error


def _reason(error: ModelLoadError) -> str:
    """Why the lecture's model can't run, in a few words that name no path."""
    from huggingface_hub import constants

    if isinstance(error, NetworkError) and constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set and its cache here doesn't hold that model"
    return error.in_short or " ".join(str(error).split()).split(". ")[0]
