"""Exercises: built from the solutions, checked by data in two processes.

    build      exercises/NN_topic.ipynb from solutions/NN_topic.ipynb, byte for byte repeatable
    lint       what is wrong with a solution notebook, before anything is made from it
    cells      what a notebook holds: setup, answers, visible tests; solutions merged back in
    checks     how an author writes hidden checks: Task, Case, Misconception and the comparisons
    compare    the comparisons themselves: is this plain value right, and if not, in what way
    structure  walks two plain values side by side; says in words how they differ
    encoding   values as plain JSON and back; the only form in which they cross the process border
    fixtures   arguments beyond plain data: a ToyLM, the real model, a helper; their calls recorded
    freeze     a task and a seed -> JSON: what a worker is asked, and the key that stays outside
    worker     runs one answer cell on the inputs and returns plain data (a script, one per task)
    run        starts a worker, bare or in front of a sandbox, with limits; collects its records
    judge      records and key -> verdict with the message that a student reads

Nothing that the worker is sent holds an expected value, a test or another task. This package
imports nothing heavy: a worker without torch starts in about a tenth of a second.
"""
