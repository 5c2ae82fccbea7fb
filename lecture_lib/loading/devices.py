"""Which device and number format a model is loaded to, and whether its weights fit there."""

from pathlib import Path

import psutil
import torch

from .errors import DeviceError, NotEnoughMemoryError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, then MPS, then the CPU.

    Raises:
        DeviceError: no such device here, or no name of one; the message says what there is.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps:0"] if torch.backends.mps.is_available() else []
    there = [*(f"cuda:{i}" for i in range(n_cuda)), *mps, "cpu"]  # the fastest kind first
    name = there[0] if device == "auto" else str(device)
    if name not in there and f"{name}:0" not in there:
        raise DeviceError(
            f"device: {name!r} is not on this machine; it has {', '.join(there)} "
            "(or say 'auto' and the fastest is taken)"
        )
    return torch.device(name)


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The torch dtype of that name.

    Raises:
        DeviceError: not a floating-point format that models are run in, or not on this device.
    """
    chosen = DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if chosen not in DTYPES.values():
        raise DeviceError(f"dtype: must be one of {', '.join(DTYPES)}, got {dtype!r}")
    no_bf16 = device.type == "cuda" and not torch.cuda.is_bf16_supported()
    if (chosen is torch.float64 and device.type == "mps") or (chosen is torch.bfloat16 and no_bf16):
        raise DeviceError(f"dtype: {dtype} does not work on {device}; use 'float32' or 'float16'")
    return chosen


def free_memory_bytes(device: torch.device) -> int:
    """Bytes that can still be taken on the device; a container's limit counts for the CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit = _container_free_bytes(Path("/sys/fs/cgroup"))
    return free if limit is None else min(free, limit)


def _container_free_bytes(cgroup: Path) -> int | None:
    """What a container's memory limit (cgroup v2) leaves, which psutil doesn't see; None if none.

    Files that the system keeps in memory count as used there, but are given up when needed.
    """
    try:
        limit = int((cgroup / "memory.max").read_text())  # "max" where there is no limit
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return limit - used + int(stat["file"])
    except (OSError, ValueError, KeyError):
        return None


def check_memory(name: str, n_params: int, dtype: torch.dtype, device: torch.device) -> None:
    """Raises NotEnoughMemoryError, before anything is loaded, if the weights can't fit."""
    needed, free = n_params * dtype.itemsize, free_memory_bytes(device)
    if needed > free:
        hint = "" if dtype.itemsize == 2 else ", dtype='bfloat16' (half of float32)"
        raise NotEnoughMemoryError(
            f"{name} has {n_params:,} parameters: {needed / 1e9:.1f} GB in "
            f"{str(dtype).removeprefix('torch.')}, and {device} has {max(free, 0) / 1e9:.1f} GB "
            f"free. Try a smaller model{hint}, another device, or close what else is running."
        )
