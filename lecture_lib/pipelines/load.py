"""load_pipeline(): the lecture's own model for a task, else the course's stand-in.

register_pipelines() makes the pipelines of this package known to Transformers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from ..course_t5 import FOLDER as COURSE_T5_FOLDER
from ..course_t5 import NAME as COURSE_T5
from ..loading import ModelLoadError, load_model
from ..loading.bundled_model import NAME as SMOLLM2
from ..loading.devices import check_memory, choose_device, choose_dtype
from ..loading.errors import CorruptModelError, NetworkError, shortened
from ..loading.load import find_folder
from ..loading.quiet import quiet_transformers
from .label_words import TextClassification
from .text_to_text import SummarizationPipeline, TranslationPipeline

# A task: the lecture's own model, and the course's stand-in.
MODELS = {
    "text-classification": ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", SMOLLM2),
    "translation": ("google/flan-t5-small", COURSE_T5),
    "summarization": ("google/flan-t5-small", COURSE_T5),
    "text-generation": ("facebook/opt-350m", SMOLLM2),
}
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
                default={"model": (MODELS[task][0], "main")},
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
        task: text-classification (sentiment-analysis), translation, summarization, text-generation.
        model: None for the lecture's own model where the Hub or its cache has it, else a stand-in;
            or what is to run: "course-t5", "smollm2-135m-instruct", a folder, a name on the Hub.
        device, dtype: as in ``load_model``.
        kwargs: for the pipeline: ``batch_size``, ``labels``, generation arguments, ...

    Raises:
        ValueError: another task; a device or dtype that is not here.
        ModelLoadError: a model that was named can't be loaded. (The lecture's gives way.)
    """
    name = check_choice("task", task, [*MODELS, *_ALIASES])
    name = _ALIASES.get(name, name)
    if model is not None:
        check_type("model", model, str | Path, "a model's name or a folder")
        model = check_text("model", str(model), "word")
    device = choose_device(device)
    dtype = choose_dtype(dtype, device)
    if model is not None:
        made = _make(name, model, device, dtype, kwargs)
        print(f"{task}: {model} runs, as asked.")
        return made
    wanted, stand_in = MODELS[name]
    try:
        made = _make(name, wanted, device, dtype, kwargs)
    except ModelLoadError as error:
        made = _make(name, stand_in, device, dtype, kwargs)
        print(f"{task}: {stand_in} runs in place of {wanted},\n    because {_reason(error)}.")
        return made
    print(f"{task}: {wanted} runs, the lecture's own model.")
    return made


def _make(task, name, device, dtype, kwargs) -> Pipeline:
    """The pipeline on this model: a bundled one, a folder, or a name on the Hub."""
    if name == SMOLLM2:
        loaded = load_model(SMOLLM2, device=device, dtype=dtype)
        parts = {"model": loaded.model, "tokenizer": loaded.tokenizer}
        return pipeline(task, **parts, device=device, **kwargs)
    folder = COURSE_T5_FOLDER
    if name != COURSE_T5:
        folder, _ = find_folder(name, lambda n: check_memory(name, n, dtype, device))
    with quiet_transformers():
        with _reading(name):
            tokenizer = AutoTokenizer.from_pretrained(folder)
        with _reading(name, "Could not load model"):
            made = pipeline(
                task, model=str(folder), tokenizer=tokenizer, device=device, dtype=dtype, **kwargs
            )
    # Not the path that the cache happens to have here: what is printed is the same everywhere.
    made.model.config._name_or_path = tokenizer.name_or_path = name
    return made


@contextmanager
def _reading(name: str, damage: str = "") -> Iterator[None]:
    """Damaged or missing files become a CorruptModelError.

    A ValueError is about the files if its message has the words ``damage``, else an argument.
    """
    try:
        yield
    except (OSError, SafetensorError, ValueError) as error:
        if isinstance(error, ValueError) and damage not in str(error):
            raise
        raise CorruptModelError(
            f"a file of {name} is damaged or missing ({shortened(error)}); fetch it again"
        ) from error


def _reason(error: ModelLoadError) -> str:
    """Why the lecture's model can't run, in a few words that name no path."""
    from huggingface_hub import constants

    if isinstance(error, NetworkError) and constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set and its cache here doesn't hold that model"
    return error.in_short or " ".join(str(error).split()).split(". ")[0]
