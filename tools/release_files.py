"""Which files a student gets, and what is changed in those that speak of what students don't get.

Every change is looked for exactly once: where the course's text has moved on, the release is
refused with the place to bring up to date, and never written with a half-true README.
"""

import json
import posixpath
import re
import subprocess
from pathlib import Path

TAKEN = ("notebooks/", "exercises/", "lecture_lib/")
LEFT = ("lecture_lib/grading.py",)  # leads to the grader, which students don't get
SINGLE = ("README.md", "Makefile", "pyproject.toml", "requirements.txt", "tools/course.py")
LICENCES = ("LICENSE", "LICENSE-TEXT", "CITATION.cff")
INSTRUCTORS_PAGES = (
    "docs/writing_exercises.md",
    "docs/instructors_guide.md",
    "docs/instructors_evening.md",
)
RENAMED = {  # ours -> a student's
    "tools/release_student_check.py": "tools/run_tests.py",  # `make test`
    "tools/release_student_workflow.yml": ".github/workflows/visible_tests.yml",
}
TARGETS = ("help", "setup", "lab", "models", "test", "clean")
# Modules of requirements-test.txt, which students don't get, and of the grader.
NOT_THERE = ("grader", "distributed", "nbgrader", "playwright", "pytest", "sphinx")
LINK = re.compile(r"\]\(([^)\s]+)\)")
EDITS = {
    "README.md": [
        (
            "# sets up, then runs everything that CI runs",
            "# sets up, then checks this machine and runs the visible tests of your answers",
        ),
        ("## For students, instructors, contributors", "## Your answers"),
    ],
    "Makefile": [
        ("run everything that CI runs     (K=word narrows)",
         "run the visible tests of your answers  (K=01 narrows)"),
    ],
    "pyproject.toml": [(', "grader*"', ""), ('grader = ["templates/*"]\n', "")],
    "tools/course.py": [
        ("then run all that CI runs", "then run the visible tests of your answers"),
        ("    python tools/course.py site       set up for tests, then build the site\n", ""),
        ('"test", "site", "run"]', '"test", "run"]'),
    ],
}  # fmt: skip


class ReleaseError(Exception):
    """Why no release was written; the message says what to do."""


