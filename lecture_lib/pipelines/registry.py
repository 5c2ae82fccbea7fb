"""Makes ``transformers.pipeline("translation")`` and its like work again on version 5."""

import transformers.pipelines
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.pipelines import PIPELINE_REGISTRY

from ..loading.quiet import quiet_transformers
from .label_words import TextClassification
from .text_to_text import SummarizationPipeline, TranslationPipeline

# The lecture's own models, one a task.
LECTURE_MODELS = {
    "text-classification": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    "translation": "google/flan-t5-small",
    "summarization": "google/flan-t5-small",
    "text-generation": "facebook/opt-350m",
}


def register_pipelines() -> None:
    """Registers translation, summarization and text-classification; twice does no harm."""
    with quiet_transformers():  # it would warn that text-classification is there already
        for task, pipeline_class in (
            ("translation", TranslationPipeline),
            ("summarization", SummarizationPipeline),
        ):
            # pipeline() refuses the names of removed tasks before it looks into the registry.
            getattr(transformers.pipelines, "REMOVED_TASKS", {}).pop(task, None)
            PIPELINE_REGISTRY.register_pipeline(
                task, pipeline_class,
                pt_model=(AutoModelForSeq2SeqLM, AutoModelForCausalLM),
                default=_default(task), type="text",
            )  # fmt: skip
        # No class for the model: then it is loaded as what its config says it is, and a causal
        # model stays one.
        PIPELINE_REGISTRY.register_pipeline(
            "text-classification", TextClassification, pt_model=(),
            default=_default("text-classification"), type="text",
        )  # fmt: skip


def _default(task: str) -> dict:
    return {"model": (LECTURE_MODELS[task], "main")}
