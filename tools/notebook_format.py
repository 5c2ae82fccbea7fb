"""Reads and writes notebooks in one format, the same after every run and on every machine."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
DROPPED_CELL_METADATA = ("execution", "ExecuteTime", "collapsed", "scrolled", "vscode")
NOTEBOOK_METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    # No Python version: it would differ between two machines that agree on every output.
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}


class NotebookError(Exception):
    """A notebook can't be read, did not run to its end, or is not committed clean; says where."""


def read_notebook(path: Path) -> NotebookNode:
    """A notebook from disk, as nbformat 4.5.

    Raises:
        NotebookError: not there, not JSON, or not a notebook of format 4.
    """
    try:
        nb = json.loads(Path(path).read_text(encoding="utf-8"))
        if nb["nbformat"] != 4:
            raise NotebookError(f"{path}: needs notebook format 4, got {nb['nbformat']}")
        add_missing_ids(nb["cells"])
        nb["nbformat_minor"] = 5
        return nbformat.reads(json.dumps(nb), as_version=4)
    except (OSError, ValueError, KeyError, TypeError, nbformat.ValidationError) as error:
        raise NotebookError(f"{path}: not a readable notebook: {error!r}") from error


def add_missing_ids(cells: list[dict]) -> None:
    """Give cells without an id one made from their text, so that it is the same every time."""
    taken = {cell.get("id") for cell in cells}
    for cell in cells:
        count = 0
        while not cell.get("id"):
            text = f"{count}{cell['cell_type']}{''.join(cell['source'])}"
            new_id = hashlib.sha256(text.encode()).hexdigest()[:8]
            if new_id not in taken:
                cell["id"] = new_id
                taken.add(new_id)
            count += 1


def normalise(nb: NotebookNode) -> NotebookNode:
    """A copy without all that differs from run to run or machine to machine but shows nothing."""
    nb = nbformat.from_dict(json.loads(json.dumps(nb)))
    nb.nbformat_minor = 5
    nb.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    for cell in nb.cells:
        for key in DROPPED_CELL_METADATA:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        cell.outputs = merge_streams(cell.outputs)
        for i, output in enumerate(cell.outputs):
            # The model of a widget lives in the kernel and is not saved: its id is only noise.
            view = output.get("data", {}).get(WIDGET_VIEW)
            if view:
                view["model_id"] = hashlib.sha256(f"{cell.id}/{i}".encode()).hexdigest()[:32]
    return nb


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream: where a flush cuts a text is chance."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            merged.append(nbformat.from_dict(output))
    return merged


def notebook_text(nb: NotebookNode) -> str:
    """The text that a normalised notebook has on disk."""
    return nbformat.writes(normalise(nb)).rstrip("\n") + "\n"


def write_notebook(nb: NotebookNode, path: Path) -> None:
    """Write a notebook, normalised; whoever reads meanwhile sees the old file or the new one."""
    path = Path(path)
    mode = path.stat().st_mode if path.exists() else 0o644
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(notebook_text(nb))
        os.chmod(temporary, mode & 0o777)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def cell_name(nb: NotebookNode, index: int) -> str:
    """How messages name a cell: its place among all cells (from 1, as one counts) and its id."""
    return f"cell {index + 1} of {len(nb.cells)} (id {nb.cells[index].id})"
