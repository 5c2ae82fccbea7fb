"""Who runs next: requests that come and go at every step, within a budget of tokens (lecture 14a).

A plan says how many tokens of which request the next pass runs. ``engine.py`` runs it with the real
model, ``simulator.py`` on a clock that only counts; ``paged_scheduler.py`` adds the memory.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lecture_lib.checks import check_count


@dataclass(eq=False)
class Request:
    """One prompt, and what has become of it."""

    prompt_ids: list[int]
    max_new_tokens: int
    ends: frozenset = frozenset()  # tokens that end the text
    arrived_s: float = 0.0
    next_token: Callable | None = None  # makes a token of the row that a pass returned
    token_ids: list[int] = field(default_factory=list)  # the new tokens so far
    token_s: list[float] = field(default_factory=list)  # when each was there, as arrived_s counts
    n_cached: int = 0  # tokens, prompt and new ones, whose keys and values are in the cache
    finish_reason: str | None = None  # "eos", "length" or "cancelled"
    blocks: list[int] = field(default_factory=list)  # the page table, in the positions' order
    siblings: list["Request"] = field(default_factory=list)  # will begin with this one's blocks
    n_preempted: int = 0  # how often its blocks were taken away, so that it was computed again

    @property
    def tokens(self) -> list[int]:
        return self.prompt_ids + self.token_ids

    @property
    def n_left(self) -> int:
        """Tokens whose keys and values are not computed yet: 1 while it decodes."""
        return len(self.prompt_ids) + len(self.token_ids) - self.n_cached

    def add(self, token_id: int, now_s: float) -> None:
        """Take the next token, and note whether it was the last."""
        self.token_ids.append(token_id)
        self.token_s.append(now_s)
        if token_id in self.ends:
            self.finish_reason = "eos"
        elif len(self.token_ids) == self.max_new_tokens:
            self.finish_reason = "length"


class StaticScheduler:
    """Static batching: nobody is admitted until all of a batch have ended."""

    def __init__(self, max_running: int = 16):
        self.max_running = check_count("max_running", max_running)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []  # the newest last

    def plan(self) -> list[tuple[Request, int]]:
        """What the next pass runs: (request, how many of its next tokens), one token first."""
        if not self.running:
            while self.waiting and len(self.running) < self.max_running:
                self.running.append(self.waiting.popleft())
        plan = [(request, request.n_left) for request in self.running]
        return sorted(plan, key=lambda pair: pair[1] > 1)

    def ran(self, request: Request, n_tokens: int) -> list[Request]:
        """Note that a pass ran these tokens; returns who gets a new token from it."""
        request.n_cached += n_tokens
        return [request] if request.n_left == 0 else []

    def leave(self, request: Request) -> None:
        """A request does not run any more."""
        self.running.remove(request)


class Scheduler(StaticScheduler):
    """Iteration-level scheduling (Orca, OSDI 2022) with chunked prefill (arXiv 2308.16369).

    Args:
        max_running: how many requests run at the same time.
        token_budget: how many tokens one pass runs at most. Requests that decode come first, one
            token each; prompts get what is left of the budget, in pieces where they are longer.
    """

    def __init__(self, max_running: int = 16, token_budget: int = 128):
        super().__init__(max_running)
        self.token_budget = check_count("token_budget", token_budget, least=max_running)

    def plan(self) -> list[tuple[Request, int]]:
        plan = {}
        for request in sorted(self.running, key=lambda request: request.n_left > 1):
            if n := self.n_next(request, plan):
                self.place(request, n, plan)
        while self.waiting and self.admit(self.waiting[0], plan):
            request = self.waiting.popleft()
            self.running.append(request)
            self.place(request, self.n_next(request, plan), plan)
        return sorted(plan.items(), key=lambda pair: pair[1] > 1)

    def n_next(self, request: Request, plan: dict) -> int:
        """How many of its tokens fit into what is left of the budget."""
        return min(request.n_left, self.token_budget - sum(plan.values()))

    def admit(self, request: Request, plan: dict) -> bool:
        """Whether a request that waits may run."""
        return len(self.running) < self.max_running and self.n_next(request, plan) > 0

    def place(self, request: Request, n_tokens: int, plan: dict) -> None:
        """Put a running request's next tokens into the plan."""
        plan[request] = n_tokens


def step(scheduler, run_pass: Callable, now: Callable[[], float]) -> list[Request]:
    """Plan a pass and run it; returns the requests that got a token.

    Args:
        run_pass: gives for each request of a plan the row (logits (1, V) of a model) from which
            its ``next_token`` makes a token.
    """
    plan, got = scheduler.plan(), []
    rows = run_pass(plan) if plan else ()
    now_s = now()
    for (request, n_tokens), row in zip(plan, rows, strict=True):
        for each in scheduler.ran(request, n_tokens):
            each.add(int(each.next_token(row)), now_s)
            got.append(each)
            if each.finish_reason:
                scheduler.leave(each)
    return got


def serve(requests: list[Request], scheduler, run_pass: Callable, clock) -> None:
    """Run all requests, each from its ``arrived_s`` on, until the last one has ended; ``run_pass``
    is that of ``step``, ``clock`` a ``WallClock`` or a ``CountedClock``."""
    coming = deque(sorted(requests, key=lambda request: request.arrived_s))
    while coming or scheduler.running or scheduler.waiting:
        if not scheduler.running and not scheduler.waiting:
            clock.wait_until(coming[0].arrived_s)
        while coming and coming[0].arrived_s <= clock.now():
            scheduler.waiting.append(coming.popleft())
        step(scheduler, run_pass, clock.now)
