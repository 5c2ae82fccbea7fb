"""measure_ops(): every operation of the real model, timed, beside what it computes and moves."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from lecture_lib.checks import check_choice, check_number
from lecture_lib.hardware.rounds import Timer, time_rounds, wall_clock

from .conventions import ENGINE
from .dimensions import PHASES, check_size
from .table import op_costs

Call = Callable[[], object]


def measure_ops(
    engine,
    phase: str,
    batch_size: int = 1,
    seq_len: int = 128,
    *,
    seconds: float = 4.0,
    progress: bool = True,
    timer: Timer | None = None,
) -> pd.DataFrame:
    """Time each operation type of a step, on the model's own weights.

    One round of an operation runs it for all layers in turn, as a step does: each layer's weights
    and keys come from memory, not from what the last call left in the processor's cache.
    Attention is timed both ways: as separate products (qk_matmul, softmax, sv_matmul) and fused
    as the engine computes it (attention).

    Args:
        engine: an Engine. phase, batch_size, seq_len: the step, as in ``op_costs``.
        seconds: how long to measure, all together, about.
        timer: measures one call, seconds. Default: wall clock, synchronised.

    Returns:
        DataFrame by op, totals over all layers: op, part, count, flops, bytes, intensity (as
        ``op_costs`` counts them, for the engine's dtype), seconds (median of the rounds), spread
        (of their middle half, relative), attained_flops and attained_bandwidth (per second).

    Raises:
        ValueError: an unknown phase, sizes below 1, more positions than the model's context.
    """
    import torch

    check_choice("phase", phase, PHASES)
    check_size("batch_size", batch_size)
    check_size("seq_len", seq_len)
    check_number("seconds", seconds, above=0)
    engine.check_context(seq_len + (phase == "decode"), "seq_len")
    timer = timer or wall_clock(engine.device)
    rows = []
    with torch.inference_mode():
        ops = dict(_timed_ops(engine, phase, batch_size, seq_len))
        costs = engine_costs(engine, phase, batch_size, seq_len).set_index("op")
        for name, call in tqdm(ops.items(), disable=not progress, leave=False, desc="timing"):
            rounds = time_rounds(call, timer, seconds / len(ops))
            cost = costs.loc[name, ["part", "count", "flops", "bytes", "intensity"]]
            rows.append({"op": name, **cost, "seconds": rounds.seconds, "spread": rounds.spread})
    frame = pd.DataFrame(rows)
    frame["attained_flops"] = frame.flops / frame.seconds
    frame["attained_bandwidth"] = frame.bytes / frame.seconds
    frame.attrs = costs.attrs | {"sizes": f"B = {batch_size}, L = {seq_len}"}
    return frame


def engine_costs(engine, phase: str, batch_size: int, seq_len: int) -> pd.DataFrame:
    """``op_costs`` of an engine's step in its dtype, with attention both fused and in parts."""
    size = (batch_size, seq_len, engine.dtype.itemsize)
    parts, fused = (
        op_costs(engine.spec, phase, *size, fused_attention=f, conventions=ENGINE)
        for f in (False, True)
    )
    both = pd.concat([parts, fused[fused.op == "attention"]], ignore_index=True)
    both.attrs = parts.attrs
    return both


def _timed_ops(engine, phase: str, batch_size: int, seq_len: int) -> Iterator[tuple[str, Call]]:
    """The name of each operation, and a call that runs it in all layers."""
    import torch

    from lecture_lib.engine.kernels import linear

    model, spec = engine.model, engine.spec
    new = seq_len if phase == "prefill" else 1

    def random(*shape: int):
        return torch.randn(shape, dtype=engine.dtype, device=engine.device)

    x = random(batch_size * new, spec.d_model)  # one row per token
    yield from _linear_ops(model.layers, x, random(len(x), spec.d_ff), spec)
    yield from _attention_ops(engine, batch_size, new, seq_len + (phase == "decode"), random)
    yield from _elementwise_ops(engine, x, random)
    if hasattr(model, "inv_freq"):
        yield (
            "rope",
            _rope(engine, random(batch_size, spec.n_heads + spec.n_kv_heads, new, spec.head_dim)),
        )
    last = random(batch_size, spec.embed_dim or spec.d_model)
    yield "lm_head", lambda: linear(last, model.lm_head)


def _linear_ops(layers, x, inner, spec) -> Iterator[tuple[str, Call]]:
    from lecture_lib.engine.kernels import linear

    heads_out = x.new_empty(len(x), spec.n_heads * spec.head_dim).normal_()
    first, second = ("gate_up", "down") if spec.gated_mlp else ("w1", "w2")
    names = {"gate_up": "gate_up_proj", "w1": "up_proj", "down": "down_proj", "w2": "down_proj"}
    inputs = {"qkv": x, "out": heads_out, first: x, second: inner}
    for weight, value in inputs.items():
        matrices = [(getattr(la, weight), getattr(la, f"{weight}_bias")) for la in layers]

        def run(value=value, matrices=matrices) -> None:
            for matrix, bias in matrices:
                linear(value, matrix, bias)

        yield {"qkv": "qkv_proj", "out": "o_proj", **names}[weight], run


def _attention_ops(engine, batch_size: int, new: int, kv_len: int, random) -> Iterator:
    """QK^T, softmax, score·V on keys and values of every layer; and all three fused."""
    from lecture_lib.engine.kernels import attend
    from lecture_lib.engine.kv_cache import Pattern

    spec = engine.spec
    cache = engine.new_cache(batch_size, kv_len)
    for half in (cache.keys, cache.values):
        half.normal_()
    q = random(batch_size, spec.n_heads, new, spec.head_dim)
    pattern = Pattern.of(kv_len - new, new, None, engine.device)
    layers = list(zip(cache.keys, cache.values, strict=True))
    # The query heads of a group as further rows, (B · n_KV, L · n_H / n_KV, H): keys are read once.
    groups = batch_size * spec.n_kv_heads
    queries = q.reshape(groups, -1, spec.head_dim)
    flat = [(k.reshape(groups, kv_len, -1), v.reshape(groups, kv_len, -1)) for k, v in layers]
    scores = (queries @ flat[0][0].mT).softmax(-1)

    def each(work: Callable[..., Any], pairs) -> Call:
        def run() -> None:
            for k, v in pairs:
                work(k, v)

        return run

    yield "qk_matmul", each(lambda k, v: queries @ k.mT, flat)
    yield "softmax", each(lambda k, v: scores.softmax(-1), flat)
    yield "sv_matmul", each(lambda k, v: scores @ v, flat)
    yield "attention", each(lambda k, v: attend(q, k, v, pattern), layers)


def _elementwise_ops(engine, x, random) -> Iterator[tuple[str, Call]]:
    import torch.nn.functional as F

    layers, spec = engine.model.layers, engine.spec
    normed = [la.attention_norm for la in layers]
    other, gate, up = random(*x.shape), random(len(x), spec.d_ff), random(len(x), spec.d_ff)

    def norms() -> None:
        for module in normed:
            module(x)

    def activations() -> None:
        for _ in layers:
            F.silu(gate) * up if spec.gated_mlp else F.relu(up)

    def residuals() -> None:
        for _ in layers:
            x + other

    yield "attn_norm", norms
    yield "activation", activations
    yield "attn_residual", residuals


def _rope(engine, queries_and_keys) -> Call:
    """Turns queries and keys, (B, n_H + n_KV, L, H), in place, as often as there are layers."""
    import torch

    from lecture_lib.engine.kernels import apply_rope_, rope_tables

    positions = torch.arange(queries_and_keys.shape[2], device=engine.device)[None]  # (1, L)
    tables = rope_tables(positions, engine.model.inv_freq, engine.dtype)

    def run() -> None:
        for _ in engine.model.layers:
            apply_rope_(queries_and_keys, *tables)

    return run
