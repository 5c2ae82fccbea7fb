"""The judge: mistakes told by their name, for every kind of task."""

import math

import pytest
from small_tasks import mean_task, trusted_verdict

from grader import judge
from grader.checks import Case, Exact, Probe
from grader.freeze import freeze


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
    verdict = trusted_verdict(f"def mean(x):\n    {body}", freeze(*mean_task()))
    assert not verdict.passed
    assert verdict.misconception == name
    messages = {name: message for name, *_, message in mean_task()[0].misconceptions}
    if name:
        assert verdict.message == messages[name]
    else:
        assert verdict.message not in messages.values()


def test_the_label_names_the_case():
    verdict = trusted_verdict(
        "def mean(x): return sum(x) / len(x) if len(x) > 1 else 0", freeze(*mean_task())
    )
    assert verdict.message.startswith("one item: the result is not the right number")


SCALE = 1.23456789012


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        # Right for some lengths, so that it is not quite the known mistake.
        ("s(x) if len(x) != 2 else mean(x)", "divide by the number of items"),
        ("s(x) if len(x) == 4 else mean(x)", "divide by the number of items"),
        ("s(x) if len(x) == 3 else mean(x)", None),  # two known mistakes give this
        ("s(x) if len(x) == 4 else 0.0 if len(x) == 2 else mean(x)", None),
        ("7.0 if len(x) == 1 else mean(x)", None),  # so short a number is right by chance
        ("[][0] if len(x) == 1 else mean(x)", None),
    ],
)
def test_the_only_mistake_that_explains_what_fails_is_a_guess(wrong, told):
    solution = f"SCALE = {SCALE}\ndef mean(x):\n    return SCALE * sum(x) / len(x)"
    returned, three = "return SCALE * sum(x) / len(x)", "SCALE * sum(x) if len(x) == 3 else 0.5"
    frozen = freeze(
        *mean_task(
            solution,
            cases=lambda rng: [Case([0.5] * n, label=f"{n} items") for n in (4, 3, 2, 1)],
            misconceptions=[
                ("sum", " / len(x)", "", "divide by the number of items"),
                ("three", returned, f"return {three}", "another one"),
                ("one", returned, "return 7.0 if len(x) == 1 else [][len(x)]", "a third one"),
            ],
        )
    )
    head = f"def s(x): return {SCALE} * sum(x)\nright = lambda x: s(x) / len(x)\n"
    verdict = trusted_verdict(f"{head}def mean(x): return {wrong.replace('mean', 'right')}", frozen)
    assert (verdict.passed, verdict.points, verdict.misconception) == (False, 0, None)
    assert " items: " in verdict.message or " item: " in verdict.message
    assert verdict.message.partition(". Perhaps: ")[2] == (told or "")


def test_a_value_that_is_no_json_is_only_wrong():
    """Such as a worker that is no longer ours may send; to guess is no reason to stop."""
    record = {"value": [math.nan, {"$nothing": 1}], "mutated": [], "n_calls": 0}
    verdict = judge.judge(freeze(*mean_task()), [record, record])
    assert (verdict.passed, verdict.misconception) == (False, None)
    nan = {**record, "value": math.nan}
    assert "is nan or infinite" in judge.judge(freeze(*mean_task()), [nan, nan]).message


def test_none_is_called_a_missing_return_only_where_it_is_never_right():
    body = "def mean(x):\n    total = sum(x) / len(x)\n    if len(x) == 1: return total"
    message = trusted_verdict(body, freeze(*mean_task())).message
    assert "is None; a float is expected: a `return` is missing" in message
    maybe = mean_task(
        cases=lambda rng: [Case([1.0, 2.0]), Case([])],
        solution="def mean(x):\n    return sum(x) / len(x) if x else None",
        misconceptions=[],
    )
    message = trusted_verdict("def mean(x): return None", freeze(*maybe)).message
    assert message == "hidden case 1 of 2: the result is None; a float is expected"
    value = mean_task("n = 3", entry="n", cases=None, misconceptions=[])
    message = trusted_verdict("n = None", freeze(*value)).message
    assert message == "the result is None; an int is expected"


