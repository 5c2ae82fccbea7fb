"""QuantisationView: bits and groups against error, bytes, perplexity and tokens per second."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import ipywidgets

from ..checks import check_choice, check_number, check_type
from ..figures import Picture
from ..figures.quantisation import quantisation_view
from ..model_spec import MODEL_SPECS
from .base import PictureWidget

_SPEC = MODEL_SPECS["smollm2-135m"]
_TABLE = _SPEC.vocab_size * _SPEC.d_model  # weights of the embeddings
_BLOCKS = _SPEC.n_params - _TABLE - (2 * _SPEC.n_layers + 1) * _SPEC.d_model  # without the norms
_ROWS = _SPEC.n_layers * (  # outputs of all matrices: as many scales, if a row shares one
    2 * _SPEC.n_heads * _SPEC.head_dim + 2 * _SPEC.n_kv_heads * _SPEC.head_dim
    + 2 * _SPEC.d_ff + _SPEC.d_model
)  # fmt: skip
_SCALE_BITS = {"absmax": 16, "zero point": 32}
_GROUPS = {"32 weights": 32, "64 weights": 64, "a row": 0}


@cache
def measured_errors() -> dict:
    """What ``tools/measure_quantisation.py`` found: (method, bits, group) -> error, perplexity."""
    found = json.loads(Path(__file__).with_name("quantised.json").read_text(encoding="utf-8"))
    return {tuple(row[:3]): tuple(row[3:]) for row in found["rows"]} | {None: found["plain"]}


def bits_per_weight(method: str, bits: int, group_size: int) -> float:
    """Of the blocks' matrices, with a float16 scale (and a minimum) for each group or row."""
    return bits + _SCALE_BITS[method] / (group_size or _BLOCKS / _ROWS)


class QuantisationView(PictureWidget):
    """All ways to round the bundled model's blocks; its embeddings have 8 bits in every one.

    Args:
        bandwidth: of the machine, in bytes per second.
        measured: tokens per second that were measured, by format: "float32", "bfloat16", "int8"
            (a scale for a row) or "int4" (zero points, groups of 32).
    """

    def __init__(self, *, bandwidth: float = 20e9, measured: Mapping[str, float] | None = None):
        self.bandwidth = check_number("bandwidth", bandwidth, above=0)
        self.measured = dict(check_type("measured", measured or {}, Mapping, "a dict"))
        self._rates = {name: bandwidth / n_bytes for name, n_bytes in _format_bytes().items()}
        for name, rate in self.measured.items():
            check_choice("measured", name, tuple(self._rates))
            check_number(f"measured[{name!r}]", rate, above=0)
        self.method = ipywidgets.ToggleButtons(options=list(_SCALE_BITS), description="Method")
        self.bits = ipywidgets.SelectionSlider(options=[3, 4, 5, 6, 8], value=4, description="Bits")
        self.group = ipywidgets.ToggleButtons(options=list(_GROUPS), description="A scale for")
        self.facts = ipywidgets.HTML()
        super().__init__([self.method, self.group, self.bits, self.facts])

    def draw(self) -> Picture:
        method, errors = self.method.value, measured_errors()
        curves = {
            name: [
                (bits_per_weight(method, bits, size), errors[method, bits, size][1])
                for bits in self.bits.options
            ]
            for name, size in _GROUPS.items()
        }
        setting = method, self.bits.value, _GROUPS[self.group.value]
        width, (error, perplexity) = bits_per_weight(*setting), errors[setting]
        n_bytes = _BLOCKS * width / 8 + _TABLE
        rate = self.bandwidth / n_bytes
        self.facts.value = (
            f"<b>{width:.2f}</b> bits per weight in the blocks, <b>{n_bytes / 1e6:.0f} MB</b> with "
            f"the embeddings; relative error of the weights {error:.3f}; perplexity "
            f"<b>{perplexity:.3g}</b> ({errors[None]:.3g} unrounded); at best {rate:.0f} "
            "tokens per second"
        )
        chosen = (width, perplexity, rate)
        return quantisation_view(curves, errors[None], self._rates, chosen, self.measured)


def _format_bytes() -> dict[str, float]:
    """What a step reads in the formats that the engine runs."""
    packed = {"int8": ("absmax", 8, 0), "int4": ("zero point", 4, 32)}
    plain = {name: size * (_BLOCKS + _TABLE) for name, size in (("float32", 4), ("bfloat16", 2))}
    return plain | {n: _BLOCKS * bits_per_weight(*s) / 8 + _TABLE for n, s in packed.items()}
