"""Tables for readers: the same cells, words at the left, large counts in groups of three."""

import re
import subprocess
import sys

import pandas as pd
import pytest

from lecture_lib.tables import readable_html

FRAME = pd.DataFrame(
    {
        "what": ["activations <over> a boundary", "12 apples, and pears"],
        "bytes": [8388608, 8],
        "float": [-123456.0, 1.5],
        "few": [1234, 9],
        "token id": [49152, 3],
        "size": ["1.2 GB", "–"],
        "shape": ["1×L×D", "1×F"],
    }
)


def look_of(frame, tag="td") -> list[tuple[str, str]]:
    """Where each cell stands, and what it says."""
    found = re.findall(rf"<{tag}( style=[^>]*)?>(.*?)</{tag}>", readable_html(frame))
    return [("left" if "left" in style else "right", text) for style, text in found]


def test_words_stand_at_the_left_and_large_counts_are_grouped():
    n = len(FRAME.columns)
    cells = look_of(FRAME)
    assert cells[:n] == [
        ("left", "activations &lt;over&gt; a boundary"), ("right", "8,388,608"),
        ("right", "-123,456.0"), ("right", "1234"), ("right", "49152"), ("right", "1.2 GB"),
        ("left", "1×L×D"),
    ]  # fmt: skip
    assert [place for place, _ in cells[n:]] == ["left"] + ["right"] * (n - 2) + ["left"]


@pytest.mark.parametrize("frame", [FRAME, FRAME.rename_axis("rank"), FRAME.set_index("few")])
def test_names_stand_where_their_cells_do(frame):
    heads = {text: place for place, text in look_of(frame, "th") if text}
    assert heads["what"] == heads["shape"] == "left"
    assert {heads[name] for name in frame.columns if name not in ("what", "shape")} == {"right"}


def test_two_levels_of_index_are_counted():
    frame = FRAME.set_index(["token id", "what"])
    assert ("left", "bytes") not in look_of(frame, "th")
    assert look_of(frame)[0] == ("right", "8,388,608")


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.iloc[:0],
        pd.DataFrame({"n": range(100)}),  # rows are left out
        pd.DataFrame({("a", "b"): ["word"]}),
    ],
)
def test_what_pandas_shortens_or_nests_stays_as_it_is(frame):
    assert readable_html(frame) == frame._repr_html_()


def test_pandas_without_html_shows_none():
    with pd.option_context("display.notebook_repr_html", False):
        assert readable_html(FRAME) is None


def test_a_kernel_shows_its_tables_so_once_the_package_is_imported():
    program = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import pandas
def show(frame):
    return shell.display_formatter.format(frame)[0]
frame = pandas.DataFrame({"n": [1234567], "word": ["one two three"]})
plain = show(frame)
import lecture_lib
now = show(frame)
assert "1234567" in plain["text/html"] and "text-align: left" not in plain["text/html"]
assert "1,234,567" in now["text/html"] and "text-align: left" in now["text/html"]
assert now["text/plain"] == plain["text/plain"]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
