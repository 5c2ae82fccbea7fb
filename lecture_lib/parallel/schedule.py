"""The pipeline's schedule, stage by time: from stated times, or from those of a real run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from lecture_lib.checks import check_count, check_number, checked

_TOLERANCE_S = 1e-9
_MOST_STAGES, _MOST_BLOCKS = 200, 200_000  # so that it takes seconds at most


@dataclass(frozen=True)
class StageBlock:
    """A stage computing one request's pass; it does not contain waiting and sending.

    The times are seconds since the run began (of one clock, where all stages are on one machine).
    """

    stage: int
    request: int
    step: int  # 0 in prefill, which yields the first new token; then the number of the decode step
    start_s: float
    end_s: float

    @property
    def phase(self) -> str:
        return "decode" if self.step else "prefill"


class Bubble(NamedTuple):
    """Time in which a stage waits."""

    stage: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Schedule:
    """Blocks of work by stage and time, ordered by start; the first begins at 0 s."""

    blocks: tuple[StageBlock, ...]
    n_stages: int

    @cached_property
    def n_requests(self) -> int:
        return len(self.completion_s)

    @cached_property
    def total_s(self) -> float:
        """From the first block's start to the last block's end."""
        return max(block.end_s for block in self.blocks)

    @cached_property
    def completion_s(self) -> dict[int, float]:
        """For each request, when its last token leaves the last stage."""
        ends: dict[int, float] = {}
        for block in self.blocks:
            ends[block.request] = max(block.end_s, ends.get(block.request, 0.0))
        return dict(sorted(ends.items()))

    @cached_property
    def busy_s(self) -> tuple[float, ...]:
        """For each stage the seconds in which it works."""
        stages = map(self.blocks_of, range(self.n_stages))
        return tuple(sum(block.end_s - block.start_s for block in blocks) for blocks in stages)

    @property
    def utilisation(self) -> tuple[float, ...]:
        """For each stage the share of ``total_s`` in which it works."""
        return tuple(busy / self.total_s for busy in self.busy_s)

    @property
    def bubble_fraction(self) -> float:
        """Share of all stages' time in which they wait."""
        return 1 - sum(self.busy_s) / (self.n_stages * self.total_s)

    @cached_property
    def bubbles(self) -> tuple[Bubble, ...]:
        """Every wait of every stage between 0 s and ``total_s``."""
        found = []
        for stage in range(self.n_stages):
            free_s = 0.0
            for block in self.blocks_of(stage):
                found.append(Bubble(stage, free_s, block.start_s))
                free_s = block.end_s
            found.append(Bubble(stage, free_s, self.total_s))
        return tuple(bubble for bubble in found if bubble.end_s - bubble.start_s > _TOLERANCE_S)

    def blocks_of(self, stage: int) -> list[StageBlock]:
        """The blocks of one stage, in the order in which it worked on them."""
        check_count("stage", stage, 0, self.n_stages - 1)
        return [block for block in self.blocks if block.stage == stage]


@checked
def pipeline_schedule(
    *,
    n_requests: int,
    n_stages: int,
    prefill_s: float | Sequence[float],
    decode_s: float | Sequence[float] = 1.0,
    max_new_tokens: int = 1,
    n_chunks: int = 1,
) -> Schedule:
    """Requests that all wait at 0 s go through the stages in turn, each with one pass.

    A pass enters a stage when it has left the stage before and this stage has finished the request
    before. Decode step t+1 enters stage 0 only after step t has left the last stage, since its
    input is the token that step t chose. Sending takes no time here.

    Args:
        n_requests, n_stages: how many; at most 200 stages, and 200,000 passes through a stage.
        prefill_s, decode_s: seconds of one request's prefill, of one decode step, in ONE stage;
            one number for all stages or one for each.
        max_new_tokens: of each request: one prefill and ``max_new_tokens - 1`` decode steps.
        n_chunks: equal parts of each prefill. A part need not wait for the part before to leave
            the last stage: its tokens are known.

    Raises:
        ValueError: a number below 1, a time that is not above 0, a list of another length.
    """
    check_count("n_requests", n_requests)
    check_count("n_stages", n_stages, most=_MOST_STAGES)
    n_passes = check_count("max_new_tokens", max_new_tokens) - 1 + check_count("n_chunks", n_chunks)
    words = "n_requests * n_stages * (max_new_tokens - 1 + n_chunks)"
    check_count(words, n_requests * n_stages * n_passes, most=_MOST_BLOCKS)
    chunk_s = [t / n_chunks for t in _one_for_each_stage("prefill_s", prefill_s, n_stages)]
    decode_s = _one_for_each_stage("decode_s", decode_s, n_stages)

    free_s, token_s, blocks = [0.0] * n_stages, [0.0] * n_requests, []
    for step in [*[0] * n_chunks, *range(1, max_new_tokens)]:
        for request in range(n_requests):
            now_s = token_s[request] if step else 0.0  # when its input is there
            for stage in range(n_stages):
                start_s = max(now_s, free_s[stage])
                now_s = start_s + (decode_s if step else chunk_s)[stage]
                # Without the last digits, in which equal sums of floats differ.
                now_s = free_s[stage] = float(f"{now_s:.12g}")
                blocks.append(StageBlock(stage, request, step, start_s, now_s))
            token_s[request] = now_s
    check_number("prefill_s, decode_s: the end of a pass", now_s)
    return _make_schedule(blocks, n_stages)


@checked
def schedule_from_timestamps(blocks: Iterable[StageBlock]) -> Schedule:
    """The same structure from the timestamps of a real run, ``run_pipeline_parallel(...).blocks``.

    All times are of one clock; the earliest becomes 0 s.

    Raises:
        ValueError: no blocks, an end before its start.
    """
    blocks = list(blocks)
    if not blocks:
        raise ValueError("blocks: is empty; needs the timestamps of a run")
    for block in blocks:
        if not isinstance(block, StageBlock) or not 0 <= block.start_s <= block.end_s < math.inf:
            raise ValueError(f"blocks: needs StageBlocks, 0 <= start_s <= end_s, got {block}")
        check_count("blocks: stage", block.stage, 0, _MOST_STAGES - 1)
    first_s = min(block.start_s for block in blocks)
    moved = [replace(b, start_s=b.start_s - first_s, end_s=b.end_s - first_s) for b in blocks]
    return _make_schedule(moved, max(block.stage for block in blocks) + 1)


def _make_schedule(blocks: list[StageBlock], n_stages: int) -> Schedule:
    in_order = sorted(blocks, key=lambda b: (b.start_s, b.stage, b.request, b.step))
    return Schedule(tuple(in_order), n_stages)


def _one_for_each_stage(name: str, value, n_stages: int) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value] * n_stages
    if len(values) != n_stages:
        raise ValueError(
            f"{name}: needs one number, or one for each of the {n_stages} stages; got {value!r}"
        )
    return [check_number(name, seconds, above=0) for seconds in values]
