"""Freezing a task, and the judge: the same data each time, and mistakes told by their name."""

import json

import pytest

from lecture_lib.grading import encoding, judge, run
from lecture_lib.grading.checks import (
    Case,
    Close,
    Distribution,
    Edit,
    Exact,
    Misconception,
    OneOf,
    Probe,
    Raises,
    Task,
    load_tasks,
)
from lecture_lib.grading.freeze import FreezeError, freeze


def mean(x):
    return sum(x) / len(x)


def task(**fields):
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


def verdict_of(answer, frozen):
    return judge.judge(frozen, run.run_trusted(frozen, answer))


def test_the_same_seed_gives_the_same_bytes_and_another_other_cases():
    first, again, other = (encoding.dumps(freeze(task(), seed)) for seed in (3, 3, 4))
    assert first == again
    assert json.loads(first)["cases"] != json.loads(other)["cases"]


def test_frozen_data_survives_json():
    frozen = json.loads(encoding.dumps(freeze(task())))
    assert verdict_of("def mean(x): return sum(x) / len(x)", frozen).passed


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("return sum(x)", "sum"),
        ("total = 0\n    for item in x: total += item\n    return total", "sum"),
        ("return sum(x) / (len(x) - 1)", "n-1"),  # raises ZeroDivisionError on one item
        ("return 0.0", None),
        ("return max(x)", None),
        ("1 / 0", None),
    ],
)
def test_a_mistake_is_told_only_if_every_case_agrees(body, name):
    verdict = verdict_of(f"def mean(x):\n    {body}", freeze(task()))
    assert not verdict.passed
    assert verdict.misconception == name
    messages = {m.name: m.message for m in task().misconceptions}
    if name:
        assert verdict.message == messages[name]
    else:
        assert verdict.message not in messages.values()


def test_the_label_names_the_case():
    verdict = verdict_of("def mean(x): return sum(x) / len(x) if len(x) > 1 else 0", freeze(task()))
    assert verdict.message.startswith("one item: the result is not the right number")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([Misconception("same", lambda x: sum(x) / len(x), "m")], "from the reference"),
        ([Misconception("near", lambda x: mean(x) * (1 + 5e-6), "m")], "from the reference"),
        (
            [Misconception("a", sum, "m"), Misconception("b", lambda x: 0 + sum(x), "n")],
            "'a' and 'b' cannot be told apart",
        ),
        (
            [
                Misconception("a", lambda x: x / 0, "m"),
                Misconception("b", Raises("TypeError"), "n"),
            ],
            "'a' and 'b' cannot be told apart",
        ),
        ([Misconception("typo", lambda x: men(x), "m")], "NameError"),  # noqa: F821
        ([Misconception("none", None, "m")], "wrong is None"),
        ([Misconception("edit", Edit("a", "b"), "m")], "needs the solution notebook"),
    ],
)
def test_misconceptions_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(FreezeError, match=message):
        freeze(task(misconceptions=wrong))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cases": lambda rng: []}, "at least one"),
        ({"cases": lambda rng: [Case([1.0], entry="median")]}, "entry 'median'"),
        ({"cases": lambda rng: [Case(object())]}, "a value of type object"),
        ({"reference": lambda x: x.mean()}, "AttributeError"),
        ({"reference": 3}, "NotCallable"),
        ({"reference": None}, "needs the solution notebook"),
        ({"needs": ("other",)}, "solution notebook, which is missing"),
        ({"compare": OneOf()}, "OneOf: the reference must return the list"),
        ({"entry": ("mean", "sum")}, "needs a dict of answers"),
    ],
)
def test_tasks_that_cannot_work_are_refused(fields, message):
    with pytest.raises(FreezeError, match=message):
        freeze(task(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"watch": ("time",)}, "watch: 'time' is not one of"),
        ({"entry": ()}, "entry: needs"),
        ({"points": -1}, "points"),
        ({"misconceptions": [Misconception("a", 1, "m")] * 2}, "two have the same name"),
        (
            {"misconceptions": [Misconception("a", 1, "m"), Misconception("b", 2, "m")]},
            "two have the same message",
        ),
    ],
)
def test_tasks_that_make_no_sense_are_refused_at_once(fields, message):
    with pytest.raises(ValueError, match=message):
        task(**fields)


def test_a_reference_may_raise():
    def strict_mean(x):
        if not x:
            raise ValueError("x: needs an item")
        return mean(x)

    frozen = freeze(
        task(
            reference=strict_mean,
            cases=lambda rng: [Case([]), Case([1.0, 2.0])],
            misconceptions=[
                Misconception("zero", lambda x: mean(x) if x else 0.0, "no items: ...")
            ],
        )
    )
    assert verdict_of(
        "class Odd(ValueError): pass\n"
        "def mean(x):\n    if not x: raise Odd\n    return sum(x) / len(x)",
        frozen,
    ).passed
    verdict = verdict_of("def mean(x): return sum(x) / len(x)", frozen)
    assert "a ValueError should be raised; ZeroDivisionError" in verdict.message
    verdict = verdict_of("def mean(x): return sum(x) / len(x) if x else 0", frozen)
    assert verdict.misconception == "zero"


