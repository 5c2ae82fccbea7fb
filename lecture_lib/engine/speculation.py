"""Speculative decoding: cheap drafts, and one pass of the model that verifies several tokens.

Lecture 13 writes the first five functions and ``ModelDrafter.logits``. A drafter is called with the
text so far, the number of tokens that it may draft, and the ``next_token`` of the run; it returns
its draft, and the distributions that it drew it from, or None.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_lib.checks import check_count, check_parts
from lecture_lib.tokens import check_possible

from .generation import ForwardCall, Pass
from .kv_cache import KVCache


def lookup(token_ids, k, longest=2):
    """Prompt lookup: the k tokens that followed the first occurrence of the text's end.

    The end is its last ``longest`` tokens; where these never occurred before, fewer. Returns a
    list of at most k tokens, [] where not even the last token occurred before.
    """
    for n in range(min(longest, len(token_ids) - 1), 0, -1):
        for start in range(len(token_ids) - n):
            if token_ids[start : start + n] == token_ids[-n:]:
                return token_ids[start + n : start + n + k]
    return []


def forward_all(model, input_ids: Tensor, cache: KVCache) -> Tensor:
    """``kv_cache.forward`` for one text, (1, L), with the logits after each token, (L, V)."""
    seq_len = input_ids.shape[1]
    with torch.inference_mode():
        hidden = model.hidden(input_ids, cache.pattern(seq_len), cache)  # (1, L, D)
    cache.advance(seq_len)
    return model.logits(hidden[0])


def accept(draft: list[int], choices: list[int]) -> list[int]:
    """The longest part of the draft that the model chose too, and the model's next token.

    ``choices`` are the model's own: the first after the text, the others after each drafted token.
    """
    n = 0
    while n < len(draft) and draft[n] == choices[n]:
        n += 1
    return [*draft[:n], choices[n]]


def accept_or_redraw(draft: list[int], q: Tensor, p: Tensor, generator=None) -> list[int]:
    """The rule for sampling (arXiv 2211.17192, 2302.01318): the tokens are distributed as p.

    A token x, drawn from q, is accepted with probability min(1, p(x) / q(x)). In place of the
    first rejected token one is drawn from the residual max(p - q, 0), and the rest is dropped.

    Args:
        draft: k tokens. q: (k, V) the probabilities that they were drawn from.
        p: (k + 1, V) the model's probabilities, after the text and after each drafted token.
    """
    for i, token in enumerate(draft):
        if torch.rand((), generator=generator, device=p.device) * q[i, token] >= p[i, token]:
            residual = (p[i] - q[i]).clamp_min(0)  # (V,)
            return [*draft[:i], int(torch.multinomial(residual, 1, generator=generator))]
    return [*draft, int(torch.multinomial(p[-1], 1, generator=generator))]


def choose(next_token, token_ids: list[int], draft: list[int], q, logits: Tensor) -> list[int]:
    """What one pass adds to the text: the accepted tokens and one more.

    A ``next_token`` with a ``distribution`` (a Sampler) draws; any other function of logits chooses
    for each row.
    """
    if not hasattr(next_token, "distribution"):
        return accept(draft, next_token(logits).tolist())
    texts = [[*token_ids, *draft[:i]] for i in range(len(draft) + 1)]  # what each row continues
    p = next_token.distribution(logits, texts)  # (k + 1, V)
    if q is None and draft:  # all of q is on the drafted token
        q = F.one_hot(torch.tensor(draft, device=p.device), p.shape[-1])
    return accept_or_redraw(draft, q, p, next_token.generator_on(p.device))


def speculative_tokens(
    engine, input_ids: Tensor, cache: KVCache, drafter, next_token, passes: list, choose=choose
) -> Iterator[list[int]]:
    """``cached_tokens`` for one text, several tokens at a time: a prefill, then passes that verify
    a draft each. The cache forgets what a pass rejects; ``passes`` gets a Pass for each."""
    logits = engine.prefill(input_ids[:, cache.length :], cache=cache)  # (1, V)
    token_ids = input_ids[0].tolist()
    new = choose(next_token, token_ids, [], None, logits)
    while True:
        yield new
        token_ids += new
        room = cache.max_seq_len - cache.length - 1
        draft, q = drafter(token_ids, min(drafter.k, room), next_token)
        logits = verify(engine, [token_ids[-1], *draft], cache)  # (k + 1, V)
        new = choose(next_token, token_ids, draft, q, logits)
        cache.length -= len(draft) + 1 - len(new)  # the keys of rejected tokens are forgotten
        passes.append(Pass(draft, len(new) - 1))


@torch.no_grad()
def verify(engine, token_ids: list[int], cache: KVCache) -> Tensor:
    """One pass over several tokens behind the cache: the logits after each of them, (L, V)."""
    past_len = cache.length
    cache.check_room(len(token_ids))
    logits = forward_all(engine.model, torch.tensor([token_ids], device=engine.device), cache)
    engine.calls.append(ForwardCall(1, len(token_ids), past_len, cache.length))
    check_possible(logits)
    return logits


class Lookup:
    """A drafter that finds its draft in the text so far, by ``lookup``; it costs no pass at all.

    Args:
        k: tokens of a draft. longest: how many of the text's last tokens are searched for.
    """

    def __init__(self, k: int = 10, longest: int = 2):
        self.k, self.longest = check_count("k", k), check_count("longest", longest)

    def __call__(self, token_ids: list[int], k: int, next_token: Callable):
        return lookup(token_ids, k, self.longest), None


class ModelDrafter:
    """A drafter that lets a smaller model write the draft, with a cache that follows the text.

    Args:
        engine: the smaller model's Engine, of the same vocabulary. k: tokens of a draft.
    """

    def __init__(self, engine, k: int = 4):
        self.engine, self.k = check_parts("engine", engine), check_count("k", k)
        self.cache, self.token_ids = None, []  # the text that is in the cache

    def __call__(self, token_ids: list[int], k: int, next_token: Callable):
        draft, q = [], []
        for _ in range(k):
            text = [*token_ids, *draft]
            logits = self.logits(text)  # (1, V)
            if hasattr(next_token, "distribution"):
                q.append(next_token.distribution(logits, [text]))
                generator = next_token.generator_on(logits.device)
                draft.append(int(torch.multinomial(q[-1], 1, generator=generator)))
            else:
                draft.append(int(logits.argmax(-1)))
        return draft, torch.cat(q) if q else None

    def logits(self, token_ids: list[int]) -> Tensor:
        """The small model's logits after a text, (1, V); only what is new in it is computed."""
        pairs = zip(self.token_ids, token_ids[:-1], strict=False)
        n = next((i for i, (old, new) in enumerate(pairs) if old != new), None)
        if n is None:
            n = min(len(self.token_ids), len(token_ids) - 1)
        if self.cache is None or len(token_ids) > self.cache.max_seq_len:
            room = min(len(token_ids) + 1024, self.engine.context_length)
            self.cache, n = self.engine.new_cache(1, room), 0
        self.cache.length, self.token_ids = n, token_ids
        return self.engine.prefill([token_ids[n:]], cache=self.cache)


