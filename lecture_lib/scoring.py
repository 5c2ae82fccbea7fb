"""What the model says of a text: log-probabilities token by token, and of the next token."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jinja2 import TemplateError

from .checks import check_count, check_flag, check_parts, check_text, shown
from .tokens import as_tensor, check_token_ids, decode_text, log_probs_of, special_tokens

# The separator that SmolLM2 saw between documents while it was trained. Put in front, it plays the
# part of "the start of a text", so that the first token has a probability too.
DOCUMENT_START = "<|endoftext|>"


@dataclass(frozen=True)
class TextScore:
    """log p of each token of a text, given the tokens to its left, in nats.

    The first of ``log_probs`` is ``nan`` where nothing stood in front of the text (``start=None``):
    then its first token was given, not predicted, and does not count.
    """

    text: str
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    log_probs: tuple[float, ...]

    @property
    def n_scored(self) -> int:
        """Tokens that were predicted."""
        return sum(not math.isnan(x) for x in self.log_probs)

    @property
    def total(self) -> float:
        """log p(text): the sum of the tokens' log-probabilities (chain rule), in nats."""
        return math.fsum(x for x in self.log_probs if not math.isnan(x))

    @property
    def perplexity(self) -> float:
        """exp(-total / n_scored): the model is as unsure as if it chose among this many tokens."""
        if self.n_scored == 0:
            raise ValueError("text: no token was predicted, so there is no perplexity (one token?)")
        return math.exp(-self.total / self.n_scored)


def sample_text() -> str:
    """A story of about 280 tokens, written for this course: no model has seen it in training."""
    return Path(__file__).with_name("sample_text.txt").read_text(encoding="utf-8")


def score_text(loaded, text: str, *, start: str | None = None) -> TextScore:
    """Score a text in one forward pass: row i of the logits predicts token i + 1.

    Args:
        loaded: what ``load_model()`` returned.
        text: the text, at least one token of it.
        start: a special token to put in front (``DOCUMENT_START``), or None to score the text
            given its first token.

    Raises:
        ValueError: an empty text, one longer than the model's context, an unknown start token.
    """
    token_ids = text_to_ids(loaded, text)
    prefix = [] if start is None else [_special_id(loaded, start)]
    logits = next_token_logits(loaded, prefix + token_ids, all_positions=True)  # (L, V)
    # The last row predicts beyond the text, the first token is predicted by none: L-1 floats.
    picked = log_probs_of(logits[:-1], (prefix + token_ids)[1:]).tolist()
    if start is None:
        picked = [math.nan, *picked]
    tokens = tuple(token_texts(loaded.tokenizer, token_ids))
    return TextScore(text, tuple(token_ids), tokens, tuple(picked))


def next_token_logits(
    loaded, token_ids: Sequence[int], *, all_positions: bool = False
) -> torch.Tensor:
    """The model's logits after these tokens, recomputed from nothing each time (no cache).

    Returns:
        float32 tensor of shape (V,); with ``all_positions`` (L, V), one row per token.

    Raises:
        ValueError: no tokens, more than the context holds, or ids outside the vocabulary.
    """
    model, config = check_parts("loaded", loaded).model, loaded.model.config
    input_ids = check_token_ids("token_ids", token_ids, config.vocab_size, model.device)[None]
    if input_ids.dim() != 2:
        raise ValueError(f"token_ids: needs one row of ids, got {shown(token_ids)}")
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and input_ids.shape[1] > limit:
        raise ValueError(f"token_ids: {input_ids.shape[1]} tokens, but the context holds {limit}")
    with torch.inference_mode():
        # Without all_positions only the last row meets W_lm: that is all a next token needs.
        keep = 0 if check_flag("all_positions", all_positions) else 1
        logits = model(input_ids, use_cache=False, logits_to_keep=keep).logits[0].float()
    return logits if all_positions else logits[-1]


def next_token_probs(loaded, prompt: str | Sequence[int]) -> torch.Tensor:
    """p(next token | prompt) for the whole vocabulary, shape (V,); the prompt as text or ids."""
    token_ids = text_to_ids(loaded, prompt) if isinstance(prompt, str) else prompt
    return torch.softmax(next_token_logits(loaded, token_ids), dim=-1)


