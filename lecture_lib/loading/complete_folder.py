"""A folder that is either complete or not there: built beside its place, then renamed into it.

Safe against a process that is killed at any moment, and against two that build at once.
"""

import contextlib
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
# Below this size a file is hashed at each check: a few milliseconds in all.
SMALL_FILE_BYTES = 16 * 2**20
NOTICE_AFTER_S = 2.0


def is_complete(folder: Path, version: str, *, verify: bool = False) -> bool:
    """Whether the folder was built to the end by this version and looks undamaged.

    Checked each time: the marker, the version, that every file has its size, and the SHA-256 of
    the small ones. The large ones are hashed only with ``verify``, which reads all of them.
    """
    try:
        marker = json.loads((folder / MARKER).read_text())
        if marker["version"] != version:
            return False
        return all(
            _matches(folder / name, facts, verify) for name, facts in marker["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def ensure_complete(
    folder: Path, version: str, build: Callable[[Path], None], *, verify: bool = False
) -> bool:
    """Builds the folder unless it is complete.

    Args:
        folder: where it is to lie; its parent is made.
        version: of the builder; a folder built by another one is built again.
        build: writes the files into the empty folder it is given.
        verify: whether to hash the large files too when checking.

    Returns:
        Whether it was built now (False: it was there, or another process built it meanwhile).

    Raises:
        OSError: the parent can't be written. What ``build`` raises passes; nothing is left.
    """
    if is_complete(folder, version, verify=verify):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if is_complete(folder, version, verify=verify):
            return False
        # Only the holder of the lock makes these, so any that are there belong to the dead.
        for stale in folder.parent.glob(f"{_tmp_prefix(folder)}*"):
            shutil.rmtree(stale, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=_tmp_prefix(folder), dir=folder.parent))
        try:
            build(fresh)
            _write_marker(fresh, version)
            fresh.chmod(0o755)  # mkdtemp makes it private; the cache may be shared
            if folder.exists():
                # A folder can't be renamed onto one that holds files, so that one steps aside.
                old = Path(tempfile.mkdtemp(prefix=_tmp_prefix(folder), dir=folder.parent))
                folder.rename(old / "old")
            fresh.rename(folder)
        finally:
            for left in folder.parent.glob(f"{_tmp_prefix(folder)}*"):
                shutil.rmtree(left, ignore_errors=True)
    return True


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _matches(path: Path, facts: dict, verify: bool) -> bool:
    size = path.stat().st_size
    if size != facts["size"]:
        return False
    return (size > SMALL_FILE_BYTES and not verify) or sha256_of(path) == facts["sha256"]


def _write_marker(folder: Path, version: str) -> None:
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        # The rename must not reach the disk before the contents do.
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.chmod(0o644)
        name = path.relative_to(folder).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    with (folder / MARKER).open("w") as file:
        json.dump({"version": version, "files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _tmp_prefix(folder: Path) -> str:
    return f".{folder.name}.tmp-"


@contextlib.contextmanager
def _locked(folder: Path):
    """Holds the folder's lock; the system frees it when a process dies, however it dies."""
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=NOTICE_AFTER_S)
    except Timeout:
        print(f"waiting for another process that makes {folder} ...", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
