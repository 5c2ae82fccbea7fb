"""Breaks small notebooks on purpose: `pytest --nbval` has to notice every one, and say what it is.

Each state says which words the report must hold. Those that nbval passes without our plugin are
marked, so this is also the record of why nbval alone is not enough.
"""

import base64
import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbval_checks import CheckedNotebook
from notebook_compare import compare_outputs
from notebook_format import WIDGET_VIEW, NotebookError, write_notebook
from notebook_kernel import run_notebook
from notebook_rules import IGNORE_TAG, committed_problems
from PIL import Image
from small_notebooks import CELLS, make_decoy_kernel, make_notebook, run_nbval

pytestmark = pytest.mark.slow


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

# What is broken, and what the report says of it.
STATES: dict[Callable, str] = {
    change_number: "42.01",
    change_result: "43",
    change_picture: "the picture in image/png changed",  # nbval alone passes it
    change_html_picture: "the picture in text/html changed",  # nbval alone passes it
    change_alternative_text: "red box",
    drop_picture: "shows execute_result (image/jpeg, text/plain), but a run gives",  # passes
    strip_all: "its count is None",  # nbval alone passes it
    strip_one: "shows no output, but a run gives stdout",
    strip_one_and_its_count: "shows no output, but a run gives stdout",  # nbval alone passes it
    add_output_to_silent_cell: "shows stdout, but a run gives no output",
    run_out_of_order: "its count is 9, in one run from the top it is 8",  # nbval alone passes it
    run_twice: "its count is 11, in one run from the top it is 1",  # nbval alone passes it
    rename_stream: "shows stderr, but a run gives stdout",
    swap_outputs: "shows display_data (text/html, text/plain), stdout, but",  # passes
    change_widget_text: "IntSlider(value=4",
    drop_widget: "but a run gives execute_result (application/vnd.jupyter.widget-view",  # passes
    ignore_unlisted_cell: f"has the tag {IGNORE_TAG} but is not in the list",  # passes
    skip_cell: "the tag nbval-skip is not allowed",  # nbval alone passes it
    exit_kernel: "the kernel died in this cell",
    kill_kernel: "the kernel died in this cell",
    raise_error: "but a run gives error ZeroDivisionError",
    print_random_number: "stdout changed",
    print_address: "shows an address in memory",
    print_progress: "has the litter of a progress bar",  # nbval alone passes it
    warn: "writes to stderr (a warning?): 'WARNING:root:old name",  # nbval alone passes it
    warn_unseen: "shows no output, but a run gives stderr",
}


def name_of(state) -> str:
    return next(name for name, value in globals().items() if value is state)


def broken(nb: NotebookNode, state: Callable) -> NotebookNode:
    nb = copy.deepcopy(nb)
    state(nb)
    return nb


@pytest.fixture(scope="module")
def said(fresh_run, tmp_path_factory):
    """nbval run once over all states, with another environment's kernel python3 in its way."""
    folder = tmp_path_factory.mktemp("broken")
    write_notebook(fresh_run, folder / "correct.ipynb")
    for state in STATES:
        write_notebook(broken(fresh_run, state), folder / f"{name_of(state)}.ipynb")
    return run_nbval(folder, make_decoy_kernel(tmp_path_factory.mktemp("jupyter")))


def test_the_correct_notebook_passes(said):
    assert said["correct"] == (0, "")


@pytest.mark.parametrize("state", STATES, ids=name_of)
def test_what_is_broken_is_caught_and_named(state, said):
    n_failed, text = said[name_of(state)]
    assert n_failed > 0
    assert STATES[state] in text


def test_a_listed_cell_may_show_another_value_but_not_another_kind(fresh_run):
    listed = {"number": "shows how long this machine took"}
    nb = broken(fresh_run, ignore_unlisted_cell)
    assert committed_problems(nb, listed) == []
    committed, fresh = (cell_of(each, "number").outputs for each in (nb, fresh_run))
    assert list(compare_outputs(committed, fresh, str, values=False)) == []
    assert "stdout changed" in next(compare_outputs(committed, fresh, str))
    assert "shows no output" in next(compare_outputs([], fresh, str, values=False))


def test_what_a_cell_has_cleared_is_not_its_output():
    def message(kind, **content):
        parent = {"msg_id": "this cell"}
        header = {"msg_type": kind}
        return {"msg_type": kind, "header": header, "parent_header": parent, "content": content}

    bar = message("display_data", data={"text/plain": "50%|# | 1/2"}, metadata={})
    result = message("stream", name="stdout", text="12 ms\n")
    committed = {"a": [new_output("stream", name="stdout", text="34 ms\n")]}
    notebook = SimpleNamespace(committed=committed, uncompared={"a": "a time"}, messages=None)
    item = SimpleNamespace(cell=SimpleNamespace(id="a"))
    notebook.messages = [bar, message("clear_output", wait=False), result]
    assert CheckedNotebook.differences(notebook, item) == []
    notebook.messages = [bar, result]
    assert "display_data" in CheckedNotebook.differences(notebook, item)[0]


def test_a_listed_cell_needs_the_tag_and_has_to_exist(fresh_run):
    problems = committed_problems(fresh_run, {"number": "a reason", "gone": "a reason"})
    assert "is in the list but lacks the tag" in problems[0]
    assert "names a cell 'gone'" in problems[1]


@pytest.mark.parametrize("comment", ["# NBVAL_IGNORE_OUTPUT", "#NBVAL_SKIP"])
def test_nbval_comments_are_not_a_way_around_the_list(comment, fresh_run):
    nb = copy.deepcopy(fresh_run)
    cell_of(nb, "number").source = f"{comment}\n{CELLS['number']}"
    assert "an nbval comment is not allowed" in committed_problems(nb, {})[0]


def test_a_cell_that_does_not_end_is_ended(tmp_path):
    with pytest.raises(NotebookError, match=r"cell 2 of 2 \(id loop\): ran longer than 2 s"):
        run_notebook(make_notebook({"loop": "while True: pass"}), tmp_path, cell_timeout_s=2)


def test_run_notebook_leaves_the_original_alone(fresh_run, tmp_path):
    nb = make_notebook({"a": "1"})
    assert run_notebook(nb, tmp_path).cells[1].outputs
    assert not nb.cells[1].outputs
