"""PictureWidget: controls above a picture that is redrawn when they change."""

import html
from collections.abc import Callable

import ipywidgets

from ..figures import Picture


class PictureWidget(ipywidgets.VBox):
    """A box of controls, a picture and a line for messages (``error``: what it says, or "").

    A subclass makes its controls, calls ``super().__init__(controls, loaded...)`` last, and has
    ``draw() -> Picture``: a pure function of the controls' values. It is called once at the start
    and again after each change. A ``ValueError`` in it becomes a readable message, and the last
    picture stays.

    A notebook saved with a widget shows "model not found" when it is opened again, and an untrusted
    one shows no widget at all. So the default state is also given as a picture, which JupyterLab
    without a kernel, GitHub and nbconvert show.
    """

    def __init__(self, controls: list[ipywidgets.Widget], *, watch: list | None = None):
        self.picture_view = ipywidgets.HTML()
        self.message = ipywidgets.HTML()
        self.add_class("lecture-widget")
        super().__init__([*controls, self.message, self.picture_view])
        for control in watch if watch is not None else controls:
            control.observe(lambda change: self.redraw(), names="value")
        self.redraw()
        self._default_picture = self.picture

    def draw(self) -> Picture:
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again from the controls' values."""
        self.attempt(self._replace_picture)

    def attempt(self, action: Callable[[], object]) -> None:
        """Do what a control asks for; bad input becomes a message, never a traceback."""
        try:
            action()
        except ValueError as error:
            self.error = str(error)
            self.message.value = f'<span role="alert">⚠ {html.escape(self.error)}</span>'
        else:
            self.error = self.message.value = ""

    def _replace_picture(self) -> None:
        self.picture = self.draw()
        self.picture_view.value = self.picture.html(live=True)

    def _repr_mimebundle_(self, include=None, exclude=None, **kwargs):
        live = super()._repr_mimebundle_(include=include, exclude=exclude, **kwargs)
        # ipywidgets answers with the data alone, or with (data, metadata).
        data, *metadata = live if isinstance(live, tuple) else (live,)
        still = self._default_picture._repr_mimebundle_()
        note = "<p><em>A picture of the default state; run the cell to use the controls.</em></p>"
        still["text/html"] += note
        still["text/plain"] = (
            f"{type(self).__name__} (run the cell to use it). {still['text/plain']}"
        )
        data = {**data, **still}
        return (data, *metadata) if metadata else data


def close_lines(text_html: str) -> str:
    """HTML whose wrapped lines belong together: a widget's own lie as far apart as paragraphs."""
    return f'<div style="line-height:1.5">{text_html}</div>'
