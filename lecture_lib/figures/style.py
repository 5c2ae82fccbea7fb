"""One visual language for all pictures: colours, fonts, sizes, and how tokens are written."""

from functools import cache, wraps
from threading import RLock

from matplotlib import font_manager, rc_context
from matplotlib.colors import LinearSegmentedColormap

from ..checks import checked

# Okabe and Ito's colours, which the colour-blind can tell apart. One meaning each, everywhere.
CHOSEN = "#D55E00"  # vermilion: the token that was chosen, the thing to look at
KEPT = "#0072B2"  # blue: what the model says, what is kept
OTHER = "#8A8A8A"  # grey: the rest
GOOD = "#009E73"  # green: agrees, finished
MARK = "#E69F00"  # orange: a second thing to compare
PREFILL, DECODE = KEPT, MARK  # where the two phases are shown
INK = "#222222"

# Curves differ in colour, marker and line.
LINES = ((KEPT, "o", "-"), (CHOSEN, "s", "--"), (MARK, "^", "-."), (OTHER, "D", ":"))


def bar_look(colour: str, hatch: str = "") -> dict[str, str]:
    """How the bars of one meaning look; neighbours differ in their hatch too."""
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "joinstyle": "miter"}


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
_SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it is not given, matplotlib looks for a place in every redraw
    "axes.spines.top": False,
    "axes.spines.right": False,
    # Pictures have a white background of their own: in a dark theme, too, one can read them.
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "#FFFFFF"),
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("text.color", "xtick.color", "ytick.color"), INK),
    "text.parse_math": False,  # a token may be a dollar sign
}


# The settings are those of the whole process: a thread that leaves them would change another's.
_DRAWING = RLock()


@cache
def font_families() -> tuple[str, ...]:
    """DejaVu Sans and those of the fall-back fonts that this machine has."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed))


def in_course_style(draw):
    """Decorator: everything the function draws gets the course's settings, whatever the user's, and
    its arguments are checked by their annotations."""
    draw = checked(draw)

    @wraps(draw)
    def styled(*args, **kwargs):
        with _DRAWING, rc_context({"font.family": list(font_families()), **_SETTINGS}):
            return draw(*args, **kwargs)

    return styled


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
    paths = (font_manager.findfont(family) for family in font_families())
    return any(ord(character) in font_manager.get_font(path).get_charmap() for path in paths)