def test_values_and_several_entries():
    value = freeze(task(entry="n", cases=None, reference=3, compare=Exact(), misconceptions=[
        Misconception("ten", 10, "m")]))  # fmt: skip
    assert verdict_of("n = 3", value).passed
    assert verdict_of("n = 10", value).misconception == "ten"
    assert "does not define n" in verdict_of("m = 3", value).message
    two = freeze(
        task(
            entry=("low", "high"),
            reference={"low": min, "high": max},
            cases=lambda rng: [Case([1, 2, 3]), Case([1, 2, 3], entry="high")],
            misconceptions=[Misconception("last", {"high": lambda x: x[0]}, "m")],
        )
    )
    assert verdict_of("low, high = min, max", two).passed
    assert verdict_of("low = high = min", two).misconception == "last"
    assert "does not define high" in verdict_of("low = min", two).message


def prefill_then_decode(answer, x):
    cache = answer.prefill(x[:-1])
    return answer.decode(x[-1], cache)


def decode_forgets(item, cache):
    return [item]


def test_drive_uses_entries_together():
    frozen = freeze(
        task(
            entry=("prefill", "decode"),
            reference={"prefill": list, "decode": lambda item, cache: [*cache, item]},
            drive=prefill_then_decode,
            cases=lambda rng: [Case([1, 2, 3])],
            misconceptions=[Misconception("forgets", {"decode": decode_forgets}, "m")],
        )
    )
    right = "def prefill(x): return x\ndef decode(item, cache): return cache + [item]"
    assert verdict_of(right, frozen).passed
    assert verdict_of(right.replace("cache +", ""), frozen).misconception == "forgets"


def step(token_ids):
    return sum(token_ids)


@pytest.mark.parametrize("watch", ["n_calls", "calls"])
def test_calls_of_a_probe_are_watched(watch):
    frozen = freeze(
        task(
            entry="run",
            cases=lambda rng: [Case(Probe(step), [1, 2, 3])],
            reference=lambda step, ids: step(ids),
            watch=(watch,),
            misconceptions=[
                Misconception("one-by-one", lambda step, ids: sum(step([i]) for i in ids), "m")
            ],
        )
    )
    assert verdict_of("def run(step, ids): return step(ids)", frozen).passed
    assert verdict_of("def run(step, ids): return sum(step([i]) for i in ids)",
                      frozen).misconception == "one-by-one"  # fmt: skip
    never = verdict_of("def run(step, ids): return sum(ids)", frozen)
    assert never.passed == (watch == "n_calls"), "fewer calls are fine unless they are prescribed"


def test_a_distribution_is_compared_with_samples():
    frozen = freeze(
        task(
            entry="sample",
            cases=lambda rng: [Case([0.1, 0.2, 0.7], 20_000)],
            reference=lambda probs, n: probs,
            compare=Distribution(tolerance=0.02),
            misconceptions=[Misconception("uniform", lambda probs, n: [1 / 3] * 3, "weights?")],
        )
    )
    weights = "import random\ndef sample(p, n): return random.choices(range(3), {}, k=n)"
    assert verdict_of(weights.format("p"), frozen).passed
    assert verdict_of(weights.format("None"), frozen).misconception == "uniform"
    assert "total variation" in verdict_of(weights.format("p[::-1]"), frozen).message


def test_one_of_several_right_answers():
    frozen = freeze(
        task(
            cases=lambda rng: [Case([3, 1, 3])],
            reference=lambda x: [0, 2],
            compare=OneOf(),
            misconceptions=[Misconception("value", lambda x: 3, "m")],
        )
    )
    for answer in (0, 2):
        assert verdict_of(f"def mean(x): return {answer}", frozen).passed
    assert verdict_of("def mean(x): return max(x)", frozen).misconception == "value"


def test_time_limit_as_a_misconception():
    frozen = freeze(
        task(
            cases=lambda rng: [Case([1.0]), Case([1.0, 2.0]), Case([3.0])],
            misconceptions=[Misconception("endless", Raises("TimeLimit"), "m")],
            timeout_s=0.3,
        )
    )
    loop = "def mean(x):\n    while len(x) > 1: pass\n    return {}"
    one = judge.judge(frozen, run.run_answer(frozen, loop.format("x[0]")))
    assert one.misconception == "endless"
    wrong_too = judge.judge(frozen, run.run_answer(frozen, loop.format("9.0")))
    assert wrong_too.misconception is None, "the first case was wrong for another reason"


def test_checks_files_without_tasks_are_refused(tmp_path):
    path = tmp_path / "01_x.py"
    path.write_text("TASKS = [1]")
    with pytest.raises(ValueError, match="a list of Task"):
        load_tasks(path)
