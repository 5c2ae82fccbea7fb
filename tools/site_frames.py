#!/usr/bin/env python3
"""The widgets of the lectures for pages without a kernel: python tools/site_frames.py FOLDER

FOLDER holds what Sphinx reads. Each widget that a notebook there shows is made anew, its main
control is moved, and what it shows is stored: as HTML in the notebook's output, with pictures in
FOLDER/_static/frames. The script docs/site/_static/frames.js switches between these frames.
"""

import argparse
import ast
import contextlib
import functools
import html
import io
import json
import math
import re
import symtable
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ipywidgets

import lecture_lib.loading
from lecture_lib.figures.chat import answer_html, said_html, spans_of
from lecture_lib.widgets import ChatWidget, PictureWidget

WIDGET = "application/vnd.jupyter.widget-view+json"
QUESTION = "What is the capital of France?"
MOST_FRAMES = 13  # a slider with more values has frames for some of them, evenly spread
MOST_CLICKS = 8
SLIDERS = (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.SelectionSlider)
# Everything with a value that the reader would want to know, since it is not seen on the page.
CONTROLS = (*SLIDERS, ipywidgets.Dropdown, ipywidgets.ToggleButtons)


class FrameError(Exception):
    """A widget has no frames; the message says which, and why."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what Sphinx reads")
    folder = parser.parse_args(argv).folder.resolve()  # a lecture may change directory
    # The lectures only read the model, so that one is enough for all of them.
    lecture_lib.loading.load_model = functools.cache(lecture_lib.loading.load_model)
    try:
        for path in sorted((folder / "notebooks").glob("*.ipynb")):
            add_frames(path, folder / "_static" / "frames")
    except FrameError as error:
        print(f"frames: {error}", file=sys.stderr)
        return 1
    return 0


def add_frames(path: Path, pictures: Path) -> None:
    """Replace each widget's still picture in a notebook by its frames."""
    nb = json.loads(path.read_text(encoding="utf-8"))
    lecture = None
    for index, cell in enumerate(nb["cells"]):
        for output in cell.get("outputs", []):
            if WIDGET not in output.get("data", {}) or "text/html" not in output["data"]:
                continue
            name = f"{path.stem}_{cell['id']}"
            try:
                lecture = lecture or Lecture(nb["cells"])
                widget = lecture.run(index)
                if not isinstance(widget, PictureWidget):
                    raise TypeError(f"the cell's value is {widget!r}, not a PictureWidget")
                output["data"] = {"text/html": frames_html(widget, name, pictures)}
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise FrameError(f"{path.name}, cell {cell['id']}: {what}") from error
    if lecture:
        path.write_text(json.dumps(nb), encoding="utf-8")


