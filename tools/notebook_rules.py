"""What a committed notebook must look like; nothing here runs it.

Two sets of rules: `committed_problems` (its outputs are honest and clean) and `style_problems` (it
is short enough to read, and its pictures can be read aloud).
"""

import re
import statistics
import tomllib
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

from nbformat import NotebookNode
from notebook_compare import PNG_URI
from notebook_format import cell_name, notebook_text

# A picture counts twice, as PNG and as HTML with its alternative text, and the text a third time.
FOR_THE_CPU = re.compile(r"device\s*=\s*['\"]cpu")
MAX_BYTES = 420_000
MAX_CODE_LINES = 25
MAX_EXERCISE_LINES = 30  # of code: a class or a whole generate() in one cell
MAX_TEST_LINES = 55  # an exercise's visible tests: each assert with what the likely mistake is
MAX_MEDIAN_CODE_LINES = 6
MAX_MARKDOWN_WORDS = 130
LECTURE_CELLS = range(25, 61)

IGNORE_TAG = "nbval-ignore-output"
# These would hide a cell or its outputs from nbval or nbclient without standing in the list.
FORBIDDEN_TAGS = {
    "nbval-check-output",
    "nbval-raises-exception",
    "nbval-skip",
    "pytest-validate-ignore-output",
    "raises-exception",
    "skip-execution",
}
NBVAL_COMMENT = re.compile(r"^\s*#+\s*(NBVAL_\w+|PYTEST_VALIDATE_IGNORE_OUTPUT)\s*$", re.MULTILINE)
HEADING = re.compile(r"^## (\d+)\.", re.MULTILINE)
# "section 5" or "sections 5, 7 and 8" of this lecture, not "section 5 of 12b".
SECTIONS = re.compile(
    r"\b[Ss]ections?\s+(\d+(?:(?:,| and|, and| or| to)\s+\d+)*)\b(?! of (?:lecture )?\[?\d\d)"
)
LITTER = re.compile(r"\r|(?<![A-Za-z])(?:it/s|s/it)\b|\d%\|")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+|\b0x[0-9a-fA-F]{9,}")
TEXT_FORMATS = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml")


def read_uncompared_cells(path: Path) -> dict[str, dict[str, str]]:
    """The list of cells whose values are not compared: notebook -> cell id -> reason.

    Raises:
        ValueError: an entry without a reason, or a file of another shape.
    """
    listed = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    for notebook, cells in listed.items():
        if not isinstance(cells, dict):
            raise ValueError(f"{path}: {notebook!r} must be a table of cell ids, got {cells!r}")
        for cell_id, reason in cells.items():
            if not isinstance(reason, str) or len(reason.split()) < 3:
                raise ValueError(f"{path}: {notebook}: {cell_id} needs a reason, got {reason!r}")
    return listed


def committed_problems(nb: NotebookNode, uncompared: Mapping[str, str]) -> list[str]:
    """Whatever says that the outputs are not those of one clean run from top to bottom."""
    problems = [*_count_problems(nb), *_tag_problems(nb, uncompared)]
    if "widgets" in nb.metadata:
        problems.append("has saved widget state; `make notebooks` removes it")
    for i, cell in enumerate(nb.cells):
        for output in cell.get("outputs", []):
            problems += [f"{cell_name(nb, i)}: {text}" for text in output_problems(output)]
    return problems


def output_problems(output: NotebookNode) -> Iterator[str]:
    """What must not stand in any output: errors, warnings, progress bars, addresses."""
    if output.output_type == "error":
        yield f"ends in an error: {output.ename}: {output.evalue}"
        return
    if output.output_type == "stream":
        if output.name == "stderr":
            yield f"writes to stderr (a warning?): {output.text[:500]!r}"
        texts = [output.text]
    else:
        texts = [output.data[key] for key in TEXT_FORMATS if key in output.data]
    for text in texts:
        text = PNG_URI.sub("", text)
        if found := LITTER.search(text):
            yield f"has the litter of a progress bar: {_around(text, found)!r}"
        if found := ADDRESS.search(text):
            yield f"shows an address in memory: {_around(text, found)!r}"


def _around(text: str, found: re.Match) -> str:
    return text[max(0, found.start() - 30) : found.end() + 30]


def _count_problems(nb: NotebookNode) -> Iterator[str]:
    expected = 0
    for i, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        count = cell.execution_count
        if not cell.source.strip():
            if count is not None or cell.outputs:
                yield f"{cell_name(nb, i)}: is empty but has a count or outputs"
            continue
        expected += 1
        if count != expected:
            yield (
                f"{cell_name(nb, i)}: its count is {count}, in one run from the top it is"
                f" {expected} (outputs stripped, or cells run out of order)"
            )
        for output in cell.outputs:
            if output.output_type == "execute_result" and output.execution_count != count:
                yield f"{cell_name(nb, i)}: shows the result of another run"


def _tag_problems(nb: NotebookNode, uncompared: Mapping[str, str]) -> Iterator[str]:
    for i, cell in enumerate(nb.cells):
        tags = {str(tag).lower().replace("_", "-") for tag in cell.metadata.get("tags", [])}
        if tags & FORBIDDEN_TAGS:
            yield f"{cell_name(nb, i)}: the tag {min(tags & FORBIDDEN_TAGS)} is not allowed"
        if cell.cell_type == "code" and NBVAL_COMMENT.search(cell.source):
            yield f"{cell_name(nb, i)}: an nbval comment is not allowed; use the tag and the list"
        if IGNORE_TAG in tags and cell.id not in uncompared:
            yield f"{cell_name(nb, i)}: has the tag {IGNORE_TAG} but is not in the list"
        if cell.id in uncompared and IGNORE_TAG not in tags:
            yield f"{cell_name(nb, i)}: is in the list but lacks the tag {IGNORE_TAG}"
    for missing in sorted(set(uncompared) - {cell.id for cell in nb.cells}):
        yield f"the list names a cell {missing!r}, which is not there"


