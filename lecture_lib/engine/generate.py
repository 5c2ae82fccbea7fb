"""Engine: a loaded model's prefill, decode and generate, with and without a KV cache."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from lecture_lib.checks import check_count
from lecture_lib.tokens import (
    Prompt,
    check_token_ids,
    check_token_matrix,
    count_padding,
    decode_text,
    encode_prompts,
    end_tokens,
    pad_left,
)

from .architecture import max_context, read_model
from .generation import ForwardCall, Generation, Timings
from .kv_cache import KVCache, Pattern
from .streaming import TextStream

SPARE_POSITIONS = 1024  # room behind the prompt in a cache that prefill makes for itself


def greedy(logits: Tensor) -> Tensor:
    """(B, V) to (B,): the most likely token of each row."""
    return logits.max(-1).indices  # argmax takes several times as long on a CPU


class Engine:
    """Generates text with a forward pass of our own over a loaded Transformers model's weights.

    Args:
        loaded: what ``load_model`` returns: ``.model``, ``.tokenizer`` and ``.spec``. Its weights
            are used, not copied; the model itself stays usable.
        textbook: compute every formula as ``model.py`` writes it, without the faster kernels.

    Attributes:
        cache: the KVCache that the last ``prefill`` filled.
        calls: a ForwardCall for every pass through the model since the last fresh prefill.
        context_length: the most positions that a sequence may have.

    Raises:
        ValueError: a model that the engine cannot run (UnsupportedArchitectureError) or read.
    """

    def __init__(self, loaded, *, textbook: bool = False):
        self.spec, self.tokenizer = loaded.spec, loaded.tokenizer
        self.hf_model = loaded.model
        self.model = read_model(loaded.model, loaded.spec, textbook)
        self.context_length = max_context(loaded.model, loaded.spec)
        embeddings = self.model.embeddings  # (V, D)
        self.vocab_size = len(embeddings)
        self.device, self.dtype = embeddings.device, embeddings.dtype
        self.cache: KVCache | None = None
        self.calls: list[ForwardCall] = []

    @torch.no_grad()
    def prefill(self, input_ids, attention_mask=None, *, cache: KVCache | None = None) -> Tensor:
        """Run the prompt through the model once and keep the keys and values of every layer.

        Args:
            input_ids: (B, L) or (L,) token ids.
            attention_mask: (B, L), 0 for padding on the left; positions count from the first 1.
            cache: where to keep them; a filled one is continued, so a long prompt can be given in
                chunks. Default: a new one with room for 1,024 further tokens.

        Returns:
            Logits of the next token, (B, V).

        Raises:
            ValueError: an empty prompt, a token outside the vocabulary, padding on the right, a
                cache of another model or batch size, one that is too short, too long a prompt.
        """
        input_ids = check_token_matrix(input_ids, self.vocab_size, self.device)
        padding = count_padding(attention_mask, input_ids)
        batch_size, seq_len = input_ids.shape
        if cache is None:
            self.check_context(seq_len, "input_ids")
            cache = self.new_cache(batch_size, min(seq_len + SPARE_POSITIONS, self.context_length))
        self._check_cache(cache, batch_size, seq_len)
        if cache.length == 0:
            self.calls, cache.padding = [], padding
        elif padding is not None:
            raise ValueError(
                "attention_mask: padding is only possible in front of a prompt, not behind a past"
            )
        self.cache = cache
        hidden = self._forward(input_ids, cache)  # (B, L, D)
        return self.model.logits(hidden[:, -1])  # only the last embedding is asked for its token

    @torch.no_grad()
    def decode(self, token_ids, *, cache: KVCache | None = None) -> Tensor:
        """Run ONE new token per row through the model; the past comes out of the cache.

        Args:
            token_ids: (B,) or (B, 1) token ids; an int where B is 1.
            cache: Default: that of the last ``prefill``.

        Returns:
            Logits of the next token, (B, V).

        Raises:
            ValueError: no prefill before, a full cache, a token outside the vocabulary, another
                number of rows.
        """
        cache = self.cache if cache is None else cache
        if cache is None or (isinstance(cache, KVCache) and cache.length == 0):
            raise ValueError("cache: nothing is in it yet; call prefill first")
        token_ids = check_token_ids("token_ids", token_ids, self.vocab_size, self.device)
        if token_ids.dim() > 2 or (token_ids.dim() == 2 and token_ids.shape[1] != 1):
            raise ValueError(f"token_ids: needs shape (B,) or (B, 1), got {tuple(token_ids.shape)}")
        token_ids = token_ids.reshape(-1, 1)  # (B, 1)
        self._check_cache(cache, len(token_ids), 1)
        hidden = self._forward(token_ids, cache)  # (B, 1, D); the cache grows by 1
        return self.model.logits(hidden[:, -1])

    @torch.no_grad()
    def logits(self, input_ids, attention_mask=None, *, last_only: bool = False) -> Tensor:
        """Logits at every position, by a pass that keeps nothing (the naive way).

        Returns:
            (B, L, V); with ``last_only`` those of the next token, (B, V).
        """
        input_ids = check_token_matrix(input_ids, self.vocab_size, self.device)
        padding = count_padding(attention_mask, input_ids)
        self.check_context(input_ids.shape[1], "input_ids")
        self.calls = []
        hidden = self._forward(input_ids, padding=padding)  # (B, L, D)
        return self.model.logits(hidden[:, -1] if last_only else hidden)

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
        """Continue a prompt, or several together.

        Args:
            prompt: text or token ids; a list of either is a batch, padded on the left.
            max_new_tokens: how many tokens at most.
            use_cache: prefill once, then decode. False: the whole sequence again for every token.
            stop: strings that end the text.
            eos_token_id: tokens that end a row. Default: the model's own.
            ignore_eos: go on after EOS, up to max_new_tokens.
            next_token: a function of logits (B, V) to tokens (B,).

        Returns:
            A Generation; for a batch a list of them in the order of the prompts.

        Raises:
            ValueError: an argument other than described, a sequence longer than the context.
        """
        options = (use_cache, stop, eos_token_id, ignore_eos, next_token)
        run = Run(self, prompt, max_new_tokens, *options, in_pieces=stop not in ((), None))
        for _ in run.steps():
            pass
        generations = [run.result(row) for row in run.rows]
        return generations[0] if run.single else generations

    def stream(self, prompt, max_new_tokens: int = 32, **options) -> Iterator[str]:
        """The text of ``generate`` (same arguments, one prompt), in pieces as they come.

        A piece never ends within a character, and never holds a part of a stop string.
        """
        run = Run(self, prompt, max_new_tokens, **options)
        if len(run.rows) != 1:
            raise ValueError(f"prompt: stream takes one prompt, got {len(run.rows)}")
        return (rows[0].pieces[-1] for rows in run.steps() if rows[0].pieces[-1])

    def new_cache(self, batch_size: int, max_seq_len: int) -> KVCache:
        """An empty cache for this model: ``max_seq_len`` positions, padding included."""
        self.check_context(max_seq_len, "max_seq_len")
        return KVCache(
            n_layers=self.spec.n_layers,
            batch_size=batch_size,
            n_kv_heads=self.spec.n_kv_heads,
            max_seq_len=max_seq_len,
            head_dim=self.spec.head_dim,
            dtype=self.dtype,
            device=self.device,
            owner=self.hf_model,
        )

    def check_context(self, seq_len: int, name: str) -> None:
        """Raise ValueError if a sequence of this length does not fit the model."""
        if seq_len > self.context_length:
            raise ValueError(
                f"{name}: {seq_len} positions, more than the {self.context_length} of this "
                "model's context (or sliding window)"
            )

    @torch.inference_mode()
    def _forward(
        self, input_ids: Tensor, cache: KVCache | None = None, padding: Tensor | None = None
    ) -> Tensor:
        """(B, L) new tokens to (B, L, D), behind the cache's past, which grows by L."""
        batch_size, seq_len = input_ids.shape
        if cache is None:
            past_len = 0
            pattern = Pattern.of(0, seq_len, padding, self.device)
        else:
            past_len = cache.length
            pattern = cache.pattern(seq_len)
        hidden = self.model.hidden(input_ids, pattern, cache)
        if cache is not None:
            cache.advance(seq_len)
        self.calls.append(ForwardCall(batch_size, seq_len, past_len, past_len + seq_len))
        return hidden

    def _check_cache(self, cache: KVCache, batch_size: int, seq_len: int) -> None:
        if not isinstance(cache, KVCache):
            raise ValueError(f"cache: needs a KVCache, got {type(cache).__name__}")
        if cache.owner is not self.hf_model:
            raise ValueError("cache: made for another model; make it with this engine's new_cache")
        if cache.batch_size != batch_size:
            raise ValueError(f"cache: has {cache.batch_size} rows, the input {batch_size}")
        cache.check_room(seq_len)


