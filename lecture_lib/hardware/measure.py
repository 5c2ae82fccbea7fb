"""measure_hardware(): matrix-product FLOP/s of each dtype and memory bandwidth of this machine."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from tqdm.auto import tqdm

from lecture_lib.checks import check_choice, check_number, checked

from .specs import Hardware

CPU_DTYPES = ("float32", "bfloat16", "float16")
GPU_DTYPES = ("float16", "bfloat16", "float32")

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


def wall_clock(device) -> Timer:
    """A timer of one call that waits until the device has finished."""
    import torch

    kind = torch.device(device).type
    waits = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}
    synchronise = waits.get(kind, lambda: None)

    def timer(call: Callable[[], object]) -> float:
        synchronise()
        start = time.perf_counter()
        call()
        synchronise()
        return time.perf_counter() - start

    return timer


def time_rounds(call: Callable[[], object], timer: Timer, seconds: float) -> Rounds:
    """Time one call; see ``time_in_turns``."""
    return time_in_turns({"": call}, timer, seconds)[""]


@checked
def time_in_turns(
    calls: Mapping[object, Callable[[], object]],
    timer: Timer,
    seconds: float,
    *,
    progress: bool = False,
) -> dict[object, Rounds]:
    """Time several calls in turns; the same keys with the Rounds of each call.

    A round makes every call once. So what a call reads comes from memory, as in a whole step, and
    not from what its own last round left in the processor's cache; and a machine that becomes
    slower for a while becomes so for all calls. A quarter of ``seconds`` warms up, the rest is
    timed, 5 to 200 rounds.
    """
    check_number("seconds", seconds, above=0, most=600)
    warm_up, spent = seconds / 4, 0.0
    once = sum(map(timer, calls.values()))  # this also reserves memory and chooses kernels
    while spent < warm_up:
        once = sum(map(timer, calls.values()))
        spent += max(once, 1e-6)
    n_rounds = min(max(5, int((seconds - warm_up) / max(once, 1e-6))), 200)
    bar = tqdm(range(n_rounds), disable=not progress, leave=False, desc="timing")
    rounds = [[timer(call) for call in calls.values()] for _ in bar]
    return {name: _as_rounds(list(times)) for name, *times in zip(calls, *rounds, strict=True)}


def _as_rounds(times: list[float]) -> Rounds:
    first, median, third = statistics.quantiles(times, n=4)
    spread = (third - first) / median if median > 0 else float("inf")
    return Rounds(median, spread, times)


@checked
def measure_hardware(
    device="cpu",
    *,
    dtypes: tuple[str, ...] | None = None,
    seconds: float = 2.0,
    max_spread: float = 0.25,
    progress: bool = True,
    timer: Timer | None = None,
) -> Hardware:
    """What this machine reaches: matrix products in each dtype, and reading and copying memory.

    Each measurement is warmed up (also until a GPU's clocks are up), then repeated in rounds;
    the median counts. ``memory_bandwidth`` is the better of reading a matrix (a product with one
    row, by the kernel with which the engine decodes) and copying it (its bytes read and written).

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" or a torch.device.
        dtypes: which dtypes to multiply in. Default: float32, bfloat16 and float16. One that the
            device cannot multiply in is left out.
        seconds: how long to measure, all together, about.
        max_spread: the most that the rounds may disagree: the width of their middle half,
            relative to their median.
        progress: show a progress bar.
        timer: measures one call, seconds. Default: wall clock around the call, synchronised.

    Returns:
        Hardware whose peaks are measured ones; ``peak_dtype`` is float32 on a CPU, float16 on a
        GPU (or the first dtype given).

    Raises:
        ValueError: a device that is not there, an unknown dtype, a number that is not positive.
        UnstableTimingError: rounds that disagree by more than ``max_spread``.
    """
    import torch

    from ..loading.devices import DTYPES, choose_device

    device = choose_device(device)
    dtypes = dtypes or (CPU_DTYPES if device.type == "cpu" else GPU_DTYPES)
    for dtype in dtypes:
        check_choice("dtypes", dtype, tuple(DTYPES))
    check_number("seconds", seconds, above=0, most=600)
    check_number("max_spread", max_spread, above=0)
    timer = timer or wall_clock(device)
    n, rates = len(dtypes) + 2, {}
    with torch.inference_mode(), tqdm(total=n, disable=not progress, leave=False) as bar:
        for name, call, amount in _calls(device, dtypes, timer, seconds / n / 20):
            bar.set_description(f"measuring {name}")
            rounds = time_rounds(call, timer, seconds / n)
            _check_spread(name, rounds, max_spread)
            rates[name] = amount / rounds.seconds
            bar.update()
    read, copy = rates.pop("read"), rates.pop("copy")
    peaks = {name.removeprefix("matmul "): rate for name, rate in rates.items()}
    return _as_hardware(device, peaks, read, copy)


def _calls(device, dtypes: tuple[str, ...], timer: Timer, at_most: float):
    """What to measure: its name, a call, and the FLOPs or bytes of that call."""
    import torch

    from lecture_lib.engine.kernels import linear

    for dtype in dtypes:
        call, flops = _matmul(device, dtype, timer, at_most)
        if call is not None:  # else this device cannot multiply in this dtype
            yield f"matmul {dtype}", call, flops
    matrix = torch.randn(16384, 4096, device=device)  # 268 MB, far larger than any cache
    row, target = matrix[:1].clone(), torch.empty_like(matrix)
    yield "read", lambda: linear(row, matrix), matrix.nbytes + row.nbytes + 4 * len(matrix)
    yield "copy", lambda: target.copy_(matrix), 2 * matrix.nbytes


def _check_spread(name: str, rounds: Rounds, max_spread: float) -> None:
    if rounds.spread > max_spread:
        low, high = min(rounds.times), max(rounds.times)
        raise UnstableTimingError(
            f"{name}: {len(rounds.times)} rounds took {low:.3g} to {high:.3g} s, the middle half "
            f"of them {rounds.spread:.0%} of the median apart, more than {max_spread:.0%}. Let "
            "other programs finish and measure again, or allow more (max_spread)"
        )


def _matmul(device, dtype: str, timer: Timer, at_most: float):
    """A call that multiplies square matrices within ``at_most`` seconds, and its FLOPs."""
    import torch

    largest = 1024 if device.type == "cpu" else 8192
    for n in (largest, largest // 2, largest // 4):  # float16 can be a hundred times slower
        try:
            a, b = (torch.randn(n, n, device=device).to(getattr(torch, dtype)) for _ in range(2))
            call = partial(torch.matmul, a, b)
            if n == largest // 4 or timer(call) <= at_most:
                return call, 2 * n**3
        except (RuntimeError, TypeError):  # not implemented for this dtype on this device
            break
    return None, 0


def _as_hardware(device, peaks: dict[str, float], read: float, copy: float) -> Hardware:
    import psutil
    import torch

    if not peaks:
        raise ValueError(f"dtypes: {device} can multiply in none of them")
    dtype = next(iter(peaks))
    name, threads = f"this machine ({device.type})", ""
    memory = psutil.virtual_memory().total
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        memory = torch.cuda.get_device_properties(device).total_memory
    elif device.type == "cpu":
        threads = f", {torch.get_num_threads()} threads"
    return Hardware(
        name=name,
        peak_flops=peaks[dtype],
        memory_bandwidth=max(read, copy),
        memory_bytes=memory,
        peak_dtype=dtype,
        peak_flops_by_dtype=peaks,
        source=(
            f"measured: {platform.machine()} {device}{threads}, torch {torch.__version__}; read "
            f"{read / 1e9:.1f} GB/s, copy {copy / 1e9:.1f} GB/s"
        ),
    )
