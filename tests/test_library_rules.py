"""What keeps the library small and honest: its size, no circles, no other library's insides."""

import ast
import pydoc
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

COURSE = Path(__file__).resolve().parents[1]
FILES = sorted(COURSE.glob("lecture_lib/**/*.py"))
# Names of other libraries, behind which a name that begins with _ is theirs.
OTHERS = (
    "axes|axis|axs|ax|figure|fig|canvas|renderer|plt|mpl|matplotlib|torch|transformers|np|pd|dist|"
    "config|generation_config|hf_model|tokenizer|ipywidgets"
)
PRIVATE = re.compile(rf"\b(?:{OTHERS})\._(?!_)[a-z]\w*|\bmock\.patch|\bgc\.disable")


def modules() -> dict[str, Path]:
    """Each module of the library by its dotted name."""
    found = {}
    for path in FILES:
        parts = path.relative_to(COURSE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_at_the_top(name: str, path: Path) -> set[str]:
    """The library's modules that a module imports when it is imported itself."""
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def test_no_import_goes_in_a_circle():
    known = modules()
    graph = {
        name: {
            module
            for module in imports_at_the_top(name, path) & set(known)
            # A package's own __init__ is being imported already.
            if module != name and not (name.startswith(f"{module}.") and path != known[module])
        }
        for name, path in known.items()
    }
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_the_library_knows_no_grader():
    for path in FILES:
        assert not re.search(r"^\s*(?:from|import) grader\b", path.read_text("utf-8"), re.M), path


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("costs", "op_costs lecture_table kv_cache_bytes"),
        ("decoding", "beam_search sampling_distribution ToyLM"),
        ("figures", "roofline next_token_bars"),
        ("hub_tools", "changes_table"),
        ("inference_script", "generate TaskInfo"),
        ("parallel", "pipeline_volume run_tensor_parallel"),
    ],
)
def test_help_shows_what_a_package_has(package, names):
    shown = pydoc.plain(pydoc.render_doc(f"lecture_lib.{package}"))
    for name in names.split():
        assert re.search(rf"^    (class )?{name}\(", shown, re.M), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(COURSE)))
def test_other_libraries_insides_are_left_alone(path):
    """Where there is no public way, a comment on the line, or on the one above, says so."""
    lines = path.read_text("utf-8").splitlines()
    for number, (before, line) in enumerate(zip(["", *lines], lines, strict=False), start=1):
        if PRIVATE.search(line.partition("#")[0]):
            assert "#" in line or before.lstrip().startswith("#"), f"line {number}: {line.strip()}"
