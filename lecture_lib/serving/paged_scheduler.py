"""The scheduler with a memory in blocks, one idea per class, as in lecture 14b."""

from .pages import BlockPool
from .scheduler import Request, Scheduler


def give_back(request: Request, pool: BlockPool) -> None:
    """Release a request's blocks, the last one first."""
    while request.blocks:
        pool.release(request.blocks.pop())
    request.n_cached = 0


class PagedScheduler(Scheduler):
    """Requests own blocks of a pool, and take another one when the last is full."""

    def __init__(self, pool: BlockPool, **options):
        super().__init__(**options)
        self.pool = pool

    def n_missing(self, request: Request, n_tokens: int) -> int:
        """Blocks that a request needs for its next tokens and does not have."""
        return -(-(request.n_cached + n_tokens) // self.pool.block_size) - len(request.blocks)

    def admit(self, request: Request, plan: dict) -> bool:
        fits = self.n_missing(request, self.n_next(request, plan)) <= len(self.pool.free)
        return fits and super().admit(request, plan)

    def place(self, request: Request, n_tokens: int, plan: dict) -> None:
        """Put it into the plan if there are blocks for its next tokens."""
        if self.n_missing(request, n_tokens) <= len(self.pool.free):
            self.grow(request, n_tokens)
            super().place(request, n_tokens, plan)

    def grow(self, request: Request, n_tokens: int) -> None:
        """Give a request the blocks for its next tokens."""
        request.blocks += [self.pool.take() for _ in range(self.n_missing(request, n_tokens))]

    def leave(self, request: Request) -> None:
        super().leave(request)
        give_back(request, self.pool)


class PreemptingScheduler(PagedScheduler):
    """Where no block is free, the newest requests lose theirs, and are computed again later."""

    def place(self, request: Request, n_tokens: int, plan: dict) -> None:
        while request in self.running and self.n_missing(request, n_tokens) > len(self.pool.free):
            victim = self.running[-1]
            plan.pop(victim, None)
            self.leave(victim)
            victim.n_preempted += 1
            self.waiting.appendleft(victim)
        if request in self.running:
            super().place(request, n_tokens, plan)


class PrefixScheduler(PreemptingScheduler):
    """A request begins with the blocks of a PrefixPool that have its beginning already."""

    def admit(self, request: Request, plan: dict) -> bool:
        request.blocks = [self.pool.share(block) for block in self.pool.find_prefix(request.tokens)]
        request.n_cached = len(request.blocks) * self.pool.block_size
        admitted = super().admit(request, plan)
        if not admitted:
            give_back(request, self.pool)
        return admitted

    def ran(self, request: Request, n_tokens: int) -> list[Request]:
        size = self.pool.block_size
        for i in range(request.n_cached // size, (request.n_cached + n_tokens) // size):
            self.pool.remember(request.tokens[: (i + 1) * size], request.blocks[i])
        return super().ran(request, n_tokens)


def fork(request: Request, pool: BlockPool) -> list[Request]:
    """The siblings of a request whose prompt has been computed: they read the same blocks."""
    siblings, request.siblings = request.siblings, []
    for sibling in siblings:
        sibling.blocks = [pool.share(block) for block in request.blocks]
        sibling.n_cached = request.n_cached
    return siblings


class ForkingScheduler(PrefixScheduler):
    """Several texts of one prompt share its blocks; who writes into a shared one copies it."""

    def admit(self, request: Request, plan: dict) -> bool:
        n_texts = sum(1 + len(each.siblings) for each in (*self.running, request))
        return n_texts <= self.max_running and super().admit(request, plan)

    def writes_shared(self, request: Request) -> bool:
        """Whether the block that it writes to next has other readers, too."""
        i = request.n_cached // self.pool.block_size
        return any(self.pool.readers[block] > 1 for block in request.blocks[i : i + 1])

    def n_missing(self, request: Request, n_tokens: int) -> int:
        return super().n_missing(request, n_tokens) + self.writes_shared(request)

    def grow(self, request: Request, n_tokens: int) -> None:
        if self.writes_shared(request):
            i, block = request.n_cached // self.pool.block_size, self.pool.take()
            self.pool.copies.append((request.blocks[i], block))
            self.pool.release(request.blocks[i])
            request.blocks[i] = block
        super().grow(request, n_tokens)

    def ran(self, request: Request, n_tokens: int) -> list[Request]:
        got = super().ran(request, n_tokens)
        siblings = fork(request, self.pool) if got else []
        self.running += siblings
        return got + siblings


def cancel(request: Request, scheduler: ForkingScheduler) -> None:
    """Forget a request, whether it waits or runs. Where siblings still need its prompt, it stays
    until that has been computed."""
    request.finish_reason = request.finish_reason or "cancelled"
    if any(sibling.finish_reason is None for sibling in request.siblings):
        return
    if request in scheduler.running:
        scheduler.leave(request)
    elif request in scheduler.waiting:
        scheduler.waiting.remove(request)
