"""Looks behind Hugging Face's calls, for lecture 08.

task_table            the lecture's twelve tasks today
changes               what changed since the lecture's Transformers 4.39
shards                the files of a saved model and their index
reload                is a reloaded model the saved one
push_preview          what push_to_hub would send, its parameters
head_ablation         head pruning, by zeroing rows of W^O
token_pieces          a text's tokens with ids, bytes and places
tokenizer_attributes  the lecture's class attributes
added_tokens          adding tokens, and the resize that must follow
padding               left and right padding compared
truncation            left and right truncation compared
generation_probes     defaults and precedence found out by running
stopping              a StoppingCriteria of our own
cross_attention       what an encoder-decoder looks at while it writes
"""

from .added_tokens import added_token_report
from .changes import CHANGES, Change, changes_table
from .cross_attention import CrossAttention, translate_with_attention
from .generation_probes import (
    Observation,
    model_settings,
    observe_generation,
    pipeline_arguments,
)
from .head_ablation import ablate_heads, mean_loss, without_head
from .padding import compare_padding_sides
from .push_preview import PUSH_PARAMETERS, parameter_table, preview_push
from .reload import ModelDifference, compare_models
from .shards import file_table, read_index, tensor_names
from .stopping import StopAtSentenceEnd
from .task_table import LECTURE_TASKS, LectureTask, task_table
from .token_pieces import TokenPiece, token_pieces
from .tokenizer_attributes import LECTURE_ATTRIBUTES, attribute_table
from .truncation import compare_truncation_sides

__all__ = [
    "CHANGES",
    "LECTURE_ATTRIBUTES",
    "LECTURE_TASKS",
    "PUSH_PARAMETERS",
    "Change",
    "CrossAttention",
    "LectureTask",
    "ModelDifference",
    "Observation",
    "StopAtSentenceEnd",
    "TokenPiece",
    "ablate_heads",
    "added_token_report",
    "attribute_table",
    "changes_table",
    "compare_models",
    "compare_padding_sides",
    "compare_truncation_sides",
    "file_table",
    "mean_loss",
    "model_settings",
    "observe_generation",
    "parameter_table",
    "pipeline_arguments",
    "preview_push",
    "read_index",
    "task_table",
    "tensor_names",
    "token_pieces",
    "translate_with_attention",
    "without_head",
]
