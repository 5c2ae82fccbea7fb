"""predict_step(): a step's time, predicted against measured."""

from dataclasses import dataclass

from lecture_lib.checks import check_choice, check_number
from lecture_lib.hardware import Hardware, as_hardware
from lecture_lib.hardware.rounds import Timer, time_rounds, wall_clock

from .conventions import ENGINE
from .dimensions import PHASES
from .latency import step_latency
from .units import format_seconds


@dataclass(frozen=True)
class Comparison:
    """A prediction and what was measured.

    Attributes:
        what: what was predicted. predicted, measured: seconds.
    """

    what: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """(predicted - measured) / measured: below 0 where the prediction was too low."""
        return (self.predicted - self.measured) / self.measured

    def __str__(self) -> str:
        predicted, measured = format_seconds(self.predicted), format_seconds(self.measured)
        return f"{self.what}: predicted {predicted}, measured {measured}, error {self.error:+.1%}"


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
    return Comparison(what, step.seconds, rounds.seconds)


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
        cache.length = seq_len  # the same step again, after the same cached positions
        engine.decode(token_ids[:, 0], cache=cache)

    return decode
