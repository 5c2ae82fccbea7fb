"""What runs in JupyterLab runs in the grader: cell source -> points and message."""

from dataclasses import replace

import pytest
from small_tasks import DEF, doubling, grade_answer

from grader import jupyter, pool, run
from grader.sandbox import Limits

GOOD = DEF + "return [2 * item for item in x]\n"
PASS = "all hidden checks pass"
UNDEFINED = "NameError in line {} of the answer cell: the cell uses y, which it does not define"


@pytest.fixture(scope="module")
def worker(sandbox):
    with run.Worker(sandbox) as started:
        yield started


@pytest.fixture(scope="module")
def told(worker):
    """Points and message of an answer to ``double``, graded in a worker that serves all of them."""

    def graded(source: str, **fields) -> tuple[float, str]:
        result = pool._grade(pool.Job("", doubling(**fields), source), worker)
        return result["points"], result["student_message"]

    return graded


RIGHT = {
    "display": f"display('x', 3)\n{GOOD}h = display(1, display_id=True); h.update(2)",
    "display-imported": f"from IPython.display import HTML, clear_output, display\n{GOOD}"
    "display(HTML('<b>x</b>')); clear_output()",
    "line-magics": f"%matplotlib inline\n%load_ext autoreload\n%autoreload 2\n{GOOD}%who",
    "magic-in-a-function": DEF + "%who\n    y = %time [2 * item for item in x]\n    return y",
    "time-defines-a-local-name": DEF + "%time y = [2 * item for item in x]\n    return y",
    "time-defines": f"{GOOD}%time y = double([1])\nassert y == [2]",
    "time-of-a-value": f"{GOOD}y = %time double([1])\nassert y == [2]",
    "time-nothing": f"if 3:\n    %time\n{GOOD}",
    "timeit": f"{GOOD}%timeit -n 3 double([1])",
    "cell-time": f"%%time\n{GOOD}",
    "cell-magics-stacked": f"\n%%time\n%%capture out\n{GOOD}",
    "cell-timeit": f"%%timeit -n 3\n{GOOD}",
    "cell-magic-below-a-comment": f"# mine\n%%time\n{GOOD}",
    "cell-magic-indented": "    %%time\n" + "".join(f"    {line}\n" for line in GOOD.splitlines()),
    "shell": f"!nvidia-smi\n!!ls\n{GOOD}!echo it's (\n",
    "shell-output": f"files = !ls -l\n{GOOD}files[0], files.n, files.s.split(), len(files)",
    "shell-output-searched": f"a = !ls\n{GOOD}a.grep('x'), a.fields(0), [line for line in a]",
    "breakpoint": DEF + "breakpoint()\n    return [2 * item for item in x]",
    "shell-output-in-a-function": DEF + "a = !ls\n    return [2 * item for item in x]",
    "install": f"%pip install --help\n!pip install --help\n{GOOD}",
    "install-without-a-mark": f"pip install --help\n{GOOD}conda install --help",
    "install-indented": f"try: import re\nexcept ImportError:\n    pip install --help\n{GOOD}",
    "continued-magic": f"!echo a \\\n    b \\\n    c\n{GOOD}",
    "continued-output": f"a = !ls \\\n    b\n{GOOD}",
    "modulo-that-begins-a-line": f"%time\n{DEF}y = (7\n% 4)\n    z = 7 \\\n% 4\n"
    "    return [(y + z - 4) * item for item in x]",
    "modulo-of-a-name": f"!ls\ntime = 2\n{DEF}return [item * (5\n%time\n+ 1) for item in x]",
    "marks-in-strings": f'!ls\n{DEF}"""\n    %time x\n!ls\n    what?\n    pip install\n    """\n'
    "    a, b = '!', f'?{x}%'\n    return [2 * item for item in x]",
    "help": f"len?\n?len\n{GOOD}double??\nstr.join?\nprint*?\n?",
    "get-ipython": f"get_ipython().run_line_magic('matplotlib', 'inline')\n{GOOD}"
    "get_ipython().system('ls'); get_ipython().getoutput('ls'); get_ipython().push({})\n"
    "get_ipython().events.register('post_run_cell', print); get_ipython().kernel.do_shutdown",
    "get-ipython-imported": "from IPython import get_ipython\nimport IPython\n"
    f"get_ipython().run_line_magic('who', '')\nIPython.get_ipython().show_usage()\n{GOOD}",
    "run-cell-magic": f"get_ipython().run_cell_magic('time', '', {GOOD!r})",
    "history": f"print(_, __, ___, In[-1], _i, len(Out))\n{GOOD}",
    "await": f"import asyncio\nasync def two():\n    await asyncio.sleep(0)\n    return 2\n"
    f"n = await two()\n{DEF}return [n * item for item in x]\nasync with asyncio.timeout(1): pass",
    "asyncio-run": f"import asyncio\nasync def two(): return 2\nn = asyncio.run(two())\n{GOOD}",
    "future": f"%time\n{GOOD}from __future__ import annotations\ndef f(x: not_there): pass",
    "tabs": "def double(x):\n\treturn [2 * item\n\t\tfor item in x]\n%who\n",
    "form-feed": f"!ls\n\x0c\n{DEF}'\x0c'\n\x0c\n    return [2 * item for item in x]",
    "coding": f"# -*- coding: latin-1 -*-\n%who\n{GOOD}assert 'é' == chr(233)",
    "prompts": ">>> def double(x):\n...     return [2 * item for item in x]\n",
    "prompts-of-ipython": "In [3]: def double(x):\n   ...:     return [2 * item for item in x]\n",
    "indented": "    def double(x):\n        return [2 * item for item in x]\n",
    "plot": f"import matplotlib.pyplot as plt\n{GOOD}plt.plot(double([1, 2]))\nplt.show()",
    "progress-bar": f"from tqdm.notebook import tqdm\n{GOOD}for i in tqdm(range(3)): pass",
    "widget": f"import ipywidgets\n{GOOD}ipywidgets.interact(lambda n: print(n), n=3)",
    "print-flood": f"{GOOD}for i in range(200_000): print('x' * 100)",
    "print-flood-in-calls": DEF + "print('x' * 10**7)\n    return [2 * item for item in x]",
    "source": f"import inspect\n{GOOD}assert inspect.getsource(double).startswith('def double')",
    "main-module": f"import pickle\n{GOOD}from __main__ import double as same\n"
    "assert pickle.loads(pickle.dumps(double)) is same",
    "main": f"{GOOD}if __name__ == '__main__': print(double([1]))",
    "empty-lines": f"\n\n  \n%%time\n\n{GOOD}",
    "trailing-backslash": f"{GOOD}!ls \\",
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_gets_its_points(told, name):
    assert told(RIGHT[name]) == (2, PASS)


LATER = f"{PASS}; the cell fails after it has defined double: "
FAILS_LATER = {
    "trial-call": (f"{GOOD}print(double(y))", LATER + UNDEFINED.format(3)),
    "return-outside": (f"{GOOD}return 3", LATER + "SyntaxError in line 3"),
    "sys-exit": (f"import sys\n{GOOD}sys.exit()", LATER + "SystemExit in line 4"),
    "assert": (f"{GOOD}assert 0, 'no'", LATER + "AssertionError in line 3"),
    "stub-left": (f"{GOOD}raise NotImplementedError", LATER + "not answered yet"),
    "input": (f"{GOOD}n = int(input('n? '))", LATER + "EOFError in line 3 of the answer cell: "
              "nobody is there to answer input()"),
    "capture": (f"%%capture\n{GOOD}y", LATER + UNDEFINED.format(4)),
    "await-of-nothing": (f"{GOOD}await 3", LATER + "TypeError in line 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILS_LATER)
def test_what_is_defined_before_the_cell_fails_counts(told, name):
    source, message = FAILS_LATER[name]
    got = told(source)
    assert got[0] == 2
    assert got[1].startswith(message)


def test_a_wrong_answer_whose_cell_fails_later_is_told_both(told):
    message = "; the cell fails after it has defined double: " + UNDEFINED.format(3)
    n, got = told(f"{DEF}return [0, 0]\ny")
    assert n == 0
    assert got.startswith("hidden case 1 of 2: the result has the right length, but every entry")
    assert message in got
    assert got.endswith("each task is graded with its own cell only")
    assert told(f"{DEF}return x\ny") == (0, "this is the input itself"), "the mistake is known"


WRONG = {
    "fails-before": (f"y\n{GOOD}", UNDEFINED.format(1)),
    "syntax": (f"%time\n{GOOD}def f(x) return x", "SyntaxError in line 4 of the answer cell"),
    "other-language": (f"%%bash\n{GOOD}", "the answer cell does not define double"),
    "file": (f"%%writefile double.py\n{GOOD}", "the answer cell does not define double"),
    "input-in-a-call": (DEF + "return input()", "hidden case 1 of 2: EOFError in line 2 of the "
                        "answer cell: nobody is there to answer input()"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_why(told, name):
    source, message = WRONG[name]
    got = told(source)
    assert got[0] == 0
    assert got[1].startswith(message)


LINES = {
    "blank-lines": "\n\n%time\n{}",
    "cell-magic": "%%time\n{}",
    "cell-magics": "\n%%capture\n\n%%time\n{}",
    "continued": "!ls \\\n  -l \\\n  -a\na = !ls \\\n  -l\n{}",
    "continued-time": "%time x = 3 + \\\n  4\n{}",
    "help": "len?\n?len\n{}",
    "prompt": ">>> x = 1\n>>> {}",
    "in-a-block": "if 1:\n    !ls \\\n       -l\n    {}",
    "string": '%who\ns = """\n%time\n"""\n{}',
    "form-feed": "!ls \\\n  -l\n\x0c\n\x0cx = 1\n!ls \\\n  -l\n{}",
    "line-separators": "!ls \\\n a\ns = 'a\u2028b\x0b\x1c\x85c'\n{}",
    "quotes": "!ls it's\n{}",
    "await": "import asyncio\n%who\nawait asyncio.sleep(0)\n{}",
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("line", ["y", "return 1 +", "if 1:\n        x\n      y"])
def test_a_line_in_a_message_is_the_line_of_the_cell(told, name, line):
    source = LINES[name].format(line)
    assert f" in line {source.count(chr(10)) + 1} of the answer cell" in told(source)[1]


def test_python_stays_as_it_is():
    for source in (GOOD, "", "x = (7\n%time\n)", "'''\n!ls\n'''\n", "x = 1 # \x0c", "a = b\\\n%c"):
        assert jupyter.as_python(source) == source


def test_rewriting_a_cell_is_limited_as_running_it_is(sandbox):
    """IPython reads the whole cell again for each magic, and one of its patterns is quadratic."""
    sandbox = replace(sandbox, limits=Limits(answer_s=2.0))
    for source in ("%who\n" * 40_000, "a" * 199_000 + " b ?"):
        result = grade_answer(doubling(), source, sandbox)
        assert result["student_message"].startswith("it did not finish in time")
