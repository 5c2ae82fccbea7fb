"""Pictures of lecture 08: heads, tokens, what a translation looks at, sounds, what is seen."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle
from PIL import Image

from ..checks import check_count, checked
from .picture import Picture, as_array, new_figure
from .style import CHOSEN, INK, in_course_style, visible
from .tokens import Tile, draw_tiles, tiles_html

# Neighbouring tokens take these colours in turn, so that one sees where a token ends.
TOKEN_COLOURS = ("#DCE9F3", "#FBE3C8", "#D9EFE6", "#EFE3EE")
_SPECIAL_COLOUR = "#DDDDDD"
_MOST_PIECES = 400


@in_course_style
def head_importance(rises, *, layers: Sequence[int], caption: str = "") -> Picture:
    """How much the loss rises without each attention head, as a map: row = layer, column = head.

    Args:
        rises: (layers, n_H) in nats per token, as ``hub_tools.ablate_heads`` returns them.
        layers: the layers' numbers.
    """
    rises = as_array("rises", rises)
    if rises.ndim != 2 or not rises.size or not np.isfinite(rises).all():
        raise ValueError(f"rises: needs a finite array (layers, n_H), got shape {rises.shape}")
    if len(layers) != len(rises):
        raise ValueError(f"layers: needs {len(rises)} numbers, got {len(layers)}")
    figure = new_figure(6.4, 1.3 + 0.19 * max(len(layers), 4))
    axes = figure.add_subplot()
    # A few heads have much larger numbers: the colours end at the 98th percentile.
    limit = max(np.quantile(np.abs(rises), 0.98), 1e-6)
    image = axes.imshow(rises, aspect="auto", cmap="PuOr_r", vmin=-limit, vmax=limit)
    worst_layer, worst_head = np.unravel_index(rises.argmax(), rises.shape)
    corner = (worst_head - 0.5, worst_layer - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=CHOSEN, lw=2))
    axes.set_xticks(range(rises.shape[1]))
    step = 1 if len(layers) <= 12 else 5
    axes.set_yticks(range(0, len(layers), step), layers[::step])
    axes.set(xlabel="head", ylabel="layer")
    bar = figure.colorbar(image, ax=axes, extend="both")
    bar.set_label("loss without it − with it,\nnats a token")
    alt = (
        f"Map of {rises.shape[0]} layers by {rises.shape[1]} heads: the change in loss without "
        f"each head, {rises.min():.3f} to {rises.max():.3f} nats a token, median "
        f"{np.median(rises):.3f}. The most important (framed) is head {worst_head} of layer "
        f"{layers[worst_layer]}. Without {(rises < 0).sum()} of the {rises.size} heads the loss "
        "falls."
    )
    return Picture(figure, alt, caption)


@in_course_style
def token_strip(pieces: Sequence, *, caption: str = "") -> Picture:
    """A text's tokens as boxes, each with its id and its bytes in hexadecimal below.

    Args:
        pieces: ``hub_tools.TokenPiece`` objects.
    """
    tiles = _tiles(pieces)
    figure = draw_tiles(
        [tiles], line_width=76, narrowest=5.5, line_inches=0.78, box=(0.06, 0.86),
        text_at=(0.24, 0.55, 0.8), edge="#999999",
    )  # fmt: skip
    told = ", ".join(f"{tile.name} {tile.notes[0]}" for tile in tiles)
    n_bytes = sum(len(piece.data) for piece in pieces)
    alt = f"{len(pieces)} tokens, {n_bytes} bytes, each with its id: {told}."
    return Picture(figure, alt, caption)


@checked
def token_html(pieces: Sequence) -> str:
    """The same as HTML, for the live widget."""
    return tiles_html(_tiles(pieces))


def _tiles(pieces: Sequence) -> list[Tile]:
    if not 1 <= len(pieces) <= _MOST_PIECES:
        raise ValueError(f"pieces: needs 1 to {_MOST_PIECES} tokens, got {len(pieces)}")
    tiles = []
    for i, piece in enumerate(pieces):
        colour = _SPECIAL_COLOUR if piece.special else TOKEN_COLOURS[i % len(TOKEN_COLOURS)]
        data = piece.data[:8].hex(" ").upper() + (" …" if len(piece.data) > 8 else "")
        tiles.append(Tile(piece.text, colour, notes=(str(piece.token_id), data)))
    return tiles


@in_course_style
def cross_attention_map(
    scores, source: Sequence[str], target: Sequence[str], *, caption: str = ""
) -> Picture:
    """What each output token looked at in the input, averaged over layers and heads.

    Args:
        scores: (n_layers, n_H, T_out, T_in); each row sums to 1.
        source, target: the input's and the output's tokens.
    """
    grid = as_array("scores", scores)
    if grid.ndim != 4 or grid.shape[2:] != (len(target), len(source)) or not grid.size:
        raise ValueError(
            f"scores: needs (layers, heads, {len(target)}, {len(source)}), got {grid.shape}"
        )
    grid = grid.mean(axis=(0, 1))  # (T_out, T_in)
    # ▁ is SentencePiece's space.
    source, target = (
        [visible(token.replace("▁", " "), 14) for token in tokens] for tokens in (source, target)
    )
    figure = new_figure(1.6 + 0.36 * len(source), 1.5 + 0.24 * len(target))
    axes = figure.add_subplot()
    image = axes.imshow(grid, aspect="auto", cmap="Blues", vmin=0, vmax=max(grid.max(), 1e-6))
    axes.set_xticks(range(len(source)), source, rotation=60, ha="right", fontsize=9)
    axes.set_yticks(range(len(target)), target, fontsize=9)
    axes.set(xlabel="input tokens (encoder)", ylabel="output tokens (decoder)")
    figure.colorbar(image, ax=axes).set_label("cross-attention")
    told = "; ".join(
        f"{word} to {source[row.argmax()]} ({row.max():.2f})"
        for word, row in zip(target, grid, strict=True)
    )
    alt = "Cross-attention, the mean of all layers: each output token and the input it looks at"
    return Picture(figure, f"{alt} most: {told}.", caption)


@in_course_style
def spectrograms(sounds: Mapping[str, object], *, sampling_rate: int, caption: str = "") -> Picture:
    """Sounds as pictures, beside one another: time to the right, frequency upwards, dark = loud.

    Args:
        sounds: title -> waveform, (samples,), between -1 and 1.
        sampling_rate: samples per second.
    """
    waves = {title: as_array("sounds", wave) for title, wave in sounds.items()}
    if not waves or any(wave.ndim != 1 or len(wave) < 1024 for wave in waves.values()):
        raise ValueError("sounds: needs a title -> waveform of at least 1,024 samples, or more")
    check_count("sampling_rate", sampling_rate)
    figure = new_figure(1.2 + 1.9 * max(len(waves), 2), 2.4)
    panels = figure.subplots(1, len(waves), sharey=True, squeeze=False)[0]
    told = []
    for axes, (title, wave) in zip(panels, waves.items(), strict=True):
        # About 60 columns, whatever the length: few enough to see that they are numbers.
        windows = np.lib.stride_tricks.sliding_window_view(wave, 512)[:: len(wave) // 60]
        power = np.abs(np.fft.rfft(windows * np.hanning(512))).T ** 2  # (frequencies, columns)
        loud = np.log10(power + 1e-6 * power.max() + 1e-12)
        extent = (0, len(wave) / sampling_rate, 0, sampling_rate / 2000)
        axes.imshow(
            loud, origin="lower", aspect="auto", cmap="Blues", extent=extent,
            interpolation="nearest",
        )  # fmt: skip
        axes.locator_params(axis="x", nbins=3)
        axes.set(title=title, xlabel="seconds", ylim=(0, min(4, extent[3])))
        strongest = power.argmax(axis=0)[[0, -1]] * sampling_rate / 512
        told.append(
            f"{title}: strongest near {strongest[0]:.0f} hertz first, {strongest[1]:.0f} last"
        )
    panels[0].set_ylabel("kilohertz")
    alt = "Spectrograms, a sound each (time to the right, frequency upwards). " + "; ".join(told)
    return Picture(figure, f"{alt}.", caption)


@in_course_style
def image_panels(
    images: Mapping[str, Image.Image], *, objects: Sequence = (), caption: str = ""
) -> Picture:
    """Images beside one another; what was found is framed in the first one.

    Args:
        images: title -> image.
        objects: what an object-detection pipeline answered for the first image.
    """
    if not all(isinstance(image, Image.Image) for image in images.values()):
        raise ValueError("images: needs a title -> PIL image, or more")
    width = 1.9 if len(images) > 1 else 3.4
    figure = new_figure(width * len(images), width + 0.3)
    panels = figure.subplots(1, len(images), squeeze=False)[0]
    for axes, (title, image) in zip(panels, images.items(), strict=True):
        axes.imshow(image, cmap="magma", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    told = [f"{found['label']} {found['score']:.2f}" for found in objects]
    for found, words in zip(objects, told, strict=True):
        left, top, right, bottom = (found["box"][name] for name in ("xmin", "ymin", "xmax", "ymax"))
        frame = {"fill": False, "edgecolor": INK, "linewidth": 1.5}
        panels[0].add_patch(Rectangle((left, top), right - left, bottom - top, **frame))
        label = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        panels[0].text(left, top, words, fontsize=8, va="bottom", bbox=label)
    alt = "Images beside one another: " + ", ".join(images)
    return Picture(figure, alt + (f". Framed: {', '.join(told)}." if told else "."), caption)
