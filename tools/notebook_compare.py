"""Compares what a notebook shows with what a fresh run of it gives: all outputs, pictures too.

nbval compares texts. It passes another picture, another order of outputs of different kinds, a
widget that is gone, and takes a cell without a count for one that was never run. This does not.
"""

import base64
import binascii
import difflib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from nbformat import NotebookNode
from notebook_format import WIDGET_VIEW, merge_streams
from PIL import Image

PNG_URI = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
SVG_ID = re.compile(r'(?<=[\s"#(])([A-Za-z]+)[0-9a-f]{10}(?=[")])')

# One pinned matplotlib draws the same bytes, so this only allows for another processor's rounding:
# a shade of antialiasing here and there, but no glyph and no marker that changes.
MAX_MEAN_DIFFERENCE = 0.02  # of 255, over all pixels and channels
MAX_FAR_PIXELS = 6
FAR = 32  # of 255, in any channel

Sanitizer = Callable[[str], str]


def load_sanitizer(path: Path) -> Sanitizer:
    """The replacements of an nbval sanitize file, as a function from text to text."""
    pairs = re.findall(r"^regex: (.*)$\n^replace: (.*)$", Path(path).read_text(), re.MULTILINE)

    def sanitize(text: str) -> str:
        for pattern, replacement in pairs:
            text = re.sub(pattern, replacement, text)
        return text

    return sanitize


def compare_outputs(
    old: list[NotebookNode], new: list[NotebookNode], sanitize: Sanitizer, *, values: bool = True
) -> Iterator[str]:
    """The differences between two lists of outputs; with ``values=False`` only of their kinds."""
    old, new = merge_streams(old), merge_streams(new)
    old_kinds, new_kinds = [_kind(output) for output in old], [_kind(output) for output in new]
    if old_kinds != new_kinds:
        yield f"shows {_listed(old_kinds)}, but a run gives {_listed(new_kinds)}"
        return
    if not values:
        return
    for old_output, new_output in zip(old, new, strict=True):
        if old_output.get("metadata", {}) != new_output.get("metadata", {}):
            yield "the metadata of an output changed"
        old_parts, new_parts = _parts(old_output), _parts(new_output)
        for key in old_parts:
            yield from _compare_part(key, old_parts[key], new_parts[key], sanitize)


def _kind(output: NotebookNode) -> str:
    """What an output is, without its values."""
    if output.output_type == "stream":
        return output.name
    if output.output_type == "error":
        return f"error {output.ename}"
    return f"{output.output_type} ({', '.join(sorted(output.data))})"


def _listed(kinds: list[str]) -> str:
    return ", ".join(kinds) if kinds else "no output"


def _parts(output: NotebookNode) -> dict:
    """An output's contents by format."""
    if output.output_type == "stream":
        return {output.name: output.text}
    if output.output_type == "error":
        return {"error": f"{output.ename}: {output.evalue}"}
    return dict(output.data)


def _compare_part(key: str, old, new, sanitize: Sanitizer) -> Iterator[str]:
    if key == WIDGET_VIEW:
        old, new = ({k: v for k, v in view.items() if k != "model_id"} for view in (old, new))
    if key == "image/png":
        old, new = ("data:image/png;base64," + "".join(data.split()) for data in (old, new))
    if not isinstance(old, str) or not isinstance(new, str):
        old, new = (json.dumps(value, sort_keys=True, indent=1) for value in (old, new))
    if old == new:
        return
    old_text, old_pictures = _split_pictures(old)
    new_text, new_pictures = _split_pictures(new)
    if key == "image/svg+xml" or "<svg" in old_text:
        old_text, new_text = _number_svg_ids(old_text), _number_svg_ids(new_text)
    old_text, new_text = sanitize(old_text), sanitize(new_text)
    if old_text != new_text:
        yield f"{key} changed:\n{_text_difference(old_text, new_text)}"
    elif len(old_pictures) != len(new_pictures):
        yield f"{key} has {len(old_pictures)} pictures, but a run gives {len(new_pictures)}"
    else:
        for before, after in zip(old_pictures, new_pictures, strict=True):
            difference = picture_difference(before, after)
            if difference:
                yield f"the picture in {key} changed: {difference}"


def _split_pictures(text: str) -> tuple[str, list[str]]:
    """A text with its inlined PNGs taken out, and these PNGs, base64."""
    return PNG_URI.sub("[picture]", text), PNG_URI.findall(text)


def _number_svg_ids(svg: str) -> str:
    """Hashed ids (m3f0c9a7e21) replaced by their order of appearance."""
    numbers: dict[str, str] = {}
    return SVG_ID.sub(lambda m: numbers.setdefault(m[0], f"{m[1]}-{len(numbers)}"), svg)


def _text_difference(old: str, new: str, max_lines: int = 30) -> str:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "committed", "this run", lineterm="", n=1
    )
    shown = [line[:300] for line in lines]
    if len(shown) > max_lines:
        shown[max_lines:] = [f"... and {len(shown) - max_lines} more lines"]
    return "\n".join(shown) or f"{old[:300]!r}\nis not\n{new[:300]!r}"


def picture_difference(old: str, new: str) -> str:
    """How two base64 PNGs differ to the eye, or "" where they do not."""
    try:
        old_bytes, new_bytes = base64.b64decode(old), base64.b64decode(new)
        if old_bytes == new_bytes:
            return ""
        before, after = _pixels(old_bytes), _pixels(new_bytes)
    except (OSError, binascii.Error) as error:
        return f"not a readable PNG ({error})"
    if before.shape != after.shape:
        return f"{before.shape[1]}x{before.shape[0]} pixels, now {after.shape[1]}x{after.shape[0]}"
    difference = np.abs(before - after)
    n_far = int((difference.max(axis=-1) > FAR).sum())
    mean = float(difference.mean())
    if n_far > MAX_FAR_PIXELS or mean > MAX_MEAN_DIFFERENCE:
        return f"{n_far} pixels are far off, mean difference {mean:.3f} of 255"
    return ""


def _pixels(png: bytes) -> np.ndarray:
    """(height, width, 4) integers 0..255; transparency over white, as a page shows it."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    page = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(page, picture), dtype=np.int16)