def first_layers(engine, n_layers: int):
    """An Engine of the model's first layers alone, with its embeddings, final norm and LM head."""
    check_count("n_layers", n_layers, most=check_parts("engine", engine).spec.n_layers)
    part = copy(engine)
    part.model, part.calls, part.cache = copy(engine.model), [], None
    part.model.layers = engine.model.layers[:n_layers]
    part.spec = replace(engine.spec, n_layers=n_layers)
    return part


def check_drafter(drafter, engine, batch_size: int, use_cache: bool):
    """The drafter, or None, if it fits the run; else a ValueError."""
    if drafter is None:
        return None
    if not callable(drafter) or not hasattr(drafter, "k"):
        needs = "a drafter such as Lookup() or ModelDrafter(engine)"
        raise ValueError(f"speculate: needs {needs}, got {type(drafter).__name__}")
    if batch_size > 1:
        raise ValueError(
            f"speculate: takes one prompt, got {batch_size}: each accepts another number of tokens "
            "in a pass, and the rows of a cache have one length"
        )
    if not use_cache:
        raise ValueError("speculate: needs use_cache=True; a pass verifies behind what is cached")
    if getattr(drafter, "engine", engine).vocab_size != engine.vocab_size:
        sizes = f"{drafter.engine.vocab_size} tokens, and the model {engine.vocab_size}"
        raise ValueError(f"speculate: the drafter's vocabulary has {sizes}; they must be the same")
    return drafter
