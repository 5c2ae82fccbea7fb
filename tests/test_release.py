"""`make release`: nothing that answers gets out, the bytes repeat, and a student can work with it.

The rules are tried on a small course of its own; the course itself is released once, unpacked and
used as a student would.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import course as course_script
import nbformat
import pytest
import release
import release_files
import release_leaks
import release_student_check
import released_course
import yaml
from released_course import ROOT, commit

from grader import cells, checks

sys.path.append(str(ROOT / "tests" / "grading"))
import small_course
from small_tasks import merge_solutions

pytestmark = pytest.mark.slow

LEAKED = "    return [item + item for item in x]"  # the small course's solution of "double"
CASES = (
    'return [Case(rng.normal(size=3).tolist()), Case(rng.normal(size=5).tolist(), label="five")]'
)


# --- the rules, on a small course ------------------------------------------------------------


@pytest.fixture
def course(tmp_path):
    """A small course under git, with the real course's README, Makefile and so on."""
    root = small_course.make_course(tmp_path / "course")
    single = [*release_files.SINGLE, *release_files.LICENCES, *release_files.RENAMED]
    for name in [*single, "lecture_lib/__init__.py", "lecture_lib/model_spec.py"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    rows = [f"| [x](exercises/{name}.ipynb) |\n" for name in small_course.TASKS]
    append(root / "README.md", "".join(rows))
    write(root / "grader/judge.py", "SECRET = 1\n")
    write(root / "tests/exercises/01_lists_answers.py", LEAKED)
    write(root / ".gitignore", "dist/\n")
    commit(root)
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_a_release_holds_what_students_need_and_nothing_else(course):
    folder, archive = release.release(course, course / "dist")
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert written == {
        ".github/workflows/visible_tests.yml", "CITATION.cff", "LICENSE", "LICENSE-TEXT",
        "Makefile", "README.md", "pyproject.toml", "requirements.txt",
        "exercises/01_lists.ipynb", "exercises/02_more.ipynb",
        "lecture_lib/__init__.py", "lecture_lib/model_spec.py", "tools/course.py",
        "tools/run_tests.py",
    }  # fmt: skip
    with zipfile.ZipFile(archive) as file:
        assert {name.partition("/")[2] for name in file.namelist()} == written
        for name in written:
            assert file.read(f"{folder.name}/{name}") == (folder / name).read_bytes()


def test_a_receipt_says_what_was_tested_of_which_file(course, tmp_path, monkeypatch, capsys):
    """02_more has no answer: it is neither run nor a failure."""
    ready = SimpleNamespace(ok=True, verdict=lambda: "ready")
    monkeypatch.setattr(release_student_check, "ROOT", course)
    monkeypatch.setattr(release_student_check, "check_environment", lambda: ready)
    monkeypatch.setenv("GITHUB_SHA", "0123abcd")
    receipt, exercise = tmp_path / "receipt.md", course / "exercises/01_lists.ipynb"
    arguments = ["--receipt", str(receipt)]
    assert release_student_check.main(arguments) == 0
    assert "no exercise has an answer yet" in receipt.read_text()
    for mean, status, n in ((None, 1, 1), (small_course.RIGHT["mean"], 0, 2)):
        nbformat.write(small_course.notebook(course, double=None) if mean is None
                       else small_course.notebook(course, mean=mean), exercise)  # fmt: skip
        assert release_student_check.main(arguments) == status
        told = receipt.read_text()
        assert "Commit 0123abcd, tested 2" in told
        assert f"01_lists: {n} of 2 visible tests pass" in told
        digest = subprocess.run(["sha256sum", exercise], capture_output=True, text=True).stdout
        assert f"sha256 {digest.split()[0]}" in told
        assert "02_more" not in told
        assert f"01_lists: {n} of 2 visible tests pass" in capsys.readouterr().out


def test_the_students_workflow_runs_a_command_that_there_is(course, monkeypatch):
    folder, _ = release.release(course, course / "dist")
    workflow = yaml.safe_load((folder / ".github/workflows/visible_tests.yml").read_text())
    [job] = workflow["jobs"].values()
    ours = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    known = {step.get("uses") for step in ours["jobs"]["test"]["steps"]}
    known.add("actions/upload-artifact@v4")
    assert {step.get("uses") for step in job["steps"]} <= known
    [command] = [step["run"] for step in job["steps"] if "course.py" in step.get("run", "")]
    ran = []
    monkeypatch.setattr(course_script, "ensure_installed", lambda: None)
    monkeypatch.setattr(course_script, "ROOT", folder)
    monkeypatch.setattr(course_script, "run_in_venv", lambda line: ran.append(line) or 0)
    assert course_script.main(command.split()[2:]) == 0
    assert ran[0][1:] == ["tools/run_tests.py", "--receipt", "receipt.md"]


def test_the_same_files_give_the_same_bytes_elsewhere_too(course, tmp_path):
    _, archive = release.release(course, course / "dist")
    elsewhere = tmp_path / "another" / "place"
    shutil.copytree(course, elsewhere, ignore=shutil.ignore_patterns("dist", ".git"))
    os.utime(elsewhere / "README.md", (1e9, 1e9))
    (elsewhere / "README.md").chmod(0o600)
    old = os.umask(0o077)
    try:
        commit(elsewhere)
        folder, again = release.release(elsewhere, elsewhere / "dist")
        assert (folder / "README.md").stat().st_mode & 0o777 == 0o644
        assert folder.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(old)
    assert again.read_bytes() == archive.read_bytes()
    append(elsewhere / "README.md", "more\n")
    _, other = release.release(elsewhere, elsewhere / "dist", allow_uncommitted=True)
    assert other.read_bytes() != archive.read_bytes()


def test_the_command_prints_size_and_sha256(course, capsys, monkeypatch):
    monkeypatch.setattr(release, "ROOT", course)
    assert release.main(["--out", str(course / "dist")]) == 0
    [archive] = (course / "dist").glob("*.zip")
    told = capsys.readouterr().out
    assert f"{archive.stat().st_size:,} bytes" in told
    done = subprocess.run(["sha256sum", archive], capture_output=True, text=True, check=True)
    assert f"sha256 {done.stdout.split()[0]}" in told


def test_files_that_are_not_committed_are_refused_or_asked_for(course):
    write(course / "notebooks/new.ipynb", "{}")
    with pytest.raises(release.ReleaseError, match=r"not as committed:\s+\?\? notebooks/new"):
        release.release(course, course / "dist")
    assert not (course / "dist").exists()
    (course / "notebooks/new.ipynb").unlink()
    append(course / "lecture_lib/model_spec.py", "MORE = 2\n")
    folder, _ = release.release(course, course / "dist", allow_uncommitted=True)
    assert "MORE = 2" in (folder / "lecture_lib/model_spec.py").read_text()


def test_without_git_it_says_so(course, capsys, monkeypatch):
    shutil.rmtree(course / ".git")
    monkeypatch.setattr(release, "ROOT", course)
    assert release.main(["--allow-uncommitted"]) == 1
    assert "is no git checkout" in capsys.readouterr().err


def test_an_exercise_that_is_not_what_its_solution_gives_is_refused(course):
    path = course / "exercises/01_lists.ipynb"
    path.write_text(path.read_text().replace("Write double", "Write triple"))
    commit(course)
    with pytest.raises(release.ReleaseError, match=r"01_lists\.ipynb: differs"):
        release.release(course, course / "dist")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("README.md", f"\n{LEAKED}\n", "a line of a solution in 01_lists.ipynb"),
        ("README.md", "\nthis is the input itself\n", "the message of not-doubled"),
        ("README.md", "\nsee solutions/01_lists.ipynb\n", "names 'solutions/'"),
        ("lecture_lib/model_spec.py", "\n# ### BEGIN SOLUTION\n", "names 'BEGIN SOLUTION'"),
        ("lecture_lib/model_spec.py", "\nimport grader.judge\n", "imports grader.judge"),
        ("README.md", f"\n{CASES}\n", ": cases: return[Case(rng.normal"),
    ],
)
def test_an_answer_in_a_students_file_is_refused(course, name, text, words):
    append(course / name, text)
    commit(course)
    with pytest.raises(release.ReleaseError, match=re.escape(words)):
        release.release(course, course / "dist")
    assert not (course / "dist").exists()


