"""The real model, timed: measure_ops() times every operation of a step, and the whole step."""

import pandas as pd

from lecture_lib.checks import check_count, checked
from lecture_lib.hardware.measure import Timer, time_in_turns, wall_clock

from .conventions import ENGINE
from .table import op_costs


@checked
def measure_ops(
    engine,
    phase: str,
    batch_size: int = 1,
    seq_len: int = 128,
    *,
    seconds: float = 2.0,
    progress: bool = True,
    timer: Timer | None = None,
) -> pd.DataFrame:
    """Time each operation type of a step, on the model's own weights.

    One round runs each operation for all layers, one operation after another, and then the whole
    step: weights and keys come from memory, as in a step, and not from what the last round left in
    the processor's cache. Attention is timed both ways: as separate products (qk_matmul, softmax,
    sv_matmul) and fused as the engine computes it (attention).

    Args:
        engine: an Engine. phase, batch_size, seq_len: the step, as in ``op_costs``.
        seconds: how long to measure, all together, about.
        timer: measures one call, seconds. Default: wall clock, synchronised.

    Returns:
        DataFrame by op, totals over all layers: op, part, count, flops, bytes, intensity (as
        ``op_costs`` counts them, for the engine's dtype), seconds (median of the rounds), spread
        (of their middle half, relative), attained_flops and attained_bandwidth (per second).
        ``attrs["step_seconds"]``: the engine's whole step, timed in the same rounds.

    Raises:
        ValueError: an unknown phase, sizes below 1, more positions than the model's context.
    """
    import torch

    from .timed_ops import timed_ops

    costs = engine_costs(engine, phase, batch_size, seq_len).set_index("op")
    check_count("batch_size", batch_size, most=10_000)
    engine.check_context(seq_len + (phase == "decode"), "seq_len")
    timer = timer or wall_clock(engine.device)
    with torch.inference_mode():
        calls = timed_ops(engine, phase, batch_size, seq_len)
        step = step_call(engine, phase, batch_size, seq_len)
        timed = time_in_turns({**calls, "step": step}, timer, seconds, progress=progress)
    step_seconds, rows = timed.pop("step").seconds, []
    for name, rounds in timed.items():
        cost = costs.loc[name, ["part", "count", "flops", "bytes", "intensity"]]
        rows.append({"op": name, **cost, "seconds": rounds.seconds, "spread": rounds.spread})
    frame = pd.DataFrame(rows)
    frame["attained_flops"] = frame.flops / frame.seconds
    frame["attained_bandwidth"] = frame.bytes / frame.seconds
    frame.attrs["step_seconds"] = step_seconds
    return frame


def engine_costs(engine, phase: str, batch_size: int, seq_len: int) -> pd.DataFrame:
    """``op_costs`` of an engine's step in its dtype, with attention both fused and in parts."""
    size = (batch_size, seq_len, engine.dtype.itemsize)
    parts, fused = (
        op_costs(
            engine.spec, phase, *size, f, conventions=ENGINE, **weight_formats(engine.hf_model)
        )
        for f in (False, True)
    )
    return pd.concat([parts, fused[fused.op == "attention"]], ignore_index=True)


def weight_formats(hf_model) -> dict[str, str | None]:
    """How a loaded model's matrices are stored, in the words of ``op_costs``."""
    tables = hf_model.get_input_embeddings()
    matrices = (m.weight for m in hf_model.model.modules() if hasattr(m, "in_features"))
    formats = {"weight_format": next(matrices), "table_format": tables.weight}
    return {name: getattr(weight, "format", None) for name, weight in formats.items()}


def step_call(engine, phase: str, batch_size: int, seq_len: int):
    """A call that runs this step of the engine, again and again."""
    import torch

    cache = engine.new_cache(batch_size, seq_len + (phase == "decode"))
    token_ids = torch.randint(engine.vocab_size, (batch_size, seq_len), device=engine.device)

    def prefill() -> None:
        cache.reset()
        engine.prefill(token_ids, cache=cache)

    def decode() -> None:
        cache.length = seq_len  # the same step again, after the same cached positions
        engine.decode(token_ids[:, 0], cache=cache)

    if phase == "prefill":
        return prefill
    prefill()
    return decode
