"""A canvas that remembers how texts look, for widgets that draw nearly the same again and again.

Laying out a text and rendering its glyphs takes matplotlib about a millisecond, half of the time
of a picture; while a slider moves, most labels stay as they were. The pixels are the same as
without the memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg


class RememberingCanvas(FigureCanvasAgg):
    """FigureCanvasAgg whose renderer measures and renders each text only once."""

    def get_renderer(self):
        key = (*self.get_width_height(physical=True), self.figure.dpi)
        if self._lastKey != key:  # while it draws, the figure asks for its renderer again
            self.renderer, self._lastKey = _RememberingRenderer(*key), key
        return self.renderer


class _RememberingRenderer(RendererAgg):
    def get_text_width_height_descent(self, s, prop, ismath):
        return _remembered(
            ("size", s, hash(prop), ismath, self.dpi),
            lambda: RendererAgg.get_text_width_height_descent(self, s, prop, ismath),
        )

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        if ismath:  # has lines as well as glyphs
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        # Colour and clipping come with gc when the glyphs are put into the picture.
        place = (x, y, angle, self.height, self.dpi, gc.get_antialiased())
        glyphs = _remembered(
            ("glyphs", s, hash(prop), *place),
            lambda: self._rendered(gc, x, y, s, prop, angle, mtext),
        )
        for glyph in glyphs:
            self._renderer.draw_text_image(*glyph, gc)

    def _rendered(self, gc, x, y, s, prop, angle, mtext) -> list[tuple]:
        """The glyphs of a text: (image, x, y, angle) each."""
        real, self._renderer = self._renderer, _Listener()
        try:
            super().draw_text(gc, x, y, s, prop, angle, False, mtext)
            return self._renderer.glyphs
        finally:
            self._renderer = real


class _Listener:
    """Stands in for the rasteriser, and notes what it is told to put where."""

    def __init__(self):
        self.glyphs: list[tuple] = []

    def draw_text_image(self, image, x, y, angle, gc) -> None:
        self.glyphs.append((np.array(image), x, y, angle))


_memory: dict[tuple, Any] = {}
_MOST = 4096  # answers; a text's glyphs are some 10 kB


def _remembered(key: tuple, answer: Callable[[], Any]) -> Any:
    found = _memory.get(key)
    if found is None:
        if len(_memory) >= _MOST:
            _memory.pop(next(iter(_memory)), None)  # the oldest
        found = _memory[key] = answer()
    return found
