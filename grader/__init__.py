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
    exchange   requests and replies, each within time and size
    judge      records and key -> verdict with the message that a student reads

Grading a folder of submissions (``python -m grader grade``):

    grade            what is new or changed is graded, then the reports are written
    grade_command    its arguments
    course_checks    all hidden checks of the course, frozen with its seed
    submissions      whose a notebook is, for which exercise, which version; submitted_file reads it
    store            results in SQLite, by a hash of answer and checks; resumes, loses nothing
    pool             any concurrent.futures executor: local processes, or a Dask cluster
    jobs             grading one answer; discretion: what of it a student may be told
    sandbox          bubblewrap, or docker, in front of a worker; limits, launcher
    warm             workers forked with their imports done, each in namespaces of its own:
                     warm_zygote forks them, warm_isolation makes the namespaces
    self_test        tries to get out of the sandbox before anything is graded: attempts, and
                     warm_attempts from a forked worker
    adjustments      points that a person gave, with reason and who
    gradebook        students, tasks, points; reports writes CSV, JSON lines and HTML from it
    similar          answers that look alike, as a hint
    lms              the points as Canvas or Moodle import them (a command of its own)

Nothing that the worker is sent holds an expected value, a test or another task. This package
imports nothing heavy: a worker without torch starts in about a tenth of a second.
"""
