"""From the tokens of a text to what a user reads: up to an end token or a stop string."""

from collections.abc import Collection, Sequence

from lecture_lib.engine.streaming import TextStream, check_stop


def finish(
    tokenizer, token_ids: Sequence[int], ends: Collection[int], stop: str | Sequence[str]
) -> tuple[str, list[int], str]:
    """The text, its tokens and why it ended ("eos", "stop" or "length").

    For searches that know no stop strings, and for batches, whose rows are padded behind an end.
    A text that a stop string ends keeps the tokens up to the one that completed it.
    """
    stream, pieces, kept = TextStream(tokenizer, check_stop(stop)), [], []
    for token in token_ids:
        kept.append(token)
        pieces.append(stream.push(token))
        if stream.stopped or token in ends:
            break
    pieces.append(stream.flush())
    reason = "stop" if stream.stopped else "eos" if kept and kept[-1] in ends else "length"
    return "".join(pieces), kept, reason
