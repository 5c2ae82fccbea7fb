"""Predicted against measured: a step's time, the cache's bytes, the process's memory."""

from dataclasses import dataclass

import pandas as pd

from lecture_lib.checks import check_choice, check_number
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.hardware.rounds import Timer, time_rounds, wall_clock

from .conventions import ENGINE
from .dimensions import PHASES, check_size
from .latency import step_latency
from .memory import kv_cache_bytes, weight_bytes
from .units import format_bytes, format_seconds


@dataclass(frozen=True)
class Comparison:
    """A prediction and what was measured.

    Attributes:
        what: what was predicted. predicted, measured: in ``unit``, "s" or "bytes".
    """

    what: str
    predicted: float
    measured: float
    unit: str

    @property
    def error(self) -> float:
        """(predicted - measured) / measured: below 0 where the prediction was too low."""
        return (self.predicted - self.measured) / self.measured

    def __str__(self) -> str:
        show = format_seconds if self.unit == "s" else format_bytes
        return (
            f"{self.what}: predicted {show(self.predicted)}, measured {show(self.measured)}, "
            f"error {self.error:+.1%}"
        )


def predict_step(
    engine,
    hardware: Hardware | str,
    phase: str,
    batch_size: int = 1,
    seq_len: int = 128,
    *,
    seconds: float = 3.0,
    timer: Timer | None = None,
) -> Comparison:
    """A step's time by the roofline of ``hardware``, against the engine's own.

    Args:
        hardware: of the device that the engine is on, such as ``measure_hardware()``.
        phase, batch_size, seq_len: the step, as in ``op_costs``.
        seconds: how long to measure, about.
        timer: measures one call, seconds. Default: wall clock, synchronised.

    Raises:
        ValueError: an unknown phase, sizes below 1, more positions than the model's context.
    """
    hardware = as_hardware(hardware)
    check_choice("phase", phase, PHASES)
    check_number("seconds", seconds, above=0)
    step = step_latency(
        engine.spec, hardware, phase, batch_size, seq_len, engine.dtype.itemsize,
        conventions=ENGINE, compute_dtype=_known_dtype(engine, hardware),
    )  # fmt: skip
    call = _step(engine, phase, batch_size, seq_len)
    rounds = time_rounds(call, timer or wall_clock(engine.device), seconds)
    what = f"{engine.spec.name}, {phase}, B = {batch_size}, L = {seq_len}"
    return Comparison(what, step.seconds, rounds.seconds, "s")


def compare_kv_bytes(engine, batch_size: int = 1, seq_len: int = 128) -> Comparison:
    """Predicted bytes of the KV cache, against those of the engine's real tensors."""
    cache = engine.new_cache(check_size("batch_size", batch_size), check_size("seq_len", seq_len))
    predicted = kv_cache_bytes(engine.spec, batch_size, seq_len, engine.dtype.itemsize)
    real = sum(t.numel() * t.element_size() for t in (cache.keys, cache.values))
    return Comparison(f"KV cache, B = {batch_size}, S = {seq_len}", predicted, real, "bytes")


def compare_weight_bytes(engine) -> Comparison:
    """Predicted bytes of the parameters, against those of the loaded model's."""
    predicted = weight_bytes(engine.spec, engine.dtype.itemsize)
    real = sum(p.numel() * p.element_size() for p in engine.hf_model.parameters())
    return Comparison("weights", predicted, real, "bytes")


def compare_process_memory(load, batch_size: int = 1, seq_len: int = 1024) -> pd.DataFrame:
    """What a process (on a GPU: the device) really takes up for weights and cache.

    Meant for a fresh process that has imported what loading needs: memory that was freed before
    is used again unseen, and code takes memory too. (An Engine on top joins matrices: while the
    file that they came from stays mapped, those are resident twice.)

    Args:
        load: a function without arguments that returns what ``load_model`` does.

    Returns:
        DataFrame: item (weights, KV cache), predicted, measured (growth of resident memory,
        bytes), error.
    """
    from lecture_lib.engine import KVCache

    size = (check_size("batch_size", batch_size), check_size("seq_len", seq_len))
    on_cpu = _resident_bytes("cpu")
    loaded = load()
    spec, device = loaded.spec, loaded.device.type
    before = on_cpu if device == "cpu" else 0
    parameters = list(loaded.model.parameters())
    for parameter in parameters:
        parameter.sum()  # a mapped file's pages are resident from the first reading on
    with_weights = _resident_bytes(device)
    cache = KVCache(
        n_layers=spec.n_layers, batch_size=batch_size, n_kv_heads=spec.n_kv_heads,
        max_seq_len=seq_len, head_dim=spec.head_dim, dtype=parameters[0].dtype,
        device=loaded.device,
    )  # fmt: skip
    for half in (cache.keys, cache.values):
        half.zero_()  # other memory is resident from the first writing on
    with_cache = _resident_bytes(device)
    width = parameters[0].element_size()
    pairs = [
        Comparison("weights", weight_bytes(spec, width), with_weights - before, "bytes"),
        Comparison("KV cache", kv_cache_bytes(spec, *size, width), with_cache - with_weights,
                   "bytes"),
    ]  # fmt: skip
    rows = [[p.what, p.predicted, p.measured, p.error if p.measured else None] for p in pairs]
    return pd.DataFrame(rows, columns=["item", "predicted", "measured", "error"])


def _known_dtype(engine, hardware: Hardware) -> str:
    name = str(engine.dtype).removeprefix("torch.")
    known = name in hardware.peak_flops_by_dtype
    return name if known else hardware.dtype_of(engine.dtype.itemsize)


def _step(engine, phase: str, batch_size: int, seq_len: int):
    """A call that runs this step of the engine, again and again."""
    import torch

    cache = engine.new_cache(batch_size, seq_len + (phase == "decode"))
    token_ids = torch.randint(engine.vocab_size, (batch_size, seq_len), device=engine.device)
    if phase == "prefill":

        def prefill() -> None:
            cache.reset()
            engine.prefill(token_ids, cache=cache)

        return prefill
    engine.prefill(token_ids, cache=cache)

    def decode() -> None:
        cache.length = seq_len  # the same step again, behind the same past
        engine.decode(token_ids[:, 0], cache=cache)

    return decode


def _resident_bytes(device: str) -> int:
    import gc

    import psutil

    gc.collect()
    if device == "cuda":
        import torch

        return torch.cuda.memory_allocated()
    return psutil.Process().memory_info().rss
