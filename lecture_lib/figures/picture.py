"""Picture: a finished figure that everybody can see, with words for those who can't see it."""

import base64
import html
import io
from functools import cached_property

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from .style import in_course_style

_DPI = 144  # half as much again as a plain screen, so that small print stays sharp
_SCREEN_DPI = 96


class Picture:
    """A matplotlib figure as a PNG with alternative text and a caption.

    JupyterLab gives PNG outputs no alternative text, whatever is asked, so the picture is also
    offered as HTML, whose ``<img alt=...>`` every viewer keeps.

    Args:
        figure: the figure; it is drawn once, here.
        alt: what the picture says, for a reader who can't see it. Needed.
        caption: one line below the picture.
    """

    def __init__(self, figure: Figure, alt: str, caption: str = ""):
        if not alt.strip():
            raise ValueError("alt: a picture needs words for readers who can't see it")
        self.alt = " ".join(alt.split())
        self.caption = caption
        self._image = _draw(figure)
        self._measure()

    def _measure(self) -> None:
        # In screen pixels, at which the picture is meant to be seen.
        self.width = round(self._image.width * _SCREEN_DPI / _DPI)
        self.height = round(self._image.height * _SCREEN_DPI / _DPI)

    @classmethod
    def stacked(cls, *pictures: "Picture", caption: str = "") -> "Picture":
        """Several pictures below one another, as one; their words one after another."""
        if not pictures:
            raise ValueError("pictures: needs at least one")
        together = cls.__new__(cls)
        width = max(picture._image.width for picture in pictures)
        height = sum(picture._image.height for picture in pictures)
        together._image = Image.new("RGB", (width, height), "white")
        top = 0
        for picture in pictures:
            together._image.paste(picture._image, (0, top))
            top += picture._image.height
        together.alt = " ".join(picture.alt for picture in pictures)
        together.caption = caption or pictures[-1].caption
        together._measure()
        return together

    @cached_property
    def png(self) -> bytes:
        """The picture as a small PNG file, for outputs that are saved in a notebook."""
        # 128 colours are plenty for flat pictures and make the file several times smaller; a
        # notebook holds each picture twice.
        few = self._image.quantize(colors=128, dither=Image.Dither.NONE)
        return _encode(few, optimize=True)

    @property
    def live_jpeg(self) -> bytes:
        """The same encoded for speed, for a widget that redraws while a slider moves.

        A fifth of a PNG's encoding time, and less to decode; at this quality, with colours at full
        resolution, letters stay clean.
        """
        return _encode(self._image, format="jpeg", quality=95, subsampling=0)

    def html(self, *, live: bool = False) -> str:
        """The picture as one HTML element, with nothing outside it."""
        kind, data = ("jpeg", self.live_jpeg) if live else ("png", self.png)
        data = base64.b64encode(data).decode("ascii")
        # Width and height are named so that a page doesn't jump while a picture is replaced.
        image = (
            f'<img alt="{html.escape(self.alt)}" width="{self.width}" height="{self.height}" '
            f'src="data:image/{kind};base64,{data}" style="max-width:100%;height:auto">'
        )
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure style="margin:0">{image}{caption}</figure>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        png = base64.b64encode(self.png).decode("ascii")
        return {"image/png": png, "text/html": self.html(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"


@in_course_style
def _draw(figure: Figure) -> Image.Image:
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _encode(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "png"} | options)
    return buffer.getvalue()
