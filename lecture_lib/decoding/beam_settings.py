"""BeamSettings: the arguments of a beam search, checked once."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lecture_lib.checks import check_count


@dataclass(frozen=True)
class BeamSettings:
    """What ``beam_search`` was asked for; its docstring explains the arguments.

    Raises:
        ValueError: an argument other than described there.
    """

    num_beams: int
    max_new_tokens: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    eos_token_ids: frozenset[int] = frozenset()
    num_return_sequences: int = 1
    do_sample: bool = False

    def __post_init__(self):
        for name in ("num_beams", "max_new_tokens", "num_return_sequences"):
            check_count(name, getattr(self, name))
        if self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"num_return_sequences: {self.num_return_sequences} texts out of "
                f"num_beams={self.num_beams} beams; at most as many as beams can be returned"
            )
        known = isinstance(self.early_stopping, bool) or self.early_stopping == "never"
        if not known:
            raise ValueError(
                f"early_stopping: needs False, True or 'never', got {self.early_stopping!r}"
            )
        _check_length_penalty(self.length_penalty, self.max_new_tokens)

    @property
    def n_candidates(self) -> int:
        """Candidates a step that are looked at.

        If all ``num_beams`` beams end in the best way (or in each of n_eos ways), as many others
        must be left to go on with: Transformers keeps max(2, 1 + n_eos) · num_beams.
        """
        return max(2, 1 + len(self.eos_token_ids)) * self.num_beams

    @property
    def stops_when_full(self) -> bool:
        """Whether ``num_beams`` finished texts end the search.

        One beam is greedy search, whose first end token is the end.
        """
        return self.early_stopping is True or self.num_beams == 1

    def final_score(self, score: float, length: int) -> float:
        """score / length ** length_penalty, length in generated tokens."""
        return score / length**self.length_penalty


def eos_ids(eos_token_id: int | Iterable[int] | None) -> frozenset[int]:
    """No, one or several end tokens as a set, or ValueError."""
    if eos_token_id is None:
        return frozenset()
    try:
        ids = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
    except TypeError:
        ids = [None]
    if any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in ids):
        raise ValueError(f"eos_token_id: needs a token id, several or None, got {eos_token_id!r}")
    return frozenset(ids)


def refuse_groups(num_beam_groups: int, diversity_penalty: float) -> None:
    """Group beam search is not part of this course; say so rather than ignore it."""
    if num_beam_groups != 1 or diversity_penalty != 0.0:
        raise ValueError(
            f"num_beam_groups, diversity_penalty: group (diverse) beam search is not implemented "
            f"here, got {num_beam_groups!r} and {diversity_penalty!r}; only 1 and 0.0. "
            "Transformers 5 has moved it out of generate, too; to get varied texts, sample"
        )


def _check_length_penalty(length_penalty: float, max_new_tokens: int) -> None:
    number = isinstance(length_penalty, int | float) and not isinstance(length_penalty, bool)
    if not number or not math.isfinite(length_penalty):
        raise ValueError(f"length_penalty: needs a finite number, got {length_penalty!r}")
    if abs(length_penalty) * math.log(max_new_tokens) > 600:  # exp(700) is the end of the floats
        raise ValueError(
            f"length_penalty: {max_new_tokens} ** {length_penalty} is not a number to divide by"
        )
