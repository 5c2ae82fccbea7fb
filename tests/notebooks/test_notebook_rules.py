"""The limits of length and form: each is noticed where it is broken."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_format import (
    normalise,
    notebook_text,
    write_notebook,
)
from notebook_rules import count_words, read_uncompared_cells, style_problems


def lecture(n_cells=30):
    cells = [new_markdown_cell(f"**Predict** {i}", id=f"m{i}") for i in range(n_cells - 1)]
    return new_notebook(cells=[*cells, new_code_cell("1", id="code")])


def long_code(nb):
    nb.cells[-1].source = "\n".join(["1"] * 26)


def rather_long_code(nb):
    nb.cells[-1].source = "\n".join(["1"] * 7)


def long_text(nb):
    nb.cells[0].source = "word " * 131


def too_few_cells(nb):
    del nb.cells[5:]


def too_many_cells(nb):
    nb.cells = lecture(61).cells


def no_prediction(nb):
    for cell in nb.cells:
        cell.source = cell.source.replace("Predict", "")


def add_output(nb, **formats):
    data = {key.replace("_", "/"): value for key, value in formats.items()}
    nb.cells[-1].outputs = [new_output("display_data", data)]


def picture_without_words(nb):
    add_output(nb, image_png="aGk=")


def picture_with_empty_words(nb):
    add_output(nb, image_png="aGk=", text_html='<img src="x" alt=" ">')


def html_picture_without_words(nb):
    add_output(nb, text_html='<p><img src="x"></p>')


def cpu_without_a_reason(nb):
    nb.cells[-1].source = 'loaded = load_model(device="cpu")'


def a_section_that_was_cut(nb):
    nb.cells[0].source += "\n## 1. One"
    nb.cells[
        1
    ].source += " As in sections 1 and 3. Section 4 of 12b and section 5 of lecture 06 are others."


def large(nb):
    add_output(nb, text_plain="x" * 420_000)


LIMITS = {
    long_code: "26 lines, allowed 25",
    rather_long_code: "code cells of 7 lines (median)",
    long_text: "131 words, allowed 130",
    too_few_cells: "5 cells, want 25 to 60",
    too_many_cells: "61 cells, want 25 to 60",
    no_prediction: "asks for no prediction",
    picture_without_words: "a picture without a text/html output",
    picture_with_empty_words: "an <img> without alternative text",
    html_picture_without_words: "an <img> without alternative text",
    cpu_without_a_reason: "says device='cpu' and not why",
    a_section_that_was_cut: "(id m1): names section 3, but no heading has this number",
    large: "bytes, allowed fewer than 420,000",
}


def limits_broken(nb, path):
    write_notebook(nb, path)
    return style_problems(nb, path, is_lecture=True)


def test_a_lecture_within_the_limits_passes(tmp_path):
    nb = lecture()
    add_output(nb, image_png="aGk=", text_html='<img src="x" alt="a rising line">')
    assert limits_broken(normalise(nb), tmp_path / "01_topic.ipynb") == []


@pytest.mark.parametrize("break_limit", LIMITS, ids=lambda f: f.__name__)
def test_each_limit_is_noticed(break_limit, tmp_path):
    nb = lecture()
    break_limit(nb)
    assert LIMITS[break_limit] in "\n".join(limits_broken(normalise(nb), tmp_path / "01.ipynb"))


def test_a_comment_or_the_text_before_says_why_a_lecture_needs_the_cpu(tmp_path):
    nb = lecture()
    cpu_without_a_reason(nb)
    nb.cells[-1].source += "  # gloo joins CPUs"
    assert limits_broken(normalise(nb), tmp_path / "01_topic.ipynb") == []
    cpu_without_a_reason(nb)
    nb.cells[-2].source += ". We time this CPU."
    assert limits_broken(normalise(nb), tmp_path / "01_topic.ipynb") == []


def test_only_the_sections_of_the_lecture_itself_have_to_be_there(tmp_path):
    nb = lecture()
    a_section_that_was_cut(nb)
    (problem,) = limits_broken(normalise(nb), tmp_path / "01_topic.ipynb")
    assert "section 3" in problem


def test_the_start_page_may_be_short_and_ask_nothing(tmp_path):
    nb = lecture()
    too_few_cells(nb)
    no_prediction(nb)
    assert limits_broken(normalise(nb), tmp_path / "00_start_here.ipynb") == []


def test_a_notebook_saved_by_jupyterlab_is_not_in_the_committed_format(tmp_path):
    nb = normalise(lecture())
    nb.metadata.language_info.version = "3.12.1"
    path = tmp_path / "01_topic.ipynb"
    path.write_text(
        notebook_text(nb).replace('"name": "python"', '"version": "3", "name": "python"')
    )
    assert "is not in the committed format" in style_problems(nb, path, is_lecture=True)[0]


def test_words_are_counted_as_a_reader_sees_them():
    text = (
        '# Two words\n<img src="a b" alt="c d">[link text](http://x.org "t")\n| a | b |\n|---|---|'
    )
    assert count_words(text) == 6


@pytest.mark.parametrize("line", ['cell = "no"', "cell = 3", 'cell = ""'])
def test_a_listed_cell_needs_a_reason(line, tmp_path):
    path = tmp_path / "list.toml"
    path.write_text(f'["notebooks/01.ipynb"]\n{line}\n')
    with pytest.raises(ValueError, match="needs a reason"):
        read_uncompared_cells(path)
