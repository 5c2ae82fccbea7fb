"""Picture: a finished figure that everybody can see, with words for those who can't see it."""

import base64
import html
import io
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.markers import TICKDOWN
from matplotlib.transforms import offset_copy
from PIL import Image

from ..checks import check_flag, check_text
from .style import INK, in_course_style

_DPI = 144  # half as much again as a plain screen, so that small print stays sharp
_SCREEN_DPI = 96
_TICK_PAD = 7  # points from an axis to the words of its ticks


class Picture:
    """A matplotlib figure as a PNG with alternative text and a caption.

    JupyterLab can't give PNG outputs an alternative text, so the picture is also offered as
    HTML, whose ``<img alt=...>`` every viewer keeps.

    Args:
        figure: the figure; it is drawn once, here. Or an image of one, at 144 pixels an inch.
        alt: what the picture says, for a reader who can't see it. Needed.
        caption: one line below the picture.
    """

    def __init__(self, figure: Figure | Image.Image, alt: str, caption: str = ""):
        check_text("alt", alt, "word")  # for readers who can't see it
        check_text("caption", caption, "")
        self.alt, self.caption = " ".join(alt.split()), caption
        self._image = figure if isinstance(figure, Image.Image) else _pixels(_draw(figure))
        # In screen pixels, at which the picture is meant to be seen.
        self.width, self.height = (round(n * _SCREEN_DPI / _DPI) for n in self._image.size)

    @classmethod
    def stacked(cls, *pictures: "Picture") -> "Picture":
        """Several pictures below one another, as one; their words one after another."""
        images = [picture._image for picture in pictures]
        size = max(image.width for image in images), sum(image.height for image in images)
        page, top = Image.new("RGB", size, "white"), 0
        for image in images:
            page.paste(image, (0, top))
            top += image.height
        return cls(page, " ".join(picture.alt for picture in pictures), pictures[-1].caption)

    @cached_property
    def png(self) -> bytes:
        """The picture as a small PNG file, for outputs that are saved in a notebook."""
        # 128 colours are plenty for flat pictures and make the file several times smaller; a
        # notebook holds each picture twice.
        few = self._image.quantize(colors=128, dither=Image.Dither.NONE)
        return _encode(few, format="png", optimize=True)

    @property
    def live_jpeg(self) -> bytes:
        """The same for a widget that redraws while a slider moves: a fifth of a PNG's time."""
        # At this quality, with colours at full resolution, letters stay clean.
        return _encode(self._image, format="jpeg", quality=95, subsampling=0)

    def html(self, *, live: bool = False) -> str:
        """The picture as one HTML element, with nothing outside it."""
        kind, data = ("jpeg", self.live_jpeg) if check_flag("live", live) else ("png", self.png)
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


def new_figure(width: float = 7.0, height: float = 3.0, *, layout: str | None = "constrained"):
    """A matplotlib Figure in inches; not registered with pyplot, so that none piles up."""
    return Figure(figsize=(width, height), layout=layout)


def blank_axes(width: float, height: float, xlim: tuple[float, float], ylim: tuple[float, float]):
    """A figure of ``width`` by ``height`` inches, and axes without ticks that fill it."""
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=xlim, ylim=ylim)
    axes.axis("off")
    return figure, axes


def bar_axes(figure: Figure, box, ylim, names, x_label: str, *, x_size=10, gap=4):
    """Axes for ``add_bars``, a name per row; ``gap`` points between x label and ``add_ticks``."""
    axes = figure.add_axes(box, ylim=ylim)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.set_xlabel(x_label, fontsize=x_size, labelpad=_TICK_PAD + x_size + gap)
    axes.spines.left.set_animated(True)  # bars begin below it
    return axes


def add_bars(axes, starts, ends, rows: Sequence[float], height: float, **look) -> None:
    """Horizontal bars of one look as one artist: a patch for each would take longer."""
    starts, ends, middle = np.broadcast_arrays(starts, ends, rows)
    low, high = middle - height / 2, middle + height / 2
    corners = np.transpose([[starts, ends, ends, starts], [low, low, high, high]])  # (n, 4, 2)
    axes.add_collection(PolyCollection(corners, **look), autolim=False)


def add_ticks(axes, low: float, high: float, *, size=10) -> None:
    """The x axis, from low to high: matplotlib's own measures each word several times."""
    axes.set_xlim(low, high)
    edge, formatter = axes.get_xaxis_transform(), axes.xaxis.get_major_formatter()
    at = [x for x in axes.get_xticks() if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]
    marks = {"marker": TICKDOWN, "markersize": 3.5, "markeredgewidth": 0.8, "linestyle": "none"}
    axes.plot(at, [0] * len(at), color=INK, clip_on=False, transform=edge, **marks)
    words = [(x, _TICK_PAD, word) for x, word in zip(at, formatter.format_ticks(at), strict=True)]
    words.append((high, _TICK_PAD + size + 3, formatter.get_offset()))  # such as 1e7
    for x, down, word in words:
        below = offset_copy(edge, axes.figure, y=-down, units="points")
        place = {"ha": "center" if down == _TICK_PAD else "right", "va": "top", "transform": below}
        axes.text(x, 0, word, fontsize=size, **place)


def as_array(name: str, values) -> np.ndarray:
    """Numbers as a float array, or ValueError."""
    try:
        array = np.asarray(values, dtype=float)
        len(array)  # a single number has none
        return array
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: needs numbers: {error}") from None


class Backdrop:
    """What stays in a picture while a slider moves: drawn once, and kept as pixels.

    Ticks, labels and frames are most of a picture's time; what is drawn over them is not. What must
    be above that, such as the line that bars begin at, is animated: drawn into every picture.
    """

    def __init__(self, figure: Figure):
        self.figure, self._canvas = figure, _draw(figure)
        self._kept = self._canvas.copy_from_bbox(figure.bbox)

    def image(self, draw: Callable[[], object]) -> Image.Image:
        """The picture with what ``draw`` adds to the figure's axes; afterwards it is taken off."""
        before = set(self._artists())
        draw()
        self._canvas.restore_region(self._kept)
        added = set(self._artists()) - before
        moving = [a for a in self._artists() if a in added or a.get_animated()]
        for artist in sorted(moving, key=lambda artist: artist.get_zorder()):
            artist.axes.draw_artist(artist)
        for artist in added:
            artist.remove()
        return _pixels(self._canvas)

    def _artists(self) -> list[Artist]:
        return [artist for axes in self.figure.axes for artist in axes.get_children()]


@in_course_style
def _draw(figure: Figure) -> FigureCanvasAgg:
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


def _pixels(canvas: FigureCanvasAgg) -> Image.Image:
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _encode(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()
