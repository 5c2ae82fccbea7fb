"""Exercises: built from the solutions, graded in a sandbox, checked as plain data outside it.

The path of ``python -m grader build``:

    build            exercises/NN_topic.ipynb from solutions/NN_topic.ipynb, byte for byte the same
    cells            what a notebook holds: setup, answers, visible tests

The path of ``python -m grader grade SUBMISSIONS --out RESULTS`` (``grade.grade`` is its outline):

    checks           what an author writes: Task, Case, Misconception; fixtures, arguments that are
                     more than plain data
    freeze           a task and a seed -> JSON: what a worker is asked, and the key that stays
                     outside; course_checks does it for a course
    submissions      whose a notebook is and for which exercise; submitted_file reads its answers
    store            results in SQLite, by a hash of answer and checks: it resumes
    pool             many submissions at once, in local processes or on a Dask cluster
    sandbox          bubblewrap and limits in front of a worker; self_test makes the attempts
                     to get out first
    run              one worker for each submission; a fault costs its own task only
    worker           (inside) imports once, forks for each task; seccomp takes system calls away
    session          (inside, in the fork) runs the answer cell on the cases: records
    exchange         requests to that fork and its replies, each in time, size and form
    encoding         values as plain JSON and back: the only form that crosses the border
    judge            records and key -> verdict, by the comparisons in compare
    discretion       what of it a student may be told
    gradebook        students, tasks, points, a person's adjustments
    similar          answers that look alike, as a hint
    reports          grades.csv, results.jsonl, summary.html, feedback/; lms makes uploads of them

Nothing that a worker is sent holds an expected value, a test or another task's answer: students'
code returns data, and the grader compares it in a process that runs none of their code.
"""
