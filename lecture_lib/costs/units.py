"""Numbers as people read them; GB (10^9 bytes) and GiB (2^30) are never mixed."""

KB, MB, GB, TB = 10**3, 10**6, 10**9, 10**12
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

_UNITS = {
    "decimal": (("TB", TB), ("GB", GB), ("MB", MB), ("KB", KB)),
    "binary": (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)),
}


def format_bytes(n_bytes: float, *, units: str = "decimal") -> str:
    """13476831232 as "13.5 GB" (decimal) or "12.6 GiB" (binary).

    Raises:
        ValueError: other units.
    """
    if units not in _UNITS:
        raise ValueError(f"units: must be one of {tuple(_UNITS)}, got {units!r}")
    for name, size in _UNITS[units]:
        if abs(n_bytes) >= size:
            return (
                f"{n_bytes / size:.3g} {name}"
                if n_bytes / size < 100
                else (f"{n_bytes / size:,.0f} {name}")
            )
    return f"{n_bytes:.3g} B"


def both_units(n_bytes: float) -> str:
    """13476831232 as "13.5 GB (12.6 GiB)"."""
    return f"{format_bytes(n_bytes)} ({format_bytes(n_bytes, units='binary')})"


def format_count(number: float, unit: str = "") -> str:
    """68719476736 as "68.7 G"; with the unit "FLOPs": "68.7 GFLOPs"."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * size:  # rounds to 1 of this prefix, not to 1e+03 of the last
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}".rstrip()


def format_seconds(seconds: float) -> str:
    """0.00123 as "1.23 ms"."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
