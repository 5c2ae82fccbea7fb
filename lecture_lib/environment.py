"""check_environment(): whether this machine has what the course needs, for notebook 00."""

import html
import importlib.metadata
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

_REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
_SHOWN = ("jupyterlab", "torch", "transformers", "numpy", "matplotlib", "ipywidgets")
MEMORY_NEEDED_GB = 3.0  # the bundled model in float32 is 0.54 GB; the rest is Python and JupyterLab
DISK_NEEDED_GB = 1.0


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, what was found, and what to do if it is bad."""

    name: str
    found: str
    ok: bool
    advice: str = ""


@dataclass(frozen=True)
class EnvironmentReport:
    """All checks; a table in JupyterLab, lines of text elsewhere."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def verdict(self) -> str:
        """One line: all is well, or which checks failed and what to do."""
        bad = [check for check in self.checks if not check.ok]
        if not bad:
            return "Everything the course needs is here."
        return "\n".join(f"{check.name}: {check.found}. {check.advice}" for check in bad)

    def __repr__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        return "\n".join(
            f"{'ok ' if c.ok else 'BAD'}  {c.name:{width}}  {c.found}  {'' if c.ok else c.advice}"
            for c in self.checks
        )

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = [f"<tr><th></th><th {left}>what</th><th {left}>found</th></tr>"]
        for c in self.checks:
            mark, advice = ("✓", "") if c.ok else ("✗", f"<br><b>{html.escape(c.advice)}</b>")
            name, found = html.escape(c.name), html.escape(c.found) + advice
            rows.append(f"<tr><td>{mark}</td><td {left}>{name}</td><td {left}>{found}</td></tr>")
        return f"<table>{''.join(rows)}</table>"


def check_environment() -> EnvironmentReport:
    """Look at Python, the packages' versions, the device, memory, disk and the bundled model."""
    return EnvironmentReport(
        (_python(), *(_package(name) for name in _SHOWN), _device(), _memory(), _disk(), _model())
    )


def _python() -> Check:
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    found = f"{platform.python_version()} on {platform.system()} ({platform.machine()})"
    return Check("Python", found, ok, "The course needs Python 3.11 to 3.13: `make lab` makes one.")


def _package(name: str) -> Check:
    wanted = _pinned_versions().get(name)
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "not installed", False, "Run `make lab`, or install requirements.txt.")
    # torch writes the build behind a plus: 2.13.0+cpu is 2.13.0.
    ok = wanted is None or found.split("+")[0] == wanted
    advice = f"The course's outputs were made with {wanted}; run `make lab` to install it."
    return Check(name, found, ok, advice)


def _pinned_versions() -> dict[str, str]:
    if not _REQUIREMENTS.is_file():  # the library was installed without the course around it
        return {}
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", _REQUIREMENTS.read_text(), flags=re.M))


def _device() -> Check:
    import torch

    from .loading.devices import choose_device

    device = choose_device()  # what load_model() will take
    if device.type == "cuda":
        found = f"GPU: {torch.cuda.get_device_name(device)}"
    elif device.type == "mps":
        found = "Apple GPU (MPS)"
    else:
        n_threads = torch.get_num_threads()
        found = f"CPU, {n_threads} thread{'s' * (n_threads > 1)} (enough for every lecture)"
    return Check("device", found, True)


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    free, total = memory.available / 1e9, memory.total / 1e9
    advice = f"{MEMORY_NEEDED_GB:.0f} GB are needed: close other programs and other notebooks."
    found = f"{free:.1f} GB free of {total:.1f} GB"
    return Check("memory", found, free >= MEMORY_NEEDED_GB, advice)


def _disk() -> Check:
    free = shutil.disk_usage(Path.home()).free / 1e9
    found = f"{free:.1f} GB free in your home folder"
    return Check("disk", found, free >= DISK_NEEDED_GB, "Make some room.")


def _model() -> Check:
    from .loading.bundled_model import NAME, ensure_bundled_model
    from .loading.errors import ModelLoadError

    try:
        ensure_bundled_model()
    except ModelLoadError as error:
        return Check("model", "not ready", False, str(error))
    return Check("model", f"{NAME} is ready", True)
