"""The lecture's inference script, whole: every setting acts.

settings   TaskInfo: what is asked for, checked
strategy   which way of choosing a token the settings select
run        generate(): one task on the course's engine, or on Transformers where it must be
finish     a text's end: end tokens and stop strings
logprobs   the n likeliest tokens of each position, with the one that was chosen
command    the command line: python -m lecture_lib.inference_script --help
prompt     the interactive loop: /settings, history, Ctrl-C
"""

from .run import Answer, generate, test_model
from .settings import TaskInfo

__all__ = ["Answer", "TaskInfo", "generate", "test_model"]
