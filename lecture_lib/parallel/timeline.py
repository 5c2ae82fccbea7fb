"""Schedule: blocks of work by stage and time, their bubbles, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .results import StageBlock

if TYPE_CHECKING:
    import pandas as pd

_TOLERANCE_S = 1e-9


@dataclass(frozen=True)
class Bubble:
    """Time in which a stage waits, from ``start_s`` to ``end_s``."""

    stage: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Schedule:
    """Blocks of work by stage and time; the first begins at 0 s.

    Attributes:
        blocks: StageBlock(stage, request, phase, step, start_s, end_s), by start. Step 0 is the
            prefill, which yields a request's first new token; step t the t-th decode step.
        n_stages: stages, numbered from 0. source: "calculated" or "measured".
    """

    blocks: tuple[StageBlock, ...]
    n_stages: int
    source: str = "calculated"

    @cached_property
    def n_requests(self) -> int:
        return len({block.request for block in self.blocks})

    @cached_property
    def total_s(self) -> float:
        """From the first block's start to the last block's end."""
        return max(block.end_s for block in self.blocks)

    @cached_property
    def completion_s(self) -> dict[int, float]:
        """For each request, when its last token leaves the last stage."""
        return self._last_end(self.blocks)

    @cached_property
    def first_token_s(self) -> dict[int, float]:
        """For each request, when its first new token leaves the last stage."""
        return self._last_end(block for block in self.blocks if block.step == 0)

    @cached_property
    def busy_s(self) -> tuple[float, ...]:
        """For each stage the seconds in which it works."""
        busy = [0.0] * self.n_stages
        for block in self.blocks:
            busy[block.stage] += block.end_s - block.start_s
        return tuple(busy)

    @property
    def utilisation(self) -> tuple[float, ...]:
        """For each stage the share of ``total_s`` in which it works."""
        return tuple(busy / self.total_s for busy in self.busy_s)

    @property
    def bubble_fraction(self) -> float:
        """Share of all stages' time in which they wait."""
        return 1 - sum(self.busy_s) / (self.n_stages * self.total_s)

    @property
    def n_tokens(self) -> int:
        """New tokens of all requests: one for each block of the last stage."""
        return sum(block.stage == self.n_stages - 1 for block in self.blocks)

    @property
    def tokens_per_s(self) -> float:
        """New tokens of all requests a second, over the whole run."""
        return self.n_tokens / self.total_s

    @cached_property
    def bubbles(self) -> tuple[Bubble, ...]:
        """Every wait of every stage between 0 s and ``total_s``."""
        found = []
        for stage in range(self.n_stages):
            free = 0.0
            for block in (b for b in self.blocks if b.stage == stage):
                if block.start_s > free + _TOLERANCE_S:
                    found.append(Bubble(stage, free, block.start_s))
                free = block.end_s
            if self.total_s > free + _TOLERANCE_S:
                found.append(Bubble(stage, free, self.total_s))
        return tuple(found)

    def table(self) -> pd.DataFrame:
        """One row a block: stage, request, phase, step, start_s, end_s."""
        import pandas as pd

        columns = ["stage", "request", "phase", "step", "start_s", "end_s"]
        rows = [[getattr(block, name) for name in columns] for block in self.blocks]
        return pd.DataFrame(rows, columns=columns)

    def requests(self) -> pd.DataFrame:
        """One row a request: first_token_s, completion_s, n_tokens."""
        import pandas as pd

        frame = pd.DataFrame(
            {"first_token_s": self.first_token_s, "completion_s": self.completion_s}
        )
        last = [block.request for block in self.blocks if block.stage == self.n_stages - 1]
        frame["n_tokens"] = [last.count(request) for request in frame.index]
        frame.index.name = "request"
        return frame

    def _last_end(self, blocks: Iterable[StageBlock]) -> dict[int, float]:
        ends: dict[int, float] = {}
        for block in blocks:
            ends[block.request] = max(block.end_s, ends.get(block.request, 0.0))
        return dict(sorted(ends.items()))


def in_order(blocks: Iterable[StageBlock]) -> tuple[StageBlock, ...]:
    """Blocks by start, then stage."""
    return tuple(sorted(blocks, key=lambda b: (b.start_s, b.stage, b.request, b.step)))