def top_tokens(loaded, probs: torch.Tensor, n: int = 10) -> list[tuple[str, float]]:
    """The n likeliest tokens of a next-token distribution with their probabilities."""
    check_parts("loaded", loaded)
    probs = as_tensor("probs", probs, "probabilities")
    if probs.dim() != 1 or not probs.is_floating_point():
        raise ValueError(f"probs: needs floats of shape (V,), got {tuple(probs.shape)}")
    values, token_ids = probs.topk(check_count("n", n, most=len(probs)))
    tokens = [token_text(loaded.tokenizer, i) for i in token_ids.tolist()]
    return list(zip(tokens, values.tolist(), strict=True))


def text_to_ids(loaded, text: str) -> list[int]:
    """Token ids of a text, with the special tokens that the model's own tokenizer adds.

    (SmolLM2 adds none; OPT puts ``</s>`` in front, Llama ``<s>``: their models expect it.)

    Raises:
        ValueError: not a string, or an empty one.
    """
    return check_parts("loaded", loaded).tokenizer(check_text("text", text)).input_ids


def chat_ids(tokenizer, messages: Sequence[dict]) -> list[int]:
    """Token ids of a conversation as the chat template writes it, up to where the answer begins.
    Where the template refuses it, a ValueError in the template's words."""
    try:
        written = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )
    except (TemplateError, TypeError) as error:  # it may refuse roles, their order, or be wrong
        raise ValueError(f"the chat template refuses the conversation ({error})") from error
    return list(written["input_ids"])


def token_text(tokenizer, token_id: int) -> str:
    """One token as text, with the space that it begins with.

    A token that is only a part of a character is written as its bytes, like ⟨F0·9F⟩, and one that
    the tokenizer does not have (a padded vocabulary) by its number, ⟨id 284⟩.
    """
    token_id = check_count("token_id", token_id, least=0, most=2**31 - 1)
    piece = check_parts("tokenizer", tokenizer).convert_ids_to_tokens(token_id)
    if not piece:
        return f"⟨id {token_id}⟩"
    if token_id in tokenizer.added_tokens_decoder:  # is written as it is
        return piece
    # Behind another token, since a SentencePiece decoder drops the space in front of the first.
    (before,) = tokenizer("a", add_special_tokens=False).input_ids[-1:]
    texts = [tokenizer.decode(ids, clean_up_tokenization_spaces=False)
             for ids in ([before], [before, token_id])]  # fmt: skip
    text = texts[1].removeprefix(texts[0])
    data = piece_bytes(piece) if "\ufffd" in text else None
    return text if data is None else "⟨" + "·".join(f"{byte:02X}" for byte in data) + "⟩"


def piece_bytes(piece: str) -> bytes | None:
    """The bytes of a piece of a vocabulary whose pieces are bytes; None if it is no such piece.

    SentencePiece writes a byte that it falls back on as ``<0xF0>``. Byte-level BPE writes each byte
    as one printable character, by GPT-2's own table.
    """
    if fallback := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):
        return bytes.fromhex(fallback[1])
    table = byte_of_character()
    return bytes(table[c] for c in piece) if set(piece) <= set(table) else None


def token_texts(tokenizer, token_ids: Sequence[int]) -> list[str]:
    """The tokens of a text as ``token_text`` writes them, so that they join to the text.

    SentencePiece puts a space in front of a text; that one is left out.
    """
    token_ids = check_token_ids("token_ids", token_ids, 2**31).tolist()
    tokens = [token_text(tokenizer, i) for i in token_ids]
    special = special_tokens(tokenizer).values()
    plain = [n for n, i in enumerate(token_ids) if i not in special]
    joined, text = "".join(tokens[n] for n in plain), decode_text(tokenizer, token_ids)
    if len(joined) - len(joined.lstrip(" ")) > len(text) - len(text.lstrip(" ")):
        tokens[plain[0]] = tokens[plain[0]].removeprefix(" ")
    return tokens


@cache
def byte_of_character() -> dict[str, int]:
    """Byte-level BPE's alphabet, inverted: printable bytes stand for themselves, others shifted."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def _special_id(loaded, token: str) -> int:
    token_id = loaded.tokenizer.convert_tokens_to_ids(check_text("start", token))
    known = loaded.tokenizer.all_special_tokens
    if token_id is None or token not in [*known, *loaded.tokenizer.get_added_vocab()]:
        raise ValueError(f"start: {token!r} is no special token of this model; it has {known}")
    return token_id
