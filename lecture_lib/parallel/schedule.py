"""The pipeline's schedule, stage by time: from stated times, or from those of a real run."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Iterable, Sequence

from lecture_lib.checks import check_count, check_number

from .results import StageBlock
from .timeline import Bubble, Schedule, in_order

__all__ = ["Bubble", "Schedule", "StageBlock", "pipeline_schedule", "schedule_from_timestamps"]


def pipeline_schedule(
    *,
    n_requests: int,
    n_stages: int,
    prefill_s: float | Sequence[float],
    decode_s: float | Sequence[float] = 1.0,
    max_new_tokens: int | Sequence[int] = 1,
    transfer_s: float = 0.0,
    token_return_s: float = 0.0,
) -> Schedule:
    """Simulate requests that all wait at 0 s and go through the stages, first come, first served.

    A pass enters stage s+1 when stage s has finished it (and the activations have arrived); decode
    step t+1 of a request enters stage 0 only after its step t has left the last stage, since its
    input is the token that step t chose. A stage does one thing at a time, in the order of
    arrival; ties go to the lower request.

    Args:
        n_requests, n_stages: how many.
        prefill_s, decode_s: seconds of one request's prefill, of one decode step, in ONE stage;
            one number for all stages or one for each.
        max_new_tokens: for all requests, or one for each. A request of n new tokens takes one
            prefill and n-1 decode steps.
        transfer_s: seconds from one stage to the next. The sender works on meanwhile.
        token_return_s: seconds from the last stage back to the first, between decode steps.

    Raises:
        ValueError: a number below 1, a time that is not above 0 (transfers: below 0), a list of
            another length.
    """
    check_count("n_requests", n_requests)
    check_count("n_stages", n_stages)
    positive = functools.partial(check_number, above=0)
    seconds = {
        "prefill": _one_each("prefill_s", prefill_s, n_stages, "stages", positive),
        "decode": _one_each("decode_s", decode_s, n_stages, "stages", positive),
    }
    n_tokens = _one_each("max_new_tokens", max_new_tokens, n_requests, "requests", check_count)
    check_number("transfer_s", transfer_s, least=0)
    check_number("token_return_s", token_return_s, least=0)

    free_s = [0.0] * n_stages
    waiting = [(0.0, request, 0, 0) for request in range(n_requests)]  # ready, request, step, stage
    blocks = []
    # A pass is never ready before what made it ready, so the earliest event is always final.
    while waiting:
        ready_s, request, step, stage = heapq.heappop(waiting)
        phase = "decode" if step else "prefill"
        start_s = max(ready_s, free_s[stage])
        end_s = _tidy(start_s + seconds[phase][stage])
        free_s[stage] = end_s
        blocks.append(StageBlock(stage, request, phase, step, start_s, end_s))
        if stage + 1 < n_stages:
            heapq.heappush(waiting, (_tidy(end_s + transfer_s), request, step, stage + 1))
        elif step + 1 < n_tokens[request]:
            heapq.heappush(waiting, (_tidy(end_s + token_return_s), request, step + 1, 0))
    return Schedule(in_order(blocks), n_stages)


def schedule_from_timestamps(blocks: Iterable[object], *, overlap_s: float = 1e-4) -> Schedule:
    """The same structure from the timestamps of a real run.

    Args:
        blocks: StageBlocks (``run_pipeline_parallel(...).blocks``), or anything with their
            attributes, or mappings with their keys. All times are of one clock; the earliest
            becomes 0 s.
        overlap_s: by how much two blocks of one stage may overlap (a clock's grain).

    Raises:
        ValueError: no blocks, a key that is missing, an end before its start, an unknown phase, a
            stage without blocks, the same pass twice, blocks of one stage that overlap.
    """
    found = [_as_block(i, block) for i, block in enumerate(blocks)]
    if not found:
        raise ValueError("blocks: is empty; needs the timestamps of a run")
    first_s = min(block.start_s for block in found)
    n_stages = max(block.stage for block in found) + 1
    moved = [
        StageBlock(b.stage, b.request, b.phase, b.step, b.start_s - first_s, b.end_s - first_s)
        for b in found
    ]
    schedule = Schedule(in_order(moved), n_stages, "measured")
    seen = {(block.stage, block.request, block.step) for block in moved}
    if len(seen) < len(moved):
        raise ValueError("blocks: the same stage, request and step is there twice")
    for stage in range(n_stages):
        own = [block for block in schedule.blocks if block.stage == stage]
        if not own:
            raise ValueError(f"blocks: stage {stage} has none, though there are {n_stages} stages")
        for one, other in itertools.pairwise(own):
            if other.start_s < one.end_s - overlap_s:
                raise ValueError(
                    f"blocks: stage {stage} has two at once, at {other.start_s:.6f} s; a stage "
                    "does one thing at a time"
                )
    return schedule


def _as_block(number: int, block: object) -> StageBlock:
    names = ("stage", "request", "phase", "step", "start_s", "end_s")
    try:
        values = [block[n] if isinstance(block, dict) else getattr(block, n) for n in names]
    except (AttributeError, KeyError) as error:
        raise ValueError(f"blocks[{number}]: has no {error.args[0]!r}; needs {names}") from None
    stage, request, phase, step, start_s, end_s = values
    for name, value in (("stage", stage), ("request", request), ("step", step)):
        check_count(f"blocks[{number}].{name}", value, least=0)
    for name, value in (("start_s", start_s), ("end_s", end_s)):
        check_number(f"blocks[{number}].{name}", value, least=0)
    if phase not in ("prefill", "decode"):
        raise ValueError(f"blocks[{number}].phase: must be 'prefill' or 'decode', got {phase!r}")
    if end_s < start_s:
        raise ValueError(f"blocks[{number}]: ends at {end_s} s, before it starts at {start_s} s")
    return StageBlock(stage, request, phase, step, start_s, end_s)


def _one_each(name: str, value, n: int, what: str, check) -> list:
    """One checked value for each of n things, from a single number or a sequence."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return [check(name, value)] * n
    if len(value) != n:
        raise ValueError(
            f"{name}: needs one number, or one for each of the {n} {what}; got {len(value)}"
        )
    return [check(name, v) for v in value]


def _tidy(seconds: float) -> float:
    """Without the last digits, in which equal sums of floats differ and would decide a tie."""
    return float(f"{seconds:.12g}")
