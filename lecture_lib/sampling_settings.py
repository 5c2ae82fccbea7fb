"""SamplingSettings: how a sampling distribution is shaped.

Nothing here needs torch, so a command line can refuse a wrong setting at once.
"""

from dataclasses import dataclass
from numbers import Real

from lecture_lib.checks import check_count, check_number


@dataclass(frozen=True)
class SamplingSettings:
    """The arguments of ``generate`` that shape a sampling distribution, under the same names.

    The defaults change nothing (pure multinomial sampling). Transformers' own default is
    ``top_k=50``: pass ``top_k=0`` there to get what is the default here.

    Args:
        temperature: above 0. Below 1 sharpens, above 1 flattens.
        top_k: how many tokens to keep; None or 0 keeps all.
        top_p: the mass to keep, in (0, 1]; 1 keeps all.
        min_p: keep what has at least this share of the likeliest token's probability, in [0, 1];
            None or 0 keeps all.
        repetition_penalty: above 0; 1 penalises nothing.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self):
        check_temperature(self.temperature)
        if self.top_k is not None:
            object.__setattr__(self, "top_k", check_count("top_k", self.top_k, least=0))
        check_mass(self.top_p)
        if self.min_p is not None:
            check_number("min_p", self.min_p, least=0, most=1)
        check_number("repetition_penalty", self.repetition_penalty, above=0)


def check_temperature(temperature: float) -> float:
    """The temperature, or a ValueError unless it is above 0."""
    if isinstance(temperature, Real) and temperature == 0:
        raise ValueError(
            "temperature: 0 divides by zero; for the likeliest token always, use greedy search "
            "(do_sample=False)"
        )
    return check_number("temperature", temperature, above=0)


def check_mass(top_p: float) -> float:
    """The mass to keep, or a ValueError unless it is in (0, 1]."""
    check_number("top_p", top_p)
    try:
        return check_number("top_p", top_p, above=0, most=1)
    except ValueError as error:
        hint = "; for the likeliest token alone use top_k=1" if top_p == 0 else ""
        raise ValueError(f"{error}{hint}") from None
