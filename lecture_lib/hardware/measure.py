"""measure_hardware(): matrix-product FLOP/s of each dtype and memory bandwidth of this machine."""

import platform
from functools import partial

from tqdm.auto import tqdm

from lecture_lib.checks import check_choice, check_number

from .rounds import MAX_SPREAD, Timer, time_rounds, wall_clock
from .specs import Hardware

CPU_DTYPES = ("float32", "bfloat16", "float16")
GPU_DTYPES = ("float16", "bfloat16", "float32")


def measure_hardware(
    device="cpu",
    *,
    dtypes: tuple[str, ...] | None = None,
    seconds: float = 4.0,
    max_spread: float = MAX_SPREAD,
    progress: bool = True,
    timer: Timer | None = None,
) -> Hardware:
    """What this machine reaches: matrix products in each dtype, and reading and copying memory.

    Each measurement is warmed up (also until a GPU's clocks are up), then repeated in rounds;
    the median counts. ``memory_bandwidth`` is the better of reading a matrix (a matrix-vector
    product, which is what decoding does) and copying it (its bytes read and written).

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
    check_number("seconds", seconds, above=0)
    check_number("max_spread", max_spread, above=0)
    timer = timer or wall_clock(device)
    each = seconds / (len(dtypes) + 2)
    works = {f"matmul {d}": partial(_matmul, device, d, timer, each / 20) for d in dtypes}
    works |= {"read": partial(_read, device), "copy": partial(_copy, device)}
    rates = {}
    with torch.inference_mode(), tqdm(works.items(), disable=not progress, leave=False) as bar:
        for name, prepare in bar:
            bar.set_description(f"measuring {name}")
            call, amount = prepare()
            if call is None:  # this device cannot multiply in this dtype
                continue
            rounds = time_rounds(call, timer, each).check(name, max_spread)
            rates[name] = amount / rounds.seconds
    return _as_hardware(device, rates)


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


def _read(device):
    """A call that reads a matrix far larger than any cache, and its bytes."""
    import torch

    rows, columns = 16384, 4096  # 268 MB
    matrix = torch.randn(rows, columns, device=device)
    vector = torch.randn(columns, device=device)
    return (lambda: matrix @ vector), matrix.nbytes + vector.nbytes + rows * 4


def _copy(device):
    import torch

    source = torch.randn(64 * 2**20, device=device)  # 268 MB
    target = torch.empty_like(source)
    return (lambda: target.copy_(source)), 2 * source.nbytes


def _as_hardware(device, rates: dict[str, float]) -> Hardware:
    import psutil
    import torch

    peaks = {n.removeprefix("matmul "): r for n, r in rates.items() if n.startswith("matmul ")}
    if not peaks:
        raise ValueError(f"dtypes: {device} can multiply in none of them")
    cuda = device.type == "cuda"
    memory = psutil.virtual_memory().total
    if cuda:
        memory = torch.cuda.get_device_properties(device).total_memory
    dtype = next(iter(peaks))
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return Hardware(
        name=torch.cuda.get_device_name(device) if cuda else f"this machine ({device.type})",
        peak_flops=peaks[dtype],
        memory_bandwidth=max(rates["read"], rates["copy"]),
        memory_bytes=memory,
        peak_dtype=dtype,
        peak_flops_by_dtype=peaks,
        source=(
            f"measured: {platform.machine()} {device}{threads}, torch {torch.__version__}; read "
            f"{rates['read'] / 1e9:.1f} GB/s, copy {rates['copy'] / 1e9:.1f} GB/s"
        ),
    )
