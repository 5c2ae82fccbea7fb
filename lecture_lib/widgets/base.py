"""PictureWidget: controls above a picture that is redrawn when they change."""

import html
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets

from ..checks import check_choice, check_count, check_flag, check_number, check_text
from ..figures import Picture

WIDE = {"description_width": "initial"}  # style of a control whose name needs room


class PictureWidget(ipywidgets.VBox):
    """Rows of controls, a line for messages (``error``: what it says, or "") and a picture.

    A subclass makes its controls, calls ``super().__init__(rows)`` last, and has
    ``draw() -> Picture``, called at the start and after each change. A ``ValueError`` in it becomes
    a readable message, and the last picture stays. What else changes is written in ``show``.

    A notebook that is opened again, or is not trusted, shows no widget. So the default state is
    also given as a picture, which JupyterLab without a kernel, GitHub and nbconvert show.

    Args:
        rows: controls below one another; those in a list are beside one another.
        watch: the controls that draw anew when their value changes; default all of them.
    """

    draws_live = True  # False: the browser draws all, the picture is for readers without a kernel
    still_html = ""  # in place of that picture, where its font would lack a script

    def __init__(self, rows: list, *, watch: list | None = None):
        self.picture_view, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.error, self._quiet, self.picture = "", False, None
        self.add_class("lecture-widget")
        boxes = [ipywidgets.HBox(row) if isinstance(row, list) else row for row in rows]
        super().__init__([*boxes, self.message, self.picture_view])
        controls = [c for row in rows for c in (row if isinstance(row, list) else [row])]
        self.when(controls if watch is None else watch, self.show)
        self.show()
        self._default_picture = self.picture

    def draw(self) -> Picture:
        raise NotImplementedError

    def show(self) -> None:
        """Draw from the controls' values."""
        if self.draws_live or self.picture is None:
            self.picture = self.draw()
        if self.draws_live:
            self.picture_view.value = self.picture.html(live=True)

    def when(self, controls: list, action: Callable[[], object]) -> None:
        """Do it when one of the controls gets another value, or a button is clicked."""

        def act(_) -> None:
            if not self._quiet:
                self.attempt(action)

        for control in controls:
            if isinstance(control, ipywidgets.Button):
                control.on_click(act)
            elif not isinstance(control, ipywidgets.HTML):
                control.observe(act, names="value")

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Within it, controls get values without what happens ``when`` they do."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def attempt(self, action: Callable[[], object]) -> None:
        """Do what a control asks for; bad input becomes a message, never a traceback."""
        try:
            action()
        except ValueError as error:
            self.error = str(error)
            self.message.value = f'<span role="alert">⚠ {html.escape(self.error)}</span>'
        else:
            self.error = self.message.value = ""

    def _repr_mimebundle_(self, include=None, exclude=None, **kwargs):
        live = super()._repr_mimebundle_(include=include, exclude=exclude, **kwargs)
        still = self._default_picture._repr_mimebundle_()
        note = "<p><em>A picture of the default state; run the cell to use the controls.</em></p>"
        name = f"{type(self).__name__} (run the cell to use it). "
        if self.still_html:
            still = {"text/html": self.still_html, "text/plain": still["text/plain"]}
        shown = {**still, "text/html": still["text/html"] + note}
        return {**live, **shown, "text/plain": name + still["text/plain"]}


class BackgroundWidget(PictureWidget):
    """A PictureWidget that computes in a thread, so that cells can be run meanwhile.

    A subclass says what is to be done: ``prepare()`` checks the controls' values (a ValueError
    becomes the message, and nothing runs), ``work(prepared)`` gets what it returned and runs in the
    thread, ``finish(failed)`` shows what came of it, and ``show_busy(busy)`` that there is work.
    """

    _thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Return when it does not work any more."""
        if self._thread is not None:
            self._thread.join()

    def begin(self, wait: bool = False) -> None:
        """Prepare, then work in the background. wait: return when the work is done."""
        check_flag("wait", wait)
        prepared = []
        self.attempt(lambda: prepared.append(self.prepare()))
        # Only now: attempt() clears the message, also one of a thread that has ended already.
        if prepared:
            self.show_busy(True)
            self._thread = threading.Thread(target=self._work_aside, args=prepared, daemon=True)
            self._thread.start()
            if wait:
                self.wait()

    def _work_aside(self, prepared) -> None:
        failed = None
        try:
            self.work(prepared)
        except Exception as error:  # a thread's traceback would be seen by nobody
            failed = ValueError(f"The model failed: {type(error).__name__}: {error}")

        def finish() -> None:
            self.finish(failed is not None)
            if failed is not None:
                raise failed

        self.show_busy(False)
        self.attempt(finish)


def close_lines(text_html: str) -> str:
    """HTML with less space between wrapped lines, which in a widget looks like new paragraphs."""
    return f'<div style="line-height:1.5">{text_html}</div>'


def text_box(name: str, value: str, width: str = "auto") -> ipywidgets.Text:
    """A line of text, taken when it is complete (Enter, or the focus leaves it)."""
    return ipywidgets.Text(
        value=check_text(name, value, ""),
        description=name,
        continuous_update=False,
        layout={"width": width},
    )


def _within_limits(kind: type, check: Callable) -> type:
    """A control that refuses a value which ipywidgets would cap, or cut, in silence."""

    class Control(kind):
        def __init__(self, *, value: float | None = None, **options):
            super().__init__(**options)
            if value is not None:  # only now the limits are known
                self.value = value

        def __setattr__(self, name: str, value) -> None:
            if name == "value":
                check(self.description, value, least=self.min, most=self.max)
            super().__setattr__(name, value)

    return Control


IntSlider = _within_limits(ipywidgets.IntSlider, check_count)
FloatSlider = _within_limits(ipywidgets.FloatSlider, check_number)
_IntBox = _within_limits(ipywidgets.BoundedIntText, check_count)


def number_slider(name: str, value: float, low: float, high: float, step: float, **options):
    """A slider for a number with two digits behind the point."""
    return FloatSlider(
        description=name, value=value, min=low, max=high, step=step, readout_format=".2f", **options
    )


def whole_number(name: str, value: int, low: int, high: int, width: str, **options):
    """A box for a whole number."""
    return _IntBox(
        description=name, value=value, min=low, max=high, layout={"width": width}, **options
    )


def powers_of_two(name: str, low: int, high: int, value: int) -> ipywidgets.SelectionSlider:
    """A slider over 2^low to 2^high."""
    options = [2**n for n in range(low, high + 1)]
    check_choice(name, value, options)
    return ipywidgets.SelectionSlider(description=name, options=options, value=value)


def prompt_ids(tokenizer, prompt: str, most: int) -> list[int]:
    """The tokens of what was typed as a prompt; a ValueError for none, or more than ``most``."""
    ids = tokenizer(check_text("Prompt", prompt, "word")).input_ids
    if len(ids) > most:
        raise ValueError(f"Prompt: {len(ids)} tokens, at most {most} fit")
    return ids
