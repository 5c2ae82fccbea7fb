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
        options += ["-p", "no:nbval", "-p", "no:xdist", str(path)]  # quicker to start
        return run_tests.run_pytest([*options, *arguments], expression)

    return run


def test_stage_counts_what_pytest_reports(run_stage):
    text = (
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip('no')"
    )
    assert str(run_stage(text)) == "1 passed, 1 failed, 1 skipped"


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
    monkeypatch.setattr(run_tests, "stages", lambda expression: found)
    assert run_tests.main(["-k", "zebra"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == last
    assert ("no test is selected by -k 'zebra'" in lines[-2]) == (not any(map(sum, counts)))
