"""The tokens of a text with their ids, bytes and places."""

from dataclasses import dataclass

from ..checks import check_text, checked
from ..scoring import piece_bytes, token_texts


@dataclass(frozen=True)
class TokenPiece:
    """One token of a text.

    Attributes:
        text: the token as text; a piece of a character as its bytes, ⟨F0·9F⟩.
        token_id: its id.
        data: the bytes that it encodes; empty for a special token that the text doesn't hold.
        start, end: the characters of the text that it comes from (several tokens may share one).
        special: whether it is a special token.
    """

    text: str
    token_id: int
    data: bytes
    start: int
    end: int
    special: bool = False


@checked
def token_pieces(tokenizer, text: str, *, add_special_tokens: bool = True) -> list[TokenPiece]:
    """The tokens of a text, in order.

    Raises:
        ValueError: no text, an empty one, or a tokenizer that doesn't say where its tokens are.
    """
    check_text("text", text)
    if not tokenizer.is_fast:
        raise ValueError("tokenizer: needs one of the tokenizers library, which keeps offsets")
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=add_special_tokens)
    ids, added = encoded.input_ids, tokenizer.get_added_vocab()
    special = set(tokenizer.all_special_ids)
    is_byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    pieces = []
    for name, token_id, (start, end) in zip(
        token_texts(tokenizer, ids), ids, encoded.offset_mapping, strict=True
    ):
        covered, piece = text[start:end], tokenizer.convert_ids_to_tokens(token_id)
        data = covered.encode()
        if piece in added:  # is written as it is, not in the vocabulary's alphabet
            name = name if token_id in special else covered
        elif is_byte_level or piece.startswith("<0x"):
            data = piece_bytes(piece) or data
        pieces.append(TokenPiece(name, token_id, data, start, end, token_id in special))
    return pieces
