"""Tensor against pipeline parallelism, and both at once: latency, throughput, memory, bytes."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from lecture_lib.checks import check_count, checked
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .degrees import check_pipeline_degree, check_tensor_parallel_degree
from .links import Link, as_link, communication_time_s
from .volumes import pipeline_volume, tensor_parallel_volume

_DTYPE_BYTES = 2  # weights, activations and cache in FP16
# What each rank of a tensor-parallel layer computes in full, and not only its share.
_WHOLE = ("attn_norm", "mlp_norm", "attn_residual", "mlp_residual")


@dataclass(frozen=True)
class Layout:
    """What one way of using GPUs does to B requests that it works on at once."""

    name: str  # "one GPU", "tensor parallel", "pipeline" or "TENSOR × STAGES"
    n_ranks: int  # GPUs
    n_batches: int  # the requests, cut into so many batches, at most one for each stage
    prefill_s: float  # until all B requests have their first token
    decode_step_s: float  # from one token of a request to its next, while all decode
    request_s: float  # prefill and max_new_tokens - 1 decode steps
    decode_tokens_per_s: float  # new tokens of all B requests, while all decode
    weight_bytes: float  # on the fullest GPU
    kv_bytes: float  # KV cache there, at the end
    wire_bytes: float  # over the links for all B requests, all ranks together


@dataclass(frozen=True)
class ParallelComparison:
    """The three layouts, and in words what was assumed."""

    one_gpu: Layout
    tensor: Layout
    pipeline: Layout
    assumptions: str

    @property
    def layouts(self) -> tuple[Layout, Layout, Layout]:
        return self.one_gpu, self.tensor, self.pipeline


@checked
def compare_parallelism(
    spec: ModelSpec,
    *,
    n_ranks: int,
    seq_len: int,
    max_new_tokens: int,
    batch_size: int = 1,
    link: Link | str = "nvlink4",
    hardware: Hardware | str = "h100-80gb-sxm",
) -> ParallelComparison:
    """One GPU, ``n_ranks`` with tensor and ``n_ranks`` with pipeline parallelism, side by side.

    Each of the three works on the same ``batch_size`` requests; times are those of ``lay_out``.

    Args:
        spec, n_ranks, seq_len, max_new_tokens, batch_size: as for the volumes; ``n_ranks`` must
            suit both ways.
        link, hardware: presets by name, or a Link and a Hardware.

    Raises:
        ValueError: a bad size, an unknown preset.
        ParallelDegreeError: ranks that one of the ways does not allow.
    """
    link, hardware = as_link(link), as_hardware(hardware)
    check_tensor_parallel_degree(spec, n_ranks)
    check_pipeline_degree(spec, n_ranks, argument="n_ranks")
    sizes = {
        "seq_len": seq_len, "max_new_tokens": max_new_tokens, "batch_size": batch_size,
        "link": link, "hardware": hardware,
    }  # fmt: skip
    ways = ({}, {"tensor": n_ranks}, {"stages": n_ranks})
    assumptions = (
        f"{spec.name}, {n_ranks} GPUs, {batch_size} requests of {seq_len} + {max_new_tokens} "
        f"tokens, FP16, {link.name}; computing by the roofline of {hardware.name}; a ring "
        f"AllReduce takes {1e6 * link.start_s:.1f} µs to start; nothing is hidden behind "
        "computing; embedding and output matrix are not split"
    )
    return ParallelComparison(*(lay_out(spec, **way, **sizes) for way in ways), assumptions)


@checked
def lay_out(
    spec: ModelSpec,
    *,
    tensor: int = 1,
    stages: int = 1,
    seq_len: int,
    max_new_tokens: int,
    batch_size: int = 1,
    link: Link | str = "nvlink4",
    stage_link: Link | str | None = None,
    hardware: Hardware | str = "h100-80gb-sxm",
) -> Layout:
    """What ``tensor`` × ``stages`` GPUs do to B requests: stages of groups that split matrices.

    All in FP16. Computing takes what the roofline says (``costs.step_latency``; decode at the
    mean length). A group divides the matrices and the attention of its layers, and adds the
    AllReduces (ring); norms, embedding and output matrix stay whole on every rank. Stages divide
    the layers and the requests: a batch adds the hops, and the next batch follows behind it.
    Communication is never hidden behind computing.

    Args:
        tensor, stages: must divide the model as the volumes say.
        seq_len, max_new_tokens, batch_size: L, new tokens of each request, B.
        link, stage_link: inside a group, and from stage to stage (default: the same).
        hardware: a preset by name, or a Hardware.

    Raises:
        ValueError: a bad size, an unknown preset.
        ParallelDegreeError: a number that does not divide the model.
    """
    from lecture_lib.costs import kv_cache_bytes

    check_tensor_parallel_degree(spec, tensor, argument="tensor")
    check_pipeline_degree(spec, stages, argument="stages")
    check_count("batch_size", batch_size)
    link, hardware = as_link(link), as_hardware(hardware)
    rows = math.ceil(batch_size / min(stages, batch_size))  # requests in a batch
    n_batches = math.ceil(batch_size / rows)
    size = {"seq_len": seq_len, "max_new_tokens": max_new_tokens, "batch_size": rows}
    sums = tensor_parallel_volume(spec, n_ranks=tensor, **size)
    hops = pipeline_volume(spec, n_ranks=stages, **size, return_tokens=True)
    on_link = communication_time_s(sums, link)
    on_hops = communication_time_s(hops, as_link(stage_link or link))

    def times(phase: str, length: int, summing_s: float, hopping_s: float) -> tuple[float, float]:
        """Seconds of a batch's pass through all stages, and through the slowest of them."""
        split, whole, first, last = _pass_times(spec, hardware, phase, rows, length)
        layers_s = split / tensor + whole + summing_s
        ends_s = max(first, last) if stages > 1 else first + last
        return layers_s + first + last + hopping_s, layers_s / stages + ends_s

    through_s, stage_s = times("prefill", seq_len, on_link.prefill_s, on_hops.prefill_s)
    prefill_s = through_s + (n_batches - 1) * stage_s
    mean_len = seq_len + max_new_tokens // 2
    through_s, stage_s = times("decode", mean_len, on_link.decode_step_s, on_hops.decode_step_s)
    # The next token can start when the last one is back at stage 0, and when the slowest stage
    # has worked on all batches, whichever is later.
    step_s = max(through_s, n_batches * stage_s)
    n_kept = seq_len + max_new_tokens - 1  # the last token is never fed back
    names = {(True, True): "one GPU", (False, True): "tensor parallel", (True, False): "pipeline"}
    return Layout(
        name=names.get((tensor == 1, stages == 1), f"{tensor} × {stages}"),
        n_ranks=tensor * stages,
        n_batches=n_batches,
        prefill_s=prefill_s,
        decode_step_s=step_s,
        request_s=prefill_s + (max_new_tokens - 1) * step_s,
        decode_tokens_per_s=batch_size / step_s,
        weight_bytes=_DTYPE_BYTES * _params_on_fullest(spec, tensor, stages),
        kv_bytes=kv_cache_bytes(spec, batch_size, n_kept, _DTYPE_BYTES) / (tensor * stages),
        # Every rank of a group has the whole activations, and sends them on over its own link.
        wire_bytes=(sums.wire_bytes + tensor * hops.wire_bytes) * batch_size / rows,
    )


