"""A text cut into its tokens: for each the id, the bytes, and where in the text it stands."""

from dataclasses import dataclass

from ..scoring import byte_of_character, token_text


@dataclass(frozen=True)
class TokenPiece:
    """One token of a text.

    Attributes:
        text: the token as text; a piece of a character as its bytes, ⟨F0·9F⟩.
        token_id: its id.
        data: the bytes that it stands for; empty for a special token that the text doesn't hold.
        start, end: the characters of the text that it comes from (several tokens may share one).
        special: whether it is a special token.
    """

    text: str
    token_id: int
    data: bytes
    start: int
    end: int
    special: bool = False


def token_pieces(tokenizer, text: str, *, add_special_tokens: bool = True) -> list[TokenPiece]:
    """The tokens of a text, in order.

    Raises:
        ValueError: no text, an empty one, or a tokenizer that doesn't say where its tokens stand.
    """
    if not isinstance(text, str) or not text:
        raise ValueError(f"text: needs at least one character, got {text!r}")
    if not tokenizer.is_fast:
        raise ValueError("tokenizer: needs one of the tokenizers library, which keeps offsets")
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=add_special_tokens)
    special, added = set(tokenizer.all_special_ids), tokenizer.get_added_vocab()
    byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    pieces = []
    for token_id, (start, end) in zip(encoded.input_ids, encoded.offset_mapping, strict=True):
        covered = text[start:end]
        piece = tokenizer.convert_ids_to_tokens(token_id)
        if token_id in special:
            name, data = piece, covered.encode()
        elif piece in added:
            # Written as it is, not in the vocabulary's alphabet; a byte-level decoder takes it for
            # that all the same, and turns an é into half a character.
            name, data = covered, covered.encode()
        else:
            name = token_text(tokenizer, token_id)
            data = (byte_level and _bytes_of(piece)) or covered.encode()
        pieces.append(TokenPiece(name, token_id, data, start, end, token_id in special))
    return pieces


def _bytes_of(piece: str) -> bytes | None:
    """The bytes of an entry of a byte-level vocabulary; None where it is written otherwise."""
    table = byte_of_character()
    known = all(character in table for character in piece)
    return bytes(table[character] for character in piece) if known else None