def course_files(root: Path, *, allow_uncommitted: bool) -> list[str]:
    """The paths that git knows in the course's folder, sorted.

    Raises:
        ReleaseError: no git checkout; or files that differ from the last commit, unless
            ``allow_uncommitted``: then the files as they lie there, new ones too.
    """
    if not (root / ".git").exists():
        raise ReleaseError(
            f"{root} is no git checkout: git says which files belong to the course."
            " Clone the course instead of unpacking it."
        )
    changed = _git(root, "status", "--porcelain", "--untracked-files=all", "-z")
    if changed and not allow_uncommitted:
        shown = "\n".join(f"    {line}" for line in changed[:10])
        raise ReleaseError(
            f"these files are not as committed:\n{shown}\n"
            f"{f'and {len(changed) - 10} more. ' if len(changed) > 10 else ''}"
            "Commit them, so that it is known what students got;"
            " or add --allow-uncommitted to release them as they are."
        )
    listed = set(_git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z"))
    names = sorted(name for name in listed if (root / name).is_file())
    links = [name for name in names if (root / name).is_symlink()]
    if links:
        raise ReleaseError(f"links to other files are not released: {', '.join(links)}")
    return names


def _git(root: Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError as error:
        raise ReleaseError(f"git does not start: {error}") from error
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return [part for part in done.stdout.decode("utf-8").split("\0") if part]


def student_files(root: Path, names: list[str]) -> dict[str, bytes]:
    """The release: content by path, of ``names`` what a student gets, changed as above.

    Raises:
        ReleaseError: a file is missing, a text to change is not there, or a link leads nowhere.
    """
    known = set(names)
    wanted = [n for n in names if n.startswith(TAKEN) and not n.startswith(LEFT)]
    wanted += [*SINGLE, *LICENCES]
    missing = [name for name in (*SINGLE, *LICENCES, *RENAMED) if name not in known]
    if missing:
        raise ReleaseError(f"not in the course: {', '.join(missing)}")
    files = {name: (root / name).read_bytes() for name in wanted}
    files |= {theirs: (root / ours).read_bytes() for ours, theirs in RENAMED.items()}
    for name, edits in EDITS.items():
        files[name] = _edited(name, files[name].decode("utf-8"), edits).encode()
    files["Makefile"] = _makefile(files["Makefile"].decode("utf-8")).encode()
    files["pyproject.toml"] = _without_grading(files["pyproject.toml"].decode("utf-8")).encode()
    docs = {n for n in known if n.startswith("docs/") and n not in INSTRUCTORS_PAGES}
    readme = _readme(files["README.md"].decode("utf-8"), set(files) | docs)
    files["README.md"] = readme.encode()
    _add_linked(root, files, docs)
    unlisted = [n for n in files if n.startswith(TAKEN[:2]) and f"({n})" not in readme]
    if unlisted:
        raise ReleaseError(f"README.md has no link to {', '.join(unlisted)}")
    return dict(sorted(files.items()))


def _edited(name: str, text: str, edits: list[tuple[str, str]]) -> str:
    for old, new in edits:
        if text.count(old) != 1:
            raise ReleaseError(
                f"{name}: {old!r} is in it {text.count(old)} times, once is needed;"
                " bring EDITS in tools/release_files.py up to date"
            )
        text = text.replace(old, new)
    return text


def _makefile(text: str) -> str:
    """Only the targets that work without the course's tools."""
    kept, target = [], None
    for line in text.splitlines():
        head = re.match(r"([a-z]+):", line)
        target = head.group(1) if head else target
        shown = re.search(r'echo "make (\w+)', line)
        if line.startswith(".PHONY"):
            line = f".PHONY: {' '.join(TARGETS)}"
        elif (target and target not in TARGETS) or (shown and shown.group(1) not in TARGETS):
            continue
        kept.append(line)
    return "\n".join(kept).rstrip("\n") + "\n"


def _without_grading(text: str) -> str:
    """pyproject.toml without the extra that only a grader's cluster needs, and pytest's part."""
    tables = re.split(r"(?m)^(?=\[)", text)
    left = ("[project.optional-dependencies]", "[tool.pytest", "[tool.ruff")
    return "".join(table for table in tables if not table.startswith(left)).rstrip("\n") + "\n"


def _readme(text: str, there: set[str]) -> str:
    """Without the lines (paragraphs, list items, rows) that link to what students don't get."""
    lines = [
        line
        for line in text.splitlines()
        if all(target in there for target in _local_links("README.md", line))
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _local_links(name: str, text: str) -> list[str]:
    """The files that a text links to, as paths from the root; addresses and anchors are none."""
    targets = [target.split("#")[0] for target in LINK.findall(text)]
    local = [t for t in targets if t and not re.match(r"[a-z]+:", t)]
    return [posixpath.normpath(posixpath.join(posixpath.dirname(name), t)) for t in local]


def text_of(name: str, content: bytes) -> str:
    """What may hold links: of a notebook its text cells, since code such as ``f[0](x)`` is none."""
    if not name.endswith(".ipynb"):
        return content.decode("utf-8")
    cells = json.loads(content)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def _add_linked(root: Path, files: dict[str, bytes], docs: set[str]) -> None:
    """Add the pages of docs/ that something links to; refuse a link that leads nowhere."""
    todo = list(files)
    while todo:
        name = todo.pop()
        if not name.endswith((".md", ".ipynb")):
            continue
        for target in _local_links(name, text_of(name, files[name])):
            if target in docs and target not in files:
                files[target] = (root / target).read_bytes()
                todo.append(target)
            elif target not in files:
                raise ReleaseError(f"{name}: links to {target}, which students don't get")
