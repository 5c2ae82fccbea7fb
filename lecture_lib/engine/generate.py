"""Engine: a loaded model's prefill, decode and generate, with and without a KV cache."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lecture_lib.checks import check_count, check_flag, check_parts
from lecture_lib.tokens import check_batch, check_column, check_possible, decode_text

from .architecture import read_model
from .generation import ForwardCall, Generation
from .kv_cache import KVCache, Pattern, check_cache, forward
from .run import Run, greedy


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
        spec = getattr(loaded, "spec", None)  # read_model refuses a model without one
        self.model = read_model(loaded.model, spec, check_flag("textbook", textbook))
        self.spec = spec.with_tensors_of(loaded.model)
        self.context_length = self.spec.context_length or 2**31 - 1
        table = self.model.embeddings  # (V, D)
        self.vocab_size, self.device, self.dtype = len(table), table.device, table.dtype
        self.cache: KVCache | None = None
        self.calls: list[ForwardCall] = []

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
            self.calls = []
        elif padding is not None:
            raise ValueError("attention_mask: padding is only possible in front of a prompt")
        cache.padding = cache.padding if padding is None else padding
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

    @torch.no_grad()
    def logits(self, input_ids, attention_mask=None, *, last_only: bool = False) -> Tensor:
        """Logits at every position, (B, L, V), by a pass that keeps nothing (the naive way);
        with ``last_only`` those of the next token, (B, V). Arguments as ``prefill``."""
        input_ids, padding = check_batch(input_ids, attention_mask, self.vocab_size, self.device)
        self.check_context(input_ids.shape[1], "input_ids")
        check_flag("last_only", last_only)
        self.calls = []
        pattern = Pattern.of(0, input_ids.shape[1], padding, self.device)
        with torch.inference_mode():
            hidden = self.model.hidden(input_ids, pattern, None)  # (B, L, D)
        logits = self.model.logits(hidden[:, -1] if last_only else hidden)
        return self._checked(logits, input_ids, past_len=0)

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
        speculate: Callable | None = None,
    ) -> Generation | list[Generation]:
        """Continue a prompt, or several together: a Generation, or a list of them in their order.

        Args:
            prompt: text or token ids; a list of either is a batch, padded on the left.
            max_new_tokens: how many tokens at most.
            use_cache: prefill once, then decode. False: compute all again for every token.
            stop: strings that end a text. eos_token_id: tokens that end one. Default: the model's.
            ignore_eos: no token ends a text.
            next_token: a function of logits (B, V) to tokens (B,).
            speculate: a drafter (``Lookup``, ``ModelDrafter``): the same tokens of one prompt in
                fewer passes; with a Sampler, other tokens of the same distribution.
        """
        options = (use_cache, stop, eos_token_id, ignore_eos, next_token, speculate)
        run = Run(self, prompt, max_new_tokens, *options, in_pieces=False)
        for _ in run.steps():
            pass
        for row in run.rows:  # nobody needed the text before the end, unless to find a stop string
            row.pieces = row.pieces or [decode_text(self.tokenizer, row.token_ids)]
        return run.rows[0] if run.single else run.rows

    def stream(self, prompt, max_new_tokens: int = 32, **options) -> Iterator[str]:
        """The text of ``generate`` (same arguments, one prompt) in pieces as they come. A piece
        never ends within a character, and never contains a part of a stop string."""
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
    def _forward(self, input_ids: Tensor, cache: KVCache) -> Tensor:
        past_len = cache.length
        return self._checked(forward(self.model, input_ids, cache), input_ids, past_len)

    def _checked(self, logits: Tensor, input_ids: Tensor, past_len: int) -> Tensor:
        """The logits of a pass if they can be right; keeps a record of what it saw."""
        batch_size, seq_len = input_ids.shape
        self.calls.append(ForwardCall(batch_size, seq_len, past_len, past_len + seq_len))
        if past_len == 0:
            self.model.check_places()
        check_possible(logits)
        return logits
