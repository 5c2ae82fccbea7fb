"""Conventions: what is counted and how. Sources differ in every one of them, so each has a name."""

from dataclasses import dataclass

from lecture_lib.checks import check_choice, check_flag


@dataclass(frozen=True)
class Conventions:
    """How FLOPs and bytes are counted. A MAC (multiply and add) is always 2 FLOPs.

    As the course's OpTrace and PyTorch's FlopCounterMode count: matrix products alone have FLOPs,
    masked scores included; each operand is read once, each result written once.

    Attributes:
        softmax_pass: the softmax reads scores from memory and writes them back; False: it works
            on chip, within the row of QK^T (the lecture's tables).
        cache_update: "in place": new keys and values are written where the cache keeps them;
            "concat": a decode step copies the past, as in the lecture's table.
        joined_projections: q, k, v (and gate, up) are one product each: their input is read once.

    Raises:
        ValueError: an unknown choice; the message names the argument.
    """

    softmax_pass: bool = True
    cache_update: str = "in place"
    joined_projections: bool = False

    def __post_init__(self) -> None:
        check_flag("softmax_pass", self.softmax_pass)
        check_choice("cache_update", self.cache_update, ("in place", "concat"))
        check_flag("joined_projections", self.joined_projections)

    def describe(self, phase: str, fused_attention: bool) -> str:
        """One line for below a table: what the numbers of this phase mean."""
        parts = ["1 MAC = 2 FLOPs", "FLOPs of matrix products only"]
        if phase == "prefill":
            parts += ["all L×L scores computed", "logits of the last position"]
        else:
            concat = self.cache_update == "concat"
            updated = "by concat (copies the past)" if concat else "in place"
            parts += ["attending L+1 (past and new) positions", f"cache updated {updated}"]
        on_chip = "scores stay on chip (fused)" if fused_attention else "scores written to memory"
        softmax = "" if self.softmax_pass or fused_attention else ", softmax within QK^T"
        parts.append(on_chip + softmax)
        if self.joined_projections:
            parts.append("q, k, v joined, and gate, up")
        return "; ".join([*parts, "each operand read once, each result written once"])


#: As the lecture's tables of part 5 count: QK^T with the softmax in one row, concat in decode.
LECTURE = Conventions(softmax_pass=False, cache_update="concat")
#: As the engine computes: q, k, v (and gate, up) are one product each.
ENGINE = Conventions(joined_projections=True)
