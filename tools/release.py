#!/usr/bin/env python3
"""The course as students get it: dist/COURSE-student-VERSION, a folder and a zip of the same.

python tools/release.py                        from a clean git checkout
python tools/release.py --allow-uncommitted    the files as they lie there
python tools/release.py --per-student roster.csv --seed 5    and a folder for each student, with the
                                               exercises that have values of one's own

Notebooks, exercises, lecture_lib without what grades; no solutions, hidden checks or tests. The
same files give the same bytes, wherever and whenever it runs (with the same zlib). Nothing is
written where an exercise isn't what its solution gives, a link leads nowhere, or an answer is
found in what students get.
"""

import argparse
import hashlib
import io
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

from release_files import NOT_THERE, ReleaseError, course_files, student_files
from release_leaks import find_leaks, foreign_imports, read_secrets

ROOT = Path(__file__).resolve().parent.parent
COURSE = "generative-inference"
MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can tell
MODE = 0o644


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder (default: dist)")
    parser.add_argument(
        "--allow-uncommitted", action="store_true", help="release files that are not as committed"
    )
    parser.add_argument("--per-student", type=Path, metavar="ROSTER", help="CSV of all students")
    parser.add_argument("--seed", type=int, help="of their values; grade with the same")
    arguments = parser.parse_args(argv)
    if (arguments.per_student is None) != (arguments.seed is None):
        parser.error("--per-student and --seed belong together")
    try:
        own = per_student_files(ROOT, arguments.per_student, arguments.seed)
        folder, archive = release(
            ROOT, arguments.out, allow_uncommitted=arguments.allow_uncommitted
        )
        if own:
            write_folder(folder.with_name(f"{folder.name}-per-student"), own)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    content = archive.read_bytes()
    n_files = sum(path.is_file() for path in folder.rglob("*"))
    print(f"{folder}: {n_files} files")
    print(f"{archive}: {len(content):,} bytes")
    print(f"sha256 {hashlib.sha256(content).hexdigest()}")
    return 0


def release(root: Path, out: Path, *, allow_uncommitted: bool = False) -> tuple[Path, Path]:
    """Write folder and zip into ``out``; their paths.

    Raises:
        ReleaseError: nothing was written; the message says why.
    """
    names = course_files(root, allow_uncommitted=allow_uncommitted)
    if allow_uncommitted:
        say("WARNING: files as they lie there, committed or not")
    say("is every exercise what its solution gives? ...")
    check_exercises(root)
    files = student_files(root, names)
    say(f"looking for answers in {len(files)} files ...")
    check_files(root, files)
    version = tomllib.loads(files["pyproject.toml"].decode("utf-8"))["project"]["version"]
    name = f"{COURSE}-student-{version}"
    say(f"writing {name} ...")
    out.mkdir(parents=True, exist_ok=True)
    write_folder(out / name, files)
    archive = out / f"{name}.zip"
    archive.write_bytes(zip_bytes(f"{name}/", files))
    return out / name, archive


def per_student_files(root: Path, roster: Path | None, seed: int | None) -> dict[str, bytes]:
    """By path STUDENT/NN_topic.ipynb each student's exercises that have values of one's own.

    Raises:
        ReleaseError: there is no such exercise, or the hidden checks don't work with the values
            that somebody has: grading would fail, so another seed is needed.
    """
    if roster is None:
        return {}
    import build_exercises as build

    from grader import cells, freeze, people, per_student, reports

    files = {}
    try:
        for student in people.read_students(roster):
            say(f"drawing values for {student} ...")
            for path in cells.solution_paths(root):
                solution = per_student.solution_of(root, path.stem, seed, student)
                if solution is not None:
                    freeze.freeze_exercises(root, [path.stem], seed, student=student)
                    name = f"{reports.file_name(student)}/{path.name}"
                    files[name] = build.exercise_bytes(path, solution)
    except ValueError as error:
        raise ReleaseError(str(error)) from error
    if not files:
        raise ReleaseError("no solution notebook has a cell tagged per-student")
    check_files(root, {f"exercises/{name}": content for name, content in files.items()})
    return files


def check_exercises(root: Path) -> None:
    """Raises ReleaseError where exercises/ is not what solutions/ gives."""
    import build_exercises as build

    try:
        drift = build.find_drift(root)
    except build.BuildError as error:
        raise ReleaseError(str(error)) from error
    if drift:
        lines = "\n".join(f"    exercises/{name}: {why}" for name, why in drift.items())
        raise ReleaseError(f"exercises/ is out of step:\n{lines}\nRun `make exercises` first.")


def check_files(root: Path, files: dict[str, bytes]) -> None:
    """Raises ReleaseError where ``files`` hold an answer, or import what they don't hold."""
    try:
        secrets = read_secrets(root)
    except (ValueError, SyntaxError) as error:
        raise ReleaseError(f"solutions/ cannot be read: {error}") from error
    found = find_leaks(files, secrets) + foreign_imports(files, NOT_THERE)
    if found:
        lines = "\n".join(f"    {line}" for line in found[:20])
        raise ReleaseError(f"nothing was written; students must not get:\n{lines}")


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files beside the old folder, then put them in its place."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, content in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(MODE)
    for inner in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
        inner.chmod(0o755)
    if folder.exists():
        shutil.rmtree(folder)
    fresh.rename(folder)


def zip_bytes(prefix: str, files: dict[str, bytes], executable: tuple[str, ...] = ()) -> bytes:
    """A zip of files, named with ``prefix``; no time, user, umask or order of a disk is in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in sorted(files.items()):
            entry = zipfile.ZipInfo(prefix + path, date_time=MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on Windows too: the permissions are Unix's
            entry.external_attr = (0o100000 | (0o755 if path in executable else MODE)) << 16
            archive.writestr(entry, content, compresslevel=9)
    return buffer.getvalue()


def say(text: str) -> None:
    print(f"release: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
