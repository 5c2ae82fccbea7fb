"""README, CONTRIBUTING and the notebooks agree with what is there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
LECTURES = sorted((ROOT / "notebooks").glob("*.ipynb"))
BINARY = {".gif", ".png", ".safetensors"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *LECTURES]
PAGES += sorted((ROOT / "docs").glob("*.md"))
PAGES += sorted((ROOT / "solutions").glob("*.ipynb"))
GUIDE = ROOT / "docs" / "instructors_guide.md"


def text_of(path: Path) -> str:
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if not target.startswith(("http", "#", "../../")):  # ../../ are GitHub's own pages
            assert (page.parent / target.split("#")[0]).exists(), target


def exercise_of(lecture: Path) -> Path:
    """03 and 03b have one exercise, and so have 08a, 08b and 08c, or 12a and 12b."""
    (exercise,) = (ROOT / "exercises").glob(f"{lecture.name[:2]}_*.ipynb")
    return exercise


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda p: p.stem)
def test_a_lecture_is_listed_with_its_minutes_and_has_an_exercise(lecture):
    readme = (ROOT / "README.md").read_text()
    row = next(line for line in readme.splitlines() if f"(notebooks/{lecture.name})" in line)
    minutes = re.search(r"\*\*Time\*\* about (\d+) minutes", text_of(lecture)).group(1)
    assert f"| {minutes} |" in row
    if not lecture.name.startswith("00"):
        assert exercise_of(lecture).exists()
        assert f"(exercises/{exercise_of(lecture).name})" in row
        assert f"({lecture.name})" in text_of(LECTURES[0]), "not in the map of 00_start_here"


# Once for each exercise, so that `make test K=09_beam_search` says it to who changes that one.
@pytest.mark.parametrize(
    "exercise", sorted((ROOT / "exercises").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_the_readme_adds_up(exercise):
    """Hours and the number of tasks are those of the lectures and exercises."""
    readme = (ROOT / "README.md").read_text()
    minutes = [int(re.search(r"about (\d+) minutes", text_of(lecture))[1]) for lecture in LECTURES]
    exercises = [text_of(path) for path in sorted((ROOT / "exercises").glob("*.ipynb"))]
    tasks = re.findall(r"Difficulty \d of 5 · (\d+) minutes", " ".join(exercises))
    hours = round(sum(minutes) / 60), round(sum(map(int, tasks)) / 60)
    for words in (
        "about {} hours and the exercises about {} more".format(*hours),
        f"{len(tasks) - len(exercises)} graded tasks",  # and an open question each
    ):
        assert words in readme, f"README.md must say now: {words}"


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda p: p.stem)
def test_an_instructor_has_a_plan_for_each_lecture(lecture):
    """A row of the evening's page, whose sections are in the lecture."""
    name, page = lecture.name.split("_")[0], (ROOT / "docs/instructors_evening.md").read_text()
    if name == "00":
        return
    plan = page.split("| take these predictions |")[1].splitlines()
    row = next(line for line in plan if line.startswith(f"| {name} |"))
    sections = set(re.findall(r"(?m)^## (\d+)\.", text_of(lecture)))
    taken, *rest = row.strip("|").split("|")[1:]
    named = re.findall(r"(?:^|\),) (\d+) \(", taken) + re.findall(r"\d+", " ".join(rest))
    assert len(named) > 3
    missing = ", ".join(sorted(set(named) - sections, key=int))
    assert not missing, (
        f"docs/instructors_evening.md: no section {missing} in {lecture.name}: {row}"
    )


@pytest.mark.parametrize("lecture", LECTURES, ids=lambda p: p.stem)
def test_a_lecture_has_its_parts_and_credits_the_source(lecture):
    text = text_of(lecture)
    for part in (
        "**You will be able to**",
        "**Time**",
        "> **Predict.**",
        "<summary>Explain</summary>",
    ):
        assert part in text, part
    assert "## Summary" in text
    assert "COMP4901Y, HKUST, by Binhang Yuan" in text


def test_the_readmes_film_moves_and_is_small():
    path = ROOT / "docs/film.gif"
    with Image.open(path) as animation:
        frames = []
        for i in range(animation.n_frames):
            animation.seek(i)
            frames.append(animation.convert("RGB").tobytes())
    assert len(frames) > 12
    assert len(set(frames)) > 12, "most frames look the same: the widgets did not move"
    assert path.stat().st_size < 2_500_000


HEAVY = ("torch", "transformers", "pandas", "matplotlib", "nbformat")
COMMANDS = ("grader grade", "grader check", "tools/lms.py",
            "lecture_lib.inference_script", "lecture_lib.parallel", "lecture_lib.loading",
            "tools/release.py")  # fmt: skip
# Each command is told --help as `python -m` or `python FILE` would do it, in one process.
HELP = """
import contextlib, io, json, runpy, sys

sys.path.append("tools")  # where python tools/release.py looks first

def helped(name, *arguments):
    sys.argv = [name, *arguments, "--help"]
    run = runpy.run_path if name.endswith(".py") else runpy.run_module
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        run(name, run_name="__main__")
    return said.getvalue()

import lecture_lib, lecture_lib.model_spec
imported = {"importing the library": [m for m in (*HEAVY, "numpy") if m in sys.modules]}
said = {}
for command in COMMANDS:
    said[command] = helped(*command.split())
    imported[command] = [m for m in HEAVY if m in sys.modules]
print(json.dumps([said, imported]))
"""


@pytest.fixture(scope="module")
def helped():
    """What --help of each command says, and which heavy packages it has imported."""
    code = f"HEAVY, COMMANDS = {HEAVY}, {COMMANDS}\n{HELP}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_neither_importing_the_library_nor_help_imports_much(helped):
    said, imported = helped
    assert imported == {name: [] for name in imported}
    for command in COMMANDS:
        assert said[command].startswith("usage: "), command


def test_the_instructors_guide_names_options_and_targets_that_exist(helped):
    said, _ = helped
    helped = "".join(text for command, text in said.items() if "grader" in command)
    helped += said["tools/release.py"]
    text = GUIDE.read_text()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert len(named) > 10
    for option in named:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", helped), option
    for limit in re.findall(r"--limit (\w+)=", text):
        assert limit in helped, limit
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?m)(?:^|`)make (\w+)", text):
        assert f"\n{target}:" in makefile, target


def test_nothing_names_a_private_place():
    """Paths of a machine or of a person's home have no place in what others download."""
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    private = re.compile(r"/(?:home|Users|root|work)/\w+|/tmp/\w+/|[A-Z]:\\\\Users\\\\")
    for name in filter(None, files):
        path = ROOT / name
        if (
            path.suffix in {".png", ".gif", ".safetensors", ".wav"}
            or path.name == Path(__file__).name
            or not path.is_file()
        ):
            continue
        found = private.search(path.read_text(encoding="utf-8"))
        assert not found, f"{name}: {found.group()}"
