"""Payload is not wire bytes: what the algorithms behind an AllReduce send.

The *payload* of an AllReduce is the tensor that every rank puts in, S bytes. What crosses the
links depends on the algorithm:

    ring    2(n-1) steps, in each of which every rank sends S/n to its neighbour
    tree    sums go up to the root, S a link, and the result comes down again, S a link

Over all ranks both send 2(n-1)·S bytes. The ring spreads them evenly, so its busiest rank sends
less; the tree needs fewer steps, 2·⌊log2 n⌋ after one another, so it wins for small payloads.
"""

from lecture_lib.checks import check_count, check_number

ALGORITHMS = ("ring", "tree")


def ring_wire_bytes(payload_bytes: float, n_ranks: int, *, all_ranks: bool = False) -> float:
    """Bytes that each rank sends in a ring AllReduce of ``payload_bytes``: 2(n-1)/n · S.

    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    2009; it is the factor of "bus bandwidth" in NVIDIA's nccl-tests, doc/PERFORMANCE.md.

    Args:
        payload_bytes: S, the bytes of the tensor that every rank puts in.
        n_ranks: n. One rank has nobody to talk to: 0 bytes.
        all_ranks: the sum over all ranks instead, 2(n-1) · S.

    Raises:
        ValueError: a negative payload, ``n_ranks`` below 1.
    """
    check_number("payload_bytes", payload_bytes, least=0)
    check_count("n_ranks", n_ranks)
    total = 2 * (n_ranks - 1) * payload_bytes
    return total if all_ranks else _exact(total, n_ranks)


def tree_wire_bytes(payload_bytes: float, n_ranks: int, *, all_ranks: bool = False) -> float:
    """Bytes that the busiest rank sends in an AllReduce over one binary tree.

    Rank r has the children 2r+1 and 2r+2. Every rank but the root sends its sum up (S), and every
    parent sends the result to each child (S each): 3·S from a rank with two children and a
    parent. (NCCL halves the load with a second tree whose inner ranks are the leaves of the first:
    Jeaugey, "Massively Scale Your Deep Learning Training with NCCL 2.4", 2019.)

    Args:
        all_ranks: the sum over all ranks instead: 2(n-1) · S, as for the ring.

    Raises:
        ValueError: a negative payload, ``n_ranks`` below 1.
    """
    check_number("payload_bytes", payload_bytes, least=0)
    check_count("n_ranks", n_ranks)
    if all_ranks:
        return 2 * (n_ranks - 1) * payload_bytes
    children = [sum(child < n_ranks for child in (2 * r + 1, 2 * r + 2)) for r in range(n_ranks)]
    return payload_bytes * max((r > 0) + n for r, n in enumerate(children))


def all_gather_wire_bytes(payload_bytes: float, n_ranks: int, *, all_ranks: bool = False) -> float:
    """Bytes that each rank sends in a ring AllGather whose RESULT has ``payload_bytes``.

    Every rank brings S/n and passes on what it gets, n-1 times: (n-1)/n · S; over all ranks
    (n-1) · S.
    """
    total = ring_wire_bytes(payload_bytes, n_ranks, all_ranks=True) / 2
    return _exact(total, 1 if all_ranks else n_ranks)


def all_reduce_steps(n_ranks: int, algorithm: str = "ring") -> int:
    """Messages that have to follow one another: 2(n-1) in a ring, 2·⌊log2 n⌋ in a tree.

    Raises:
        ValueError: ``n_ranks`` below 1, another algorithm.
    """
    n_ranks = check_count("n_ranks", n_ranks)
    check_algorithm(algorithm)
    return 2 * (n_ranks - 1) if algorithm == "ring" else 2 * (n_ranks.bit_length() - 1)


def check_algorithm(algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm: must be 'ring' or 'tree', got {algorithm!r}")


def _exact(total: float, parts: int) -> float:
    """total / parts; an int where it comes out even, so that bytes stay whole numbers."""
    share = total / parts
    return int(share) if share == int(share) else share
