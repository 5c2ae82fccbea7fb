"""Run: one call of generate, from the prompts to the last token, one step at a time."""

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from lecture_lib.checks import check_count

from .generation import ForwardCall, Generation, Timings
from .prompts import as_token_ids, encode, end_tokens, pad_left
from .streaming import TextStream, check_stop


def greedy(logits: Tensor) -> Tensor:
    """(B, V) to (B,): the most likely token of each row."""
    return logits.max(-1).indices  # argmax takes several times as long on a CPU


class Row:
    """One prompt of a batch while it is being continued."""

    def __init__(self, prompt_len: int, stream: TextStream, eos: Collection[int], limit: int):
        self.prompt_len = prompt_len
        self.token_ids: list[int] = []
        self.pieces: list[str] = []
        self.finish_reason: str | None = None
        self._stream, self._eos, self._limit = stream, eos, limit

    def accept(self, token_id: int) -> None:
        """Take the next token, unless the row has ended: the batch may go on without it."""
        if self.finish_reason is not None:
            self.pieces.append("")
            return
        self.token_ids.append(token_id)
        piece = self._stream.push(token_id)
        if token_id in self._eos:
            self.finish_reason = "eos"
        elif self._stream.stopped:
            self.finish_reason = "stop"
        elif len(self.token_ids) == self._limit:
            self.finish_reason = "length"
        if self.finish_reason is not None:
            piece += self._stream.flush()
        self.pieces.append(piece)

    def result(self, timings: Timings, calls: Sequence[ForwardCall]) -> Generation:
        return Generation(
            token_ids=self.token_ids,
            text="".join(self.pieces),
            finish_reason=self.finish_reason,
            prompt_len=self.prompt_len,
            timings=timings,
            calls=tuple(calls),
        )


class Run:
    """The prompts of one ``Engine.generate`` on their way; its docstring explains the arguments."""

    def __init__(
        self,
        engine,
        prompt,
        max_new_tokens: int,
        use_cache: bool = True,
        stop: str | Sequence[str] = (),
        eos_token_id: int | Sequence[int] | None = None,
        ignore_eos: bool = False,
        chunk_size: int | None = None,
        next_token: Callable[[Tensor], Tensor] = greedy,
    ):
        self.timings = Timings()
        self.calls: list[ForwardCall] = []
        self.engine, self.use_cache, self.next_token = engine, use_cache, next_token
        self.max_new_tokens = check_count("max_new_tokens", max_new_tokens)
        self.chunk_size = chunk_size
        stop = check_stop(stop)
        eos = set() if ignore_eos else _eos_ids(engine, eos_token_id)
        prompts, self.single = encode(prompt, engine.tokenizer)
        input_ids, attention_mask = pad_left(prompts)
        self.input_ids = as_token_ids("prompt", input_ids, engine.vocab_size, engine.device)
        self.attention_mask = (
            None if attention_mask is None else torch.tensor(attention_mask, device=engine.device)
        )
        engine.check_context(self.input_ids.shape[1] + max_new_tokens, "prompt + max_new_tokens")
        self.rows = [
            Row(len(ids), TextStream(engine.tokenizer, stop), eos, max_new_tokens)
            for ids in prompts
        ]

    def steps(self) -> Iterator[list[Row]]:
        """Choose token after token; yields the rows after each, until all have ended."""
        logits = self._prefill() if self.use_cache else self._recompute()  # (B, V)
        while True:
            tokens = self.next_token(logits)  # (B,)
            token_list = tokens.tolist()  # waits for a GPU, so the time below is honest
            self.timings.mark()
            for row, token_id in zip(self.rows, token_list, strict=True):
                row.accept(token_id)
            yield self.rows
            if all(row.finish_reason for row in self.rows):
                return
            logits = self._decode(tokens) if self.use_cache else self._recompute(tokens)

    def _prefill(self) -> Tensor:
        batch_size, prompt_len = self.input_ids.shape
        self.cache = self.engine.new_cache(batch_size, prompt_len + self.max_new_tokens)
        logits = self.engine.prefill(
            self.input_ids, self.attention_mask, cache=self.cache, chunk_size=self.chunk_size
        )
        self.calls += self.engine.calls
        return logits

    def _decode(self, tokens: Tensor) -> Tensor:
        logits = self.engine.decode(tokens, cache=self.cache)
        self.calls.append(self.engine.calls[-1])
        return logits

    def _recompute(self, tokens: Tensor | None = None) -> Tensor:
        """The naive way: the whole sequence again, longer by one token."""
        if tokens is not None:
            self.input_ids = torch.cat((self.input_ids, tokens[:, None]), 1)
            if self.attention_mask is not None:
                ones = torch.ones_like(self.attention_mask[:, :1])
                self.attention_mask = torch.cat((self.attention_mask, ones), 1)
        logits = self.engine.logits(self.input_ids, self.attention_mask, last_only=True)
        self.calls += self.engine.calls
        return logits


def _eos_ids(engine, eos_token_id: int | Sequence[int] | None) -> Collection[int]:
    if eos_token_id is None:
        return end_tokens(engine.hf_model)
    ids = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
    as_token_ids("eos_token_id", ids, engine.vocab_size, "cpu")
    return set(ids)
