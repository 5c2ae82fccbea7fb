"""Run: one call of generate, step by step, with the loops that give the tokens."""

import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_lib.checks import check_count, check_flag, check_type
from lecture_lib.tokens import encode_batch, end_tokens

from .generation import Generation, Timings
from .kv_cache import KVCache
from .speculation import check_drafter, choose, speculative_tokens
from .streaming import TextStream


def greedy(logits: Tensor) -> Tensor:
    """(B, V) to (B,): the most likely token of each row."""
    return logits.max(-1).indices  # argmax takes several times as long on a CPU


def cached_tokens(engine, input_ids, cache, next_token=greedy) -> Iterator[Tensor]:
    """The loop of generate: one prefill, then a decode step for each further token. Yields the
    next token of each row, (B,), for as long as the caller asks."""
    logits = engine.prefill(input_ids, cache=cache)  # (B, V)
    while True:
        tokens = next_token(logits)  # (B,)
        yield tokens
        logits = engine.decode(tokens, cache=cache)  # (B, V)


def naive_tokens(engine, input_ids, attention_mask, next_token=greedy) -> Iterator[Tensor]:
    """The same tokens without a cache: the whole text again, longer by one token each time."""
    while True:
        tokens = next_token(engine.logits(input_ids, attention_mask, last_only=True))  # (B,)
        yield tokens
        input_ids = torch.cat((input_ids, tokens[:, None]), 1)
        if attention_mask is not None:
            attention_mask = F.pad(attention_mask, (0, 1), value=1)


class Run:
    """One call of ``Engine.generate``, step by step. Its docstring explains the arguments.

    Attributes:
        rows: a growing Generation for each prompt. single: whether one prompt was given, no list.
    """

    choose = staticmethod(choose)

    def __init__(
        self, engine, prompt, max_new_tokens: int, use_cache=True, stop=(),
        eos_token_id=None, ignore_eos=False, next_token=greedy, speculate=None, in_pieces=True,
    ):  # fmt: skip
        self.started = time.perf_counter()
        self.engine, self.use_cache = engine, check_flag("use_cache", use_cache)
        self.next_token = check_type("next_token", next_token, Callable, "a function of logits")
        self.max_new_tokens = check_count("max_new_tokens", max_new_tokens)
        ends = end_tokens(engine.hf_model, eos_token_id, engine.vocab_size)
        self.ends = frozenset() if check_flag("ignore_eos", ignore_eos) else ends
        encoded = encode_batch(prompt, engine.tokenizer, engine.vocab_size, engine.device)
        self.input_ids, self.attention_mask, prompt_lens, self.single = encoded  # (B, L) both
        self.drafter = check_drafter(speculate, engine, len(prompt_lens), use_cache)
        engine.check_context(self.input_ids.shape[1] + max_new_tokens, "prompt + max_new_tokens")
        pieces = in_pieces or stop not in ((), None)  # else the text is made at the end
        self.streams = [TextStream(engine.tokenizer, stop) if pieces else None for _ in prompt_lens]
        self.timings, self.calls, self.passes = Timings(), [], []  # of all rows together
        notes = {"timings": self.timings, "calls": self.calls, "passes": self.passes}
        self.rows = [Generation(n, **notes) for n in prompt_lens]

    def steps(self) -> Iterator[list[Generation]]:
        """Give each row its next token, again and again; yields the rows until all have ended."""
        before = self.started
        for tokens in self.tokens():
            token_ids = tokens.tolist()  # waits for a GPU, so that the time below is right
            now = time.perf_counter()
            self.timings.token_s.append(now - before)
            before = now
            if not self.calls or self.calls[-1] is not self.engine.calls[-1]:
                self.calls += self.engine.calls[-1:] if self.calls else self.engine.calls
            for row, stream, token_id in zip(self.rows, self.streams, token_ids, strict=True):
                if row.finish_reason is None:  # the other rows may need more
                    row.add(token_id, self.ends, self.max_new_tokens, stream)
            yield self.rows
            if all(row.finish_reason for row in self.rows):
                return

    def tokens(self) -> Iterator[Tensor]:
        """The next token of each row, (B,), for as long as somebody asks."""
        if not self.use_cache:
            return naive_tokens(self.engine, self.input_ids, self.attention_mask, self.next_token)
        batch_size, prompt_len = self.input_ids.shape
        cache = self.engine.new_cache(batch_size, prompt_len + self.max_new_tokens)
        if self.attention_mask is not None:
            cache.padding = (1 - self.attention_mask).sum(1)  # (B,)
        return self.cached(self.input_ids, cache)

    def cached(self, input_ids: Tensor, cache: KVCache) -> Iterator[Tensor]:
        """The tokens behind a prompt of which a part may be in the cache already."""
        if self.drafter is None:
            rest = input_ids[:, cache.length :]
            return cached_tokens(self.engine, rest, cache, self.next_token)
        passes = speculative_tokens(
            self.engine, input_ids, cache, self.drafter, self.next_token, self.passes, self.choose
        )
        return (token for new in passes for token in torch.tensor(new)[:, None])  # (1,) each
