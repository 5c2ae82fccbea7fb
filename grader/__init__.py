"""Exercises: built from the solutions, graded in a sandbox, checked as plain data outside it."""


class GradingError(RuntimeError):
    """Grading itself failed; the student is not to blame."""