class Lecture:
    """A notebook's cells, of which those are run that a widget needs."""

    def __init__(self, cells: list[dict]):
        self.sources = {
            i: "".join(cell["source"])
            for i, cell in enumerate(cells)
            if cell["cell_type"] == "code"
        }
        self.names, self.done = {"__name__": "__main__"}, set()
        loads = [i for i, source in self.sources.items() if "load_model(" in source]
        for index in self.sources:
            if index <= (loads or list(self.sources))[0]:
                self.run(index)

    def run(self, index: int):
        """Run a cell; the value of its last line. A name that is missing comes from the last cell
        before it that gives something this name."""
        self.done.add(index)
        while True:
            try:
                return self._execute(self.sources[index])
            except NameError as error:
                before = [i for i in self.sources if i < index and i not in self.done]
                gives = [i for i in before if _gives(self.sources[i], error.name)]
                if not gives:
                    raise
                self.run(gives[-1])

    def _execute(self, source: str):
        lines = ast.parse(source).body
        last = lines.pop() if isinstance(lines[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(ast.Module(lines, []), "<cell>", "exec"), self.names)
            if last:
                return eval(compile(ast.Expression(last.value), "<cell>", "eval"), self.names)


def _gives(source: str, name: str | None) -> bool:
    table = symtable.symtable(source, "<cell>", "exec")
    if name not in table.get_identifiers():
        return False
    symbol = table.lookup(name)
    return symbol.is_assigned() or symbol.is_imported()


# --- a widget's main control ------------------------------------------------------------------


@dataclass
class Control:
    """What the page can move: its name, its values in words, which of them is shown first, and how
    the widget is brought from one value to the next."""

    name: str
    values: list[str]
    first: int
    go_to: Callable[[int], object]
    part: ipywidgets.Widget


def main_control(widget: PictureWidget) -> Control:
    """The answer of a chat, the slider "Step" or else the first slider, the button Next, or the
    text that is typed in.

    Raises:
        ValueError: it has none of these.
    """
    if isinstance(widget, ChatWidget):
        return _growing_answer(widget)
    parts = list(_parts(widget))
    sliders = [part for part in parts if isinstance(part, SLIDERS)]
    for slider in sorted(sliders, key=lambda slider: slider.description != "Step"):
        return _slider(slider)
    buttons = [p for p in parts if isinstance(p, ipywidgets.Button) and p.description == "Next"]
    for button in buttons:
        return _clicks(button)
    for area in (part for part in parts if isinstance(part, ipywidgets.Textarea)):
        return _typing(area)
    raise ValueError(f"{type(widget).__name__} has no control that this tool can move")


def _slider(slider) -> Control:
    if isinstance(slider, ipywidgets.SelectionSlider):
        values = list(slider.options)
    else:
        n_steps = round((slider.max - slider.min) / slider.step)
        values = [round(slider.min + i * slider.step, 6) for i in range(n_steps + 1)]
    stride, first = math.ceil(len(values) / MOST_FRAMES), values.index(round(slider.value, 6))
    kept = values[first % stride :: stride]  # the first one among them
    return Control(
        slider.description, list(map(str, kept)), first // stride,
        lambda i: setattr(slider, "value", kept[i]), slider,
    )  # fmt: skip


def _clicks(button: ipywidgets.Button) -> Control:
    values = ["not yet", "once", *(f"{n} times" for n in range(2, MOST_CLICKS + 1))]
    name = f"{button.description} pressed"
    return Control(name, values, 0, lambda i: i and button.click(), button)


def _typing(area: ipywidgets.Textarea) -> Control:
    words = re.findall(r"\s*\S+", area.value)
    stride = math.ceil(len(words) / MOST_FRAMES)
    numbers = range(len(words), 0, -stride)[::-1]
    return Control(
        "Words typed", list(map(str, numbers)), len(numbers) - 1,
        lambda i: setattr(area, "value", "".join(words[: numbers[i]])), area,
    )  # fmt: skip


def _growing_answer(chat: ChatWidget) -> Control:
    chat.send(QUESTION, wait=True)
    answer = chat.answers[-1]
    spans, n = spans_of(answer.pieces, answer.logprobs, chat.loaded.tokenizer), chat.token.max

    def grow(i: int) -> None:
        chat.token.value = i + 1
        so_far = [span for span in spans if span.last <= i + 1]
        said = answer_html(so_far, selected=i + 1, live=i + 1 < n)
        chat.answer_view.value, chat.facts.value = said_html("assistant", said), ""

    return Control("Tokens of the answer", [f"{i + 1} of {n}" for i in range(n)], n - 1, grow,
                   chat.token)  # fmt: skip


def _parts(widget) -> Iterator[ipywidgets.Widget]:
    """The widgets inside a box, in the order in which they are shown."""
    for child in getattr(widget, "children", ()):
        yield child
        yield from _parts(child)


# --- as HTML ----------------------------------------------------------------------------------


def frames_html(widget: PictureWidget, name: str, pictures: Path) -> str:
    """A slider, the frame that is shown first, and all of them; pictures are files of their own.

    Args:
        name: what the names of these files begin with.
    """
    control, frames, first = main_control(widget), [], 0
    settings = ", ".join(
        f"{part.description}: {getattr(part, 'label', part.value)}"
        for part in _parts(widget)
        if isinstance(part, CONTROLS) and part is not control.part and part.description
    )
    for i, value in enumerate(control.values):
        control.go_to(i)
        if widget.error:  # such as a number of ranks that the model doesn't allow
            continue
        if i == control.first:
            first = len(frames)
        frames.append((html.escape(value), _shown(widget, f"{name}_{i:02}.png", pictures)))
    value, shown = frames[first]
    templates = "".join(
        f'<template data-value="{value}">{frame}</template>\n' for value, frame in frames
    )
    made = f", and was made with these settings: {html.escape(settings)}" if settings else ""
    note = f"What the slider shows is stored with this page{made}."
    return f"""<div class="frames">
<p class="frames-control" hidden><label>{html.escape(control.name)}
<input type="range" min="0" max="{len(frames) - 1}" value="{first}" autocomplete="off"
aria-valuetext="{value}"></label> <output>{value}</output></p>
<div class="frame" aria-live="polite">{shown}</div>
<p><em>{note} To use all controls, run the cell in JupyterLab.</em></p>
{templates}</div>"""


def _shown(widget: PictureWidget, file_name: str, pictures: Path) -> str:
    """What the widget shows now, controls and hints on controls left out."""
    shown = ""
    for part in _parts(widget):
        if part is widget.picture_view and part.value:
            pictures.mkdir(parents=True, exist_ok=True)
            (pictures / file_name).write_bytes(widget.picture.png)
            source = f'src="../_static/{pictures.name}/{file_name}"'
            shown += re.sub(r'src="data:[^"]*"', source, widget.picture.html())
        elif isinstance(part, ipywidgets.HTML) and part is not widget.message:
            shown += "" if part.value.startswith("<small>") else f"<div>{part.value}</div>"
    return shown


if __name__ == "__main__":
    sys.exit(main())
