"""Everyone's work under the right name: layouts of platforms, odd names, and what is asked."""

import os
import re
from datetime import UTC, datetime

import pytest

from grader.people import clean_name, find_in_roster, read_students
from grader.submissions import find_submissions

EXERCISES = {"01_lists": ["double", "mean"], "02_more": ["half"]}
UNCLEAR = "could be of several students"


def students(folder, **options):
    taken, _ = find_submissions(folder, EXERCISES, **options)
    return sorted((each.student, each.exercise) for each in taken)


def canvas_name(sortable_name, late, user_id, file_id, file):
    """As lib/content_zipper.rb makes it: a name's words without anything between them."""
    parts = [sortable_name.lower(), "LATE" if late else None, str(user_id)]
    start = re.sub(r"[^\w]", "", "_".join(filter(None, parts)))
    return f"{start}_{file_id}_{file}"


LAYOUTS = {
    "nbgrader": ["submitted/{}/01_lists/01_lists.ipynb", "submitted/{}/02_more/02_more.ipynb"],
    "nbgrader, own names": ["submitted/{}/ps1/01_lists.ipynb", "submitted/{}/ps1/02_more.ipynb"],
    "nbgrader's exchange": ["{}+01_lists+2030-01-31 12:00:00.123456 UTC/01_lists.ipynb",
                            "{}+02_more+2030-01-31 12:00:00.123456 UTC+x9_-a/02_more.ipynb"],
    "by exercise": ["01_lists/{}.ipynb", "02_more/{}.ipynb"],
    "by exercise, folders": ["01_lists/{}/answers.ipynb", "02_more/{}/answers.ipynb"],
    "JupyterHub": ["homes/{}/course/exercises/01_lists.ipynb",
                   "homes/{}/course/exercises/02_more__20300131120000.ipynb"],
    "JupyterHub, volumes": ["{}/repository/course/exercises/01_lists.ipynb",
                            "{}/repository/course/exercises/02_more.ipynb"],
    "Colab": ["{}_Copy of 01_lists.ipynb", "{}_Kopie von 02_more.ipynb"],
    "other capitals": ["{}_01_LISTS.ipynb", "{}_02 More.ipynb"],
    "Safari": ["{}_01_lists.ipynb.json", "{}_02_more.ipynb.txt"],
    "mail": ["{}/01_lists.json", "{}/02_more (1).txt"],
    "folders with the exercise": ["{}_01_lists/01_lists.ipynb", "{}-02_more/answers.ipynb"],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("names", [("ann", "ben"), ("s-4711", "s-4712"), ("Ann Lee", "Ann Loo")])
def test_layouts_keep_two_students_apart_and_each_in_one(put, tmp_path, layout, names):
    one, two = LAYOUTS[layout]
    for name in names:
        put(one.format(name))
        put(two.format(name), exercise="02_more")
    assert students(tmp_path) == [(name, exercise) for name in names for exercise in EXERCISES]


def test_the_folder_that_is_graded_may_be_nbgraders_own(put, tmp_path):
    put("submitted/ann/ps1/01_lists.ipynb")
    put("submitted/ann/ps2/02_more.ipynb", exercise="02_more")
    assert students(tmp_path / "submitted") == [("ann", "01_lists"), ("ann", "02_more")]


@pytest.mark.parametrize("folder", ["", "01_lists submissions/"])
def test_canvas(put, tmp_path, folder):
    for late, user, file in [(True, 81, "01_lists-1.ipynb"), (False, 82, "my answers.ipynb")]:
        put(folder + canvas_name("Lee, Ann", late, user, 4000 + user, file), when=2_000_000_000)
    put(folder + canvas_name("Lee, Ann", False, 81, 4500, "x-2.ipynb"), exercise="02_more")
    put(folder + "anon_x7A2k_4811_01_lists.ipynb")
    put(folder + "LATE_anon_y7A2k_4812_01_lists-3.ipynb")
    deadline = datetime(2020, 1, 1, tzinfo=UTC)
    found = find_submissions(tmp_path, EXERCISES, deadline)[0]
    # The files' times are those of the download: what Canvas calls late is late.
    assert [(each.student, each.exercise, each.late) for each in found] == [
        ("anon_x7A2k", "01_lists", False), ("anon_y7A2k", "01_lists", True),
        ("leeann_81", "01_lists", True), ("leeann_81", "02_more", False),
        ("leeann_82", "01_lists", False)]  # fmt: skip


@pytest.mark.parametrize("ending", ["_/", "/", "_"])
def test_moodle(put, tmp_path, ending):
    put(f"Ann Lee_4711_assignsubmission_file{ending}01_lists.ipynb")
    put(f"Ann Lee_4712_assignsubmission_file{ending}hw.ipynb")
    put(f"Participant_4713_assignsubmission_file{ending}01_lists.ipynb")
    note = tmp_path / f"Ann Lee_4711_assignsubmission_onlinetext{ending}onlinetext.html"
    note.parent.mkdir(exist_ok=True)
    note.write_text("<p>Dear grader</p>")
    assert [who for who, _ in students(tmp_path)] == [
        "Ann Lee_4711", "Ann Lee_4712", "Participant_4713"]  # fmt: skip
    ((path, why),) = find_submissions(tmp_path, EXERCISES)[1]
    assert path.endswith("onlinetext.html")
    assert "no notebook" in why


ASKED = {
    "groups": ["A/ann_01_lists.ipynb", "A/ben_01_lists.ipynb", "B/cem_01_lists.ipynb"],
    "groups of folders": ["A/ann/01_lists.ipynb", "A/ben/01_lists.ipynb", "B/cem/01_lists.ipynb"],
    "a folder around": ["sheet 1/ann.ipynb", "sheet 1/ben.ipynb"],
    "around, other tasks": ["sheet 1/ann/01_lists.ipynb", "sheet 1/ben/02_more.ipynb"],
    "numbers of a browser": ["student (1).ipynb", "student (2).ipynb"],
    "like Canvas": ["team_1_2_01_lists.ipynb", "team_1_3_01_lists.ipynb"],
    "two of one's own": ["ann/mine.ipynb", "ann/yours.ipynb", "ben/01_lists.ipynb"],
}


@pytest.mark.parametrize("layout", ASKED)
def test_who_cannot_be_told_is_asked_for_and_never_merged(put, tmp_path, layout):
    for path in ASKED[layout]:
        put(path, exercise="02_more" if "02_more" in path else "01_lists")
    with pytest.raises(ValueError, match=UNCLEAR) as told:
        students(tmp_path)
    for words in (*ASKED[layout][:2], "--pattern", "--roster"):
        assert words in str(told.value)
    found = students(tmp_path, pattern=re.compile(r"(?P<student>[^/]+)\.ipynb$"))
    assert len(found) == len({os.path.basename(path) for path in ASKED[layout]})


@pytest.mark.parametrize("paths", [
    ["ann/01_lists.ipynb", "ann/old/01_lists.ipynb", "ann/backup/01_lists (3).ipynb"],
    ["ann/01_lists.ipynb", "ann/Copy of 01_lists.ipynb", "ann/01_lists - Kopie.ipynb"],
    ["ann_01_lists.ipynb", "ann_01_lists-1.ipynb", "ann_01_lists (copy).ipynb"],
    ["ann.ipynb", "ann (1).ipynb"],
    ["lee_81_4711_01_lists.ipynb", "lee_81_4712_01_lists-1.ipynb"],
    ["homes/ann/one/01_lists.ipynb", "homes/ann/two/01_lists.ipynb"],
])  # fmt: skip
def test_versions_of_one_student_need_no_asking(put, tmp_path, paths):
    for path in paths:
        put(path)
    assert len(students(tmp_path)) == 1


def test_numbers_that_are_names_are_no_versions(put, tmp_path):
    for name in ("Team (1)", "Team (2)"):
        put(f"{name}/01_lists.ipynb")
    for name in ("student-1", "student-2"):
        put(f"{name}.ipynb")
        put(f"02_more_{name}.ipynb", exercise="02_more")
    assert len(students(tmp_path)) == 6


def test_who_names_nobody_is_not_taken(put, tmp_path):
    for path in ("01_lists.ipynb", "submitted/01_lists (1).ipynb", "01_lists/01_lists-2.ipynb"):
        put(path)
    taken, rejected = find_submissions(tmp_path, EXERCISES)
    assert taken == []
    assert {why for _, why in rejected} == {
        "its path names no student: put it into a folder of that name"
    }


ROSTER = """Identifier,Full name,Email address,ID number,Status
Participant 4711,Ann Lee,ann@uni.example,s1,x
Participant 4712,Ann Lee,lee@uni.example,s2,x
Participant 4713,Jose\N{COMBINING ACUTE ACCENT} Bo,bo@uni.example,s33,x
"""


def test_a_roster_says_whose_a_file_is(put, tmp_path):
    (tmp_path / "roster.csv").write_text(ROSTER, encoding="utf-8")
    roster = read_students(tmp_path / "roster.csv")
    folder = tmp_path / "in"
    put("in/Group A/s1_01_lists.ipynb")
    put("in/Group A/Jos\N{LATIN SMALL LETTER E WITH ACUTE} Bo.ipynb")
    put("in/Ann Lee_4712_assignsubmission_file_/01_lists.ipynb")
    put("in/Group B/S1 02_more.ipynb", exercise="02_more")
    put("in/Ann Lee/01_lists.ipynb")
    put("in/cem/01_lists.ipynb")
    taken, rejected = find_submissions(folder, EXERCISES, roster=roster)
    assert [(each.student, each.exercise) for each in taken] == [
        ("Participant 4711", "01_lists"), ("Participant 4711", "02_more"),
        ("Participant 4712", "01_lists"), ("Participant 4713", "01_lists")]  # fmt: skip
    assert rejected == [
        ("Ann Lee/01_lists.ipynb",
         "its path fits Participant 4711, Participant 4712 of the roster"),
        ("cem/01_lists.ipynb", "its path fits nobody of the roster")]  # fmt: skip


def test_a_roster_does_not_guess():
    roster = {"Ann": ["ann"], "Ann Lee": ["ann lee"], "Bo": ["bo", "b@x.example"]}
    assert find_in_roster(["ann_lee"], roster) == ["Ann", "Ann Lee"]
    assert find_in_roster(["Bo", "b@x.example", "lee"], roster) == ["Bo"]
    assert find_in_roster(["group", "ANN"], roster) == ["Ann"]
    assert find_in_roster(["ann", "bo"], roster) == ["Ann", "Bo"]
    assert find_in_roster(["annika"], roster) == []


BELOW = ["submitted/ann", "homes/ann", "ann_assignsubmission_file_", "ann", "01_lists/ann",
         "ann+01_lists+2039-01-31 12:00:00 UTC"]  # fmt: skip


@pytest.mark.parametrize("below", BELOW)
def test_nobody_takes_another_name_by_a_folder_below_their_own(put, tmp_path, below):
    """Who hands in a folder chooses the names in it; the later file would count as ann's."""
    put("ann/01_lists.ipynb")
    put(f"eve/{below}/01_lists.ipynb", when=2_000_000_000)
    assert students(tmp_path) == [("ann", "01_lists"), ("eve", "01_lists")]


def test_nobody_takes_another_name_in_the_roster_either(put, tmp_path):
    put("in/ann lee/01_lists.ipynb")
    put("in/eve/Ann Lee 4711 lee@uni.example s1/01_lists.ipynb", when=2_000_000_000)
    roster = {"Ann Lee": ["ann lee", "4711", "lee@uni.example", "s1"], "Eve": ["eve", "4712"]}
    taken, rejected = find_submissions(tmp_path / "in", EXERCISES, roster=roster)
    assert [each.path for each in taken] == ["ann lee/01_lists.ipynb"]
    assert [why for _, why in rejected] == ["its path fits Ann Lee, Eve of the roster"]


@pytest.mark.parametrize(("text", "told"), [
    ("Full name\nx\nx\n", "no column in which each student has another name"),
    ("", "no column"),
])  # fmt: skip
def test_a_roster_without_names_is_refused(tmp_path, text, told):
    (tmp_path / "roster.csv").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_students(tmp_path / "roster.csv")


def test_a_pattern_must_name_the_student_and_fit(put, tmp_path):
    put("2030 ann/01_lists.ipynb")
    put("ben/01_lists.ipynb")
    with pytest.raises(ValueError, match=r"needs a group \(\?P<student>"):
        students(tmp_path, pattern="x")
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        students(tmp_path, pattern="(")
    taken, rejected = find_submissions(
        tmp_path, EXERCISES, pattern=re.compile(r"^\d+ (?P<student>\w+)/")
    )
    assert [each.student for each in taken] == ["ann"]
    assert rejected == [("ben/01_lists.ipynb", "--pattern does not fit its path")]


def test_a_pattern_that_finds_a_name_with_and_without_a_space_is_asked_about(put, tmp_path):
    for name in ("ann", "ann "):
        put(f"{name}/01_lists.ipynb")
    with pytest.raises(ValueError, match=UNCLEAR):
        students(tmp_path, pattern="^(?P<student>[^/]+)")
    assert students(tmp_path, pattern=r"^(?P<student>\w+)") == [("ann", "01_lists")]


def test_names_that_are_nearly_the_same_stay_apart(put, tmp_path):
    long = "x" * 130
    for name in (f"{long}1", f"{long}2", "Ann", "ann", "a?"):
        put(f"{name}/01_lists.ipynb")
    for byte in (b"\xff", b"\xfe"):
        put("tmp/01_lists.ipynb")
        os.rename(tmp_path / "tmp", os.fsencode(tmp_path) + b"/a" + byte)
    names = [who for who, _ in students(tmp_path)]
    assert len(names) == len(set(names)) == 7
    by_pattern = students(tmp_path, pattern=re.compile("^(?P<student>[^/]+)"))
    assert [who for who, _ in by_pattern] == names
    assert all(len(name) < 150 and name.isprintable() for name in names)
    assert clean_name("Jose\N{COMBINING ACUTE ACCENT}") == "Jos\N{LATIN SMALL LETTER E WITH ACUTE}"
