"""Engine: a loaded model's prefill, decode and generate, with and without a KV cache."""

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lecture_lib.checks import check_count, check_flag, check_parts, check_type
from lecture_lib.tokens import (
    check_batch,
    check_column,
    check_possible,
    decode_text,
    encode_batch,
    end_tokens,
)

from .architecture import check_places, places, read_model
from .generation import ForwardCall, Generation, Timings
from .kv_cache import KVCache, Pattern, check_cache
from .streaming import TextStream


def greedy(logits: Tensor) -> Tensor:
    """(B, V) to (B,): the most likely token of each row."""
    return logits.max(-1).indices  # argmax takes several times as long on a CPU


class Engine:
    """Generates text with our own forward pass over the weights of a loaded Transformers model.

    Args:
        loaded: what ``load_model`` returns: ``.model``, ``.tokenizer`` and ``.spec``. Its weights
            are used, not copied: the model stays usable, and changes in place are seen.
        textbook: compute every formula as ``model.py`` writes it, without the faster kernels.

    Attributes:
        cache: the KVCache that the last ``prefill`` filled.
        calls: a ForwardCall for every pass through the model since the last fresh prefill.
        context_length: the most positions that a sequence may have.

    Raises:
        ValueError: a model that the engine cannot run (UnsupportedArchitectureError) or read; in
            every method an argument other than described, or a sequence longer than the context.
    """

    def __init__(self, loaded, *, textbook: bool = False):
        self.tokenizer, self.hf_model = check_parts("loaded", loaded).tokenizer, loaded.model
        spec = getattr(loaded, "spec", None)
        self.model = read_model(loaded.model, spec, check_flag("textbook", textbook))
        self.spec = spec.with_tensors_of(loaded.model)
        self.context_length = self.spec.context_length or 2**31 - 1
        table = self.model.embeddings  # (V, D)
        self.vocab_size, self.device, self.dtype = len(table), table.device, table.dtype
        self.cache: KVCache | None = None
        self.calls: list[ForwardCall] = []
        self._weights_at = places(loaded.model)  # after ``read_model``, which joins some of them

    def prefill(self, input_ids, attention_mask=None, *, cache: KVCache | None = None) -> Tensor:
        """Run the prompt through the model once; returns the logits of the next token, (B, V).

        Args:
            input_ids: (B, L) or (L,) token ids.
            attention_mask: (B, L), 0 for padding on the left; positions count from the first 1.
            cache: keeps the keys and values of every layer; a filled one is continued, so a long
                prompt can be given in chunks. Default: a new one with room for 1,024 more tokens.
        """
        input_ids, padding = check_batch(input_ids, attention_mask, self.vocab_size, self.device)
        batch_size, seq_len = input_ids.shape
        if cache is None:
            self.check_context(seq_len, "input_ids")
            cache = self.new_cache(batch_size, min(seq_len + 1024, self.context_length))
        check_cache(cache, self.hf_model, batch_size, seq_len)
        if cache.length == 0:
            self.calls, cache.padding = [], padding
        elif padding is not None:
            raise ValueError("attention_mask: padding is only possible in front of a prompt")
        self.cache = cache
        return self._forward(input_ids, cache)

    def decode(self, token_ids, *, cache: KVCache | None = None) -> Tensor:
        """Run ONE new token per row through the model; returns the next token's logits, (B, V).

        Args:
            token_ids: (B,) or (B, 1) token ids; an int where B is 1.
            cache: where the past comes from. Default: that of the last ``prefill``.
        """
        cache = self.cache if cache is None else cache
        if cache is None or (isinstance(cache, KVCache) and cache.length == 0):
            raise ValueError("cache: nothing is in it yet; call prefill first")
        token_ids = check_column(token_ids, self.vocab_size, self.device)  # (B, 1)
        check_cache(cache, self.hf_model, len(token_ids), 1)
        return self._forward(token_ids, cache)

    def logits(self, input_ids, attention_mask=None, *, last_only: bool = False) -> Tensor:
        """Logits at every position, (B, L, V), by a pass that keeps nothing (the naive way);
        with ``last_only`` those of the next token, (B, V). Arguments as ``prefill``."""
        input_ids, padding = check_batch(input_ids, attention_mask, self.vocab_size, self.device)
        self.check_context(input_ids.shape[1], "input_ids")
        check_flag("last_only", last_only)
        self.calls = []
        return self._forward(input_ids, padding=padding, last_only=last_only)

    def generate(
        self,
        prompt,
        max_new_tokens: int = 32,
        *,
        use_cache: bool = True,
        stop: str | Sequence[str] = (),
        eos_token_id: int | Sequence[int] | None = None,
        ignore_eos: bool = False,
        next_token: Callable[[Tensor], Tensor] = greedy,
    ) -> Generation | list[Generation]:
        """Continue a prompt, or several together: a Generation, or a list of them in their order.

        Args:
            prompt: text or token ids; a list of either is a batch, padded on the left.
            max_new_tokens: how many tokens at most.
            use_cache: prefill once, then decode. False: compute all again for every token.
            stop: strings that end a text. eos_token_id: tokens that end one. Default: the model's.
            ignore_eos: no token ends a text.
            next_token: a function of logits (B, V) to tokens (B,).
        """
        options = (use_cache, stop, eos_token_id, ignore_eos, next_token)
        run = Run(self, prompt, max_new_tokens, *options, in_pieces=False)
        for _ in run.steps():
            pass
        return run.rows[0] if run.single else run.rows

    def stream(self, prompt, max_new_tokens: int = 32, **options) -> Iterator[str]:
        """The text of ``generate`` (same arguments, one prompt) in pieces as they come. A piece
        never ends within a character, and never holds a part of a stop string."""
        run = Run(self, prompt, max_new_tokens, **options)
        if len(run.rows) != 1:
            raise ValueError(f"prompt: stream takes one prompt, got {len(run.rows)}")
        return (rows[0].pieces[-1] for rows in run.steps() if rows[0].pieces[-1])

    def new_cache(self, batch_size: int, max_seq_len: int) -> KVCache:
        """An empty cache for this model: ``max_seq_len`` positions, padding included."""
        self.check_context(max_seq_len, "max_seq_len")
        return KVCache(
            n_layers=self.spec.n_layers, batch_size=batch_size, n_kv_heads=self.spec.n_kv_heads,
            max_seq_len=max_seq_len, head_dim=self.spec.head_dim, dtype=self.dtype,
            device=self.device, owner=self.hf_model,
        )  # fmt: skip

    def check_context(self, seq_len: int, name: str) -> None:
        """Raise ValueError if a sequence of this length does not fit the model."""
        if check_count(name, seq_len) > (most := self.context_length):
            known = f"more than the {most} of this model's context (or sliding window)"
            raise ValueError(f"{name}: {seq_len} positions, {known}")

    @torch.no_grad()
    def _forward(
        self, input_ids: Tensor, cache: KVCache | None = None, padding=None, last_only=True
    ) -> Tensor:
        """Logits after (B, L) new tokens behind the cache's past, which grows by L."""
        batch_size, seq_len = input_ids.shape
        if cache is None:
            past_len, pattern = 0, Pattern.of(0, seq_len, padding, self.device)
        else:
            past_len, pattern = cache.length, cache.pattern(seq_len)
        if past_len == 0:
            check_places(self.hf_model, self._weights_at)
        with torch.inference_mode():
            hidden = self.model.hidden(input_ids, pattern, cache)  # (B, L, D)
        if cache is not None:
            cache.advance(seq_len)
        self.calls.append(ForwardCall(batch_size, seq_len, past_len, past_len + seq_len))
        # The last embedding alone gives the next token.
        logits = self.model.logits(hidden[:, -1] if last_only else hidden)  # (B, V) or (B, L, V)
        check_possible(logits)
        return logits