@dataclass
class Request:
    """One prompt of a batch, and its continuation so far.

    Attributes:
        prompt_len: tokens of the prompt. token_ids: the new ones.
        text_stream: where the text is wanted while the tokens come. pieces: what it gave.
        finish_reason: as in Generation; None while the request goes on.
    """

    prompt_len: int
    text_stream: TextStream | None
    token_ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, token_id: int, ends: frozenset[int], max_new_tokens: int) -> None:
        """Take the next token, and note whether it is the last."""
        self.token_ids.append(token_id)
        stream = self.text_stream
        piece = stream.push(token_id) if stream else ""
        if token_id in ends:
            self.finish_reason = "eos"
        elif stream and stream.stopped:
            self.finish_reason = "stop"
        elif len(self.token_ids) == max_new_tokens:
            self.finish_reason = "length"
        if stream:
            self.pieces.append(piece + (stream.flush() if self.finish_reason else ""))


@dataclass
class Run:
    """One call of ``Engine.generate``, whose docstring explains the arguments, step by step.

    Attributes:
        in_pieces: whether the text is made while the tokens come, or at the end.
        rows: a Request for each prompt. single: whether one prompt was given, and not a list.
    """

    engine: Engine
    prompt: Prompt | Sequence[Prompt]
    max_new_tokens: int
    use_cache: bool = True
    stop: str | Sequence[str] = ()
    eos_token_id: int | Sequence[int] | None = None
    ignore_eos: bool = False
    next_token: Callable[[Tensor], Tensor] = greedy
    in_pieces: bool = True

    def __post_init__(self):
        self.times = [time.perf_counter()]  # of the call, then of every choice of tokens
        self.calls: list[ForwardCall] = []
        engine, n_new = self.engine, check_count("max_new_tokens", self.max_new_tokens)
        ends = end_tokens(engine.hf_model, self.eos_token_id)
        if self.eos_token_id is not None:
            check_token_ids("eos_token_id", sorted(ends), engine.vocab_size)
        self.ends = frozenset() if self.ignore_eos else ends
        prompts, self.single = encode_prompts(self.prompt, engine.tokenizer)
        input_ids, self.attention_mask = pad_left(prompts)
        self.input_ids = check_token_ids("prompt", input_ids, engine.vocab_size, engine.device)
        engine.check_context(self.input_ids.shape[1] + n_new, "prompt + max_new_tokens")
        self.rows = [
            Request(len(ids), TextStream(engine.tokenizer, self.stop) if self.in_pieces else None)
            for ids in prompts
        ]

    def steps(self) -> Iterator[list[Request]]:
        """Choose token after token; yields the rows after each, until all have ended."""
        logits = self._prefill()  # (B, V)
        while True:
            tokens = self.next_token(logits)  # (B,)
            token_list = tokens.tolist()  # waits for a GPU, so that the time below is honest
            self.times.append(time.perf_counter())
            for row, token_id in zip(self.rows, token_list, strict=True):
                if row.finish_reason is None:  # the batch may go on without it
                    row.add(token_id, self.ends, self.max_new_tokens)
            yield self.rows
            if all(row.finish_reason for row in self.rows):
                return
            logits = self._decode(tokens)
            self.calls.append(self.engine.calls[-1])

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
        # The naive way: the whole sequence again, longer by one token.
        self.input_ids = torch.cat((self.input_ids, tokens[:, None]), 1)
        if self.attention_mask is not None:
            self.attention_mask = [[*row, 1] for row in self.attention_mask]
        return self.engine.logits(self.input_ids, self.attention_mask, last_only=True)

    @property
    def timings(self) -> Timings:
        """The times so far."""
        ttft_s, *step_s = [after - before for before, after in pairwise(self.times)] or [0.0]
        return Timings(ttft_s, step_s)

    def result(self, row: Request) -> Generation:
        """The Generation of one row."""
        text = "".join(row.pieces)
        if row.text_stream is None:
            text = decode_text(self.engine.tokenizer, row.token_ids)
        return Generation(
            row.token_ids, text, row.finish_reason, row.prompt_len, self.timings, tuple(self.calls)
        )
