"""One visual language for all pictures: colours, fonts, sizes, and how tokens are written."""

from functools import cache, wraps

from matplotlib import font_manager, rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart. One meaning each, everywhere.
CHOSEN = "#D55E00"  # vermilion: the token that was chosen, the thing to look at
KEPT = "#0072B2"  # blue: what the model says, what is kept
OTHER = "#8A8A8A"  # grey: the rest
GOOD = "#009E73"  # green: agrees, finished
MARK = "#E69F00"  # orange: a second thing to compare
PREFILL, DECODE = KEPT, MARK  # where the two phases are shown
INK = "#222222"
PAPER = "#FFFFFF"  # pictures carry their own white paper, so that a dark theme doesn't eat the ink

# What a filter cut away: told apart from what is kept in grey print too.
CUT_LOOK = {"facecolor": "white", "edgecolor": OTHER, "hatch": "////", "linewidth": 0.8}

# Pale where the model expected the token, dark where it was surprised; also in grey print.
SURPRISE = LinearSegmentedColormap.from_list(
    "surprise", ["#FFFFFF", "#FBD9A8", "#E58A2B", "#8C3A00"]
)

# DejaVu comes with matplotlib, so Latin text looks the same everywhere; the others draw Chinese,
# Japanese, Korean and symbols where the machine has them.
_FALLBACK_FONTS = [
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei",
    "Arial Unicode MS", "Noto Emoji", "Segoe UI Symbol",
]  # fmt: skip


@cache
def font_families() -> tuple[str, ...]:
    """DejaVu Sans and those of the fall-back fonts that this machine has."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed))


def course_style() -> dict:
    """The matplotlib settings of all the course's pictures."""
    return {
        "font.family": list(font_families()),
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titley": 1.0,  # a place given is a place not searched for in every redraw
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "text.parse_math": False,  # a token may be a dollar sign
    }


def in_course_style(draw):
    """Decorator: everything the function draws gets the course's settings, whatever the user's."""

    @wraps(draw)
    def styled(*args, **kwargs):
        with rc_context(course_style()):
            return draw(*args, **kwargs)

    return styled


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


def visible(token: str, max_length: int = 18, *, space: str = "␣") -> str:
    """A token as it can be seen on paper: ␣ for a space, ↵ for a line break, escapes for the rest.

    Characters that no font here can draw are written as their code point, ``U+4E2D``. In a longer
    text ``space=" "`` leaves the spaces as they are.
    """
    shown = token.replace(" ", space).replace("\n", "↵").replace("\t", "⇥")
    shown = "".join(c if _can_draw(c) else f"U+{ord(c):04X}" for c in shown)
    return shown if len(shown) <= max_length else shown[: max_length - 1] + "…"


@cache
def _can_draw(character: str) -> bool:
    for family in font_families():
        path = font_manager.findfont(family, fallback_to_default=True)
        if ord(character) in font_manager.get_font(path).get_charmap():
            return True
    return False