def test_a_reference_may_raise():
    strict = """def mean(x):
    if not x:
        raise ValueError("x: needs an item")
    return sum(x) / len(x)"""
    frozen = freeze(
        *mean_task(
            strict,
            cases=lambda rng: [Case([]), Case([1.0, 2.0])],
            misconceptions=[
                ("zero", 'raise ValueError("x: needs an item")', "return 0.0", "no items: ...")
            ],
        )
    )
    assert trusted_verdict(
        "class Odd(ValueError): pass\n"
        "def mean(x):\n    if not x: raise Odd\n    return sum(x) / len(x)",
        frozen,
    ).passed
    verdict = trusted_verdict("def mean(x): return sum(x) / len(x)", frozen)
    assert "a ValueError should be raised; ZeroDivisionError" in verdict.message
    verdict = trusted_verdict("def mean(x): return sum(x) / len(x) if x else 0", frozen)
    assert verdict.misconception == "zero"


def test_values_and_several_entries():
    value = freeze(*mean_task("n = 3", entry="n", cases=None, compare=Exact(),
                              misconceptions=[("ten", "3", "10", "m")]))  # fmt: skip
    assert trusted_verdict("n = 3", value).passed
    assert trusted_verdict("n = 10", value).misconception == "ten"
    assert "does not define n" in trusted_verdict("m = 3", value).message
    two = freeze(
        *mean_task(
            "low, high = min, max",
            entry=("low", "high"),
            cases=lambda rng: [Case([1, 2, 3]), Case([1, 2, 3], entry="high")],
            misconceptions=[("last", "max", "lambda x: x[0]", "m")],
        )
    )
    assert trusted_verdict("low, high = min, max", two).passed
    assert trusted_verdict("low = high = min", two).misconception == "last"
    assert "does not define high" in trusted_verdict("low = min", two).message


def prefill_then_decode(answer, x):
    cache = answer.prefill(x[:-1])
    return answer.decode(x[-1], cache)


def test_drive_uses_entries_together():
    frozen = freeze(
        *mean_task(
            "prefill = list\ndef decode(item, cache): return [*cache, item]",
            entry=("prefill", "decode"),
            drive=prefill_then_decode,
            cases=lambda rng: [Case([1, 2, 3])],
            misconceptions=[("forgets", "*cache, ", "", "m")],
        )
    )
    right = "def prefill(x): return x\ndef decode(item, cache): return cache + [item]"
    assert trusted_verdict(right, frozen).passed
    assert trusted_verdict(right.replace("cache +", ""), frozen).misconception == "forgets"


def mean_of(answer, numbers):
    return answer.mean(numbers)


def test_a_changed_argument_is_told_by_the_name_that_the_drive_gives_it():
    frozen = freeze(*mean_task(drive=mean_of))
    answer = "def mean(x):\n    x.append(0)\n    return sum(x) / (len(x) - 1)"
    told = trusted_verdict(answer, frozen).message
    assert told == "the function changed its argument numbers; work on a copy"


def step(token_ids):
    return sum(token_ids)


def test_calls_of_a_probe_are_watched():
    frozen = freeze(
        *mean_task(
            "def run(step, ids): return step(ids)",
            entry="run",
            cases=lambda rng: [Case(Probe(step), [1, 2, 3])],
            watch=("n_calls",),
            misconceptions=[
                ("one-by-one", "return step(ids)", "return sum(step([i]) for i in ids)", "m")
            ],
        )
    )
    assert trusted_verdict("def run(step, ids): return step(ids)", frozen).passed
    assert trusted_verdict("def run(step, ids): return sum(step([i]) for i in ids)",
                      frozen).misconception == "one-by-one"  # fmt: skip
    assert trusted_verdict("def run(step, ids): return sum(ids)", frozen).passed, "fewer are fine"
