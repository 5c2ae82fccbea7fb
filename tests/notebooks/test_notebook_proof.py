"""Breaks small notebooks on purpose, and sees who notices: nbval, the second check or both.

Each state says whether nbval catches it; the second check has to catch every one. So this is also
the record of why nbval alone is not enough.
"""

import base64
import copy
import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output
from notebook_compare import compare_notebooks, load_sanitizer
from notebook_format import WIDGET_VIEW, write_notebook
from notebook_kernel import run_notebook
from notebook_rules import IGNORE_TAG, committed_problems
from PIL import Image
from small_notebooks import CELLS, make_decoy_kernel, make_notebook, run_nbval

from notebooks import SANITIZE_FILE, check_notebook

SANITIZE = load_sanitizer(SANITIZE_FILE)


def cell_of(nb: NotebookNode, cell_id: str) -> NotebookNode:
    return next(cell for cell in nb.cells if cell.id == cell_id)


# --- committed outputs that are not what the code gives ----------------------------------------


def change_number(nb):
    cell_of(nb, "number").outputs[0].text = "the answer is 42.01\n"


def change_result(nb):
    cell_of(nb, "result").outputs[0].data["text/plain"] = "43"


def change_picture(nb):
    cell_of(nb, "picture").outputs[0].data["image/png"] = png((200, 30, 63))


def change_html_picture(nb):
    data = cell_of(nb, "html-picture").outputs[0].data
    data["text/html"] = f'<img src="data:image/png;base64,{png((20, 90, 163))}" alt="a blue box">'


def change_alternative_text(nb):
    data = cell_of(nb, "html-picture").outputs[0].data
    data["text/html"] = data["text/html"].replace("blue", "red")


def drop_picture(nb):
    del cell_of(nb, "picture").outputs[0].data["image/png"]


def strip_all(nb):
    for cell in nb.cells[1:]:
        cell.outputs, cell.execution_count = [], None


def strip_one(nb):
    cell_of(nb, "number").outputs = []


def strip_one_and_its_count(nb):
    cell_of(nb, "number").update(outputs=[], execution_count=None)


def add_output_to_silent_cell(nb):
    cell_of(nb, "silent").outputs = [new_output("stream", name="stdout", text="1\n")]


def run_out_of_order(nb):
    cell_of(nb, "silent").execution_count, cell_of(nb, "last").execution_count = 9, 8


def run_twice(nb):
    for i, cell in enumerate(nb.cells[1:]):
        cell.execution_count = i + 11


def rename_stream(nb):
    cell_of(nb, "number").outputs[0].name = "stderr"


def swap_outputs(nb):
    outputs = cell_of(nb, "two-kinds").outputs
    outputs[0], outputs[1] = outputs[1], outputs[0]


def change_widget_text(nb):
    data = cell_of(nb, "widget").outputs[0].data
    data["text/plain"] = data["text/plain"].replace("3", "4")


def drop_widget(nb):
    del cell_of(nb, "widget").outputs[0].data[WIDGET_VIEW]


def ignore_unlisted_cell(nb):
    cell_of(nb, "number").metadata.tags = [IGNORE_TAG]
    change_number(nb)


def skip_cell(nb):
    cell_of(nb, "number").metadata.tags = ["nbval-skip"]
    change_number(nb)


def png(colour: tuple[int, int, int]) -> str:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


# --- code that does not run to what was committed ------------------------------------------------


@dataclass(frozen=True)
class BadCell:
    """A cell put between the others, with the output that is committed for it."""

    source: str
    committed: tuple = ()

    def __call__(self, nb):
        cell = cell_of(nb, "silent")
        cell.source = f"{cell.source}\n{self.source}"
        cell.outputs = [new_output("stream", name=name, text=text) for name, text in self.committed]


exit_kernel = BadCell("import os\nos._exit(1)")
kill_kernel = BadCell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
raise_error = BadCell("1 / 0")
print_random_number = BadCell("import random\nprint(random.random())", (("stdout", "0.51\n"),))
print_address = BadCell("print(object())", (("stdout", "<object object at 0x7f03c8f4a1b0>\n"),))
print_progress = BadCell("print('50%|# | 1/2 [0.3it/s]')", (("stdout", "50%|# | 1/2 [0.3it/s]\n"),))
warn = BadCell(
    "import logging\nlogging.warning('old name')", (("stderr", "WARNING:root:old name\n"),)
)
warn_unseen = BadCell("import warnings\nwarnings.warn('old name')")

