"""The parts of the notebook tools: pictures, formats, runs, names."""

import base64
import contextlib
import copy
import io
import sys

import psutil
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nbformat.v4 import new_output
from notebook_compare import compare_outputs, load_sanitizer, picture_difference
from notebook_format import (
    WIDGET_VIEW,
    NotebookError,
    add_missing_ids,
    merge_streams,
    notebook_text,
    read_notebook,
    write_notebook,
)
from notebook_kernel import build_font_cache, kernel_environment, run_notebook
from notebook_rules import output_problems
from PIL import Image
from small_notebooks import make_notebook

import notebooks
from notebooks import SANITIZE_FILE, execute_notebook, find_notebooks


def draw(title="perplexity 3.18", last=3.0, noise=0) -> str:
    """A plot as base64 PNG; ``noise`` moves every tenth pixel by so many shades."""
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1, 2, last], "o-")
    axes.set(title=title, ylim=(0, 4))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shades = memoryview(canvas.buffer_rgba()).tobytes()
    picture = Image.frombytes("RGBA", canvas.get_width_height(), shades).convert("RGB")
    if noise:
        pixels = bytearray(picture.tobytes())
        for i in range(0, len(pixels), 300):
            pixels[i] += noise if pixels[i] < 128 else -noise
        picture = Image.frombytes("RGB", picture.size, bytes(pixels))
    file = io.BytesIO()
    picture.save(file, "png", compress_level=1 if noise else 9)
    return base64.b64encode(file.getvalue()).decode()


def test_pictures_that_look_the_same_pass():
    assert picture_difference(draw(), draw(noise=2)) == ""


@pytest.mark.parametrize(
    "changed", [{"title": "perplexity 3.16"}, {"title": "perplexity 3,18"}, {"last": 3.01}]
)
def test_pictures_with_one_character_or_point_changed_do_not(changed):
    assert "pixels are far off" in picture_difference(draw(), draw(**changed))


def test_pictures_of_other_sizes_or_broken_ones_do_not():
    figure = io.BytesIO()
    Image.new("RGB", (40, 30)).save(figure, "png")
    assert "now 40x30" in picture_difference(draw(), base64.b64encode(figure.getvalue()).decode())
    assert "not a readable PNG" in picture_difference(draw(), "bm8gcG5n")


def svg(*ids, text="1.0"):
    body = "".join(f'<path id="{i}"/><use xlink:href="#{i}"/>' for i in ids)
    return [new_output("display_data", {"image/svg+xml": f"<svg>{body}<text>{text}</text></svg>"})]


def test_hashed_ids_of_an_svg_may_change_but_nothing_else():
    old, new = svg("m0123456789", "p0123456789"), svg("mabcdef0123", "p9876543210")
    assert not list(compare_outputs(old, new, str))
    swapped = svg("mabcdef0123", "mabcdef0123")
    assert list(compare_outputs(old, swapped, str))
    assert list(compare_outputs(old, svg("m0123456789", "p0123456789", text="1.1"), str))


def test_sanitizers_leave_numbers_alone():
    sanitize = load_sanitizer(SANITIZE_FILE)
    text = "loss 3.18, 1e-05, 0x1F, 12:30, 2024-01-02, 30 layers, 98,362,432 bytes, 5.2 ms"
    assert sanitize(text) == text
    assert sanitize('<img src="data:image/png;base64,aGk="/> 3') == '<img src="[picture]"/> 3'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("  3%|2   | 1/30", "progress"),
        ("1.4s/it", "progress"),
        ("50\r100", "progress"),
        ("<Foo object at 0x7f12>", "address"),
        ("0x7f03c8f4a1b0", "address"),
        ("32 tokens/s, 5 bit/s, 12% of 0x3f800000", ""),
    ],
)
def test_litter_and_addresses(text, says):
    problems = list(output_problems(new_output("stream", text=text)))
    assert [says in problem for problem in problems] == ([True] if says else [])


# --- format and running --------------------------------------------------------------------------


