"""Which nodes of a beam search's tree are drawn, and where in their row they stand."""

from dataclasses import dataclass, replace

from ..decoding.beam_trace import PRUNED, BeamNode, BeamTrace

Key = tuple[int, ...]  # the new tokens of a text: its place in the tree
ROOT: Key = ()
GREEDY = "greedy"  # status of a node that the beam never had, on the way of greedy search


@dataclass(frozen=True)
class Tree:
    """What is drawn of a search.

    Attributes:
        nodes: the node of each drawn text.
        rows: for each step the drawn texts, from left to right: children below their parents in
            the parents' order, the likelier first.
        best: the texts on the way to the best hypothesis. greedy: on the way of greedy search.
    """

    nodes: dict[Key, BeamNode]
    rows: list[list[Key]]
    best: tuple[Key, ...]
    greedy: tuple[Key, ...]

    @property
    def width(self) -> int:
        """Nodes of the widest row."""
        return max(map(len, self.rows))

    @property
    def n_rows(self) -> int:
        return len(self.rows)


def lay_out(trace: BeamTrace, greedy: BeamTrace | None, max_per_step: int) -> Tree:
    """The Tree of a search, with the path of a greedy search in it.

    Raises:
        ValueError: a ``greedy`` with more than one beam.
    """
    if greedy is not None and greedy.num_beams != 1:
        raise ValueError(
            f"greedy: needs a search with num_beams=1, got one with {greedy.num_beams}"
        )
    nodes = {tuple(trace.tokens(i)): node for i, node in enumerate(trace.nodes)}
    path = [] if greedy is None else greedy.path(greedy.hypotheses[0].node)
    greedy_keys = tuple(tuple(greedy.tokens(i)) for i in path)
    for key, i in zip(greedy_keys, path, strict=True):
        if key not in nodes:
            nodes[key] = replace(greedy.nodes[i], status=GREEDY, final_score=None)
    drawn = {
        key: node
        for key, node in nodes.items()
        if node.status != PRUNED or node.rank <= max_per_step or key in greedy_keys
    }
    best = trace.hypotheses[0].tokens if trace.hypotheses else ()
    return Tree(
        nodes=drawn,
        rows=_rows(drawn),
        best=tuple(best[: n + 1] for n in range(len(best))),
        greedy=greedy_keys,
    )


def _rows(nodes: dict[Key, BeamNode]) -> list[list[Key]]:
    rows, order = [], {ROOT: 0}
    for step in range(1, max(map(len, nodes)) + 1):
        keys = [key for key in nodes if len(key) == step]
        keys.sort(key=lambda key: (order[key[:-1]], -nodes[key].score, key))
        order |= {key: i for i, key in enumerate(keys)}
        rows.append(keys)
    return rows
