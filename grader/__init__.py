"""Exercises: built from the solutions, graded in a sandbox, checked as plain data outside it.

``python -m grader grade SUBMISSIONS --out RESULTS``; ``grade.grade`` is the outline, and calls:

    cells            what a notebook holds: setup, answers, visible tests, open questions
      per_student    the same with values of a student's own, for release and for freeze
    freeze           a task (written with ``checks``) and a seed -> JSON: what a worker is asked,
                     and the key that stays outside
    submissions      which notebooks there are, and which of several counts; people says by its
                     path whose one is, submitted_file reads its answers
    store            results in SQLite, by a hash of answer and checks: a run goes on where it was
    self_test        makes the attempts to get out of the sandbox before anything is graded
    pool             many submissions at once, in threads or on a Dask cluster; for each
      run            one worker, which ``sandbox`` makes the command of; for each task
        exchange     requests and replies, each in time, size and form:

            worker   in the sandbox: imports once, and forks for each task; seccomp takes system
                     calls away
            session  in the fork: runs the answer cell on the cases, which gives records
              jupyter  magics, display, await: what JupyterLab gives a cell beyond Python
            encoding values as plain JSON and back: the only form that crosses the border

      judge          records and key -> verdict, with ``compare``
      discretion     what of it a student may be told: fixed words
    gradebook        a row for each answer and a table of their points; a person's adjustments
    similar          answers that look alike, as a hint
    reports          grades.csv, results.jsonl, summary.html, feedback/, written/ to mark by hand

Nothing that a worker is sent holds an expected value, a hidden test or another task's answer:
students' code returns data, and the grader compares it in a process that runs none of their code.
Behind the hidden cases it runs the visible tests, which students have; no points depend on them.
"""


class GradingError(RuntimeError):
    """Grading itself failed; the student is not to blame."""