class Run:
    """One call of ``Engine.generate``, step by step. Its docstring explains the arguments.

    Attributes:
        rows: a growing Generation for each prompt. single: whether one prompt was given, no list.
    """

    def __init__(
        self, engine: Engine, prompt, max_new_tokens: int, use_cache=True, stop=(),
        eos_token_id=None, ignore_eos=False, next_token=greedy, in_pieces=True,
    ):  # fmt: skip
        self.started = time.perf_counter()
        self.engine, self.use_cache = engine, check_flag("use_cache", use_cache)
        self.next_token = check_type("next_token", next_token, Callable, "a function of logits")
        self.max_new_tokens = check_count("max_new_tokens", max_new_tokens)
        ends = end_tokens(engine.hf_model, eos_token_id, engine.vocab_size)
        self.ends = frozenset() if check_flag("ignore_eos", ignore_eos) else ends
        self.input_ids, self.attention_mask, prompt_lens, self.single = encode_batch(
            prompt, engine.tokenizer, engine.vocab_size, engine.device
        )  # (B, L) both
        engine.check_context(self.input_ids.shape[1] + max_new_tokens, "prompt + max_new_tokens")
        pieces = in_pieces or stop not in ((), None)  # else the text is made at the end
        self.streams = [TextStream(engine.tokenizer, stop) if pieces else None for _ in prompt_lens]
        self.timings, self.calls = Timings(), []  # of all rows together
        self.rows = [Generation(n, timings=self.timings, calls=self.calls) for n in prompt_lens]

    def steps(self) -> Iterator[list[Generation]]:
        """The loop: choose token after token; yields the rows after each, until all have ended."""
        logits, before = self._prefill(), self.started  # (B, V)
        while True:
            tokens = self.next_token(logits)  # (B,)
            token_ids = tokens.tolist()  # waits for a GPU, so that the time below is honest
            now = time.perf_counter()
            self.timings.token_s.append(now - before)
            before = now
            for row, stream, token_id in zip(self.rows, self.streams, token_ids, strict=True):
                if row.finish_reason is None:  # the other rows may need more
                    self._add(row, stream, token_id)
            yield self.rows
            if all(row.finish_reason for row in self.rows):
                return
            logits = self._decode(tokens)
            self.calls.append(self.engine.calls[-1])

    def _add(self, row: Generation, stream: TextStream | None, token_id: int) -> None:
        """Give a row its next token, and note whether it is the last."""
        row.token_ids.append(token_id)
        piece = stream.push(token_id) if stream else ""
        if token_id in self.ends:
            row.finish_reason = "eos"
        elif stream and stream.stopped:
            row.finish_reason = "stop"
        elif len(row.token_ids) == self.max_new_tokens:
            row.finish_reason = "length"
        if stream:
            row.pieces.append(piece + (stream.flush() if row.finish_reason else ""))
        elif row.finish_reason:
            row.pieces.append(decode_text(self.engine.tokenizer, row.token_ids))

    def _prefill(self) -> Tensor:
        if self.use_cache:
            batch_size, prompt_len = self.input_ids.shape
            self.cache = self.engine.new_cache(batch_size, prompt_len + self.max_new_tokens)
            logits = self.engine.prefill(self.input_ids, self.attention_mask, cache=self.cache)
        else:
            logits = self.engine.logits(self.input_ids, self.attention_mask, last_only=True)
        self.calls += self.engine.calls
        return logits

    def _decode(self, tokens: Tensor) -> Tensor:
        if self.use_cache:
            return self.engine.decode(tokens, cache=self.cache)
        # The naive way computes the whole sequence again, longer by one token.
        self.input_ids = torch.cat((self.input_ids, tokens[:, None]), 1)
        if self.attention_mask is not None:
            self.attention_mask = torch.nn.functional.pad(self.attention_mask, (0, 1), value=1)
        return self.engine.logits(self.input_ids, self.attention_mask, last_only=True)
