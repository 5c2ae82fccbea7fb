"""What comes back of an answer cell that a worker process ran, honest or hostile."""

import numpy as np
import pytest
import torch
from small_tasks import DEF, FAST, LIST, doubling, process_verdict, run_trusted, untimed

from grader import judge, run, session
from grader.checks import Case, Exact


@pytest.mark.parametrize(
    "answer",
    [
        DEF + f"return {LIST}",
        DEF + f"return tuple({LIST})",
        f"import numpy as np\n{DEF}return 2 * np.array(x)",
        f"import numpy as np\n{DEF}return [np.float32(2) * np.float64(item) for item in x]",
        f"print('noise on stdout')\n{DEF}print('more', flush=True); return {LIST}",
        f"import sys\n{DEF}sys.stdout.write('{{}}\\n'); sys.stderr.write('x'); return {LIST}",
        f"import os\n{DEF}os.write(1, b'{{}}\\n'); os.write(2, b'x'); return {LIST}",
        f"import os\n{DEF}os.system('echo noise'); return {LIST}",
        f"import sys\n{DEF}sys.stdin.read(); return {LIST}",
        f"from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n{DEF}return {LIST}",
        f"double = lambda x: {LIST}",
    ],
)
def test_right_answers_pass_whatever_they_print_or_return_it_in(answer):
    assert process_verdict(answer).passed


def test_torch_tensors_are_accepted():
    frozen = doubling()
    answer = f"import torch\n{DEF}return 2 * torch.tensor(x, dtype=torch.float64)"
    assert judge.judge(frozen, run_trusted(frozen, answer)).passed


ALWAYS_EQUAL = f"""
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __len__(self): return 2
    def __iter__(self): return iter([Yes(), Yes()])
    def __float__(self): return 1.0
    def __array__(self, *a, **k): return self
    __class__ = list
{DEF}return Yes()
"""
EQUAL_FLOAT = f"""
class Yes(float):
    def __eq__(self, other): return True
    __hash__ = float.__hash__
{DEF}return [Yes(0), Yes(0)]
"""
FORGED = """
import gc, io, json, os, re, sys
frame = sys._getframe()
while 'replies' not in frame.f_locals: frame = frame.f_back
frame.f_locals['replies'].write('null\\n')
frame.f_locals['replies'].flush()
def double(x): return x
"""


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (DEF + "raise NotImplementedError('x')", "NotImplementedError"),
        ("raise NotImplementedError('x')", "NotImplementedError"),
        (DEF + "return x[9]", "IndexError in line 2 of the answer cell: list index out of range"),
        ("def double(x) return x", "SyntaxError in line 1"),
        ("%matplotlib inline", "does not define double"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("def other(x): pass", "does not define double"),
        ("double = 3", "double is not a function"),
        (DEF + "return None", "a `return` is missing"),
        (DEF + "return [2.0]", "is of length 1; of length 2 is expected"),
        (DEF + "return '2'", "a string; a list"),
        (DEF + "return [True, False]", "of bools"),
        (DEF + "return [float('nan')] * 2", "nan or infinite"),
        (DEF + "return (2 * item for item in x)", "it returned a value of type generator"),
        (DEF + "return object()", "it returned a value of type object"),
        (DEF + "return [0] * 10**7", "more than 16 MB"),
        (DEF + "y = []\n    y.append(y)\n    return y", "nested more than 32 deep"),
        (DEF + "return double(x)", "RecursionError"),
        (DEF + "raise SystemExit(0)", "SystemExit"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("import os\nos._exit(0)", "the process that ran it ended"),
        ("import os\n" + DEF + "os._exit(0)", "the process that ran it ended"),
        (DEF + "raise KeyboardInterrupt", "the process that ran it ended"),
        (ALWAYS_EQUAL, "it returned"),
        (EQUAL_FLOAT, "the right length, but every entry is wrong"),
        (FORGED, "could not be read"),
        (DEF + "return x", "this is the input itself"),
    ],
)
def test_wrong_answers_fail_and_say_why(answer, told):
    verdict = process_verdict(answer)
    assert (verdict.passed, verdict.points) == (False, 0)
    assert told in verdict.message
    assert "777" not in verdict.message, "a hidden input was given away"


def test_what_was_done_to_arguments_is_recorded():
    cases = [Case([1], label="the first"), Case([2], label="the second")]
    frozen = doubling(watch=("mutated",), compare=Exact(), cases=lambda rng: cases)
    verdict = process_verdict(DEF + "x[:] = [2 * item for item in x]\n    return list(x)", frozen)
    # By its name, and without a label: it would happen in every case.
    assert verdict.message == "the function changed its argument x; work on a copy"
    verdict = process_verdict(DEF + f"x.append(object())\n    return {LIST[:-1]}[:-1]]", frozen)
    assert not verdict.passed
    assert process_verdict(f"{DEF}return {LIST}", frozen).passed


def test_arrays_changed_in_place_are_recorded():
    frozen = doubling(
        watch=("mutated",),
        cases=lambda rng: [Case(np.ones(3))],
        solution=f"{DEF}return 2 * x",
    )
    assert process_verdict("def double(x):\n    return x + x", frozen).passed
    verdict = process_verdict("def double(x):\n    x *= 2\n    return x", frozen)
    assert "changed its argument x" in verdict.message


def test_generators_are_seeded_anew_for_each_case():
    answer = (
        "import random\nimport numpy as np\n"
        "def double(x):\n    return random.random() + np.random.rand()"
    )
    frozen = doubling()
    first, second = (untimed(run.run_answer(frozen, answer, FAST)) for _ in range(2))
    assert first == second
    assert first[0]["value"] != first[1]["value"]


def test_torch_draws_what_it_draws_after_its_own_manual_seed():
    state = torch.get_rng_state()
    session.seed_generators(5)
    drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
    torch.set_rng_state(state)


def test_trusted_run_gives_the_records_of_a_process():
    frozen = doubling()
    for answer in (f"{DEF}return {LIST}", DEF + "return x[5]", "1/0", DEF + "return {1: x}"):
        assert run_trusted(frozen, answer) == untimed(run.run_answer(frozen, answer, FAST))


def test_trusted_answers_that_share_a_setup_do_not_share_their_names():
    frozen, setup = doubling(), {"factor": 2}
    answer = DEF + "return [factor * item for item in x]"
    assert judge.judge(frozen, run_trusted(frozen, answer, setup)).passed
    assert "does not define double" in judge.judge(
        frozen, run_trusted(frozen, "factor = 3", setup)
    ).message  # fmt: skip
    assert setup == {"factor": 2}


def test_errors_that_cannot_be_printed():
    answer = DEF + "class E(Exception):\n        def __str__(self): raise self\n    raise E"
    assert "E in line" in process_verdict(answer).message
