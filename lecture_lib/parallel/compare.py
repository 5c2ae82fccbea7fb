"""Tensor against pipeline parallelism on one page: latency, throughput, memory, bytes sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lecture_lib.checks import check_choice, checked
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.model_spec import ModelSpec

from .links import Link, as_link, communication_time_s
from .volumes import Volume, pipeline_volume, tensor_parallel_volume

_DTYPE_BYTES = 2  # weights, activations and cache in FP16
# What a rank of a tensor-parallel layer computes whole, not its share of it.
_WHOLE = ("attn_norm", "mlp_norm", "attn_residual", "mlp_residual")


@dataclass(frozen=True)
class Layout:
    """What one way of using the GPUs does to B sequences."""

    name: str  # "one GPU", "tensor parallel" or "pipeline parallel"
    n_ranks: int
    prefill_s: float  # time to the first token of one batch
    decode_step_s: float  # time to its next token
    request_s: float  # prefill and max_new_tokens - 1 decode steps
    in_flight: int  # batches that are worked on at once (pipeline: one per stage)
    decode_tokens_per_s: float  # new tokens of all batches in flight, while all decode
    weight_bytes: float  # on the fullest GPU
    kv_bytes: float  # KV cache there, at the end, for all batches in flight
    wire_bytes: float  # over the links in a batch's whole request, all ranks together


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

    All in FP16. Computing takes what the roofline says (``costs.step_latency``; decode at the
    mean length). Tensor parallelism divides the matrices and the attention of a layer by n and
    adds the AllReduces (ring); norms, embedding and output matrix stay whole on every rank. A
    pipeline divides the layers: only the hops are added for one batch, and with one batch in each
    stage it yields n batches' tokens per round. Communication is never hidden behind computing.

    Args:
        spec, n_ranks, seq_len, max_new_tokens, batch_size: as for the volumes; ``n_ranks`` must
            suit both ways.
        link, hardware: presets by name, or a Link and a Hardware.

    Raises:
        ValueError: a bad size, an unknown preset.
        ParallelDegreeError: ranks that one of the ways does not allow.
    """
    from lecture_lib.costs import kv_cache_bytes

    link, hardware = as_link(link), as_hardware(hardware)
    size = {"seq_len": seq_len, "max_new_tokens": max_new_tokens, "batch_size": batch_size}
    volumes = {
        "one GPU": tensor_parallel_volume(spec, n_ranks=1, **size),
        "tensor": tensor_parallel_volume(spec, n_ranks=n_ranks, **size),
        "pipeline": pipeline_volume(spec, n_ranks=n_ranks, **size, return_tokens=True),
    }
    prefill = _pass_times(spec, hardware, "prefill", batch_size, seq_len)
    decode = _pass_times(spec, hardware, "decode", batch_size, seq_len + max_new_tokens // 2)
    weights = _weights_by_layout(spec, n_ranks)
    n_kept = seq_len + max_new_tokens - 1  # the last token is never fed back
    cache = kv_cache_bytes(spec, batch_size, n_kept, _DTYPE_BYTES)
    layouts = [
        _layout(way, volume, _step_times(way, volume, prefill, decode, link), weights[way], cache)
        for way, volume in volumes.items()
    ]
    assumptions = (
        f"{spec.name}, {n_ranks} ranks, {batch_size} × {seq_len} + {max_new_tokens} tokens, "
        f"{_DTYPE_BYTES} bytes an element, {link.name}; computing by the roofline of "
        f"{hardware.name}; ring AllReduce; communication not hidden behind computing"
    )
    return ParallelComparison(*layouts, assumptions)


class _PassTimes(NamedTuple):
    """Seconds of one forward pass on one GPU: what layers split, what they don't, and both ends."""

    split: float
    whole: float  # norms and residuals of the layers
    first: float  # embedding
    last: float  # final norm and output matrix


def _layout(way: str, volume: Volume, times, weight_bytes: float, cache_bytes: float) -> Layout:
    """One layout, from its ``_step_times`` and the bytes of one batch's whole cache."""
    n, in_flight = volume.n_ranks, volume.n_ranks if way == "pipeline" else 1
    prefill_s, step_s, round_s = times
    return Layout(
        name=way if way == "one GPU" else f"{way} parallel",
        n_ranks=n,
        prefill_s=prefill_s,
        decode_step_s=step_s,
        request_s=prefill_s + volume.n_decode_passes * step_s,
        in_flight=in_flight,
        decode_tokens_per_s=in_flight * volume.batch_size / round_s,
        weight_bytes=weight_bytes,
        kv_bytes=in_flight * cache_bytes / n,
        wire_bytes=volume.wire_bytes,
    )


def _step_times(
    way: str, volume: Volume, prefill: _PassTimes, decode: _PassTimes, link: Link
) -> tuple[float, float, float]:
    """Seconds of a prefill, of a decode step, and of a round, in which every batch has a step."""
    n, on_link = volume.n_ranks, communication_time_s(volume, link)
    if way != "pipeline":  # a rank has its share of the layers, and all of the rest
        prefill_s, step_s = (sum(t) - t.split + t.split / n for t in (prefill, decode))
        step_s += on_link.decode_step_s
        return prefill_s + on_link.prefill_s, step_s, step_s
    step_s = sum(decode) + on_link.decode_step_s
    layers = (decode.split + decode.whole) / n  # of one stage
    ends = max(decode.first, decode.last) if n > 1 else decode.first + decode.last
    # A round ends when the last batch has passed the slowest stage, or when the first batch's
    # token is back at stage 0, whichever is later.
    return sum(prefill) + on_link.prefill_s, step_s, max(n * (layers + ends), step_s)


def _pass_times(spec, hardware, phase: str, batch_size: int, seq_len: int) -> _PassTimes:
    from lecture_lib.costs import step_latency

    table = step_latency(spec, hardware, phase, batch_size, seq_len, _DTYPE_BYTES).table
    in_layer = table["part"].isin(["attention", "mlp"])
    whole = in_layer & table["op"].isin(_WHOLE)
    last = table["part"] == "lm_head"
    masks = (in_layer & ~whole, whole, ~in_layer & ~last, last)
    return _PassTimes(*(float(table.loc[mask, "seconds"].sum()) for mask in masks))


def _weights_by_layout(spec: ModelSpec, n_ranks: int) -> dict[str, float]:
    """Bytes of weights on the fullest GPU of each layout."""
    parts = dict(spec.params_by_part)
    final_norm = (2 if spec.norm == "layernorm" else 1) * spec.d_model * spec.final_norm
    norms = parts.pop("norms") - final_norm
    layers = parts.pop("attention") + parts.pop("mlp") + norms
    # Biases of W^O and W^2 are added after the sum, so every rank keeps them; so are norms.
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
    return {name: n_params * _DTYPE_BYTES for name, n_params in shares.items()}


@checked
def times_by_ranks(
    spec: ModelSpec,
    ranks: Sequence[int],
    links: Sequence[Link | str] = ("nvlink4", "pcie4-x16", "100gbe"),
    *,
    phase: str = "decode",
    **sizes,
):
    """Seconds of one pass against the number of ranks: tensor parallel on each link, and pipeline.

    Args:
        ranks: numbers of ranks. links: of the tensor-parallel curves; the pipeline's is the first.
        phase: "prefill" or "decode" (one step).
        sizes: the other arguments of ``compare_parallelism``.

    Returns:
        DataFrame: index n_ranks; columns "tensor, LINK" for each link, then "pipeline, LINK".
    """
    import pandas as pd

    check_choice("phase", phase, ("prefill", "decode"))
    if not links:
        raise ValueError("links: is empty; needs at least one")
    field = "prefill_s" if phase == "prefill" else "decode_step_s"
    names = [as_link(link).name for link in links]
    rows = []
    for n_ranks in ranks:
        pages = [compare_parallelism(spec, n_ranks=n_ranks, link=link, **sizes) for link in links]
        times = [getattr(page.tensor, field) for page in pages]
        row = {f"tensor, {name}": time for name, time in zip(names, times, strict=True)}
        row[f"pipeline, {names[0]}"] = getattr(pages[0].pipeline, field)
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(ranks, name="n_ranks"))
