"""The worker process: what an answer does to it, honest or hostile, and what comes back."""

import json
import os
import sys

import numpy as np
import pytest

from lecture_lib.grading import judge, run
from lecture_lib.grading.checks import Case, Close, Exact, Misconception, Model, Task
from lecture_lib.grading.freeze import freeze

FAST = run.Launcher(load_s=20.0)


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


def verdict_of(answer, frozen=None):
    frozen = frozen or doubling()
    return judge.judge(frozen, run.run_answer(frozen, answer, FAST))


DEF = "def double(x):\n    "
LIST = "[2 * item for item in x]"


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
    assert verdict_of(answer).passed


def test_torch_tensors_are_accepted():
    frozen = doubling()
    answer = f"import torch\n{DEF}return 2 * torch.tensor(x, dtype=torch.float64)"
    assert judge.judge(frozen, run.run_trusted(frozen, answer)).passed


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
while frame.f_back: frame = frame.f_back
frame.f_locals['replies'].write('{"id": "0", "error": null}\\n')
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
        ("%matplotlib inline", "SyntaxError in line 1"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("def other(x): pass", "does not define double"),
        ("double = 3", "double is not a function"),
        (DEF + "return None", "is None; a list is expected"),
        (DEF + "return [2.0]", "of shape (1,); of shape (2,)"),
        (DEF + "return '2'", "a str; a list"),
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
        (EQUAL_FLOAT, "2 of 2 entries wrong"),
        (FORGED, "could not be read"),
        (DEF + "return x", "this is the input itself"),
    ],
)
def test_wrong_answers_fail_and_say_why(answer, told):
    verdict = verdict_of(answer)
    assert (verdict.passed, verdict.points) == (False, 0)
    assert told in verdict.message
    assert "777" not in verdict.message, "a hidden input was given away"


HANG = "while True:\n        pass"
SWALLOW = (
    "while True:\n        try:\n            while True: pass\n        except BaseException: pass"
)
CLOSE = "import os\n    os.closerange(0, 64)\n    while True: pass"
FORK = "import os, time\n    os.setsid() if os.fork() == 0 else 0\n    time.sleep(600)"


@pytest.mark.parametrize("body", [HANG, SWALLOW, CLOSE, FORK], ids=["hang", "swallow", "close", "fork"])  # fmt: skip
def test_a_call_that_never_ends_is_stopped(body):
    verdict = verdict_of(DEF + body, doubling(timeout_s=0.5))
    assert not verdict.passed
    assert "did not finish in time" in verdict.message or "ended" in verdict.message


def test_a_cell_that_never_ends_is_stopped():
    frozen = doubling()
    records = run.run_answer(frozen, "while True: pass", run.Launcher(load_s=1.0))
    assert [record["error"]["types"] for record in records] == [["TimeLimit"]] * 2


def test_large_inputs_do_not_fill_the_pipe():
    big = list(range(100_000))
    frozen = doubling(cases=lambda rng: [Case(big), Case(big)])
    assert verdict_of(f"{DEF}return {LIST}", frozen).passed


def test_an_answer_that_stops_reading_does_not_block_the_grader():
    big = list(range(100_000))
    frozen = doubling(cases=lambda rng: [Case([1]), Case(big)], timeout_s=1.0)
    close = "import os\n    os.closerange(0, 64) if len(x) == 1 else 0\n    return [2]"
    records = run.run_answer(frozen, DEF + close, FAST)
    assert records[0]["error"]["types"][0] in ("Died", "TimeLimit", "Protocol")


REPLY = """
import json, os, sys
frame = sys._getframe()
while frame.f_back: frame = frame.f_back
replies, requests = frame.f_locals["replies"], frame.f_locals["requests"]
replies.write(json.dumps({"id": frame.f_locals["request"]["id"], "error": None}) + "\\n")
replies.flush()
request = json.loads(requests.readline())
"""


@pytest.mark.parametrize(
    "forged",
    [
        '"[" * 100000',
        '"x" * 50_000_000',
        'json.dumps({"id": request["id"]})',
        'json.dumps({"id": request["id"], "record": {"value": 1}})',
        'json.dumps({"id": request["id"], "record": {"error": 3, "mutated": [], "calls": []}})',
        'json.dumps({"id": request["id"], "record": {"mutated": [], "calls": []}})',
        'json.dumps({"id": "other", "record": {"value": [2, 4], "mutated": [], "calls": []}})',
        "json.dumps([request['id']])",
        '"9" * 5000',
    ],
)
def test_replies_of_another_form_are_refused(forged):
    answer = f"{REPLY}replies.write({forged} + '\\n'); replies.flush(); os._exit(0)"
    records = run.run_answer(doubling(), answer, FAST)
    assert records[0]["error"]["types"] == ["Protocol"]


@pytest.mark.parametrize(
    "value",
    [
        '{"$model": "x"}',
        '{"$array": "AAAA", "dtype": "float64", "shape": [9], "lib": "numpy"}',
        '{"$pickle": "x"}',
    ],
)
def test_values_that_are_no_plain_data_are_refused_by_the_judge(value):
    record = f'{{"value": {value}, "mutated": [], "calls": []}}'
    line = f"""json.dumps({{"id": request["id"], "record": {record}}})"""
    answer = f"{REPLY}replies.write({line} + '\\n'); replies.flush(); os._exit(0)"
    verdict = verdict_of(answer)
    assert not verdict.passed
    assert "could not be read" in verdict.message