def test_a_text_that_has_moved_on_is_refused(course):
    path = course / "README.md"
    path.write_text(path.read_text().replace("runs everything that CI runs", "runs all tests"))
    with pytest.raises(release.ReleaseError, match=r"README.md: .*bring EDITS in tools/release"):
        release.release(course, course / "dist", allow_uncommitted=True)


def test_a_link_that_leads_nowhere_is_refused(course):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("[x](../docs/gone.md)")])
    nb.cells.append(nbformat.v4.new_code_cell("functions[0](x)"))  # which is no link
    (course / "notebooks").mkdir()
    nbformat.write(nb, course / "notebooks/01_lists.ipynb")
    append(course / "README.md", "[x](notebooks/01_lists.ipynb)\n")
    with pytest.raises(release.ReleaseError, match=r"links to docs/gone\.md"):
        release.release(course, course / "dist", allow_uncommitted=True)


# --- the course itself -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def secrets():
    return release_leaks.read_secrets(ROOT)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The course that is released, all committed."""
    return released_course.clean_copy(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def student(whole, tmp_path_factory, secrets):
    """The released course, unpacked."""
    folder = tmp_path_factory.mktemp("release")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "read_secrets", lambda root: secrets)  # they take seconds to read
        _, archive = release.release(whole, folder / "dist")
    return released_course.unpack(archive, folder / "unpacked")


def texts(course: Path) -> dict[str, str]:
    found = {}
    for path in course.rglob("*"):
        if path.is_file() and path.suffix in {"", ".md", ".py", ".ipynb", ".toml", ".txt", ".cff"}:
            name = path.relative_to(course).as_posix()
            found[name] = re.sub(r"\s|\\n|\\", "", path.read_text(encoding="utf-8"))
    return found


def test_every_lecture_and_exercise_is_there_and_nothing_that_grades(whole, student):
    for folder in ("notebooks", "exercises"):
        assert sorted(p.name for p in (student / folder).iterdir()) == sorted(
            p.name for p in (whole / folder).glob("*.ipynb")
        )
    left = ("solutions", "tests", "grader", "benchmarks", ".ci", ".github/workflows/ci.yml",
            "docs/instructors_guide.md", "docs/writing_exercises.md")  # fmt: skip
    for name in left:
        assert (whole / name).exists()
        assert not (student / name).exists()
    grading = {p.read_bytes() for p in (whole / "grader").rglob("*.*") if p.is_file()}
    assert len(grading) > 30
    assert not [p for p in student.rglob("*") if p.is_file() and p.read_bytes() in grading]


@pytest.mark.parametrize("name", ["lecture_lib/models/course_t5/model.safetensors",
                                  "docs/film.gif"])  # fmt: skip
def test_what_is_not_text_comes_out_as_it_went_in(student, name):
    assert (student / name).read_bytes() == (ROOT / name).read_bytes()


def test_no_whole_solution_reference_or_message_is_in_any_file(student):
    """By other means than the tool's: whole regions and functions, in all text run together."""
    released = texts(student)
    secret = []
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        for cell in cells.read_notebook(path).cells:
            secret += re.findall(r"### BEGIN SOLUTION\n(.*?)### END", cell.source, flags=re.S)
    n_solutions = len(secret)
    for path in sorted((ROOT / "solutions/checks").glob("*.py")):
        secret += re.split(r"(?m)^(?=def |class |@|[A-Z_]+ = )", path.read_text())[1:]
        given = "".join(released[f"exercises/{path.stem}.ipynb"])
        messages = [known[-1] for task in checks.load_tasks(path) for known in task.misconceptions]
        secret += [text for text in messages if re.sub(r'[\s"\\]', "", text) not in
                   given.replace('"', "")]  # fmt: skip
    assert n_solutions > 60
    for text in secret:
        squeezed = re.sub(r"\s", "", text).replace('"', '"')
        if len(squeezed) >= 40:
            found = [name for name, whole in released.items() if squeezed in whole]
            assert not found, f"{text[:200]} is in {found}"


