"""DataFrames for readers: words are aligned left, and large counts have groups of three digits.

JupyterLab aligns everything right, which suits numbers but makes a column of sentences hard to
read; pandas has no setting for either in a notebook.
"""

import re
import sys
from itertools import cycle

# A number, with a unit if it has one, or what is written where a number is missing.
_NUMBER = re.compile(
    r"[-+−]?\d[\d.,]*(e[-+]?\d+)?( ?[%a-zµ/]{1,5})?"
    r"|[-+−]?(inf|∞)|nan|none|&lt;na&gt;|true|false|[-–—]?",
    re.IGNORECASE,
)
_LEFT = ' style="text-align: left"'
_CELL = re.compile(r"<td>(.*?)</td>", re.DOTALL)
_COUNT = re.compile(r"-?\d{4,}(\.\d+)?")
_NAMES_NOT_COUNTS = re.compile(r"(^|[\s_])(ids?|seeds?|token|year|port)$", re.IGNORECASE)


def readable_html(frame) -> str | None:
    """The table as HTML as pandas makes it, but for its alignment and the large counts.

    Args:
        frame: a pandas DataFrame. Where pandas leaves out rows or columns, nothing is changed.

    Returns:
        None where pandas shows no HTML (its option display.notebook_repr_html is off).
    """
    html = frame._repr_html_()
    n_columns = len(frame.columns)
    cells = _CELL.findall(html or "")
    if not cells or len(cells) != frame.size or frame.columns.nlevels > 1:
        return html
    columns = [cells[i::n_columns] for i in range(n_columns)]
    words = [not all(_NUMBER.fullmatch(cell.strip()) for cell in column) for column in columns]
    counts = [
        any(len(cell.split(".")[0].lstrip("-")) >= 5 for cell in column if _COUNT.fullmatch(cell))
        and not _NAMES_NOT_COUNTS.search(str(name))
        for name, column in zip(frame.columns, columns, strict=True)
    ]
    head, body = html.split("<tbody>")
    # Names are aligned as the cells below them; each row of names begins with the index's.
    n_index = head.split("</tr>")[0].count("<th>") - n_columns
    heads = cycle([False] * n_index + words)
    head = re.sub("<th>", lambda _: f"<th{_LEFT if next(heads) else ''}>", head)
    looks = cycle(zip(words, counts, strict=True))

    def changed(cell: re.Match) -> str:
        (at_left, is_count), text = next(looks), cell[1]
        if is_count and _COUNT.fullmatch(text):
            whole, point, rest = text.partition(".")
            text = f"{int(whole):,}{point}{rest}"
        return f"<td{_LEFT if at_left else ''}>{text}</td>"

    return head + "<tbody>" + _CELL.sub(changed, body)


def show_tables_readably() -> None:
    """From now on Jupyter shows all DataFrames so; outside IPython nothing happens."""
    if "IPython" not in sys.modules:  # a notebook's kernel has loaded it long before
        return
    from IPython import get_ipython

    if (shell := get_ipython()) is not None:
        html = shell.display_formatter.formatters["text/html"]
        for module in ("pandas", "pandas.core.frame"):  # where its versions say that it lives
            html.for_type_by_name(module, "DataFrame", readable_html)
