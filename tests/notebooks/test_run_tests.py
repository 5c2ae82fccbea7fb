"""The runner of all stages counts what ran, and notices what did not."""

import pytest
import run_tests

from notebooks import ROOT


@pytest.fixture
def run_stage(tmp_path):
    """Run pytest, as a stage, on a file of tests."""

    def run(text, *arguments, expression=""):
        path = tmp_path / "test_it.py"
        path.write_text(text)
        options = ["-c", str(ROOT / "pyproject.toml"), "-q", "-p", "no:cacheprovider"]
        # Quicker to start: without xdist, and without nbval, whose options pyproject.toml has.
        options += ["-p", "no:xdist", "-p", "no:nbval", "-o", "addopts=", str(path)]
        return run_tests.run_pytest([*options, *arguments], expression)

    return run


def test_stage_counts_what_pytest_reports_and_why_it_was_skipped(run_stage):
    text = (  # what takes no time at all is not counted among the slowest files
        "import pytest, time\ndef test_a(): time.sleep(0.01)\n"
        "def test_b(): assert 0\ndef test_c(): pytest.skip('no')"
    )
    count = run_stage(text)
    assert str(count) == "1 passed, 1 failed, 1 skipped"
    assert count.reasons == {"no": 1}
    assert len(count.seconds) == 1  # one file


SKIPPED = "import needs\ndef test_a(): needs.missing('a browser', 'apt install chromium')\n" * 2


@pytest.mark.parametrize(("ci", "counts"), [("", (0, 0, 1)), ("true", (0, 1, 0))])
def test_what_a_machine_lacks_is_skipped_with_its_remedy_but_fails_in_ci(
    run_stage, monkeypatch, capsys, ci, counts
):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    count = run_stage(SKIPPED)
    assert (count.passed, count.failed, count.skipped) == counts
    monkeypatch.setattr(run_tests, "stages", lambda part, expression: [("it", lambda: count)])
    assert run_tests.main([]) == counts[1]
    said = "1 test skipped: a browser: apt install chromium"
    assert (said in capsys.readouterr().out) == (not ci)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [("import nothing_like_this", []), ("", []), ("", ["--no-such-option"])],
    ids=["broken file", "no test", "wrong option"],
)
def test_stage_that_ran_no_test_fails(text, arguments, run_stage):
    assert run_stage(text, *arguments) == run_tests.Count(failed=1)


def test_stage_in_which_the_selection_finds_nothing_is_fine(run_stage):
    count = run_stage("def test_a(): pass", "-k", "zebra", expression="zebra")
    assert not count
    assert count.failed == 0


@pytest.mark.parametrize("expression", ["", "09_beam_search"])
def test_ruff_is_run_with_a_selection_too_since_ci_runs_it(expression, monkeypatch, capsys):
    found = run_tests.stages("all", expression)
    assert [title for title, _ in found] == ["notebooks and tests", "ruff check", "ruff format"]
    nothing = [(title, lambda: run_tests.Count(passed=1)) for title, _ in found]
    nothing[0] = (found[0][0], run_tests.Count)
    monkeypatch.setattr(run_tests, "stages", lambda part, expression: nothing)
    assert run_tests.main(["-k", "zebra"]) == 1  # ruff alone is no test that was selected
    assert "no test is selected by -k 'zebra'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "code", "last"),
    [
        ([(3, 0, 1), (2, 0, 0)], 0, "5 passed, 0 failed, 1 skipped"),
        ([(3, 1, 0), (2, 0, 0)], 1, "5 passed, 1 failed, 0 skipped"),
        ([(0, 0, 0), (0, 0, 0)], 1, "0 passed, 0 failed, 0 skipped"),
    ],
)
def test_last_line_sums_all_stages(counts, code, last, monkeypatch, capsys):
    found = [(f"stage {i}", lambda c=c: run_tests.Count(*c)) for i, c in enumerate(counts)]
    monkeypatch.setattr(run_tests, "stages", lambda part, expression: found)
    assert run_tests.main(["-k", "zebra"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == last
    assert ("no test is selected by -k 'zebra'" in lines[-2]) == (not any(map(sum, counts)))
