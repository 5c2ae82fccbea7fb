"""How numbers are stored: true bytes of float and quantised formats, scales included."""

from dataclasses import dataclass
from typing import Any

from lecture_lib.checks import check_number, suggest

from .dimensions import check_size, is_symbolic


@dataclass(frozen=True)
class Format:
    """A storage format of weights or of the KV cache.

    A *row* has scales of its own: it is the weights of one output of a linear layer, or one head's
    key (or value) of one token.

    Attributes:
        name: what to call it.
        bits: bits of one element.
        group_size: elements of a row that share a scale; None: the whole row shares one.
        scale_bytes: bytes of a group's scale, its zero point included; 0: no scales.
    """

    name: str
    bits: float
    group_size: int | None = None
    scale_bytes: float = 0

    def __post_init__(self) -> None:
        check_number("bits", self.bits, above=0)
        if self.group_size is not None:
            check_size("group_size", self.group_size)
        if self.scale_bytes:
            check_number("scale_bytes", self.scale_bytes, above=0)

    def n_bytes(self, rows: Any, row_len: Any) -> Any:
        """Bytes of ``rows`` rows of ``row_len`` elements (integers or sympy expressions)."""
        if is_symbolic(row_len):
            if self.group_size is not None:
                raise ValueError(f"{self.name}: groups of a symbolic width cannot be counted")
            return rows * (row_len * _exact(self.bits / 8) + self.scale_bytes)
        elements = row_len * self.bits / 8
        groups = 1 if self.group_size is None else -(-row_len // self.group_size)
        return rows * _exact(elements + groups * self.scale_bytes)


def _exact(value: float) -> float | int:
    return int(value) if value == int(value) else value


#: Formats by name. int8: one FP16 scale per row. int4: an FP16 scale and a 4-bit zero point for
#: every 128 elements, as GPTQ (arXiv 2210.17323) and AWQ files have them. q8_0, q4_0: blocks of
#: 32 with an FP16 scale, as in GGUF files.
FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("float64", 64),
        Format("float32", 32),
        Format("float16", 16),
        Format("bfloat16", 16),
        Format("float8", 8),
        Format("int8", 8, scale_bytes=2),
        Format("int4", 4, group_size=128, scale_bytes=2.5),
        Format("q8_0", 8, group_size=32, scale_bytes=2),
        Format("q4_0", 4, group_size=32, scale_bytes=2),
    )
}


def as_format(name: str, value: "Format | str | None", dtype_bytes: float) -> Format:
    """The format an argument means: None is ``dtype_bytes`` bytes per element, without scales.

    Raises:
        ValueError: an unknown name, with near ones suggested; ``dtype_bytes`` not positive.
    """
    check_number("dtype_bytes", dtype_bytes, above=0)
    if value is None:
        return Format(f"{dtype_bytes:g} bytes", 8 * dtype_bytes)
    if isinstance(value, Format):
        return value
    key = str(value).removeprefix("torch.")
    if key not in FORMATS:
        raise ValueError(f"{name}: no format is called {value!r}; {suggest(key, FORMATS)}")
    return FORMATS[key]
