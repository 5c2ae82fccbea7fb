"""Engine: a loaded model's prefill, decode and generate, with and without a KV cache."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lecture_lib.checks import check_count

from .architecture import max_context, read_forward
from .attention import Pattern
from .generation import ForwardCall, Generation
from .kv_cache import KVCache
from .prompts import as_token_ids, as_token_matrix, count_padding
from .run import Run, greedy

SPARE_POSITIONS = 1024  # room behind the prompt in a cache that prefill makes by itself


class Engine:
    """Generates text with a forward pass of our own over a loaded Transformers model's weights.

    Args:
        loaded: what ``load_model`` returns: ``.model``, ``.tokenizer`` and ``.spec``. Its weights
            are used, not copied; the model itself stays usable.

    Attributes:
        cache: the KVCache that the last ``prefill`` filled.
        calls: a ForwardCall for every pass through the model since the last fresh prefill.
        context_length: the most positions that a sequence may have.

    Raises:
        ValueError: a model that the engine cannot run (UnsupportedArchitectureError) or read.
    """

    def __init__(self, loaded):
        self.spec, self.tokenizer = loaded.spec, loaded.tokenizer
        self.hf_model = loaded.model
        self.model = read_forward(loaded.model, loaded.spec)
        self.context_length = max_context(loaded.model, loaded.spec)
        self.cache: KVCache | None = None
        self.calls: list[ForwardCall] = []

    @torch.no_grad()
    def prefill(
        self, input_ids, attention_mask=None, *, cache: KVCache | None = None, chunk_size=None
    ) -> Tensor:
        """Run the prompt through the model once and keep the keys and values of every layer.

        Args:
            input_ids: (B, L) or (L,) token ids.
            attention_mask: (B, L), 0 for padding on the left; positions count from the first 1.
            cache: where to keep them; a filled one is continued. Default: a new one with room for
                1,024 further tokens.
            chunk_size: tokens to compute at a time. Default: all; less needs less memory.

        Returns:
            Logits of the next token, (B, V).

        Raises:
            ValueError: an empty prompt, a token outside the vocabulary, padding on the right, a
                cache of another model or batch size, one that is too short, too long a prompt.
        """
        input_ids, cache = self._check_prompt(input_ids, attention_mask, cache)
        seq_len = input_ids.shape[1]
        chunk_size = check_count("chunk_size", seq_len if chunk_size is None else chunk_size)
        for chunk in input_ids.split(chunk_size, dim=1):
            hidden = self._forward(chunk, cache)  # (B, chunk_size, D)
        return self.model.logits(hidden[:, -1])  # only the last embedding is asked for its token

    @torch.no_grad()
    def decode(self, token_ids, *, cache: KVCache | None = None) -> Tensor:
        """Run ONE new token a row through the model; the past comes out of the cache.

        Args:
            token_ids: (B,) or (B, 1) token ids; an int where B is 1.
            cache: Default: that of the last ``prefill``.

        Returns:
            Logits of the next token, (B, V).

        Raises:
            ValueError: no prefill before, a full cache, a token outside the vocabulary, another
                number of rows.
        """
        token_ids, cache = self._check_step(token_ids, cache)
        hidden = self._forward(token_ids[:, None], cache)  # (B, 1, D); the cache grows by 1
        return self.model.logits(hidden[:, -1])

    @torch.no_grad()
    def logits(self, input_ids, attention_mask=None, *, last_only: bool = False) -> Tensor:
        """Logits at every position, by a pass that keeps nothing (the naive way).

        Returns:
            (B, L, V); with ``last_only`` those of the next token, (B, V).
        """
        input_ids = as_token_matrix(input_ids, self.vocab_size, self.device)
        padding = count_padding(attention_mask, input_ids)
        self.check_context(input_ids.shape[1], "input_ids")
        self.calls = []
        hidden = self._forward(input_ids, padding=padding)  # (B, L, D)
        return self.model.logits(hidden[:, -1] if last_only else hidden)

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

    def generate(
        self,
        prompt,
        max_new_tokens: int = 32,
        *,
        use_cache: bool = True,
        stop: str | Sequence[str] = (),
        eos_token_id: int | Sequence[int] | None = None,
        ignore_eos: bool = False,
        chunk_size: int | None = None,
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
            chunk_size: of the prefill.
            next_token: a function of logits (B, V) to tokens (B,).

        Returns:
            A Generation; for a batch a list of them in the order of the prompts.

        Raises:
            ValueError: an argument other than described, a sequence longer than the context.
        """
        options = (use_cache, stop, eos_token_id, ignore_eos, chunk_size, next_token)
        run = Run(self, prompt, max_new_tokens, *options)
        for _ in run.steps():
            pass
        generations = [row.result(run.timings, run.calls) for row in run.rows]
        return generations[0] if run.single else generations

    def stream(self, prompt, max_new_tokens: int = 32, **options) -> Iterator[str]:
        """The text of ``generate`` (same arguments, one prompt), in pieces as they come.

        A piece never ends within a character, and never holds a part of a stop string.
        """
        run = Run(self, prompt, max_new_tokens, **options)
        if len(run.rows) != 1:
            raise ValueError(f"prompt: stream takes one prompt, got {len(run.rows)}")
        return (rows[0].pieces[-1] for rows in run.steps() if rows[0].pieces[-1])

    @property
    def vocab_size(self) -> int:
        return len(self.model.embeddings)

    @property
    def device(self) -> torch.device:
        return self.model.embeddings.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.embeddings.dtype

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
            past_len, kv_len = 0, seq_len
            hidden = self.model.hidden(
                input_ids, Pattern.of(0, seq_len, padding, self.device), None
            )
        else:
            past_len = cache.length
            hidden = self.model.hidden(input_ids, cache.pattern(seq_len), cache)
            cache.advance(seq_len)
            kv_len = cache.length
        self.calls.append(ForwardCall(batch_size, seq_len, past_len, kv_len))
        return hidden

    def _check_prompt(self, input_ids, attention_mask, cache: KVCache | None):
        input_ids = as_token_matrix(input_ids, self.vocab_size, self.device)
        padding = count_padding(attention_mask, input_ids)
        batch_size, seq_len = input_ids.shape
        if cache is None:
            self.check_context(seq_len, "input_ids")
            room = min(seq_len + SPARE_POSITIONS, self.context_length)
            cache = self.new_cache(batch_size, room)
        self._check_cache(cache, batch_size)
        cache.check_room(seq_len)
        if cache.length == 0:
            self.calls, cache.padding = [], padding
        elif padding is not None:
            raise ValueError("attention_mask: padding stands before a prompt, not behind a past")
        self.cache = cache
        return input_ids, cache

    def _check_step(self, token_ids, cache: KVCache | None):
        cache = self.cache if cache is None else cache
        if cache is None or (isinstance(cache, KVCache) and cache.length == 0):
            raise ValueError("cache: nothing is in it yet; call prefill first")
        token_ids = as_token_ids("token_ids", token_ids, self.vocab_size, self.device)
        if token_ids.dim() > 2 or (token_ids.dim() == 2 and token_ids.shape[1] != 1):
            raise ValueError(f"token_ids: needs shape (B,) or (B, 1), got {tuple(token_ids.shape)}")
        token_ids = token_ids.reshape(-1)  # (B,)
        self._check_cache(cache, len(token_ids))
        cache.check_room(1)
        return token_ids, cache

    def _check_cache(self, cache: KVCache, batch_size: int) -> None:
        if not isinstance(cache, KVCache):
            raise ValueError(f"cache: needs a KVCache, got {type(cache).__name__}")
        if cache.owner is not self.hf_model:
            raise ValueError("cache: made for another model; make it with this engine's new_cache")
        if cache.batch_size != batch_size:
            raise ValueError(f"cache: has {cache.batch_size} rows, the input {batch_size}")
