"""When something was handed in: nbgrader's time stamps, a student's own, and odd ones."""

import os
import re
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader import submissions
from grader.submissions import find_submissions, parse_timestamp

EXERCISES = {"01_lists": ["double", "mean"], "02_more": ["half"]}
MOMENT = datetime(2030, 2, 1, 12, 0, 0, 123456)


@pytest.mark.parametrize(("zone", "hours"), [
    (" UTC", 0), (" CET", 1), (" America/Los_Angeles", -8), ("", 0), (" +0100", 1),
    ("+01:00", 1), (" -03", -3), (" GMT", 0), (" EST", -5), (" JST", 9),
])  # fmt: skip
def test_times_as_nbgrader_writes_them(zone, hours):
    text = f"{MOMENT.isoformat(' ')}{zone}\n"
    assert parse_timestamp(text) == MOMENT.replace(tzinfo=UTC) - timedelta(hours=hours)
    if not re.search(r"[+-]|JST", zone):  # these it writes, and does not read
        from nbgrader.utils import parse_utc

        assert parse_utc(text.strip()) == MOMENT - timedelta(hours=hours)


def test_a_zone_that_is_in_two_countries_is_the_one_of_this_machine(monkeypatch):
    with pytest.raises(ValueError, match="'CST' is no time zone, or several"):
        parse_timestamp("2030-02-01 12:00:00 CST")
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    try:
        found = parse_timestamp("2030-02-01 12:00:00 CST")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == datetime(2030, 2, 1, 18, tzinfo=UTC)
    # What nbgrader writes in summer where it writes CET in winter, and itself takes for UTC.
    assert parse_timestamp("2030-07-01 12:00:00 CEST") == datetime(2030, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "", "99999-01-01 00:00:00 UTC", "2030-02-01 25:00",
                                  "9999-12-31 23:59:59 -1200", "2030-02-01 12:00 CST",
                                  "2030-02-01 12:00 Nowhere/Else"])  # fmt: skip
def test_a_time_that_is_not_read_is_said(put, tmp_path, text):
    put("ann/01_lists/01_lists.ipynb", 100).with_name("timestamp.txt").write_text(text)
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.submitted.timestamp() == 100
    assert "timestamp.txt does not count" in submission.remarks[0]


def test_a_time_of_nbgraders_that_makes_late_work_timely_is_said(put, tmp_path):
    """A student could have written it: nobody's folder says who did."""
    stamp = put("ann/01_lists/01_lists.ipynb", 200).with_name("timestamp.txt")
    stamp.write_text("1970-01-01 00:01:40 UTC")
    put("ben/01_lists/01_lists.ipynb", 90)
    deadline = datetime.fromtimestamp(100, UTC)
    ann, ben = find_submissions(tmp_path, EXERCISES, deadline)[0]
    assert (ann.late, ben.late) == (False, False)
    assert "in time by timestamp.txt, late by the file's own time" in ann.remarks[0]
    assert ben.remarks == ()


@pytest.mark.parametrize("where", [
    "ann", "homes/ann/01_lists", "homes/ann/submitted/x/01_lists", "01_lists/ann",
    "Ann_12_assignsubmission_file_/01_lists",
])  # fmt: skip
def test_a_students_own_time_stamp_does_not_count(put, tmp_path, where):
    put(f"{where}/01_lists.ipynb", 200).with_name("timestamp.txt").write_text("1970-01-01 00:01:40")
    deadline = datetime.fromtimestamp(150, UTC)
    (submission,) = find_submissions(tmp_path, EXERCISES, deadline)[0]
    assert submission.late
    assert "not where nbgrader writes it" in submission.remarks[0]


@pytest.mark.parametrize("seconds", [-1e12, 3e11, 1e18])
def test_times_that_no_calendar_has_stop_nobody(put, tmp_path, monkeypatch, seconds):
    path, lstat = put("ann/01_lists.ipynb"), os.lstat

    def odd(name, *args, **kwargs):  # few file systems keep such times
        found = lstat(name, *args, **kwargs)
        if Path(name) != path:
            return found
        return SimpleNamespace(st_mode=found.st_mode, st_mtime=seconds)

    monkeypatch.setattr(os, "lstat", odd)
    (submission,) = find_submissions(tmp_path, EXERCISES, datetime.now(UTC))[0]
    assert submission.submitted.year == (1970 if seconds < 0 else 9999)


@pytest.mark.parametrize("odd", ["pipe", "device", "folder", "link", "large"])
def test_an_odd_time_stamp_stops_nobody(put, tmp_path, odd):
    stamp = put("ann/01_lists/01_lists.ipynb", 100).with_name("timestamp.txt")
    if odd == "pipe":
        os.mkfifo(stamp)
    elif odd == "device":
        try:
            os.mknod(stamp, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
        except PermissionError:
            pytest.skip("only root makes devices")
    elif odd == "folder":
        stamp.mkdir()
    elif odd == "link":
        stamp.symlink_to("/dev/zero")
    else:
        with stamp.open("wb") as file:
            file.truncate(10**10)
    (submission,) = find_submissions(tmp_path, EXERCISES)[0]
    assert submission.submitted.timestamp() == 100
    assert "timestamp.txt does not count" in submission.remarks[0]


def test_a_file_that_goes_away_while_it_is_read_stops_nobody(put, tmp_path, monkeypatch):
    """As in a folder that a program keeps in step with another machine's."""
    put("ann/01_lists.ipynb"), put("ben/01_lists.ipynb")
    read = submissions.read_notebook

    def read_and_lose(path, given):
        notebook = read(path, given)
        if "ann" in path.parts:
            path.unlink()
        return notebook

    monkeypatch.setattr(submissions, "read_notebook", read_and_lose)
    taken, rejected = find_submissions(tmp_path, EXERCISES)
    assert [each.student for each in taken] == ["ben"]
    assert rejected == [("ann/01_lists.ipynb", "it was gone before it was read")]