@pytest.mark.parametrize("name", ["lecture_lib/scoring.py", "notebooks/01_language_models.ipynb"])
def test_a_solution_would_be_found_in_what_teaches_too(student, secrets, name):
    files = {name: (student / name).read_bytes()}
    assert release_leaks.find_leaks(files, secrets) == []
    solution = cells.read_notebook(ROOT / "solutions/04_kv_cache.ipynb")
    region = next(c.source for c in solution.cells if c.source.count("\n") > 12
                  and "BEGIN SOLUTION" in c.source)  # fmt: skip
    answer = re.sub(r"### (BEGIN|END) SOLUTION", "", region)
    if name.endswith(".py"):
        files[name] += answer.encode()
    else:
        nb = json.loads(files[name])
        nb["cells"][2]["source"] = answer
        files[name] = json.dumps(nb).encode()
    assert "04_kv_cache.ipynb" in "\n".join(release_leaks.find_leaks(files, secrets))


def test_a_solution_line_or_an_output_in_an_exercise_would_be_found(student, secrets):
    name = "exercises/01_language_models.ipynb"
    clean = json.loads((student / name).read_text())
    assert release_leaks.find_leaks({name: json.dumps(clean).encode()}, secrets) == []
    line = "return math.exp(-sum(log_probs) / len(log_probs))"
    code = next(c for c in clean["cells"] if c["metadata"].get("nbgrader", {}).get("solution"))
    stub, code["source"] = code["source"], ["def perplexity(log_probs):\n", f"    {line}\n"]
    found = release_leaks.find_leaks({name: json.dumps(clean).encode()}, secrets)
    assert "a line of a solution in 01_language_models.ipynb" in "\n".join(found)
    code["source"], code["execution_count"] = stub, 1
    found = release_leaks.find_leaks({name: json.dumps(clean).encode()}, secrets)
    assert found == [f"{name}: an exercise with outputs"]


