"""What is counted and how it is stored. Sources differ in both, so each choice has a name."""

from dataclasses import dataclass
from typing import Any

from lecture_lib.checks import check_choice, check_flag, check_number


@dataclass(frozen=True)
class Conventions:
    """How FLOPs and bytes are counted. A MAC (multiply and add) is always 2 FLOPs.

    As the course's OpTrace and PyTorch's FlopCounterMode count: matrix products alone have FLOPs,
    masked scores included; each operand is read once, each result written once.

    Attributes:
        softmax_pass: the softmax reads scores from memory and writes them back; False: it works
            on chip, within the row of QK^T (the lecture's tables).
        concat_cache: a decode step copies the past to make room for the new keys and values, as in
            the lecture's table; False: they are written where the cache keeps them.
        joined_projections: q, k, v (and gate, up) are one product each: their input is read once.

    Raises:
        ValueError: a value that is not True or False; the message names the argument.
    """

    softmax_pass: bool = True
    concat_cache: bool = False
    joined_projections: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_flag(name, value)


#: As the lecture's tables of part 5 count: QK^T with the softmax in one row, concat in decode.
LECTURE = Conventions(softmax_pass=False, concat_cache=True)
#: As the engine computes: q, k, v (and gate, up) are one product each.
ENGINE = Conventions(joined_projections=True)


@dataclass(frozen=True)
class Format:
    """A storage format of weights or of the KV cache, with the true bytes of its scales.

    A *row* is the weights of one output of a linear layer, or one head's key (or value) of one
    token. Rows share no scales.

    Attributes:
        element_bytes: bytes of one element, 0.5 for 4 bits.
        group_size: elements of a row that share a scale; None: the whole row shares one.
        scale_bytes: bytes of a group's scale, its zero point included; 0: no scales.
    """

    element_bytes: float
    group_size: int | None = None
    scale_bytes: float = 0

    def n_bytes(self, rows: Any, row_len: Any) -> Any:
        """Bytes of ``rows`` rows of ``row_len`` elements (integers or sympy expressions)."""
        n_groups = -(-row_len // self.group_size) if self.group_size else 1  # the last may be short
        return rows * (row_len * self.element_bytes + n_groups * self.scale_bytes)

    def bits_per_weight(self, row_len: int) -> float:
        """Bits of one element with its share of the scales, in rows of so many elements."""
        return 8 * self.n_bytes(1, row_len) / row_len


#: Formats by name. int8: one FP16 scale per row. int4: an FP16 scale and a 4-bit zero point for
#: every 128 elements, as GPTQ (arXiv 2210.17323) and AWQ files have them. q4_1: a scale and a
#: minimum of 2 bytes each for every 32 elements, 5 bits per weight, as the bundled model's GGUF
#: file has them, and the engine with weights="int4". q8_0: that file's embeddings.
FORMATS = {
    "float8": Format(1),
    "int8": Format(1, scale_bytes=2),
    "int4": Format(0.5, group_size=128, scale_bytes=2.5),
    "q4_1": Format(0.5, group_size=32, scale_bytes=4),
    "q8_0": Format(1, group_size=32, scale_bytes=2),
}


def format_of(argument: str, name: str | None, dtype_bytes: float) -> Format:
    """The format of this name; None means ``dtype_bytes`` per element, without scales."""
    check_number("dtype_bytes", dtype_bytes, above=0)
    if name is None:
        return Format(dtype_bytes)
    return FORMATS[check_choice(argument, name, tuple(FORMATS))]
