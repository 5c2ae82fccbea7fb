"""Tensor against pipeline parallelism on one page: latency, throughput, memory, bytes sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .links import Link, as_link, communication_time_s
from .shares import PassTimes, compute_times, weights_by_layout
from .volumes import Volume, pipeline_volume, tensor_parallel_volume

if TYPE_CHECKING:
    import pandas as pd

    from lecture_lib.hardware import Hardware
    from lecture_lib.model_spec import ModelSpec


@dataclass(frozen=True)
class Layout:
    """What one way of using the GPUs does to B sequences.

    Attributes:
        name: "one GPU", "tensor parallel" or "pipeline parallel". n_ranks: its GPUs.
        prefill_s: time to the first token of one batch. decode_step_s: time to its next token.
        request_s: prefill and ``max_new_tokens - 1`` decode steps.
        in_flight: batches that are worked on at once (pipeline: one a stage).
        decode_tokens_per_s: new tokens of all batches in flight, while all decode.
        weight_bytes: weights on the fullest GPU. kv_bytes: KV cache there, at the end, for all
            batches in flight.
        prefill_link_s, decode_link_s: of the above, time on the link.
        prefill_payload_bytes, decode_payload_bytes: sent for one batch, in the prefill and in ONE
            decode step. wire_bytes: over the links in its whole request, all ranks together.
    """

    name: str
    n_ranks: int
    prefill_s: float
    decode_step_s: float
    request_s: float
    in_flight: int
    decode_tokens_per_s: float
    weight_bytes: float
    kv_bytes: float
    prefill_link_s: float
    decode_link_s: float
    prefill_payload_bytes: float
    decode_payload_bytes: float
    wire_bytes: float


@dataclass(frozen=True)
class ParallelComparison:
    """The three layouts, and in words what was assumed.

    Attributes:
        one_gpu, tensor, pipeline: one Layout each. assumptions: one line.
    """

    one_gpu: Layout
    tensor: Layout
    pipeline: Layout
    assumptions: str

    @property
    def layouts(self) -> tuple[Layout, Layout, Layout]:
        return self.one_gpu, self.tensor, self.pipeline

    def table(self) -> pd.DataFrame:
        """One row a quantity (the attributes of Layout, units in their names), one column a
        layout."""
        import pandas as pd

        frame = pd.DataFrame([asdict(layout) for layout in self.layouts]).set_index("name").T
        frame.columns.name = None
        return frame


def compare_parallelism(
    spec: ModelSpec,
    *,
    n_ranks: int,
    seq_len: int,
    max_new_tokens: int,
    batch_size: int = 1,
    dtype_bytes: float = 2,
    link: Link | str = "nvlink4",
    hardware: Hardware | str = "h100-80gb-sxm",
    prefill_compute_s: float | None = None,
    decode_compute_s: float | None = None,
) -> ParallelComparison:
    """One GPU, ``n_ranks`` with tensor and ``n_ranks`` with pipeline parallelism, side by side.

    Computing takes what the roofline says (``costs.step_latency``; decode at the mean length), or
    the times that are given. Tensor parallelism divides the matrices and the attention of a layer
    by n and adds the AllReduces (ring); norms, embedding and output matrix stay whole on every
    rank. A pipeline divides the layers; one batch passes all stages in turn, so only the hops are
    added; with one batch in each stage it yields n batches' tokens a round. Communication is never
    hidden behind computing.

    Args:
        spec, n_ranks, seq_len, max_new_tokens, batch_size, dtype_bytes: as for the volumes;
            ``n_ranks`` must suit both ways.
        link, hardware: presets by name, or a Link and a Hardware.
        prefill_compute_s, decode_compute_s: measured seconds of a pass on one GPU instead, taken
            to split evenly. Both or none.

    Raises:
        ValueError: a bad size, one time without the other, an unknown preset.
        ParallelDegreeError: ranks that one of the ways does not allow.
    """
    link = as_link(link)
    size = {
        "seq_len": seq_len, "max_new_tokens": max_new_tokens,
        "batch_size": batch_size, "dtype_bytes": dtype_bytes,
    }  # fmt: skip
    tensor = tensor_parallel_volume(spec, n_ranks=n_ranks, **size)
    pipeline = pipeline_volume(spec, n_ranks=n_ranks, **size, return_tokens=True)
    alone = tensor_parallel_volume(spec, n_ranks=1, **size)
    given = (prefill_compute_s, decode_compute_s)
    prefill, decode, how = compute_times(spec, hardware, size, given)
    weights = weights_by_layout(spec, n_ranks, dtype_bytes)
    positions = batch_size * (seq_len + max_new_tokens - 1)  # the last token is never fed back
    cache = positions * spec.kv_bytes_per_token(dtype_bytes)
    rows = []
    for volume, way in ((alone, "one GPU"), (tensor, "tensor"), (pipeline, "pipeline")):
        rows.append(_layout(volume, way, prefill, decode, link, weights[way], cache))
    assumptions = (
        f"{spec.name}, {n_ranks} ranks, {batch_size} × {seq_len} + {max_new_tokens} tokens, "
        f"{dtype_bytes:g} bytes an element, {link.name}; {how}; ring AllReduce; communication "
        "not hidden behind computing"
    )
    return ParallelComparison(*rows, assumptions)


def _layout(
    volume: Volume, way: str, prefill: PassTimes, decode: PassTimes, link: Link, weights, cache
) -> Layout:
    n = volume.n_ranks
    on_link = communication_time_s(volume, link)
    if way == "pipeline":
        prefill_s, step_s = prefill.total + on_link.prefill_s, decode.total + on_link.decode_step_s
        in_flight = n
        # A round ends when the last batch has passed the slowest stage, or when the first batch's
        # token is back at stage 0, whichever is later.
        round_s = max(n * max(decode.stages(n)), step_s)
    else:
        prefill_s = prefill.tensor(n) + on_link.prefill_s
        step_s = round_s = decode.tensor(n) + on_link.decode_step_s
        in_flight = 1
    return Layout(
        name=way if way == "one GPU" else f"{way} parallel",
        n_ranks=n,
        prefill_s=prefill_s,
        decode_step_s=step_s,
        request_s=prefill_s + volume.n_decode_passes * step_s,
        in_flight=in_flight,
        decode_tokens_per_s=in_flight * volume.batch_size / round_s,
        weight_bytes=weights,
        kv_bytes=in_flight * cache / n,
        prefill_link_s=on_link.prefill_s,
        decode_link_s=on_link.decode_step_s,
        prefill_payload_bytes=volume.prefill_bytes,
        decode_payload_bytes=volume.decode_step_bytes,
        wire_bytes=volume.wire_bytes,
    )


def times_by_ranks(
    spec: ModelSpec,
    ranks: Sequence[int],
    links: Sequence[Link | str] = ("nvlink4", "pcie4-x16", "100gbe"),
    *,
    phase: str = "decode",
    **sizes,
) -> pd.DataFrame:
    """Seconds of one pass against the number of ranks: tensor parallel on each link, and pipeline.

    Args:
        ranks: numbers of ranks. links: of the tensor-parallel curves; the pipeline's is the first.
        phase: "prefill" or "decode" (one step). sizes: the other arguments of
            ``compare_parallelism``.

    Returns:
        DataFrame: index n_ranks; columns "tensor, LINK" for each link, then "pipeline, LINK".

    Raises:
        ValueError: as ``compare_parallelism``; no rank, no link, another phase.
    """
    import pandas as pd

    if phase not in ("prefill", "decode"):
        raise ValueError(f"phase: must be 'prefill' or 'decode', got {phase!r}")
    if not ranks or not links:
        raise ValueError("ranks, links: need at least one of each")
    field = "prefill_s" if phase == "prefill" else "decode_step_s"
    rows = []
    for n_ranks in ranks:
        pages = [compare_parallelism(spec, n_ranks=n_ranks, link=link, **sizes) for link in links]
        names = [as_link(link).name for link in links]
        row = {f"tensor, {n}": getattr(p.tensor, field) for n, p in zip(names, pages, strict=True)}
        rows.append(row | {f"pipeline, {names[0]}": getattr(pages[0].pipeline, field)})
    return pd.DataFrame(rows, index=pd.Index(ranks, name="n_ranks"))