# What is broken, whether nbval catches it, and what the second check says.
STATES: dict[Callable, tuple[bool, str]] = {
    change_number: (True, "42.01"),
    change_result: (True, "43"),
    change_picture: (False, "the picture in image/png changed"),
    change_html_picture: (False, "the picture in text/html changed"),
    change_alternative_text: (True, "red box"),
    drop_picture: (False, "shows execute_result (image/jpeg, text/plain), but a run gives"),
    strip_all: (False, "its count is None"),
    strip_one: (True, "shows no output, but a run gives stdout"),
    strip_one_and_its_count: (False, "shows no output, but a run gives stdout"),
    add_output_to_silent_cell: (True, "shows stdout, but a run gives no output"),
    run_out_of_order: (False, "its count is 9, in one run from the top it is 8"),
    run_twice: (False, "its count is 11, in one run from the top it is 1"),
    rename_stream: (True, "shows stderr, but a run gives stdout"),
    swap_outputs: (False, "shows display_data (text/html, text/plain), stdout, but"),
    change_widget_text: (True, "IntSlider(value=4"),
    drop_widget: (False, "but a run gives execute_result (application/vnd.jupyter.widget-view"),
    ignore_unlisted_cell: (False, f"has the tag {IGNORE_TAG} but is not in the list"),
    skip_cell: (False, "the tag nbval-skip is not allowed"),
    exit_kernel: (True, "the kernel died"),
    kill_kernel: (True, "the kernel died"),
    raise_error: (True, "raised ZeroDivisionError: division by zero"),
    print_random_number: (True, "stdout changed"),
    print_address: (True, "shows an address in memory"),
    print_progress: (False, "has the litter of a progress bar"),
    warn: (False, "writes to stderr (a warning?): 'WARNING:root:old name"),
    warn_unseen: (True, "shows no output, but a run gives stderr"),
}


def name_of(state) -> str:
    return next(name for name, value in globals().items() if value is state)


def broken(nb: NotebookNode, state: Callable) -> NotebookNode:
    nb = copy.deepcopy(nb)
    state(nb)
    return nb


@pytest.fixture(scope="module")
def said_by_nbval(fresh_run, tmp_path_factory):
    """nbval run once over all states, with another environment's kernel python3 in its way."""
    folder = tmp_path_factory.mktemp("broken")
    write_notebook(fresh_run, folder / "correct.ipynb")
    for state in STATES:
        write_notebook(broken(fresh_run, state), folder / f"{name_of(state)}.ipynb")
    return run_nbval(folder, make_decoy_kernel(tmp_path_factory.mktemp("jupyter")))


def test_nbval_passes_the_correct_notebook(said_by_nbval):
    assert said_by_nbval["correct"] == (0, "")


@pytest.mark.parametrize("state", STATES, ids=name_of)
def test_nbval_catches_what_it_can(state, said_by_nbval):
    n_failed, text = said_by_nbval[name_of(state)]
    assert (n_failed > 0) == STATES[state][0], text


def test_nbval_names_the_cell_in_which_the_kernel_died(said_by_nbval):
    assert "the kernel died in this cell" in said_by_nbval["kill_kernel"][1]


def test_second_check_passes_the_correct_notebook(fresh_run, tmp_path, monkeypatch):
    decoy = make_decoy_kernel(tmp_path / "jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(decoy))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(decoy))
    write_notebook(fresh_run, tmp_path / "correct.ipynb")
    assert check_notebook(tmp_path / "correct.ipynb", sanitize=SANITIZE) == []


@pytest.mark.parametrize("state", STATES, ids=name_of)
def test_second_check_catches(state, fresh_run, tmp_path):
    write_notebook(broken(fresh_run, state), tmp_path / "broken.ipynb")
    if isinstance(state, BadCell):
        problems = check_notebook(tmp_path / "broken.ipynb", sanitize=SANITIZE)
    else:  # the code is as it was, so the run of the correct notebook is this one's too
        nb = broken(fresh_run, state)
        problems = committed_problems(nb, {}) + compare_notebooks(nb, fresh_run, sanitize=SANITIZE)
    assert STATES[state][1] in "\n".join(problems)


def test_second_check_ends_a_cell_that_does_not_end(tmp_path):
    write_notebook(make_notebook({"loop": "while True: pass"}), tmp_path / "loop.ipynb")
    problems = check_notebook(tmp_path / "loop.ipynb", cell_timeout_s=2)
    assert problems[0].startswith("cell 2 of 2 (id loop): ran longer than 2 s")


def test_listed_cell_may_show_another_value_but_not_another_kind(fresh_run):
    listed = {"number": "shows how long this machine took"}
    nb = broken(fresh_run, ignore_unlisted_cell)
    assert committed_problems(nb, listed) == []
    assert compare_notebooks(nb, fresh_run, uncompared=listed) == []
    strip_one(nb)
    assert "shows no output" in compare_notebooks(nb, fresh_run, uncompared=listed)[0]


def test_listed_cell_needs_the_tag_and_has_to_exist(fresh_run):
    problems = committed_problems(fresh_run, {"number": "a reason", "gone": "a reason"})
    assert "is in the list but lacks the tag" in problems[0]
    assert "names a cell 'gone'" in problems[1]


@pytest.mark.parametrize("comment", ["# NBVAL_IGNORE_OUTPUT", "#NBVAL_SKIP"])
def test_nbval_comments_are_not_a_way_around_the_list(comment, fresh_run):
    nb = copy.deepcopy(fresh_run)
    cell_of(nb, "number").source = f"{comment}\n{CELLS['number']}"
    assert "an nbval comment is not allowed" in committed_problems(nb, {})[0]


def test_run_notebook_leaves_the_original_alone(fresh_run, tmp_path):
    nb = make_notebook({"a": "1"})
    assert run_notebook(nb, tmp_path).cells[1].outputs
    assert not nb.cells[1].outputs
