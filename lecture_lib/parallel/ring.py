"""An AllReduce in a ring, step by step, and the bytes that it sends.

The payload of an AllReduce is the tensor that every rank puts in, S bytes. In a ring every rank
sends S/n to its neighbour, in each of 2(n-1) steps; lecture 07 writes one. (NCCL also has trees:
sums of S bytes go up to the root, and the result comes down again. Over all ranks both send
2(n-1)·S bytes. The ring's busiest rank sends less; a tree needs fewer steps one after another.)
"""

from typing import NamedTuple

from lecture_lib.checks import check_count, check_number, checked

_MOST_RANKS = 100  # whose steps are all written down: that grows with the cube of their number


class Send(NamedTuple):
    """One rank sends one of its chunks to its neighbour."""

    source: int
    target: int
    chunk: int


class RingStep(NamedTuple):
    """What happens in one step, and what every rank has after it."""

    phase: str  # "reduce-scatter" or "all-gather"
    sends: list[Send]
    held: tuple[tuple[frozenset[int], ...], ...]  # [rank][chunk]: the ranks summed in it


def ring_steps(n_ranks: int) -> list[RingStep]:
    """The 2(n-1) steps of a ring AllReduce over n ranks.

    In step t rank r sends chunk r-t to rank r+1 (modulo n). In the first n-1 steps, the
    reduce-scatter, the receiver adds it to its own, and rank r ends with the whole sum of chunk
    r+1. In the other n-1, the all-gather, the finished chunks go round in the same way.
    """
    n = check_count("n_ranks", n_ranks, most=_MOST_RANKS)
    held = [[frozenset([rank])] * n for rank in range(n)]
    steps = []
    for t in range(2 * (n - 1)):
        sends = [Send(r, (r + 1) % n, (r - t) % n) for r in range(n)]
        for source, target, chunk in sends:  # no rank sends what it gets in the same step
            held[target][chunk] = held[target][chunk] | held[source][chunk]
        phase = "reduce-scatter" if t < n - 1 else "all-gather"
        steps.append(RingStep(phase, sends, tuple(map(tuple, held))))
    return steps


@checked
def ring_wire_bytes(payload_bytes: float, n_ranks: int, *, all_ranks: bool = False) -> float:
    """Bytes that each rank sends in a ring AllReduce of ``payload_bytes``: 2(n-1)/n · S.

    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    2009; it is the factor of "bus bandwidth" in NVIDIA's nccl-tests, doc/PERFORMANCE.md.

    Args:
        payload_bytes: S, the bytes of the tensor that every rank puts in.
        n_ranks: n. A single rank sends nothing: 0 bytes.
        all_ranks: the sum over all ranks instead, 2(n-1) · S.
    """
    check_number("payload_bytes", payload_bytes, least=0)
    check_count("n_ranks", n_ranks)
    total = 2 * (n_ranks - 1) * payload_bytes
    if all_ranks:
        return total
    share = total / n_ranks
    return int(share) if share == int(share) else share  # whole numbers of bytes stay integers
