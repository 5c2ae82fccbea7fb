"""Exercises: built from the solutions, checked by data in two processes.

    build      exercises/NN_topic.ipynb from solutions/NN_topic.ipynb, byte for byte repeatable
    cells      what a notebook holds: setup, answers, visible tests; solutions merged back in
    checks     how an author writes hidden checks: Task, Case, Misconception and the comparisons
    compare    the comparisons themselves: is this plain value right, and if not, in what way
    encoding   values as plain JSON and back; the only form in which they cross the process border
    freeze     a task and a seed -> JSON: what a worker is asked, and the key that stays outside
    worker     runs one answer cell on the inputs and returns plain data (a script, one per task)
    run        starts a worker, bare or in front of a sandbox, with limits; collects its records
    judge      records and key -> verdict with the message that a student reads

Nothing that the worker is sent holds an expected value, a test or another task. This package
imports nothing heavy: a worker without torch starts in about a tenth of a second.
"""
