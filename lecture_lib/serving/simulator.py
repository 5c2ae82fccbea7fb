"""What a load does to a server: the schedulers themselves, on a clock that only counts.

Costs of a pass are fitted to measured passes. Then a run of minutes is predicted in milliseconds,
for rates and policies that nobody has tried yet. Lecture 14c writes this code.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from lecture_lib.checks import checked

from .scheduler import Request, Scheduler, serve

NO_BUDGET = 10**6  # tokens: more than any pass of ours could run


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


def poisson_arrivals(rate: float, n_requests: int, seed: int) -> list[float]:
    """Times of arrival in seconds, ``rate`` per second on average, with exponential gaps."""
    return np.random.default_rng(seed).exponential(1 / rate, n_requests).cumsum().tolist()


class LoadReport:
    """What a load's requests, all of which have ended, got from a server.

    Attributes:
        ttft_s, tpot_s, gap_s: of each request, from its arrival to its first token, the mean time
            of each further one, and the longest (0 where there is none).
        seconds: from the first arrival to the last token.
        tokens_per_s: new tokens of all requests per second.
    """

    def __init__(self, requests: Sequence[Request]):
        self.ttft_s = [request.token_s[0] - request.arrived_s for request in requests]
        gaps = [np.diff(request.token_s) for request in requests]
        self.tpot_s = [float(gap.mean()) if len(gap) else 0.0 for gap in gaps]
        self.gap_s = [float(gap.max(initial=0)) for gap in gaps]
        begin = min(request.arrived_s for request in requests)
        self.seconds = max(request.token_s[-1] for request in requests) - begin
        self.tokens_per_s = sum(len(request.token_s) for request in requests) / self.seconds

    def keeps(self, ttft_s: float, gap_s: float) -> list[bool]:
        """Which requests kept both limits of a service level."""
        pairs = zip(self.ttft_s, self.gap_s, strict=True)
        return [ttft <= ttft_s and gap <= gap_s for ttft, gap in pairs]

    @checked
    def goodput(self, ttft_s: float, gap_s: float) -> float:
        """Requests per second that kept both limits."""
        return sum(self.keeps(ttft_s, gap_s)) / self.seconds


def what_it_runs(plan: list[tuple[Request, int]]) -> tuple[int, int, int]:
    """What a pass costs time for: 1 (itself), its tokens, and the positions that it reads."""
    return 1, sum(n for _, n in plan), sum(request.n_cached + n for request, n in plan)


class PassTimer:
    """A ``run_pass`` that notes ``what_it_runs`` and the seconds of each pass."""

    def __init__(self, run_pass: Callable):
        self.run_pass, self.passes, self.seconds = run_pass, [], []

    def __call__(self, plan: list):
        started = time.perf_counter()
        self.passes.append(what_it_runs(plan))
        rows = self.run_pass(plan)
        self.seconds.append(time.perf_counter() - started)
        return rows


def fit_costs(passes: Sequence[tuple[int, int, int]], seconds: Sequence[float]) -> np.ndarray:
    """Seconds per pass, per token and per position read: the three numbers, none below 0, whose
    sum over ``what_it_runs`` is closest to the measured seconds, each relative to its own."""
    rows = np.array(passes, float) / np.array(seconds, float)[:, None]
    costs, used = np.zeros(3), [0, 1, 2]
    while True:
        found = np.linalg.lstsq(rows[:, used], np.ones(len(rows)), rcond=None)[0]
        if (found >= 0).all():
            costs[used] = found
            return costs
        used.pop(int(found.argmin()))  # a cost below 0 is none


def simulate(requests: list[Request], scheduler, costs: Sequence[float]) -> None:
    """``serve``, but a pass only adds the seconds that it would cost to a clock: the requests get
    tokens (all 0) and times."""
    clock = CountedClock()

    def run_pass(plan):
        clock.now_s += float(np.dot(costs, what_it_runs(plan)))
        return [0] * len(plan)

    for request in requests:
        request.next_token = int
    serve(requests, scheduler, run_pass, clock)


def simulate_disaggregated(
    requests: list[Request], costs: Sequence[float], transfer_s_per_token: float
) -> None:
    """``simulate`` with two machines: one computes prompts and sends their keys and values, which
    takes ``transfer_s_per_token``, to the other, which decodes."""
    firsts = [Request(request.prompt_ids, 1, arrived_s=request.arrived_s) for request in requests]
    simulate(firsts, Scheduler(token_budget=NO_BUDGET), costs)
    rest = []
    for request, first in zip(requests, firsts, strict=True):
        request.add(0, first.token_s[0])
        if request.finish_reason is None:
            n_moved = len(request.prompt_ids)
            more = Request(request.tokens, request.max_new_tokens - 1)
            more.arrived_s = first.token_s[0] + n_moved * transfer_s_per_token
            more.n_cached, more.token_s = n_moved, request.token_s  # both note their times there
            rest.append(more)
    simulate(rest, Scheduler(), costs)
