"""What the course T5 is trained on; tools/train_course_t5.py trains it.

data            tasks, prefixes, what is held out
numbers_dates   number words, dates, times
sentences       a grammar of English sentences and their French
reports         weather, matches, timetables, each with a one-line summary
card            the model card
"""
