"""A folder that is either complete or not there: built beside its place, then renamed into it.

Safe against a process that is killed at any moment, and against two that build at once.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

MARKER = "complete.json"
# Up to this size a file is hashed at each check, which takes a tenth of a second at most.
SMALL_FILE_BYTES = 80_000_000
NOTICE_AFTER_S = 2.0


def is_complete(folder: Path, version: str) -> bool:
    """Whether the folder was built to the end by this version and looks undamaged."""
    return not damage_of(folder, version)


def damage_of(folder: Path, version: str) -> str:
    """What is wrong with the folder, in words; "" where nothing is.

    Checked each time: the marker, the version, that every file has its size, and the SHA-256 of
    the small ones.
    """
    try:
        marker = json.loads((folder / MARKER).read_text())
        if marker["version"] != version:
            return f"{MARKER} is of another version of the course"
        for name, facts in marker["files"].items():
            if not (path := folder / name).is_file():
                return f"{name} is missing"
            if not (now := _facts(path)).items() <= facts.items():
                keys = [key for key in now if now[key] != facts.get(key)]
                told = [f"{key} {facts.get(key)} expected, {now[key]} found" for key in keys]
                return f"{name} is damaged: {'; '.join(told)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MARKER} can't be read ({type(error).__name__})"
    return ""


def ensure_complete(folder: Path, version: str, build: Callable[[Path], None]) -> None:
    """Builds the folder unless it is complete.

    Args:
        folder: its path; the parent is made.
        version: of the builder; a folder built by another one is built again.
        build: writes the files into the empty folder it is given.

    Raises:
        OSError: the parent can't be written. What ``build`` raises passes; nothing is left.
    """
    if is_complete(folder, version):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.tmp-"
    with _locked(folder):
        if is_complete(folder, version):
            return
        # Only the holder of the lock makes these, so whoever made them was stopped midway.
        for stale in folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=prefix, dir=folder.parent, ignore_cleanup_errors=True
        ) as room:
            fresh = Path(room) / "fresh"
            fresh.mkdir()
            build(fresh)
            _write_marker(fresh, version)
            fresh.chmod(0o755)  # the cache may be shared
            if folder.exists():
                # A folder can't be renamed onto one that holds files: the old one is moved first.
                folder.rename(Path(room) / "old")
            fresh.rename(folder)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(path: Path) -> dict[str, int | str]:
    size = path.stat().st_size
    small = size <= SMALL_FILE_BYTES
    return {"size": size, "sha256": sha256_of(path)} if small else {"size": size}


def _write_marker(folder: Path, version: str) -> None:
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        # The rename must not reach the disk before the contents do.
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.chmod(0o644)
        files[path.relative_to(folder).as_posix()] = _facts(path)
    with (folder / MARKER).open("w") as file:
        json.dump({"version": version, "files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _locked(folder: Path):
    """Holds the folder's lock; the system frees it when a process dies, however it dies."""
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        return lock.acquire(timeout=NOTICE_AFTER_S)
    except Timeout:
        print(f"waiting for another process that makes {folder} ...", file=sys.stderr)
        return lock.acquire()
