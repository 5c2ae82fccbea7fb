"""The course's own Transformers pipelines; importing this registers them.

text_to_text   translation and summarization, for encoder-decoders and for chat models
label_words    text-classification by what a causal model would say
load           load_pipeline(): the lecture's model, or the course's stand-in; registration
"""

from .label_words import LabelWordsPipeline, TextClassification
from .load import LECTURE_MODELS, STAND_INS, load_pipeline, register_pipelines
from .text_to_text import SummarizationPipeline, TranslationPipeline

register_pipelines()

__all__ = [
    "LECTURE_MODELS",
    "STAND_INS",
    "LabelWordsPipeline",
    "SummarizationPipeline",
    "TextClassification",
    "TranslationPipeline",
    "load_pipeline",
    "register_pipelines",
]
