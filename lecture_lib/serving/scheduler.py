"""Who runs next: requests that come and go at every step, within a budget of tokens.

The classes of lecture 14a. Nothing here computes anything: a plan says how many tokens of which
request the next pass runs; ``engine.py`` runs it with the real model, ``simulator.py`` on a clock
that only counts. Memory comes in ``paged_scheduler.py``.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lecture_lib.checks import check_count


@dataclass(eq=False)
class Request:
    """One prompt, and what has become of it.

    Attributes:
        prompt_ids, max_new_tokens, ends: what is asked for; a token of ``ends`` ends the text.
        arrived_s, token_s: when it came, and when each new token was there, on the same clock.
        next_token: a function of the row that a pass returned to a token.
        token_ids: the new tokens so far.
        n_cached: how many tokens, prompt and new ones, have their keys and values in the cache.
        finish_reason: "eos", "length", "cancelled", or None.
        blocks: the page table, the block numbers of all its positions in their order.
        siblings: requests with the same prompt, which begin with this one's blocks.
        n_preempted: how often its blocks were taken away, so that it was computed again.
    """

    prompt_ids: list[int]
    max_new_tokens: int
    ends: frozenset = frozenset()
    arrived_s: float = 0.0
    next_token: Callable | None = None
    token_ids: list[int] = field(default_factory=list)
    token_s: list[float] = field(default_factory=list)
    n_cached: int = 0
    finish_reason: str | None = None
    blocks: list[int] = field(default_factory=list)
    siblings: list["Request"] = field(default_factory=list)
    n_preempted: int = 0

    @property
    def tokens(self) -> list[int]:
        return self.prompt_ids + self.token_ids

    @property
    def n_left(self) -> int:
        """Tokens whose keys and values are still to be computed: 1 while it decodes."""
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
    """Static batching: nobody is admitted until all of a batch have ended.

    Attributes:
        waiting: requests that came and have not begun. running: those that have, the newest last.
    """

    def __init__(self, max_running: int = 16):
        self.max_running = check_count("max_running", max_running)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []

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
        """What the next pass runs: (request, how many of its next tokens), one token first."""
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
        run_pass: a function of the plan to one row for each of its requests, from which their
            ``next_token`` makes a token: logits (1, V), if it is a model.
        now: the clock that says when the tokens were there.
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
    """Run all requests, each from its ``arrived_s`` on, until the last one has ended.

    Args:
        run_pass: see ``step``.
        clock: has ``now()`` and ``wait_until(s)``: a ``WallClock``, or one that only counts.
    """
    coming = deque(sorted(requests, key=lambda request: request.arrived_s))
    while coming or scheduler.running or scheduler.waiting:
        if not scheduler.running and not scheduler.waiting:
            clock.wait_until(coming[0].arrived_s)
        while coming and coming[0].arrived_s <= clock.now():
            scheduler.waiting.append(coming.popleft())
        step(scheduler, run_pass, clock.now)
