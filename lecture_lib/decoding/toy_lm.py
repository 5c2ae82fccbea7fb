"""ToyLM: a language model small enough to write down, one conditional distribution per prefix.

Greedy search runs on it, and on any other function from texts to log p of their next tokens.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import product

import torch

from lecture_lib.checks import check_count, check_text, check_type, checked
from lecture_lib.tokens import as_tensor, end_tokens

MOST_TOKENS = 1_000  # of a toy's text: each step looks at all of it again
Prefix = tuple[str, ...]
# What searches ask: n lists of token ids to log p of their next tokens, (n, V). A ToyLM is one.
NextLogProbs = Callable[[Sequence[Sequence[int]]], torch.Tensor]


class ToyLM:
    """A hand-written conditional distribution p(next token | tokens so far).

    Args:
        table: maps a prefix to its next-token distribution ``{token: probability}``. A prefix is
            a tuple of tokens, or a string of tokens separated by spaces; ``()`` or ``""`` is the
            start. A token that a distribution does not name has probability 0.
        vocab: the tokens, in the order of their ids. Default: in order of first appearance.
        default: the distribution after every prefix that the table does not list. Without it,
            such a prefix is a ``KeyError`` when it is asked for.

    Raises:
        ValueError: a distribution that is negative, does not sum to 1 or names an unknown token.
    """

    def __init__(
        self,
        table: Mapping[Prefix | str, Mapping[str, float]],
        *,
        vocab: Sequence[str] | None = None,
        default: Mapping[str, float] | None = None,
    ):
        check_type("vocab", vocab, Sequence | None, "a list of tokens")
        needs = "a distribution {token: probability} for each prefix"
        for dist in [*check_type("table", table, Mapping, needs).values(), default or {}]:
            check_type("default" if dist is default else "table", dist, Mapping, needs)
        self.table = {_as_prefix(prefix): dict(dist) for prefix, dist in table.items()}
        if len(self.table) < len(table):
            raise ValueError(f"table: has a prefix twice, as in 'a' and ('a',), in {list(table)}")
        self.default = None if default is None else dict(default)
        rows = [*self.table.values(), self.default or {}]
        self.vocab = list(dict.fromkeys(t for row in rows for t in row) if vocab is None else vocab)
        self._ids = {token: i for i, token in enumerate(self.vocab)}
        if not self.vocab or len(self._ids) != len(self.vocab):
            raise ValueError(f"vocab: needs at least one token and no repeats, got {self.vocab}")
        for prefix, dist in self.table.items():
            self._check_tokens(prefix)
            self._check_distribution(dist, f"table[{' '.join(prefix)!r}]")
        if self.default is not None:
            self._check_distribution(self.default, "default")

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def encode(self, tokens: str | Iterable[str]) -> list[int]:
        """Ids of tokens given as a list, or as one string separated by spaces."""
        tokens = _as_prefix(tokens)
        self._check_tokens(tokens)
        return [self._ids[token] for token in tokens]

    def decode(self, token_ids: Iterable[int]) -> list[str]:
        """Tokens of ids."""
        most = self.vocab_size - 1
        if isinstance(token_ids, torch.Tensor):
            token_ids = as_tensor("token_ids", token_ids, "token ids").tolist()
        check_type("token_ids", token_ids, Iterable, "token ids")
        return [self.vocab[check_count("token_ids", i, least=0, most=most)] for i in token_ids]

    def next_distribution(self, prefix: str | Iterable[str] = ()) -> dict[str, float]:
        """p(next | prefix) for every token of the vocabulary, zeros included."""
        prefix = _as_prefix(prefix)
        self._check_tokens(prefix)
        dist = self.table.get(prefix, self.default)
        if dist is None:
            raise KeyError(f"this ToyLM has no distribution after {' '.join(prefix)!r}")
        return {token: float(dist.get(token, 0.0)) for token in self.vocab}

    def next_log_probs(self, prefixes: Sequence[Sequence[int]]) -> torch.Tensor:
        """log p(next | prefix) for n prefixes, each a list of token ids: a float64 tensor (n, V),
        -inf where the probability is 0."""
        check_type("prefixes", prefixes, Iterable, "lists of token ids")
        rows = [list(self.next_distribution(self.decode(prefix)).values()) for prefix in prefixes]
        probs = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), self.vocab_size)
        return probs.log()  # (n, V)

    __call__ = next_log_probs

    def probability(self, tokens: str | Iterable[str]) -> float:
        """p(tokens) by the chain rule: the product of p(x_i | x_<i)."""
        tokens = _as_prefix(tokens)
        self._check_tokens(tokens)
        factors = (self.next_distribution(tokens[:i])[token] for i, token in enumerate(tokens))
        return math.prod(factors, start=1.0)

    def all_sequences(self, length: int) -> dict[Prefix, float]:
        """p of every sequence of this length, by enumeration: V**length entries."""
        length = check_count("length", length, least=0)
        if length > 20 or self.vocab_size**length > 10**6:
            raise ValueError(f"length: {self.vocab_size}**{length} sequences are too many to list")
        return {seq: self.probability(seq) for seq in product(self.vocab, repeat=length)}

    def _check_tokens(self, tokens: Iterable[str]) -> None:
        if unknown := [t for t in tokens if not isinstance(t, Hashable) or t not in self._ids]:
            raise ValueError(f"tokens: {unknown[0]!r} is not in the vocabulary {self.vocab}")

    def _check_distribution(self, dist: Mapping[str, float], where: str) -> None:
        self._check_tokens(dist)
        if any(not p >= 0 for p in dist.values()):
            raise ValueError(f"{where}: probabilities must be 0 or more, got {dict(dist)}")
        total = sum(dist.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"{where}: probabilities must sum to 1, got {total}")


def ask(next_log_probs: NextLogProbs, prefixes: Sequence[Sequence[int]], vocab_size: int | None):
    """log p of the next tokens, (n, V), with the V of the steps before (None: it is the first)."""
    log_probs = as_tensor("next_log_probs", next_log_probs(prefixes), "to return numbers").detach()
    n, got = len(prefixes), tuple(log_probs.shape)
    if got[:-1] != (n,) or (vocab_size or got[-1]) != got[-1]:
        wanted = f"({n}, {vocab_size or 'V'})"
        raise ValueError(f"next_log_probs: must return numbers of shape {wanted}, got {got}")
    return log_probs


@checked
def greedy_search(
    next_log_probs: NextLogProbs,
    *,
    max_new_tokens: int,
    eos_token_id: int | Iterable[int] | None = None,
) -> list[int]:
    """Choose argmax p(next | tokens so far) until ``max_new_tokens`` or an end-of-sequence token.

    Args:
        next_log_probs: takes a list of token-id lists, each the tokens after the prompt, and
            returns their next-token log-probabilities, shape (n, V). A ``ToyLM`` is one.
        max_new_tokens: how many tokens at most, 1 to 1,000.
        eos_token_id: one id, or several, that end the text. The end token is kept.

    Returns:
        The new token ids. Of equally likely tokens the one with the lowest id is taken.
    """
    check_count("max_new_tokens", max_new_tokens, most=MOST_TOKENS)
    ends = end_tokens(None, eos_token_id)
    token_ids: list[int] = []
    vocab_size = None
    while len(token_ids) < max_new_tokens:
        (log_probs,) = ask(next_log_probs, [token_ids], vocab_size)  # (V,)
        vocab_size, best = len(log_probs), log_probs.max()
        if not torch.isfinite(best):
            raise ValueError(f"next_log_probs: no possible token after {token_ids} (best {best})")
        token_ids.append(int(log_probs.argmax()))
        if token_ids[-1] in ends:
            break
    return token_ids


def _as_prefix(tokens: str | Iterable[str]) -> Prefix:
    if isinstance(tokens, str):
        return tuple(check_text("tokens", tokens, "").split())
    return tuple(check_type("tokens", tokens, Iterable, "tokens, or a text of them"))
