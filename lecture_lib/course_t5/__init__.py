"""The course T5: a small encoder-decoder of our own, so that lecture 08 runs without a network.

data            tasks, prefixes, what is held out
numbers_dates   number words, dates, times
sentences       a grammar of English sentences and their French
reports         weather, matches, timetables, each with a one-line summary

Its weights, tokenizer and model card lie in lecture_lib/models/course_t5; tools/train_course_t5.py
makes them. Importing this package needs neither torch nor num2words.
"""

from pathlib import Path

NAME = "course-t5"
FOLDER = Path(__file__).parents[1] / "models" / "course_t5"