def style_problems(nb: NotebookNode, path: Path, *, is_lecture: bool) -> list[str]:
    """Where a notebook breaks the limits of length and form; 00 is a start page, not a lecture."""
    problems = [*_file_problems(nb, path), *cell_problems(nb, is_lecture=is_lecture)]
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    if is_lecture:
        median = statistics.median([_n_lines(cell) for cell in code] or [0])
        if median > MAX_MEDIAN_CODE_LINES:
            problems.append(f"code cells of {median} lines (median), want {MAX_MEDIAN_CODE_LINES}")
        starts = path.name.startswith("00")
        if len(nb.cells) not in LECTURE_CELLS and not (starts and len(nb.cells) < 25):
            problems.append(f"{len(nb.cells)} cells, want 25 to 60")
        if not starts and not any("Predict" in cell.source for cell in nb.cells):
            problems.append("asks for no prediction: no cell says Predict")
        problems += [*_device_problems(nb), *_section_problems(nb)]
    return problems


def _section_problems(nb: NotebookNode) -> Iterator[str]:
    """Texts that name a section of this lecture that is not there, such as one that was cut."""
    texts = {i: cell.source for i, cell in enumerate(nb.cells) if cell.cell_type == "markdown"}
    there = {number for text in texts.values() for number in HEADING.findall(text)}
    for i, text in texts.items():
        named = {number for found in SECTIONS.findall(text) for number in re.findall(r"\d+", found)}
        for number in sorted(named - there, key=int):
            yield f"{cell_name(nb, i)}: names section {number}, but no heading has this number"


def _device_problems(nb: NotebookNode) -> Iterator[str]:
    """Cells that ask for the CPU where no comment or text before them says why."""
    for i, cell in enumerate(nb.cells):
        if cell.cell_type == "code" and FOR_THE_CPU.search(cell.source):
            before = nb.cells[i - 1].source if i and nb.cells[i - 1].cell_type == "markdown" else ""
            comments = re.findall(r"#.*", cell.source)
            if "CPU" not in " ".join([before, *comments]):
                yield f"{cell_name(nb, i)}: says device='cpu' and not why; load_model() chooses"


def cell_problems(nb: NotebookNode, *, is_lecture: bool) -> Iterator[str]:
    """Cells that are too long, and pictures without alternative text."""
    for i, cell in enumerate(nb.cells):
        is_test = cell.metadata.get("nbgrader", {}).get("grade")
        allowed = MAX_CODE_LINES if is_lecture else MAX_EXERCISE_LINES
        allowed = MAX_TEST_LINES if is_test else allowed
        n_lines = _n_lines(cell) if is_lecture or is_test else _n_statements(cell)
        if cell.cell_type == "code" and n_lines > allowed:
            yield f"{cell_name(nb, i)}: {n_lines} lines, allowed {allowed}"
        if cell.cell_type == "markdown" and (n := count_words(cell.source)) > MAX_MARKDOWN_WORDS:
            yield f"{cell_name(nb, i)}: {n} words, allowed {MAX_MARKDOWN_WORDS}"
        for output in cell.get("outputs", []):
            yield from (f"{cell_name(nb, i)}: {text}" for text in _alt_problems(output))


def _file_problems(nb: NotebookNode, path: Path) -> Iterator[str]:
    size = path.stat().st_size
    if size >= MAX_BYTES:
        yield f"{size:,} bytes, allowed fewer than {MAX_BYTES:,}"
    if path.read_text(encoding="utf-8") != notebook_text(nb):
        yield "is not in the committed format; `make notebooks` writes it"


def _n_lines(cell: NotebookNode) -> int:
    return len(cell.source.strip().splitlines())


def _n_statements(cell: NotebookNode) -> int:
    """The lines that a student writes: no docstrings, marks of a solution or empty lines."""
    lines = re.sub(r'""".*?"""', "", cell.source, flags=re.DOTALL).splitlines()
    return sum(bool(line.strip()) and not line.strip().startswith("###") for line in lines)


def count_words(markdown: str) -> int:
    """Words that a reader reads: no HTML tags, inlined pictures, link targets or table rules."""
    text = re.sub(r"<[^>]*>|\]\([^)]*\)", " ", PNG_URI.sub("", markdown))
    return sum(any(c.isalnum() for c in word) for word in text.split())


def _alt_problems(output: NotebookNode) -> Iterator[str]:
    data = output.get("data", {})
    alts = image_alts(data.get("text/html", ""))
    if "image/png" in data and not alts:
        yield "a picture without a text/html output that carries its alternative text"
    if any(not (alt or "").strip() for alt in alts):
        yield "an <img> without alternative text"


def image_alts(html: str) -> list[str | None]:
    """The alternative text of every ``<img>``, None where there is none."""
    alts: list[str | None] = []

    class Images(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag == "img":
                alts.append(dict(attrs).get("alt"))

    Images().feed(html)
    return alts
