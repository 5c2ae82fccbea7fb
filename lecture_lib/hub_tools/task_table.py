"""The lecture's twelve tasks as they are today: identifier, pipeline, model class, default model.

The table is written down for Transformers 5.23 and compared with the installed one by a test, so
that an upgrade that moves something fails loudly.
"""

from dataclasses import dataclass

import pandas as pd

_CHAT = "text-generation with a chat model"
_VISION_CHAT = "image-text-to-text with a vision-language chat model"


@dataclass(frozen=True)
class LectureTask:
    """One of the lecture's tasks."""

    name: str  # as the lecture calls it
    identifier: str  # for ``pipeline(...)``: today's, or the one that is gone
    pipeline_class: str | None = None  # this and the next two are empty where the task is gone
    model_classes: tuple[str, ...] = ()
    default_model: str | None = None
    instead: str = ""  # what to use where it is gone


LECTURE_TASKS = (
    LectureTask(
        "text classification (sentiment-analysis)", "text-classification",
        "TextClassificationPipeline", ("AutoModelForSequenceClassification",),
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    ),
    LectureTask(
        "text generation", "text-generation", "TextGenerationPipeline",
        ("AutoModelForCausalLM",), "HuggingFaceTB/SmolLM3-3B",
    ),
    LectureTask(
        "summarization", "summarization", instead=f"{_CHAT}, or lecture_lib.pipelines",
    ),
    LectureTask(
        "translation", "translation", instead=f"{_CHAT}, or lecture_lib.pipelines",
    ),
    LectureTask(
        "image classification", "image-classification", "ImageClassificationPipeline",
        ("AutoModelForImageClassification",), "google/vit-base-patch16-224",
    ),
    LectureTask(
        "image segmentation", "image-segmentation", "ImageSegmentationPipeline",
        ("AutoModelForImageSegmentation", "AutoModelForSemanticSegmentation"),
        "facebook/detr-resnet-50-panoptic",
    ),
    LectureTask(
        "object detection", "object-detection", "ObjectDetectionPipeline",
        ("AutoModelForObjectDetection",), "facebook/detr-resnet-50",
    ),
    LectureTask(
        "audio classification", "audio-classification", "AudioClassificationPipeline",
        ("AutoModelForAudioClassification",), "superb/wav2vec2-base-superb-ks",
    ),
    LectureTask(
        "automatic speech recognition", "automatic-speech-recognition",
        "AutomaticSpeechRecognitionPipeline",
        ("AutoModelForCTC", "AutoModelForTDT", "AutoModelForSpeechSeq2Seq"),
        "facebook/wav2vec2-base-960h",
    ),
    LectureTask(
        "visual question answering", "visual-question-answering", instead=_VISION_CHAT,
    ),
    LectureTask(
        "document question answering", "document-question-answering",
        "DocumentQuestionAnsweringPipeline", ("AutoModelForDocumentQuestionAnswering",),
        "impira/layoutlm-document-qa",
    ),
    LectureTask(
        "image captioning (image-to-text)", "image-to-text", instead=_VISION_CHAT,
    ),
)  # fmt: skip


def task_table() -> pd.DataFrame:
    """The lecture's twelve tasks, one a row, for the reader."""
    rows = [
        {
            "the lecture's task": task.name,
            "pipeline(...)": task.identifier if task.pipeline_class else f"({task.identifier})",
            "pipeline class": task.pipeline_class or "gone",
            "model class": ", ".join(task.model_classes) or "",
            "default model": task.default_model or "",
            "where it is gone, use": task.instead,
        }
        for task in LECTURE_TASKS
    ]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))
