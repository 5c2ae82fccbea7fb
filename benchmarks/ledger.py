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
# The sections of RESULTS.md, in this order; then any other that is in the folder.
ORDER = [
    "_head",
    "kv_cache",
    "decode_speed",
    "decode_memory",
    "decode_gpu",
    "prefill_speed",
    "race",
    "speculation",
    "serving_load",
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


def pick(rows: list[Run], /, **values) -> list[Run]:
    """The rows that have these values."""
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def row(rows: list[Run], /, **values) -> Run:
    """The one row that has these values."""
    [found] = pick(rows, **values)
    return found


def across(name: str, table: str, store: Path = STORE, **values) -> list[Run]:
    """The rows of a table that have these values, from every machine, with its device."""
    return [
        Run({"device": run.machine.device, **found})
        for run in runs(name, store)
        for found in pick(run[table], **values)
    ]


def compute(row: dict, key):
    """A value of a row, for a table.

    Args:
        key: a column; a ratio of two ([a, b]); a share in per cent ("a%b"); or a Jinja expression
            of the columns ("(rows / engine_ms) | num").
    """
    if isinstance(key, str) and key.isidentifier():
        return "–" if row[key] is None else row[key]
    if isinstance(key, str) and re.fullmatch(r"\w+%\w+", key):
        top, below = key.split("%")
        key = f"({top} / {below}) | pct"
    elif not isinstance(key, str):
        key = f"({key[0]} / {key[1]}) | x"
    if any(row[name] is None for name in set(re.findall(r"[a-z_]\w*", key)) & set(row)):
        return "–"
    return _environment().compile_expression(key, undefined_to_none=False)(**row)


def ledger_table(rows: list[dict], columns: dict) -> str:
    """A Markdown table: heading -> what ``compute`` makes of each row."""
    return table(list(columns), [[compute(row, key) for key in columns.values()] for row in rows])


def errors(rows: list[dict], predicted: str, measured: str) -> list[float]:
    """Relative errors of a prediction; negative: it was too short."""
    return [row[predicted] / row[measured] - 1 for row in rows]


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


def signed(value: float) -> str:
    return f"{value:+.0%}"


def times(value: float) -> str:
    return f"{value:.2f}×"


def exponent(rows: list[dict], x: str, y: str) -> float:
    """p of the power law y ~ x^p that fits best (a line in log-log)."""
    xs, ys = ([math.log(row[key]) for row in rows] for key in (x, y))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(xs, ys, strict=True))
    return slope / sum((a - mean_x) ** 2 for a in xs)


def product_rates(run: Run) -> list[dict]:
    """Of prefill_speed: all four matrices together, a row for each number of rows."""
    found = []
    for n_rows in dict.fromkeys(row.rows for row in run.products):
        rows = pick(run.products, rows=n_rows)
        ms = sum(row.ms for row in rows)
        found.append(
            {
                "rows": n_rows,
                "ms": ms,
                "turned_ms": sum(row.turned_ms for row in rows),
                "gflops": sum(row.gflops * row.ms for row in rows) / ms,
                "gb_per_s": sum(row.weights_gb_per_s * row.ms for row in rows) / ms,
                "peak": run.settings.peak_gflops,
            }
        )
    return found


def excess(rows: list[Run]) -> list[float]:
    """Of prefill_speed: the products' share of what a prompt takes beyond the law."""
    return [(row.products_ms - row.law_ms) / (row.engine_ms - row.law_ms) for row in rows]


def measured(run: Run) -> str:
    """With what a section begins: the machine, the command, the date."""
    m = run.machine
    host = "" if m.device == m.cpu else f" beside {m.cpu}"
    rounds = f", median of {run.settings.rounds} rounds" if "rounds" in run.settings else ""
    return (
        f"*{m.device}{host}, {m.cores} cores, {m.threads} threads used, torch {m.torch}, "
        f"transformers {m.transformers}; `{run.command}`, {run.date}{rounds}.*"
    )


def _environment(templates: Path = TEMPLATES) -> Environment:
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    env = Environment(loader=FileSystemLoader(templates), **options)
    env.filters |= {"ms": milliseconds, "pct": percent, "x": times, "num": number, "signed": signed}
    return env


def render(store: Path = STORE, templates: Path = TEMPLATES) -> str:
    """The text of RESULTS.md."""
    env = _environment(templates)
    env.globals |= {
        "runs": lambda name: runs(name, store),
        "newest": lambda name, on="": newest(name, store, on),
        "table": ledger_table, "pick": pick, "row": row, "shares": shares, "span": span,
        "errors": errors, "signed": signed, "product_rates": product_rates, "excess": excess,
        "across": lambda name, rows, **values: across(name, rows, store, **values),
        "exponent": exponent, "measured": measured, "ms": milliseconds, "pct": percent,
        "num": number, "min": min, "max": max, "sum": sum,
    }  # fmt: skip
    others = sorted({path.stem for path in templates.glob("*.md")} - set(ORDER))
    sections = [env.get_template(f"{name}.md").render() for name in [*ORDER, *others]]
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
