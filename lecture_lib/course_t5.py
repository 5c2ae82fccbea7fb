"""The course T5: a small encoder-decoder, trained so that lecture 08 runs without a network.

Weights, tokenizer and model card are in the folder; tools/train_course_t5.py makes them.
"""

from pathlib import Path

NAME = "course-t5"
FOLDER = Path(__file__).parent / "models" / "course_t5"