class _PassTimes(NamedTuple):
    """Seconds of one forward pass on one GPU: what layers split, what they don't, and both ends."""

    split: float
    whole: float  # norms and residuals of the layers
    first: float  # embedding
    last: float  # final norm and output matrix


def _pass_times(spec, hardware, phase: str, batch_size: int, seq_len: int) -> _PassTimes:
    from lecture_lib.costs import step_latency

    table = step_latency(spec, hardware, phase, batch_size, seq_len, _DTYPE_BYTES).table
    in_layer = table["part"].isin(["attention", "mlp"])
    whole = in_layer & table["op"].isin(_WHOLE)
    last = table["part"] == "lm_head"
    masks = (in_layer & ~whole, whole, ~in_layer & ~last, last)
    return _PassTimes(*(float(table.loc[mask, "seconds"].sum()) for mask in masks))


def _params_on_fullest(spec: ModelSpec, tensor: int, stages: int) -> float:
    """Weights on the fullest GPU."""
    parts = dict(spec.params_by_part)
    final_norm = (2 if spec.norm == "layernorm" else 1) * spec.d_model * spec.final_norm
    norms = parts.pop("norms") - final_norm
    # Biases of W^O and W^2 are added after the sum, so every rank keeps them; so are norms.
    whole = norms + spec.n_layers * spec.d_model * (spec.attention_out_bias + spec.mlp_bias)
    layers = parts.pop("attention") + parts.pop("mlp") + norms
    mine = ((layers - whole) / tensor + whole) / stages
    if stages == 1:
        return mine + final_norm + sum(parts.values())
    # Half of embedding_projection is the way in, half the way out (opt-350m). A tied output matrix
    # is on the first AND on the last stage.
    way = parts["embedding_projection"] / 2
    first = parts["token_embedding"] + parts["position_embedding"] + way
    tied = parts["token_embedding"] if spec.tied_embeddings else 0
    last = parts["lm_head"] + tied + way + final_norm
    return mine + max(first, last)
