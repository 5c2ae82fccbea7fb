"""Points for Canvas and Moodle: everyone in the platform's own row, no one's points lost."""

import csv
import json
import unicodedata

import pytest

from tools import lms

POINTS = [  # student, exercise, task, points of most
    ("Jane Doe_12345", "01_lists", "double", 2, 2),
    ("Jane Doe_12345", "01_lists", "mean", 1.5, 3),
    ("ada@example.org", "01_lists", "double", 0, 2),
    ("ada@example.org", "02_more", "half", None, 1),
    ("nobody", "01_lists", "double", 2, 2),
]


@pytest.fixture
def results(tmp_path):
    keys = ("student", "exercise", "task", "points", "max_points")
    lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in POINTS]
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    return tmp_path


def make_upload(results, platform, roster):
    (results / "roster.csv").write_text(roster, encoding="utf-8-sig")
    out = results / "upload.csv"
    arguments = [platform, str(results), str(results / "roster.csv"), "--out", str(out)]
    code = lms.main(arguments)
    return code, list(csv.reader(out.open())) if out.exists() else None


def test_canvas_gets_its_own_columns_and_the_points_possible(results, capsys):
    roster = (
        "Student,ID,SIS User ID,SIS Login ID,Section,Old task (77)\n"
        "    Points Possible,,,,,10\n"
        '"Doe, Jane",12345,s1,jdoe,A,9\n"Love, Ada",12346,s2,ada@example.org,A,8\n'
        '"Late, Ben",9,,,A,\n'
    )
    code, rows = make_upload(results, "canvas", roster)
    assert rows == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "01_lists", "02_more"],
        ["    Points Possible", "", "", "", "", "5", "1"],
        ["Doe, Jane", "12345", "s1", "jdoe", "A", "3.5", ""],
        ["Love, Ada", "12346", "s2", "ada@example.org", "A", "0", ""],
        ["Late, Ben", "9", "", "", "A", "", ""],
    ]
    told = capsys.readouterr()
    assert code == 1
    assert "nobody" in told.err
    assert "Late, Ben 9" in told.out


def test_moodle_keeps_the_identifier_and_the_email(results):
    roster = (
        "Identifier,Full name,Email address,Status\n"
        "Participant 12345,Jane Doe,jane@example.org,x\nParticipant 7,Ada Love,ada@example.org,x\n"
    )
    _, rows = make_upload(results, "moodle", roster)
    assert rows == [
        ["Identifier", "Full name", "Email address", "01_lists", "02_more"],
        ["Participant 12345", "Jane Doe", "jane@example.org", "3.5", ""],
        ["Participant 7", "Ada Love", "ada@example.org", "0", ""],
    ]


@pytest.mark.parametrize(
    ("platform", "roster", "words"),
    [
        ("canvas", "Name,ID\nx,1\n", "needs all of ['ID', 'Student']"),
        ("moodle", "Full name\nx\n", "needs one of"),
        ("moodle", "Email address,ID number\nx@y,12345\nz@y,12345\n", "fits 2 rows"),
        ("moodle", "Email address,ID number\nada@example.org,12345\n", "are the same row"),
    ],
)
def test_a_roster_that_does_not_fit_is_refused(results, capsys, platform, roster, words):
    code, rows = make_upload(results, platform, roster)
    assert (code, rows) == (2, None)
    assert words in capsys.readouterr().err


def test_names_that_look_like_nothing_and_rows_of_other_lengths(results):
    """A table reader could take NA for a missing value, and a row that is too long for an index."""
    rows = [("NA", "01", "1", None, 2), ("Bea_8", "02", "1", 1.5, 2)]
    keys = ("student", "exercise", "task", "points", "max_points")
    lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows]
    (results / "results.jsonl").write_text("\n".join(lines))
    roster = 'Student,ID,SIS Login ID\nNA,7,x,\n"Short, A",8\n'
    code, found = make_upload(results, "canvas", roster)
    assert code == 0
    assert found[2:] == [["NA", "7", "x", "", ""], ["Short, A", "8", "", "", "1.5"]]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_may_be_written_as_one_character_or_two(results, forms):
    student, roster = (unicodedata.normalize(form, "José Bo") for form in forms)
    row = {"student": student, "exercise": "01", "task": "1", "points": 2, "max_points": 2}
    (results / "results.jsonl").write_text(json.dumps(row))
    code, found = make_upload(results, "moodle", f"Full name,ID number\n{roster},7\n")
    assert code == 0
    assert found[1][1:] == ["7", "2"]
