"""PagedEngine: many requests through one model, each with the tokens of its solo run."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from lecture_lib.checks import check_count, check_type, checked
from lecture_lib.engine import Engine
from lecture_lib.engine.generate import greedy
from lecture_lib.tokens import check_possible, check_token_ids, encode_prompts, end_tokens

from .paged_scheduler import ForkingScheduler
from .pages import PagedCache, PrefixPool, paged_attend, paged_forward
from .scheduler import Request


class PagedEngine:
    """An Engine's model, which is not copied, behind a ForkingScheduler and a cache of ``n_blocks``
    blocks with ``block_size`` positions; ``max_running`` and ``token_budget`` as for ``Scheduler``.
    ValueError for another argument than described.
    """

    def __init__(self, engine: Engine, n_blocks: int = 512, block_size: int = 16, **options):
        self.engine = check_type("engine", engine, Engine, "an Engine")
        check_count("n_blocks", n_blocks, most=10**6)
        self.pool = PrefixPool(n_blocks, check_count("block_size", block_size, most=4096))
        self.cache = PagedCache(engine, n_blocks, block_size)
        self.scheduler = ForkingScheduler(self.pool, **options)
        self.model = copy.copy(engine.model)
        self.model.attend = partial(paged_attend, attend=engine.model.attend)

    @checked
    def request(
        self, prompt, max_new_tokens: int = 32, *, n: int = 1, arrived_s: float = 0.0,
        eos_token_id: int | Sequence[int] | None = None,
        next_token: Callable | None = None,
    ) -> Request:  # fmt: skip
        """A request for the scheduler: one text, or ``n`` texts of one prompt that share it.

        Args:
            prompt: a text or token ids. eos_token_id: tokens that end a text, not the model's own.
            next_token: makes for text i a function of logits (1, V) to a token (1,), such as a
                ``Sampler``; default: the likeliest token.

        Raises:
            ValueError: an argument other than described, or a request that could never run.
        """
        rows, single = encode_prompts(prompt, self.engine.tokenizer)
        if not single:
            raise ValueError(f"prompt: needs one prompt, got a list of {len(rows)}")
        check_token_ids("prompt", rows, self.engine.vocab_size)
        max_new_tokens, n = check_count("max_new_tokens", max_new_tokens), check_count("n", n)
        n_tokens, room = len(rows[0]) + max_new_tokens, self.cache.kv.shape[2]
        self.engine.check_context(n_tokens, "prompt + max_new_tokens")
        if n_tokens - 1 > room:  # nobody reads the last token
            raise ValueError(
                f"prompt + max_new_tokens: {n_tokens} tokens, the cache has room for {room + 1}"
            )
        if n > self.scheduler.max_running:
            most = self.scheduler.max_running
            raise ValueError(f"n: {n} texts of one prompt, but {most} run at once")
        ends = end_tokens(self.engine.hf_model, eos_token_id, self.engine.vocab_size)
        first, *siblings = (
            Request(list(rows[0]), max_new_tokens, ends, arrived_s, choose)
            for choose in map(next_token or (lambda i: greedy), range(n))
        )
        first.siblings = siblings
        return first

    def run_pass(self, plan: list) -> Tensor:
        """One pass through the model: a row of logits (1, V) for each request of the plan."""
        while self.pool.copies:
            self.cache.copy(*self.pool.copies.pop(0))
        logits = paged_forward(self.model, plan, self.cache)  # (requests, V)
        check_possible(logits)
        return logits[:, None]