def test_no_link_is_broken_and_every_make_target_has_its_files(student):
    for page in [*student.rglob("*.md"), *student.rglob("*.ipynb")]:
        text = release_files.text_of(page.name, page.read_bytes())
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:|#", target):
                assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"
    readme = (student / "README.md").read_text()
    assert "CONTRIBUTING" not in readme
    for name in re.findall(r"[\w/]+\.py\b", (student / "Makefile").read_text()):
        assert (student / name).exists(), name
    for target in set(re.findall(r"(?m)(?:^|`)make (\w+)", readme)):
        dry = subprocess.run(["make", "-n", target], cwd=student, capture_output=True, check=False)
        assert dry.returncode == 0, dry.stderr
    assert "make lab" in readme


# --- as a student ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(student, tmp_path_factory):
    return released_course.make_environment(student, tmp_path_factory.mktemp("environment"))


TRANSLATE = """
import lecture_lib
from lecture_lib.pipelines import load_pipeline

print(lecture_lib.__file__)
print(load_pipeline("translation", device="cpu")("translate English to French: twenty-four"))
"""


def test_a_student_translates_with_the_model_in_the_package(student, python):
    done = released_course.run(python, "-c", TRANSLATE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(student / "lecture_lib" / "__init__.py")
    assert "vingt-quatre" in done.stdout


# tests/browser/test_release_in_lab.py opens lecture 01 in this environment's JupyterLab.
@pytest.mark.real_model
def test_a_students_make_test_counts_the_answers_that_pass(student, python):
    exercise = student / "exercises/01_language_models.ipynb"
    nb = cells.read_notebook(exercise)
    first, *others = cells.answer_ids(nb)
    solution = cells.read_notebook(ROOT / "solutions/01_language_models.ipynb")
    answered = merge_solutions(nb, solution)
    cells.find_cell(answered, first).source = cells.find_cell(nb, first).source
    # The open question's run takes as long as all others.
    answered.cells = [cell for cell in answered.cells if not cell.id.startswith("open-")]
    nbformat.write(answered, exercise)
    begun = exercise.read_bytes()
    done = released_course.run(python, "tools/run_tests.py", "-k", "01", cwd=student)
    n = len(others)
    assert f"01_language_models: {n} of {n + 1} visible tests pass" in done.stdout, done.stderr
    assert done.stdout.count("replace this line with your answer") == 1
    assert done.returncode == 1
    assert exercise.read_bytes() == begun
