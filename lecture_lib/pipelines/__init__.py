"""The course's own Transformers pipelines; importing this registers them.

text_to_text   translation and summarization, for encoder-decoders and for chat models
label_words    text-classification by what a causal model would say
registry       PIPELINE_REGISTRY, and the names that version 5 removed
load           load_pipeline(): the lecture's model, or the course's stand-in
inputs         what they take
"""

from .label_words import LabelWordsPipeline, TextClassification
from .load import STAND_INS, load_pipeline
from .registry import LECTURE_MODELS, register_pipelines
from .text_to_text import SummarizationPipeline, TextToTextPipeline, TranslationPipeline

register_pipelines()

__all__ = [
    "LECTURE_MODELS",
    "STAND_INS",
    "LabelWordsPipeline",
    "SummarizationPipeline",
    "TextClassification",
    "TextToTextPipeline",
    "TranslationPipeline",
    "load_pipeline",
    "register_pipelines",
]
