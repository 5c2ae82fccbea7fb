"""A name that an answer uses, but only another cell defines, is named beside its points."""

import nbformat
import pytest
from small_course import RIGHT, answer, hand_in, notebook
from small_tasks import DEF

GOOD = DEF + "return [2 * item for item in x]\n"
ELSEWHERE = {  # cells by their marks -> what is remarked on the answer to "double"
    "test-variable": (
        {"double": f"{GOOD}print(double(values))", "test-double": "values = [1]"},
        "values is defined only in the visible tests",
    ),
    "helper-in-an-added-cell": (
        {"double": "%%time\n" + DEF + "return [twice(y) for y in x]",
         "": "!ls\ndef twice(y):\n    return 2 * y"},
        "twice is defined only in the cell that begins with '!ls'",
    ),
    "helper-in-another-answer": (
        {"double": DEF + "return list(map(twice, x))",
         "mean": f"def twice(y): return 2 * y\n{RIGHT['mean']}"},
        "twice is defined only in the answer mean",
    ),
    "import-elsewhere": (
        {"double": DEF + "return list(np.array(x) * 2)", "": "import numpy as np"},
        "np is defined only in the cell that begins with 'import numpy as np'",
    ),
    "several": (
        {"double": f"{GOOD}print(a, b)", "": "a: int = 1\nfor b in []: pass"},
        "a is defined only in the cell that begins with 'a: int = 1', "
        "b is defined only in the cell that begins with 'a: int = 1'",
    ),
    "its-own": ({"double": f"twice = 2\n{GOOD}print(twice, len, display)",
                 "": "twice = len = display = 3"}, None),
    "global": ({"double": f"def f():\n    global a\n    a = 1\n{GOOD}f(); a", "": "a = 2"}, None),
    "nowhere": ({"double": f"{GOOD}print(a)"}, None),
    "local": ({"double": GOOD, "": "x = item = 1"}, None),
    "no-python": ({"double": "a b", "": "a = b = 1"}, None),
    "not-read": ({"double": f"{GOOD}a", "": "a = 1  #" + " " * 100_000}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_another_cell_defines_is_named(course, tmp_path, grade_here, name):
    sources, remark = ELSEWHERE[name]
    made = notebook(course, **{k: v for k, v in sources.items() if k in ("double", "mean")})
    tests = next(c for c in made.cells if c.metadata.get("nbgrader", {}).get("grade_id")
                 == "test-double")  # fmt: skip
    tests.source = sources.get("test-double", tests.source)
    if "" in sources:
        made.cells.append(nbformat.v4.new_code_cell(sources[""]))
    hand_in(tmp_path / "in", "ann", made)
    row = answer(grade_here(), "ann", "double")
    wanted = remark and f"{remark}: an answer is graded without other cells"
    assert row["remark"] == wanted
    assert row["points"] == (0 if name.startswith(("helper", "import", "no-p")) else 2)


def test_a_function_of_an_earlier_task_is_there(course, tmp_path, grade_here):
    """It is run in front of the answer, so it is not only elsewhere."""
    mean = "def mean(x):\n    return sum(double(x)) / len(x) / 2"
    hand_in(tmp_path / "in", "ann", notebook(course, mean=mean))
    row = answer(grade_here(), "ann", "mean")
    assert (row["points"], row["remark"]) == (3, None)
