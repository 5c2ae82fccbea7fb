"""A notebook open in JupyterLab, in a browser: what a test does with it and reads off it."""

import json
import os
import re
from pathlib import Path
from urllib.parse import quote

from lab_server import LabServer
from playwright.sync_api import expect

READY_MS = 240_000
RUN_MS = 400_000  # a lecture beside other tests on a small machine
SCROLLER = ".jp-WindowedPanel-outer"  # the element that scrolls a notebook

# One call for each: a click on Run All right after a page has loaded can get lost.
_CONNECTED = """(name) => {
    const context = window.jupyterapp?.shell.currentWidget?.context;
    return context?.path.endsWith(name) &&
        context.sessionContext?.session?.kernel?.connectionStatus === 'connected';
}"""
# Where a page's first notebook has failed to open, JupyterLab itself may still be starting.
_STARTED = "window.jupyterapp?.commands.hasCommand('docmanager:open')"
_READY = """async () => {
    const context = window.jupyterapp.shell.currentWidget.context;
    await context.ready;
    await context.sessionContext.ready;
    await context.sessionContext.session.kernel.info;
}"""
# JupyterLab asks whether to save a notebook with changes, and notes the kernel's version in it.
_CLOSE = """() => {
    const widget = window.jupyterapp?.shell.currentWidget;
    if (widget?.context?.model) widget.context.model.dirty = false;
    widget?.close();
}"""
# These commands end when the kernel has: with the last cell, or the first that raises.
_RUN_ALL = """() => {
    window.ended = false;
    window.jupyterapp.commands.execute('notebook:run-all-cells')
        .finally(() => { window.ended = true; });
}"""
_RUN_CELL = """(index) => {
    window.ended = false;
    window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
    window.jupyterapp.commands.execute('notebook:run-cell')
        .finally(() => { window.ended = true; });
}"""
# Whether there is more below; the empty space after the last cell isn't more.
_STEP_DOWN = """(element) => {
    const last = [...element.querySelectorAll('.jp-Cell')].at(-1).getBoundingClientRect();
    element.scrollTop += element.clientHeight - 40;
    return last.bottom > element.getBoundingClientRect().bottom;
}"""


class LabPage:
    """One notebook in one browser page; cells are counted from 0, as in the file."""

    def __init__(self, page, lab: LabServer):
        self.page = page
        self.lab = lab

    def open(self, name: str) -> "LabPage":
        """Open a notebook, "notebooks/01_language_models.ipynb", and wait for its kernel.

        Where this page shows JupyterLab already, its one notebook is closed first.
        """
        self.nb = json.loads((self.lab.root / name).read_text(encoding="utf-8"))
        if self.page.url.startswith(self.lab.url):
            self.page.wait_for_function(_STARTED, timeout=READY_MS)
            self.close()
            self.command("docmanager:open", path=name)
        else:
            path = f"/lab/workspaces/auto-t/tree/{quote(name)}?token={self.lab.token}&reset"
            self.page.goto(self.lab.url + path)
        self.page.wait_for_function(_CONNECTED, arg=name, timeout=READY_MS)
        self.page.evaluate(_READY)
        return self

    def close(self) -> None:
        """Close the notebook without saving it; its kernel goes on."""
        self.page.evaluate(_CLOSE)
        expect(self.page.locator(".jp-Notebook")).to_have_count(0)

    def run_all(self) -> None:
        """Run all cells; returns when the last has ended, or one raised."""
        self.page.evaluate(_RUN_ALL)
        self.page.wait_for_function("window.ended", timeout=RUN_MS)

    def run(self, *indices: int) -> None:
        """Run these cells, one after the other."""
        for index in indices:
            self.page.evaluate(_RUN_CELL, index)
            self.page.wait_for_function("window.ended", timeout=RUN_MS)

    def run_setup(self) -> None:
        """Run the cells down to the one that loads the model: imports, mostly."""
        code = [i for i, cell in enumerate(self.nb["cells"]) if cell["cell_type"] == "code"]
        loads = [i for i in code if "load_model(" in "".join(self.nb["cells"][i]["source"])]
        self.run(*(i for i in code if i <= (loads or code)[0]))
        assert self.errors == []

    def show_widget(self, call: str):
        """Run the one cell that has this text; the widget in its output, live and new."""
        cell = self.find_cell(call)
        self.run(cell)
        assert self.errors == []
        widget = self.cell(cell).locator(".lecture-widget")
        widget.wait_for()
        return widget

    def command(self, name: str, **arguments) -> None:
        """Do what a menu entry of JupyterLab does."""
        code = "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)"
        self.page.evaluate(code, [name, arguments])

    def cell(self, index: int):
        return self.cells.nth(index)

    @property
    def cells(self):
        return self.page.locator(".jp-Notebook .jp-Cell")

    def find_cell(self, text: str) -> int:
        """The index of the one cell whose source contains this text."""
        found = [i for i, c in enumerate(self.nb["cells"]) if text in "".join(c["source"])]
        assert len(found) == 1, f"{text!r} is in the cells {found}, wanted it in one"
        return found[0]

    def type_source(self, index: int, source: str) -> None:
        """Replace a cell's source with the keyboard."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)

    @property
    def prompts(self) -> list[str]:
        return self.page.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents()

    @property
    def errors(self) -> list[str]:
        """What stands in red below cells: exceptions and what was written to stderr."""
        return self.page.locator('[data-mime-type$="jupyter.stderr"]').all_text_contents()

    @property
    def images(self) -> list[dict]:
        """alt and natural width of each picture in the notebook; 0 where it isn't shown."""
        return self.page.locator(".jp-Notebook img").evaluate_all(
            "all => all.map(i => ({alt: i.alt, width: i.checkVisibility() && i.naturalWidth}))"
        )

    def wider_than_their_place(self) -> list[str]:
        """The elements that would need a horizontal scroll bar, in words."""
        # MathJax's words for screen readers are invisible, and wider than the formulas.
        self.page.add_style_tag(content="mjx-assistive-mml { display: none !important; }")
        places = f"{SCROLLER}, .jp-OutputArea-output, .jp-MarkdownOutput, .cm-scroller, pre, table"
        return self.page.locator(f".jp-Notebook :is({places})").evaluate_all(
            """elements => elements.filter(e => e.scrollWidth > e.clientWidth + 1).map(e =>
                `${e.className} ${e.scrollWidth} > ${e.clientWidth}: ${e.textContent.slice(0, 80)}`
            )"""
        )

    def screenshots(self, folder: Path, name: str) -> None:
        """The whole notebook in slices of one screen: NAME_01.png, NAME_02.png and so on."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{name}_[0-9][0-9].png"):
            old.unlink()
        scroller = self.page.locator(SCROLLER)
        scroller.evaluate("element => { element.scrollTop = 0; }")
        for i in range(1, 100):
            self.page.wait_for_timeout(60)
            self.page.screenshot(path=folder / f"{name}_{i:02}.png")
            if not scroller.evaluate(_STEP_DOWN):
                return


def keep_screenshot(element, name: str) -> None:
    """For a person to look at, where BROWSER_SCREENSHOTS names a folder: NAME.png."""
    if folder := os.environ.get("BROWSER_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        element.screenshot(path=Path(folder) / f"{name}.png")


def outside(url: str) -> bool:
    """Whether a request for this URL would leave the machine."""
    return not re.match(
        r"(data|blob|about|file):|(https?|wss?)://(127\.0\.0\.1|localhost)[:/]", url
    )
