"""An AllReduce in a ring, step by step, and the bytes that a ring and a tree send.

The payload of an AllReduce is the tensor that every rank puts in, S bytes. In a ring every rank
sends S/n to its neighbour, in each of 2(n-1) steps. In a tree sums of S bytes go up to the root,
and the result comes down again. Over all ranks both send 2(n-1)·S bytes. The ring spreads them
evenly, so its busiest rank sends less; the tree needs fewer steps one after another, 2·⌊log2 n⌋,
so it wins for small payloads.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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


@checked
def ring_all_reduce(
    arrays: Sequence[np.ndarray],
) -> tuple[list[np.ndarray], list[RingStep], list[int]]:
    """Sum arrays over n ranks as a ring does it: n-1 steps reduce-scatter, n-1 steps all-gather.

    In step t of the reduce-scatter rank r sends chunk r-t to rank r+1 (modulo n), which adds it to
    its own: after n-1 steps rank r has the whole sum of chunk r+1. The all-gather passes the
    finished chunks round in the same way.

    Args:
        arrays: one array per rank, all of one shape, (K,).

    Returns:
        Each rank's result, the 2(n-1) steps, and the bytes that each rank has sent.
    """
    arrays = [np.asarray(array) for array in arrays]
    if not arrays or any(a.ndim != 1 or a.shape != arrays[0].shape for a in arrays):
        raise ValueError("arrays: needs one array (K,) per rank, all of one length")
    if any(a.dtype.kind not in "iufc" for a in arrays):
        raise ValueError(f"arrays: needs numbers to add up, got {arrays[0].dtype}")
    integers = np.result_type(*arrays).kind in "iu"  # whose sums would begin again at the other end
    if integers and not np.array_equal(sum(a.astype(object) for a in arrays), sum(arrays)):
        raise ValueError(f"arrays: a sum does not fit into {arrays[0].dtype}")
    n = check_count("arrays", len(arrays), most=_MOST_RANKS)
    if len(arrays[0]) < n:
        raise ValueError(f"arrays: {n} ranks cut them into {n} chunks, got {len(arrays[0])} values")
    chunks = [np.array_split(array, n) for array in arrays]  # [rank][chunk]
    held = [[frozenset([rank])] * n for rank in range(n)]
    steps, sent = [], [0] * n
    for phase, first in (("reduce-scatter", 0), ("all-gather", 1)):
        for t in range(n - 1):
            sends = [Send(r, (r + 1) % n, (r + first - t) % n) for r in range(n)]
            for source, target, chunk in sends:  # no rank sends what it gets in the same step
                values, ranks = chunks[source][chunk], held[source][chunk]
                sent[source] += values.nbytes
                if phase == "reduce-scatter":
                    values = chunks[target][chunk] + values
                    ranks = held[target][chunk] | ranks
                chunks[target][chunk], held[target][chunk] = values, ranks
            steps.append(RingStep(phase, sends, tuple(map(tuple, held))))
    return [np.concatenate(own) for own in chunks], steps, sent


def ring_steps(n_ranks: int) -> list[RingStep]:
    """The 2(n-1) steps of a ring AllReduce over n ranks; they don't depend on the values."""
    check_count("n_ranks", n_ranks, most=_MOST_RANKS)
    _, steps, _ = ring_all_reduce([np.zeros(n_ranks)] * n_ranks)
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


@checked
def tree_wire_bytes(payload_bytes: float, n_ranks: int) -> float:
    """Bytes that the busiest rank sends in an AllReduce over one binary tree.

    Rank r has the children 2r+1 and 2r+2. Every rank but the root sends its sum up (S), and every
    parent sends the result to each child (S each): 3·S from a rank with two children and a
    parent. (NCCL halves the load with a second tree whose inner ranks are the leaves of the first:
    Jeaugey, "Massively Scale Your Deep Learning Training with NCCL 2.4", 2019.)
    """
    check_number("payload_bytes", payload_bytes, least=0)
    check_count("n_ranks", n_ranks)
    busiest = range(min(n_ranks, 2))  # nobody sends more than the root or its first child
    children = [sum(child < n_ranks for child in (2 * r + 1, 2 * r + 2)) for r in busiest]
    return payload_bytes * max((r > 0) + n for r, n in enumerate(children))
