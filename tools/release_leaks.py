"""What a release must not hold: nothing that grades, and no answer in any form.

Lectures and the library teach what the exercises ask for, so a short line may stand in both. There,
only long lines and neighbouring lines count; everywhere else one line of an answer is too much.
"""

import ast
import itertools
import json
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDERS = ("solutions/", "tests/", "grader/", "benchmarks/", ".ci/", ".github/workflows/ci")
WORDS = (
    *("python -m grader", "from grader", "solutions/", "solutions.checks"),
    *("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS"),
)
TEACHING = ("notebooks/", "lecture_lib/")
SHORTEST = 16  # characters without spaces; shorter lines are in every program
LONG_LINE, LONG_PAIR = 60, 60  # in what teaches
SHORTEST_MESSAGE, SHORTEST_OUTPUT = 20, 40
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


@dataclass
class Secrets:
    """What must stay out, without spaces, each with where it comes from.

    Args:
        lines, pairs: of solution regions and of reference functions; pairs are neighbours.
        messages: of misconceptions. outputs: of the solution notebooks.
        given: lines that the exercises give to everyone, and texts of their visible tests.
    """

    lines: dict[str, str] = field(default_factory=dict)
    pairs: dict[tuple[str, str], str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)

    def add_code(self, lines: list[str], source: str) -> None:
        kept = [line for line in map(squeeze, lines) if line and not line.startswith("#")]
        self.lines |= {line: source for line in kept if len(line) >= SHORTEST}
        self.pairs |= {
            pair: source for pair in itertools.pairwise(kept) if sum(map(len, pair)) >= LONG_PAIR
        }


def squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


def read_secrets(root: Path) -> Secrets:
    """All secrets of the course in ``root``; runs its hidden checks' files, which are trusted."""
    from grader.checks import load_tasks

    secrets = Secrets()
    for path in sorted((root / "solutions").glob("*.ipynb")):
        _read_solution(path, secrets)
    for path in sorted((root / "solutions" / "checks").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[ast.get_docstring(node) is not None :] or node.body
                body = lines[first[0].lineno - 1 : node.end_lineno]
                secrets.add_code(body, f"{path.name}: {node.name}")
        for task in load_tasks(path):
            for name, *_, message in task.misconceptions:
                text = squeeze(message)
                if len(text) >= SHORTEST_MESSAGE:
                    secrets.messages[text] = f"{path.name}: the message of {name}"
    return secrets


def _read_solution(path: Path, secrets: Secrets) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        region: list[str] | None = None
        for line in "".join(cell["source"]).splitlines():
            if line.strip() == BEGIN:
                region = []
            elif line.strip() == END:
                secrets.add_code(region or [], f"a solution in {path.name}")
                region = None
            elif region is not None:
                region.append(line)
            else:
                secrets.given.add(squeeze(line))
        for text in _outputs(cell):
            if len(squeeze(text)) >= SHORTEST_OUTPUT:
                secrets.outputs[squeeze(text)] = f"an output of {path.name}"


def _outputs(cell: dict) -> list[str]:
    """Printed text and pictures; a chart's text/plain is only its size."""
    found = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        texts = [output.get("text", ""), data.get("image/png") or data.get("text/plain", "")]
        found += ["".join(text) for text in texts]
    return found


def find_leaks(files: dict[str, bytes], secrets: Secrets) -> list[str]:
    """One line for each thing in ``files`` (by path) that a student must not get."""
    found = []
    for name, content in files.items():
        if name.startswith(FOLDERS):
            found.append(f"{name}: no student gets this folder")
            continue
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:  # a picture, a model
            continue
        found += [f"{name}: {what}" for what in _leaks(name, text, secrets)]
    return found


def _leaks(name: str, text: str, secrets: Secrets) -> list[str]:
    found = [f"names {word!r}" for word in WORDS if word in text]
    cells = json.loads(text)["cells"] if name.endswith(".ipynb") else None
    if name.startswith("exercises/") and any(
        cell.get("outputs") or cell.get("execution_count") for cell in cells or []
    ):
        found.append("an exercise with outputs")
    if cells is not None:
        texts = ["".join(cell["source"]) for cell in cells]
        text = "\n".join([*texts, *(out for cell in cells for out in _outputs(cell))])
    lines = [line for line in map(squeeze, text.splitlines()) if line]
    shortest = LONG_LINE if name.startswith(TEACHING) else SHORTEST
    given = secrets.given if name.startswith(("exercises/", "notebooks/")) else set()
    found += [
        f"a line of {secrets.lines[line]}: {line[:60]}"
        for line in lines
        if line in secrets.lines and len(line) >= shortest and line not in given
    ]
    found += [
        f"lines of {secrets.pairs[pair]}: {pair[0][:60]}"
        for pair in itertools.pairwise(lines)
        if pair in secrets.pairs and not set(pair) <= given
    ]
    whole, shown = "".join(lines), "".join(sorted(given))
    found += [
        where
        for message, where in secrets.messages.items()
        if message in whole and message not in shown
    ]
    found += [where for output, where in secrets.outputs.items() if output in whole]
    return found


def foreign_imports(files: dict[str, bytes], missing: tuple[str, ...]) -> list[str]:
    """One line for each import of a module that the release doesn't have."""
    found = []
    for name, content in files.items():
        for source in _programs(name, content):
            for module in _imported(source, name):
                if any(module == each or module.startswith(f"{each}.") for each in missing):
                    found.append(f"{name}: imports {module}, which is not in the release")
    return found


def _programs(name: str, content: bytes) -> list[str]:
    if name.endswith(".py"):
        return [content.decode("utf-8")]
    if not name.endswith(".ipynb"):
        return []
    cells = json.loads(content)["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M) for source in sources]


def _imported(source: str, name: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # from .x import y, in the package's own file
                package = name
                for _ in range(node.level):
                    package = posixpath.dirname(package)
                module = ".".join(filter(None, [package.replace("/", "."), module]))
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return found
