"""The course's own Transformers pipelines; importing this registers them.

text_to_text   translation and summarization, for encoder-decoders and for chat models
label_words    text-classification by what a causal model would say
tasks          the lecture's fifteen tasks and the model of each
load           load_pipeline(): the lecture's model, or the course's stand-in; registration
"""

from .label_words import LabelWordsPipeline, TextClassification
from .load import load_pipeline, register_pipelines
from .tasks import task_table
from .text_to_text import SummarizationPipeline, TranslationPipeline

register_pipelines()

__all__ = [
    "LabelWordsPipeline",
    "SummarizationPipeline",
    "TextClassification",
    "TranslationPipeline",
    "load_pipeline",
    "task_table",
]
