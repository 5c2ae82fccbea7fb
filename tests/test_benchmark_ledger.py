"""benchmarks/RESULTS.md says what the stored results say, and nothing that somebody typed."""

import json
import re
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import ledger  # noqa: E402
import results  # noqa: E402

STORED = sorted(results.STORE.glob("*.json"))


def test_the_page_is_what_the_results_give():
    page = results.RESULTS.read_text("utf-8")
    assert page == ledger.render(), "run `python benchmarks/ledger.py`, and commit what it writes"


def test_another_measurement_changes_table_and_paragraph(tmp_path):
    for path in STORED:
        found = json.loads(path.read_text("utf-8"))
        if found["benchmark"] == "beam_speed":
            for row in found["speed"]:
                row["engine_ms"] = row["generate_ms"] / 7
        (tmp_path / path.name).write_text(json.dumps(found))
    page = ledger.render(store=tmp_path)
    section = page.split("## Beam search")[1].split("\n## ")[0]
    # A row of the table for each prompt, and the paragraph for the first and the last.
    assert len(re.findall(r"\| 7\.00× \|", section)) == len(found_rows(tmp_path))
    assert len(re.findall(r"7\.00×", section.split("**What must stay equal.**")[1])) == 2


def found_rows(store: Path) -> list:
    return ledger.newest("beam_speed", store).speed


def test_no_number_is_typed():
    assert ledger.typed_numbers() == []


@pytest.mark.parametrize(
    "text", ["takes 12 ms", "30% of it", "1.25× faster", "at 4 GB/s", "in 3 seconds", "7 times"]
)
def test_a_typed_number_is_found(tmp_path, text):
    (tmp_path / "section.md").write_text(f"The engine {text}. {{{{ run.speed | ms }}}} are fine.")
    assert len(ledger.typed_numbers(tmp_path)) == 1


def test_every_template_names_all_that_a_reader_should_know():
    for path in sorted(ledger.TEMPLATES.glob("*_speed.md")):
        text = path.read_text("utf-8")
        for part in ("What must stay equal", "What it falls back to", "What this does not show"):
            assert f"**{part}.**" in text, f"{path.name}: {part}"


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_a_result_names_its_machine(path):
    found = json.loads(path.read_text("utf-8"))
    assert {"benchmark", "command", "date", "machine", "settings"} < set(found)
    assert path.name == f"{found['benchmark']}.{results.slug(found['machine'])}.json"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    tables = [found[name] for name in found if isinstance(found[name], list)]
    assert tables
    for rows in tables:
        assert rows
        assert all(set(row) == set(rows[0]) for row in rows)


def test_what_is_saved_is_what_is_read(tmp_path):
    rows = [{"prompt": 32, "engine_ms": 0.1 + 0.2, "compiled_ms": None, "name": "a (b), [c]"}]
    path = results.save("race", {"rounds": 3}, {"speed": rows}, store=tmp_path)
    run = ledger.newest("race", tmp_path)
    assert (run.speed, run.settings.rounds) == (rows, 3)
    assert run.machine.threads > 0
    assert '\n  {"prompt": 32, "engine_ms": 0.30000000000000004, ' in path.read_text("utf-8")


def test_the_newest_result_comes_first(tmp_path):
    for name, day in (("a", "2026-01-02"), ("b", "2026-03-01"), ("c", "2026-02-01")):
        machine = {"device": name, "cpu": name}
        found = {"benchmark": "x", "date": day, "machine": machine, "rows": []}
        (tmp_path / f"x.{name}.json").write_text(json.dumps(found))
    assert [run.machine.device for run in ledger.runs("x", tmp_path)] == ["b", "c", "a"]
    assert ledger.newest("x", tmp_path, on="a").machine.device == "a"
    with pytest.raises(LookupError, match="no result of a device 'z'"):
        ledger.newest("x", tmp_path, on="z")


def test_cells_of_a_table():
    row = {"engine_ms": 2.0, "generate_ms": 3.0, "compiled_ms": None, "rows": 10}
    columns = {
        "a": "engine_ms", "b": ["generate_ms", "engine_ms"], "c": "engine_ms%generate_ms",
        "d": "compiled_ms", "e": ["compiled_ms", "engine_ms"], "f": "(rows / engine_ms) | num",
    }  # fmt: skip
    assert ledger.ledger_table([row], columns).splitlines()[-1] == "| 2 | 1.50× | 67% | – | – | 5 |"


def test_the_middle_of_rounds():
    assert results.middle([3.0, 1.0, 2.0, 100.0, 2.0]) == (2.0, 0.5)
    assert results.middle([4.0]) == (4.0, 0.0)


def test_a_power_law_is_found():
    rows = [{"n": n, "s": 5 * n**1.5} for n in (16, 32, 128)]
    assert ledger.exponent(rows, "n", "s") == pytest.approx(1.5)
