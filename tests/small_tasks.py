"""Two small tasks without torch, to try the grading machinery on."""

from grader import judge, run
from grader.checks import Case, Close, Misconception, Task
from grader.freeze import freeze

FAST = run.Launcher(load_s=20.0)
DEF = "def double(x):\n    "
LIST = "[2 * item for item in x]"


def double(x):
    return [2 * item for item in x]


def doubling(timeout_s=10.0, **fields):
    """A task without torch: double every item of a list."""
    defaults = {
        "grade_id": "double",
        "entry": "double",
        "points": 2,
        "cases": lambda rng: [Case([1, 2]), Case([0.5, 777.125])],
        "reference": double,
        "compare": Close(),
        "misconceptions": [Misconception("not-doubled", lambda x: x, "this is the input itself")],
        "timeout_s": timeout_s,
    }
    return freeze(Task(**{**defaults, **fields}))


def process_verdict(answer, frozen=None):
    frozen = frozen or doubling()
    return judge.judge(frozen, run.run_answer(frozen, answer, FAST))


def mean(x):
    return sum(x) / len(x)


def mean_task(**fields):
    defaults = {
        "grade_id": "mean",
        "entry": "mean",
        "points": 2,
        "cases": lambda rng: [Case(list(rng.normal(size=4))), Case([5.0], label="one item")],
        "reference": mean,
        "compare": Close(),
        "misconceptions": [
            Misconception("sum", sum, "divide by the number of items"),
            Misconception("n-1", lambda x: sum(x) / (len(x) - 1), "divide by n, not by n - 1"),
        ],
    }
    return Task(**{**defaults, **fields})


def trusted_verdict(answer, frozen):
    return judge.judge(frozen, run.run_trusted(frozen, answer))
