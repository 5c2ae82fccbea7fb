"""Who computes and keeps how much: one GPU's step times and weights, split in both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lecture_lib.checks import check_number

if TYPE_CHECKING:
    from lecture_lib.model_spec import ModelSpec

# What a rank of a tensor-parallel layer computes whole, not its share of it.
_WHOLE = ("attn_norm", "mlp_norm", "attn_residual", "mlp_residual")


@dataclass(frozen=True)
class PassTimes:
    """Seconds of one forward pass on one GPU: what layers split, what they don't, and both ends."""

    split: float
    whole: float = 0.0  # norms and residuals of the layers
    first: float = 0.0  # embedding
    last: float = 0.0  # final norm and output matrix

    @property
    def total(self) -> float:
        return self.split + self.whole + self.first + self.last

    def tensor(self, n_ranks: int) -> float:
        """One rank of n: its share of the layers, all of the rest."""
        return self.split / n_ranks + self.whole + self.first + self.last

    def stages(self, n_ranks: int) -> list[float]:
        """Each stage: its layers; the first also the embedding, the last the output matrix."""
        stages = [(self.split + self.whole) / n_ranks] * n_ranks
        stages[0] += self.first
        stages[-1] += self.last
        return stages


def compute_times(spec, hardware, size: dict, given: tuple) -> tuple[PassTimes, PassTimes, str]:
    if (given[0] is None) != (given[1] is None):
        raise ValueError("prefill_compute_s, decode_compute_s: give both times or none")
    if given[0] is not None:
        check_number("prefill_compute_s", given[0], above=0)
        check_number("decode_compute_s", given[1], above=0)
        return PassTimes(given[0]), PassTimes(given[1]), "computing times as given"
    from lecture_lib.costs import step_latency
    from lecture_lib.hardware import as_hardware

    device = as_hardware(hardware)
    mean_len = size["seq_len"] + size["max_new_tokens"] // 2
    times = []
    for phase, length in (("prefill", size["seq_len"]), ("decode", mean_len)):
        table = step_latency(
            spec, device, phase, size["batch_size"], length, size["dtype_bytes"]
        ).table
        in_layer = table["part"].isin(["attention", "mlp"])
        whole = in_layer & table["op"].isin(_WHOLE)
        first = ~in_layer & (table["part"] != "lm_head")
        masks = (in_layer & ~whole, whole, first, table["part"] == "lm_head")
        times.append(PassTimes(*(float(table.loc[mask, "seconds"].sum()) for mask in masks)))
    return *times, f"computing by the roofline of {device.name}"


def weights_by_layout(spec: ModelSpec, n_ranks: int, dtype_bytes: float) -> dict[str, float]:
    """Bytes of weights on the fullest GPU of each layout."""
    parts = dict(spec.params_by_part)
    layers = parts.pop("attention") + parts.pop("mlp") + parts.pop("norms")
    final_norm = (2 if spec.norm == "layernorm" else 1) * spec.d_model * spec.final_norm
    layers -= final_norm
    # Biases of W^O and W^2 are added after the sum, so every rank keeps them; so are norms.
    norms = spec.params_by_part["norms"] - final_norm
    row_biases = spec.n_layers * spec.d_model * (spec.attention_out_bias + spec.mlp_bias)
    split = layers - norms - row_biases
    tensor = split / n_ranks + norms + row_biases + final_norm + sum(parts.values())
    # Half of embedding_projection is the way in, half the way out (opt-350m). A tied output matrix
    # is on the first AND on the last stage.
    way = parts["embedding_projection"] / 2
    first = parts["token_embedding"] + parts["position_embedding"] + way
    tied = parts["token_embedding"] if spec.tied_embeddings else 0
    last = parts["lm_head"] + tied + way + final_norm
    pipeline = layers / n_ranks + max(first, last) if n_ranks > 1 else spec.n_params
    shares = {"one GPU": spec.n_params, "tensor": tensor, "pipeline": pipeline}
    return {name: n_params * dtype_bytes for name, n_params in shares.items()}