def test_normalised_text_does_not_change_from_run_to_run(tmp_path):
    nb = make_notebook(
        {"w": "import ipywidgets\nipywidgets.IntSlider()", "p": "print(1, flush=True)"}
    )
    nb.metadata.update(widgets={"state": {}}, language_info={"name": "python", "version": "3.9"})
    nb.cells[1].metadata.execution = {"iopub.execute_input": "now"}
    nb.cells[2].source += "\nprint(2)"
    first, second = (notebook_text(run_notebook(nb, tmp_path)) for _ in range(2))
    assert first == second
    for noise in ("iopub", '"version": "3', '"widgets"'):
        assert noise not in first
    assert WIDGET_VIEW in first


def test_pieces_of_a_stream_are_joined_only_with_their_neighbours():
    streams = [("stdout", "a"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d")]
    outputs = [new_output("stream", name=name, text=text) for name, text in streams]
    joined = [(output.name, output.text) for output in merge_streams(outputs)]
    assert joined == [("stdout", "ab\n"), ("stderr", "c"), ("stdout", "d")]
    assert outputs[0].text == "a"


def test_missing_cell_ids_are_made_from_the_text():
    cells = [{"cell_type": "code", "source": "1"} for _ in range(2)]
    again = copy.deepcopy(cells)
    add_missing_ids(cells)
    add_missing_ids(again)
    assert cells == again
    assert cells[0]["id"] != cells[1]["id"]


def test_a_failed_run_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "fails.ipynb"
    write_notebook(make_notebook({"a": "print(1)", "b": "1 / 0"}), path)
    before = path.read_bytes()
    with pytest.raises(NotebookError, match=r"(?s)id b.*ZeroDivisionError.*1 / 0"):
        execute_notebook(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["fails.ipynb"]


def test_a_warning_keeps_a_run_from_being_saved(tmp_path):
    path = tmp_path / "warns.ipynb"
    write_notebook(make_notebook({"a": "import warnings\nwarnings.warn('old')"}), path)
    with pytest.raises(NotebookError, match=r"(?s)id a.*stderr.*old"):
        execute_notebook(path)


def test_a_run_is_saved_with_its_folder_as_working_directory(tmp_path):
    path = tmp_path / "fine.ipynb"
    write_notebook(make_notebook({"a": "import os\nprint(os.path.basename(os.getcwd()))"}), path)
    execute_notebook(path)
    assert read_notebook(path).cells[1].outputs[0].text == f"{tmp_path.name}\n"


def test_kernels_get_the_fixed_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "svg")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # whoever sets another number gets it
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    source = """\
import os, sys
print([os.environ.get(k) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")])
print([os.environ.get(k) for k in ("PYTHONHASHSEED", "PYTHONWARNINGS")])
print("inline" in os.environ["MPLBACKEND"], sys.executable)"""
    text = run_notebook(make_notebook({"a": source}), tmp_path).cells[1].outputs[0].text
    assert text == f"['3', '1']\n['0', None]\nTrue {sys.executable}\n"
    with kernel_environment() as environment:
        folder = environment["IPYTHONDIR"]
    assert folder != str(tmp_path)


@pytest.mark.parametrize("last", ["", "1 / 0"])
def test_no_kernel_is_left_behind(last, tmp_path):
    source = f"import os\nopen('pid', 'w').write(str(os.getpid()))\n{last}"
    with contextlib.suppress(NotebookError):
        run_notebook(make_notebook({"a": source}), tmp_path)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("content", ["not json", "{}", '{"nbformat": 3, "worksheets": []}', None])
def test_unreadable_notebooks_are_named(content, tmp_path):
    path = tmp_path / "bad.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NotebookError, match=r"bad\.ipynb"):
        read_notebook(path)


def test_an_unknown_name_is_an_error_that_lists_the_known(capsys):
    with pytest.raises(ValueError, match="no notebook is called 'nope'"):
        find_notebooks(["nope"])
    assert notebooks.main(["execute", "nope"]) == 2
    assert "nope" in capsys.readouterr().err


def test_execute_from_the_command_line(tmp_path, capsys):
    for name, source in (("good", "print(1)"), ("bad", "1 / 0")):
        write_notebook(make_notebook({"a": source}), tmp_path / f"{name}.ipynb")
    paths = [str(tmp_path / f"{name}.ipynb") for name in ("bad", "good")]
    assert notebooks.main(["execute", *paths]) == 1
    assert "1 of 2 fine" in capsys.readouterr().out


def test_building_the_font_cache_ahead_needs_no_kernel():
    build_font_cache()
    assert "matplotlib.font_manager" in sys.modules
