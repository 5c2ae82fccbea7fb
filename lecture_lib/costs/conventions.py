"""Conventions: what is counted and how. Sources differ in every one of them, so each has a name."""

from dataclasses import dataclass, fields

from lecture_lib.checks import check_choice, check_flag

from .checks import check_size

_CHOICES = {
    "causal": ("full", "half"),
    "attended": ("past+new", "past"),
    "cache_update": ("in place", "concat"),
    "logits": ("last", "all"),
}
_ELEMENTWISE = ("softmax_flops", "norm_flops", "activation_flops", "residual_flops", "rope_flops")


@dataclass(frozen=True)
class Conventions:
    """How FLOPs and bytes are counted. A MAC (multiply and add) is always 2 FLOPs.

    The defaults count what the course's OpTrace and PyTorch's FlopCounterMode count: matrix
    products, masked scores included; and each operand read once, each result written once.

    Attributes:
        causal: "full": all L×L scores of a prefill are computed; "half": only the L(L+1)/2 that
            the mask keeps (FLOPs; scores that go to memory take L×L in any case).
        attended: "past+new": a decode step attends to the L cached positions and its own, L+1;
            "past": to L.
        softmax_pass: the softmax reads scores from memory and writes them back; False: it works
            on chip, within the row of QK^T (the lecture's tables).
        cache_update: "in place": new keys and values are written where the cache keeps them;
            "concat": a decode step copies the past, as in the lecture's table.
        joined_projections: q, k, v (and gate, up) are one product each: their input is read once.
        embedding, lm_head: whether a step counts these two.
        logits: "last": a prefill computes the logits of its last position; "all": of every one.
        norm_weights: whether a norm reads its weights (few bytes; some sources leave them out).
        softmax_flops, norm_flops, activation_flops, residual_flops, rope_flops: FLOPs counted for
            each element. 0: element-wise work counts its bytes only.

    Raises:
        ValueError: an unknown choice; the message names the argument.
    """

    causal: str = "full"
    attended: str = "past+new"
    softmax_pass: bool = True
    cache_update: str = "in place"
    joined_projections: bool = False
    embedding: bool = True
    lm_head: bool = True
    logits: str = "last"
    norm_weights: bool = True
    softmax_flops: int = 0
    norm_flops: int = 0
    activation_flops: int = 0
    residual_flops: int = 0
    rope_flops: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _CHOICES:
                check_choice(field.name, value, _CHOICES[field.name])
            elif field.name in _ELEMENTWISE:
                check_size(field.name, value, least=0)
            else:
                check_flag(field.name, value)

    def describe(self, phase: str, fused_attention: bool) -> str:
        """One line for below a table: what the numbers of this phase mean."""
        parts = ["1 MAC = 2 FLOPs"]
        counted = {n.removesuffix("_flops"): getattr(self, n) for n in _ELEMENTWISE}
        counted = [f"{name} {n}" for name, n in counted.items() if n]
        parts.append(
            f"FLOPs an element: {', '.join(counted)}"
            if counted
            else ("FLOPs of matrix products only")
        )
        if phase == "prefill":
            full = "all L×L scores computed" if self.causal == "full" else "causal half of L×L"
            parts += [
                full,
                f"logits of {'the last' if self.logits == 'last' else 'every'} position",
            ]
        else:
            n = "L+1 (past and new)" if self.attended == "past+new" else "L (past)"
            parts += [f"attending {n} positions", f"cache updated {self._update()}"]
        on_chip = "scores stay on chip (fused)" if fused_attention else "scores written to memory"
        softmax = "" if self.softmax_pass or fused_attention else ", softmax within QK^T"
        parts.append(on_chip + softmax)
        if self.joined_projections:
            parts.append("q, k, v joined, and gate, up")
        left_out = [n for n in ("embedding", "lm_head") if not getattr(self, n)]
        left_out += [] if self.norm_weights else ["norm weights"]
        parts += [f"without {' and '.join(left_out)}"] if left_out else []
        return "; ".join([*parts, "each operand read once, each result written once"])

    def _update(self) -> str:
        return "in place" if self.cache_update == "in place" else "by concat (copies the past)"


#: As the lecture's tables of part 5 count: QK^T with the softmax in one row, concat in decode.
LECTURE = Conventions(softmax_pass=False, cache_update="concat", embedding=False, lm_head=False)

#: As LLM-Viewer and Table 1 of arXiv 2402.16363 count (their code attends to L positions).
LLM_VIEWER = Conventions(
    attended="past",
    norm_weights=False,
    softmax_flops=5,
    norm_flops=7,
    activation_flops=2,
    residual_flops=1,
)
