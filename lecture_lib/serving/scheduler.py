"""Who runs next: requests that come and go at every step, within a budget of tokens and blocks.

Nothing here computes anything. A plan says how many tokens of which request the next pass runs;
``engine.py`` runs it with the real model, ``simulator.py`` on a clock that only counts.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lecture_lib.checks import check_count, check_flag

from .pages import BlockPool


@dataclass(eq=False)
class Request:
    """One prompt, and what has become of it.

    Attributes:
        prompt_ids, max_new_tokens, ends: what is asked for; a token of ``ends`` ends the text.
        token_ids: the new tokens so far.
        blocks: the page table, the block numbers of all its positions in their order.
        n_cached: how many tokens, prompt and new ones, have their keys and values in the blocks.
        siblings: requests with the same prompt, which begin with this one's blocks.
        finish_reason: "eos", "length", "cancelled", or None.
        arrived_s, token_s: when it came, and when each new token was there, on the same clock.
        n_preempted: how often its blocks were taken away, so that it was computed again.
        n_moved: how many of its tokens another machine computed and sent (see ``simulator``).
    """

    prompt_ids: list[int]
    max_new_tokens: int
    ends: frozenset = frozenset()
    arrived_s: float = 0.0
    next_token: Callable | None = None
    siblings: list["Request"] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    n_cached: int = 0
    finish_reason: str | None = None
    token_s: list[float] = field(default_factory=list)
    n_preempted: int = 0
    n_moved: int = 0

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


class Scheduler:
    """Iteration-level scheduling (Orca, OSDI 2022) with chunked prefill (arXiv 2308.16369).

    Args:
        pool: the blocks that all requests share.
        max_running: how many requests run at the same time.
        token_budget: how many tokens one pass runs at most. Requests that decode come first, one
            token each; prompts get what is left of the budget, in pieces where they are longer.
        continuous: False is static batching: nobody is admitted until all of a batch have ended.
    """

    def __init__(
        self, pool: BlockPool, *, max_running: int = 16, token_budget: int = 128,
        continuous: bool = True,
    ):  # fmt: skip
        self.pool, self.max_running = pool, check_count("max_running", max_running)
        self.token_budget = check_count("token_budget", token_budget, least=max_running)
        self.continuous = check_flag("continuous", continuous)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.copies: list[tuple[int, int]] = []  # blocks to be copied before the next pass

    def add(self, request: Request) -> None:
        """Let a request wait for its turn."""
        self.waiting.append(request)

    def check_fits(self, request: Request) -> None:
        """Raise ValueError if a request could never run, even alone."""
        n_most = len(request.prompt_ids) + request.max_new_tokens - 1  # nobody reads the last one
        n_rows, room = 1 + len(request.siblings), len(self.pool.readers) * self.pool.block_size
        if n_most > room:
            raise ValueError(f"prompt + max_new_tokens: {n_most + 1} tokens, but the cache has "
                             f"room for {room + 1}")  # fmt: skip
        if n_rows > self.max_running:
            raise ValueError(f"n: {n_rows} texts of one prompt, but {self.max_running} run at once")

    def plan(self) -> list[tuple[Request, int]]:
        """What the next pass runs: (request, how many of its next tokens), one token first."""
        plan, budget = {}, self.token_budget
        self.copies = []
        admits = self.continuous or not self.running
        for request in sorted(self.running, key=lambda request: request.n_left > 1):
            budget -= self.place(request, min(request.n_left, budget), plan)
        while admits and budget and self.waiting and self.n_running < self.max_running:
            request = self.waiting[0]
            if self.n_running + len(request.siblings) >= self.max_running:
                break
            prefix = [self.pool.share(block) for block in self.pool.find_prefix(request.tokens)]
            n_ready = max(len(prefix) * self.pool.block_size, request.n_moved)
            n_tokens = min(len(request.tokens) - n_ready, budget)
            if self.n_blocks(n_ready + n_tokens) - len(prefix) > len(self.pool.free):
                for block in prefix:  # it waits until somebody has ended
                    self.pool.release(block)
                break
            self.running.append(self.waiting.popleft())
            request.blocks, request.n_cached = prefix, n_ready
            budget -= self.place(request, n_tokens, plan)
        return sorted(plan.items(), key=lambda pair: pair[1] > 1)

    @property
    def n_running(self) -> int:
        return sum(1 + len(request.siblings) for request in self.running)

    def n_blocks(self, n_tokens: int) -> int:
        return -(-n_tokens // self.pool.block_size)

    def place(self, request: Request, n_tokens: int, plan: dict) -> int:
        """Give a running request the blocks for its next tokens and put it into the plan; returns
        how many tokens that adds. Where no block is free, the newest requests lose theirs."""
        if request not in self.running or n_tokens == 0:
            return 0
        n_lost, own = 0, request.n_cached // self.pool.block_size  # the block it writes to first
        shared = own < len(request.blocks) and self.pool.readers[request.blocks[own]] > 1
        n_new = self.n_blocks(request.n_cached + n_tokens) - len(request.blocks)
        while n_new + shared > len(self.pool.free):
            victim = self.running[-1]
            n_lost += plan.pop(victim, 0)
            self.preempt(victim)
            if victim is request:
                return -n_lost
            shared = shared and self.pool.readers[request.blocks[own]] > 1
        if shared:  # copy on write
            block = self.pool.take()
            self.copies.append((request.blocks[own], block))
            self.pool.release(request.blocks[own])
            request.blocks[own] = block
        request.blocks += [self.pool.take() for _ in range(n_new)]
        plan[request] = n_tokens
        return n_tokens - n_lost

    def preempt(self, request: Request) -> None:
        """Take a request's blocks away. It waits in front of all others, and its prompt and its
        new tokens so far are computed again."""
        self.leave(request)
        request.n_preempted, request.n_moved = request.n_preempted + 1, 0
        self.waiting.appendleft(request)

    def leave(self, request: Request) -> None:
        """A request stops running, and gives its blocks back, the last one first."""
        self.running.remove(request)
        while request.blocks:
            self.pool.release(request.blocks.pop())
        request.n_cached = 0

    def ran(self, request: Request, n_tokens: int) -> bool:
        """Note that a pass ran these tokens; returns whether the request gets a new token now."""
        size, before = self.pool.block_size, request.n_cached
        request.n_cached += n_tokens
        for end in range(before // size * size + size, request.n_cached + 1, size):
            self.pool.remember(request.tokens[:end], request.blocks[end // size - 1])
        return request.n_left == 0

    def fork(self, request: Request) -> list[Request]:
        """The siblings of a request whose prompt has been computed: they run with its blocks."""
        siblings, request.siblings = request.siblings, []
        for sibling in siblings:
            sibling.blocks = [self.pool.share(block) for block in request.blocks]
            sibling.n_cached = request.n_cached
            self.running.append(sibling)
        return siblings

    def cancel(self, request: Request) -> None:
        """Forget a request, whether it waits or runs. Where siblings still need its prompt, it
        stays until that has been computed."""
        request.finish_reason = request.finish_reason or "cancelled"
        if any(sibling.finish_reason is None for sibling in request.siblings):
            return
        if request in self.running:
            self.leave(request)
        elif request in self.waiting:
            self.waiting.remove(request)

    def step(self, run_pass: Callable, now: Callable[[], float]) -> list[Request]:
        """Plan a pass and run it; returns the requests that got a token, siblings included.

        Args:
            run_pass: a function of (plan, copies) to one row for each request of the plan, from
                which its ``next_token`` makes a token: logits (1, V), if it is a model.
            now: the clock that says when the tokens were there.
        """
        plan = self.plan()
        rows = run_pass(plan, self.copies) if plan else ()
        now_s, got = now(), []
        for (request, n_tokens), row in zip(plan, rows, strict=True):
            if not self.ran(request, n_tokens):
                continue  # more of its prompt is to come
            for each in (request, *self.fork(request)):
                each.add(int(each.next_token(row)), now_s)
                got.append(each)
                if each.finish_reason:
                    self.leave(each)
        return got


def serve(requests: list[Request], scheduler: Scheduler, run_pass: Callable, clock) -> None:
    """Run all requests, each from its ``arrived_s`` on, until the last one has ended.

    Args:
        run_pass: see ``Scheduler.step``.
        clock: has ``now()`` and ``wait_until(s)``: time.perf_counter's, or one that only counts.
    """
    coming = deque(sorted(requests, key=lambda request: request.arrived_s))
    while coming or scheduler.running or scheduler.waiting:
        if coming and not scheduler.running and not scheduler.waiting:
            clock.wait_until(coming[0].arrived_s)
        while coming and coming[0].arrived_s <= clock.now():
            scheduler.add(coming.popleft())
        scheduler.step(run_pass, clock.now)
