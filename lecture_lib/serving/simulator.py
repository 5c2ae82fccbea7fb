"""What a load does to a server: the Scheduler itself, on a clock that only counts.

Costs of a pass are fitted to passes that were measured. Then a run of minutes is predicted in
milliseconds, for rates and policies that nobody has tried yet.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lecture_lib.checks import check_number, checked

from .scheduler import Request, Scheduler, serve


class WallClock:
    """Seconds since it was made."""

    def __init__(self):
        self.started = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self.started

    def wait_until(self, at_s: float) -> None:
        time.sleep(max(0.0, at_s - self.now()))


class CountedClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self):
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def wait_until(self, at_s: float) -> None:
        self.now_s = max(self.now_s, at_s)


def what_it_runs(plan: list[tuple[Request, int]]) -> tuple[int, int, int]:
    """What a pass costs time for: 1 (that there is a pass), its tokens, and the cached positions
    that its requests read."""
    return 1, sum(n for _, n in plan), sum(request.n_cached + n for request, n in plan)


class PassTimer:
    """A ``run_pass`` that notes what each pass ran and how long it took, for ``fit_costs``.

    Attributes:
        passes: ``what_it_runs`` of each pass. seconds: how long each took.
    """

    def __init__(self, run_pass: Callable):
        self.run_pass, self.passes, self.seconds = run_pass, [], []

    def __call__(self, plan: list, copies: list):
        started = time.perf_counter()
        self.passes.append(what_it_runs(plan))
        rows = self.run_pass(plan, copies)
        self.seconds.append(time.perf_counter() - started)
        return rows


def fit_costs(passes: Sequence[tuple[int, int, int]], seconds: Sequence[float]) -> np.ndarray:
    """Seconds per pass, per token and per position read: the three numbers, none below 0, whose
    sum over ``what_it_runs`` is closest to the measured seconds, each relative to its own."""
    rows = np.array(passes, float) / np.array(seconds, float)[:, None]
    used = [0, 1, 2]
    while True:
        found = np.linalg.lstsq(rows[:, used], np.ones(len(rows)), rcond=None)[0]
        if len(used) == 1 or (found >= 0).all():
            costs = np.zeros(3)
            costs[used] = np.maximum(found, 0)
            return costs
        used.pop(int(found.argmin()))


def simulate(requests: list[Request], scheduler: Scheduler, costs: Sequence[float]) -> None:
    """``serve``, but a pass only lets the seconds go by that it would cost: the requests get
    tokens (all 0) and times."""
    clock = CountedClock()

    def run_pass(plan, copies):
        clock.now_s += float(np.dot(costs, what_it_runs(plan)))
        return [0] * len(plan)

    for request in requests:
        request.next_token = int
    serve(requests, scheduler, run_pass, clock)


def simulate_disaggregated(
    requests: list[Request], schedulers: tuple[Scheduler, Scheduler], costs: Sequence[float],
    transfer_s_per_token: float,
) -> None:  # fmt: skip
    """``simulate`` with two machines: one computes prompts, sends their keys and values, and the
    other decodes. The requests get the times of both.

    Args:
        schedulers: of the machine for prompts and of the one that decodes.
        transfer_s_per_token: 2 · N · n_KV · H · bytes per element, over the link's bandwidth.
    """
    firsts = [Request(request.prompt_ids, 1, arrived_s=request.arrived_s) for request in requests]
    simulate(firsts, schedulers[0], costs)
    rest = []
    for request, first in zip(requests, firsts, strict=True):
        request.add(0, first.token_s[0])
        if request.finish_reason is None:
            moved_s = len(request.prompt_ids) * transfer_s_per_token
            more = Request(request.tokens, request.max_new_tokens - 1)
            more.arrived_s, more.n_moved = first.token_s[0] + moved_s, len(request.prompt_ids)
            rest.append((request, more))
    simulate([more for _, more in rest], schedulers[1], costs)
    for request, more in rest:
        for now_s in more.token_s:
            request.add(0, now_s)


@checked
def poisson_arrivals(rate: float, n_requests: int, seed: int) -> list[float]:
    """Times of arrival in seconds, at a mean ``rate`` per second, each independent of the others:
    the gaps are exponential."""
    check_number("rate", rate, above=0)
    return np.random.default_rng(seed).exponential(1 / rate, n_requests).cumsum().tolist()


@dataclass(frozen=True)
class LoadReport:
    """What a load's requests, all of which have ended, got from a server.

    Attributes:
        ttft_s, tpot_s: of each request, from its arrival to its first token, and the mean time of
            each further one (0 where there is none).
        seconds: from the first arrival to the last token.
        tokens_per_s: new tokens of all requests per second.
        mean_in_system: how many requests were there on average, waiting or running.
        n_preempted: how often a request lost its blocks.
    """

    ttft_s: list[float]
    tpot_s: list[float]
    seconds: float
    tokens_per_s: float
    mean_in_system: float
    n_preempted: int

    @classmethod
    def of(cls, requests: Sequence[Request]) -> "LoadReport":
        begin = min(request.arrived_s for request in requests)
        seconds = max(request.token_s[-1] for request in requests) - begin
        # +1 for everyone who comes, -1 for everyone who leaves, times how long it stays so.
        arrivals = [(request.arrived_s, 1) for request in requests]
        events = sorted(arrivals + [(request.token_s[-1], -1) for request in requests])
        times, steps = map(np.array, zip(*events, strict=True))
        in_system = float((np.diff(times) * steps.cumsum()[:-1]).sum() / seconds)
        return cls(
            [request.token_s[0] - request.arrived_s for request in requests],
            [(r.token_s[-1] - r.token_s[0]) / max(1, len(r.token_s) - 1) for r in requests],
            seconds,
            sum(len(request.token_s) for request in requests) / seconds,
            in_system,
            sum(request.n_preempted for request in requests),
        )

    @checked
    def goodput(self, ttft_s: float, tpot_s: float) -> float:
        """Requests per second that kept both limits of a service level."""
        pairs = zip(self.ttft_s, self.tpot_s, strict=True)
        return sum(a <= ttft_s and b <= tpot_s for a, b in pairs) / self.seconds
