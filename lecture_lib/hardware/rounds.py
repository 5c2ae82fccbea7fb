"""Timing a call well: warmed up, synchronised, repeated, the median."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_SPREAD = 0.25

Timer = Callable[[Callable[[], object]], float]


class UnstableTimingError(RuntimeError):
    """The rounds of a measurement disagree: the machine is doing something else as well."""


@dataclass(frozen=True)
class Rounds:
    """Times of one call, repeated.

    Attributes:
        seconds: the median. spread: the width of the middle half, relative to it.
        times: seconds of every round.
    """

    seconds: float
    spread: float
    times: list[float]

    def check(self, name: str, max_spread: float) -> "Rounds":
        """Itself.

        Raises:
            UnstableTimingError: the rounds disagree by more than ``max_spread``.
        """
        if not self.seconds > 0 or self.spread > max_spread:
            raise UnstableTimingError(
                f"{name}: {len(self.times)} rounds took {min(self.times):.3g} to "
                f"{max(self.times):.3g} s, the middle half of them {self.spread:.0%} of the median "
                "apart, more than "
                f"{max_spread:.0%}. Let other programs finish and measure again, or allow more "
                "(max_spread)"
            )
        return self


def wall_clock(device) -> Timer:
    """A timer of one call that waits until the device has finished."""
    import torch

    kind = torch.device(device).type
    synchronise = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(kind)

    def timer(call: Callable[[], object]) -> float:
        if synchronise:
            synchronise()
        start = time.perf_counter()
        call()
        if synchronise:
            synchronise()
        return time.perf_counter() - start

    return timer


def time_rounds(call: Callable[[], object], timer: Timer, seconds: float) -> Rounds:
    """Warm up for a quarter of ``seconds``, then time rounds for the rest, 7 to 200 of them."""
    warm_up, spent = seconds / 4, 0.0
    once = timer(call)  # the first call also reserves memory and chooses kernels
    while spent < warm_up:
        once = timer(call)
        spent += max(once, 1e-6)
    n_rounds = int((seconds - warm_up) / max(once, 1e-6))
    times = [timer(call) for _ in range(min(max(7, n_rounds), 200))]
    first, median, third = statistics.quantiles(times, n=4)
    spread = (third - first) / median if median > 0 else float("inf")
    return Rounds(median, spread, times)
