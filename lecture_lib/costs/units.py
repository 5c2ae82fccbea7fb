"""Numbers as people read them. A GB is 10^9 bytes; a GiB, 2^30, is never meant here."""


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
