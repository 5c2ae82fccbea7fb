"""RESULTS.md out of the raw results: ``python benchmarks/ledger.py``.

``ledger/NAME.md`` has the text of a section, a Jinja template; its numbers come from
``results/*.json``. Nothing is measured here. What a template can use is defined in ``helpers``.
"""

import json
import math
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from results import RESULTS, STORE, table

TEMPLATES = Path(__file__).with_name("ledger")
# The sections of RESULTS.md, in this order.
ORDER = [
    "decode_speed",
    "decode_gpu",
    "prefill_speed",
    "roofline_points",
    "beam_speed",
    "sampling_speed",
    "widget_redraw",
    "grading_throughput",
    "first_run",
]
# A measured number that somebody typed: digits with a unit behind them.
TYPED = re.compile(
    r"\d[\d.,]*\s*(?:ms|s|seconds?|milliseconds?|minutes?|%|per cent|×|times|[kMG]B(?:/s)?|"
    r"[MGT]FLOPs?(?:/s)?|tokens (?:a|per) second)(?![A-Za-z])"
)


class Run(dict):
    """One stored result: ``run.speed`` is its table, ``run.machine.device`` its device."""

    def __getattr__(self, name: str):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{name}: this run has {', '.join(self)}") from None


def runs(name: str, store: Path = STORE) -> list[Run]:
    """The stored results of a benchmark, the newest first, each from another machine."""
    paths = store.glob(f"{name}.*.json")
    found = [json.loads(p.read_text("utf-8"), object_hook=Run) for p in sorted(paths)]
    return sorted(found, key=lambda run: run.date, reverse=True)


def newest(name: str, store: Path = STORE, on: str = "") -> Run:
    """The newest result of a benchmark; ``on``: a part of the device's name."""
    found = [run for run in runs(name, store) if on in run.machine.device]
    if not found:
        raise LookupError(f"{name}: no result of a device {on!r} in {store}")
    return found[0]


def pick(rows: list[Run], **values) -> list[Run]:
    """The rows that have these values."""
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def row(rows: list[Run], **values) -> Run:
    """The one row that has these values."""
    [found] = pick(rows, **values)
    return found


def compute(row: dict, key):
    """A value of a row: a column, the ratio of two ([a, b]), or a share in per cent ("a%b")."""
    if callable(key):
        return key(row)
    if isinstance(key, list):
        top, below = (row[part] for part in key)
        return times(top / below) if None not in (top, below) else "–"
    if "%" in key:
        top, below = (row[part] for part in key.split("%"))
        return percent(top / below) if None not in (top, below) else "–"
    return "–" if row[key] is None else row[key]


def ledger_table(rows: list[dict], columns: dict) -> str:
    """A Markdown table: heading -> what ``compute`` makes of each row."""
    return table(list(columns), [[compute(row, key) for key in columns.values()] for row in rows])


def shares(rows: list[dict], top: str, below: str) -> list[float]:
    """The quotients of two columns."""
    return [row[top] / row[below] for row in rows]


def span(values: list[float], unit=None) -> str:
    """The smallest and the largest value: "1.10× to 1.29×"."""
    low, high = (times(v) if unit is None else unit(v) for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def number(value: float) -> str:
    """Three significant digits."""
    if value and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def milliseconds(value: float) -> str:
    return f"{number(value)} ms"


def percent(value: float) -> str:
    return f"{value:.0%}"


def times(value: float) -> str:
    return f"{value:.2f}×"


def exponent(rows: list[dict], x: str, y: str) -> float:
    """p of the power law y ~ x^p that fits best (a line in log-log)."""
    xs, ys = ([math.log(row[key]) for row in rows] for key in (x, y))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(xs, ys, strict=True))
    return slope / sum((a - mean_x) ** 2 for a in xs)


def measured(run: Run) -> str:
    """With what a section begins: the machine, the command, the date."""
    m = run.machine
    host = "" if m.device == m.cpu else f" beside {m.cpu}"
    rounds = f", median of {run.settings.rounds} rounds" if "rounds" in run.settings else ""
    return (
        f"*{m.device}{host}, {m.cores} cores, {m.threads} threads used, torch {m.torch}, "
        f"transformers {m.transformers}; `{run.command}`, {run.date}{rounds}.*"
    )


def render(store: Path = STORE, templates: Path = TEMPLATES) -> str:
    """The text of RESULTS.md."""
    env = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"ms": milliseconds, "pct": percent, "x": times, "num": number}
    env.globals |= {
        "runs": lambda name: runs(name, store),
        "newest": lambda name, on="": newest(name, store, on),
        "table": ledger_table, "pick": pick, "row": row, "shares": shares, "span": span,
        "exponent": exponent, "measured": measured, "ms": milliseconds, "pct": percent,
        "num": number, "min": min, "max": max, "sum": sum,
    }  # fmt: skip
    sections = [env.get_template(f"{name}.md").render() for name in ["_head", *ORDER]]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(s.strip() for s in sections)) + "\n"


def typed_numbers(templates: Path = TEMPLATES) -> list[str]:
    """Numbers with a unit in the prose of the templates: they should come from the results."""
    found = []
    for path in sorted(templates.glob("*.md")):
        prose = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|`[^`]*`", "", path.read_text("utf-8"), flags=re.S)
        found += [f"{path.name}: {match[0]!r}" for match in TYPED.finditer(prose)]
    return found


if __name__ == "__main__":
    RESULTS.write_text(render(), encoding="utf-8")
    print(f"wrote {RESULTS}")