def test_a_forged_setup_error_is_the_students_own():
    """Only what fails before the answer is in the process is the author's fault."""
    forged = REPLY.replace(
        '"error": None', '"error": {"types": ["E"], "text": "", "phase": "setup"}'
    )
    verdict = verdict_of(forged)
    assert not verdict.passed


def test_setup_that_fails_is_the_authors_fault():
    frozen = doubling()
    frozen = {**frozen, "ask": {**frozen["ask"], "setup": ["import no_such_module"]}}
    with pytest.raises(run.GradingError, match="setup of task 'double' failed"):
        run.run_answer(frozen, "", FAST)


def test_a_python_that_is_not_there_is_a_grading_error():
    with pytest.raises(run.GradingError, match="cannot start"):
        run.run_answer(doubling(), "", run.Launcher(python="/no/such/python"))


def test_the_worker_is_sent_the_answer_and_inputs_and_nothing_else(monkeypatch):
    sent = []
    exchange = run._Worker._exchange
    monkeypatch.setattr(
        run._Worker,
        "_exchange",
        lambda self, line, deadline: sent.append(line) or exchange(self, line, deadline),
    )
    frozen = doubling()
    run.run_answer(frozen, DEF + "return x", FAST)
    requests = [json.loads(line) for line in sent]
    assert [sorted(request) for request in requests] == [
        ["ask", "id", "op"],
        ["answer", "id", "op"],
        ["case", "id", "op"],
        ["case", "id", "op"],
    ]
    assert requests[0]["ask"] == {"setup": [], "entries": ["double"], "drive": None}
    assert [sorted(r["case"]) for r in requests[2:]] == [
        ["args", "entry", "kwargs", "read", "seed"]
    ] * 2
    assert len({request["id"] for request in requests}) == 4


def test_a_launcher_puts_a_sandbox_in_front(tmp_path):
    """The prefix is any command that runs the rest of the line, as bwrap does."""
    log = tmp_path / "log"
    code = (
        "import os, sys\n"
        f"open({str(log)!r}, 'w').write(repr(sys.argv[1:]))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    launcher = run.Launcher(prefix=[sys.executable, "-c", code], env={})
    frozen = doubling()
    assert judge.judge(frozen, run.run_answer(frozen, f"{DEF}return {LIST}", launcher)).passed
    assert log.read_text() == repr([sys.executable, "-I", "-B", str(run.WORKER)])


def test_a_worker_without_torch_does_not_import_it():
    answer = "import sys\ndef double(x):\n    return sorted({'torch', 'numpy'} & set(sys.modules))"
    records = run.run_answer(doubling(), answer, FAST)
    assert records[0]["value"] == []


def test_workers_leave_no_process_behind():
    answer = "import os\ndef double(x):\n    return os.getpid()"
    pid = run.run_answer(doubling(), answer, FAST)[0]["value"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_was_done_to_arguments_is_recorded():
    frozen = doubling(watch=("mutated",), compare=Exact(), cases=lambda rng: [Case([1]), Case([2])])
    verdict = verdict_of(DEF + "x[:] = [2 * item for item in x]\n    return list(x)", frozen)
    assert "changed its argument 1; work on a copy" in verdict.message
    verdict = verdict_of(DEF + f"x.append(object())\n    return {LIST[:-1]}[:-1]]", frozen)
    assert not verdict.passed
    assert verdict_of(f"{DEF}return {LIST}", frozen).passed


def test_arrays_changed_in_place_are_recorded():
    frozen = doubling(
        watch=("mutated",),
        cases=lambda rng: [Case(np.ones(3))],
        reference=lambda x: 2 * x,
    )
    assert verdict_of("def double(x):\n    return x + x", frozen).passed
    verdict = verdict_of("def double(x):\n    x *= 2\n    return x", frozen)
    assert "changed its argument 1" in verdict.message


def test_generators_are_seeded_anew_for_each_case():
    answer = (
        "import random\nimport numpy as np\n"
        "def double(x):\n    return random.random() + np.random.rand()"
    )
    frozen = doubling()
    first, second = (run.run_answer(frozen, answer, FAST) for _ in range(2))
    assert first == second
    assert first[0]["value"] != first[1]["value"]


def test_trusted_run_gives_the_records_of_a_process():
    frozen = doubling()
    for answer in (f"{DEF}return {LIST}", DEF + "return x[5]", "1/0", DEF + "return {1: x}"):
        assert run.run_trusted(frozen, answer) == run.run_answer(frozen, answer, FAST)


def test_errors_that_cannot_be_printed():
    answer = DEF + "class E(Exception):\n        def __str__(self): raise self\n    raise E"
    assert "E in line" in verdict_of(answer).message


@pytest.mark.real_model
def test_the_real_model_as_an_argument_records_the_shapes_it_saw():
    frozen = doubling(
        cases=lambda rng: [Case(Model(), [3, 4, 5])],
        reference=lambda loaded, ids: len(ids),
        misconceptions=[],
    )
    answer = (
        "import torch\ndef double(loaded, ids):\n"
        "    loaded.model(input_ids=torch.tensor([ids]))\n"
        "    loaded.model(torch.tensor([ids[-1:]]))\n    return len(ids)"
    )
    (record,) = run.run_trusted(frozen, answer)
    assert record == {"value": 3, "mutated": [], "calls": [[1, 3], [1, 1]]}
