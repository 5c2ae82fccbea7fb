"""Text in pieces: whole characters, stop strings across tokens, the same text as all at once."""

import pytest
import torch
from engine_models import CONFIGS, byte_tokenizer, loaded_model

from lecture_lib.engine import Engine
from lecture_lib.engine.streaming import TextStream

TEXTS = [
    "plain text", "naïve café", "🙂👍🏽 emoji", "中文字符", "a\u0301 combining", "x🙂", "🙂",
    "a literal \ufffd stays", "line\n\nbreaks\t", " leading and trailing ",
]  # fmt: skip


class Script:
    """A choice of tokens that follows a script, whatever the logits are."""

    def __init__(self, *rows: list[int]):
        self.steps = iter(zip(*rows, strict=True))

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.tensor(next(self.steps))


@pytest.fixture(scope="module")
def engine():
    return Engine(loaded_model(CONFIGS["llama"]))


def write(engine, text: str, **options):
    """(pieces, Generation) of a run whose tokens are the bytes of this text."""
    ids = engine.tokenizer(text).input_ids
    options = {"max_new_tokens": len(ids), "ignore_eos": True, **options}
    pieces = list(engine.stream("go", next_token=Script(ids), **options))
    return pieces, engine.generate("go", next_token=Script(ids), **options)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_join_to_the_text(engine, text):
    assert len(engine.tokenizer(text).input_ids) == len(text.encode())
    pieces, generation = write(engine, text)
    assert "".join(pieces) == generation.text == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
        assert len(pieces) == len(text)  # as soon as a character is complete


def test_a_character_that_is_cut_off_still_gives_its_replacement(engine):
    pieces, generation = write(engine, "ab🙂", max_new_tokens=4)
    ids = generation.token_ids
    assert "".join(pieces) == generation.text == engine.tokenizer.decode(ids) == "ab\ufffd"


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one STOP two", "STOP", "one "),
        ("one STOP two", ["two", "STOP"], "one "),
        ("one STOP two", ["P", "STOP"], "one "),  # both complete at once: the earlier beginning
        ("one STO two", "STOP", "one STO two"),
        ("one SSTOP two", "STOP", "one S"),
        ("aabaabaac", "aabaac", "aab"),
        ("first\n\nsecond", "\n\n", "first"),
        ("vier 🙂 fünf", "🙂", "vier "),
        ("ends with ST", "STOP", "ends with ST"),
        ("STOP at once", "STOP", ""),
        ("both END and STOP", ["STOP", "END"], "both "),
    ],
)
def test_stop_strings_across_tokens(engine, text, stop, expected):
    pieces, generation = write(engine, text, stop=stop)
    assert "".join(pieces) == generation.text == expected
    assert generation.finish_reason == ("length" if expected == text else "stop")
    shown = ""
    for piece in pieces:
        shown += piece
        assert expected.startswith(shown)  # no piece was shown that had to be taken back
    if expected != text:  # it ended with the token that completed the stop string
        stops = [stop] if isinstance(stop, str) else stop
        written = engine.tokenizer.decode(generation.token_ids)
        assert any(written == expected + s for s in stops)


def test_each_row_of_a_batch_stops_by_itself(engine):
    tokenizer = engine.tokenizer
    rows = [tokenizer(text).input_ids for text in ("abXYcdef", "abcdXYef", "abcdefgh")]
    batch = engine.generate(
        ["one", "two, longer", "three"], 8, stop="XY", next_token=Script(*rows), ignore_eos=True
    )
    assert [g.text for g in batch] == ["ab", "abcd", "abcdefgh"]
    assert [g.finish_reason for g in batch] == ["stop", "stop", "length"]
    assert [len(g.token_ids) for g in batch] == [4, 6, 8]


def test_eos_gives_no_text_and_releases_what_was_held_back(engine):
    ids = [*engine.tokenizer("done ST").input_ids, engine.tokenizer.eos_token_id]
    generation = engine.generate("go", 20, stop="STOP", next_token=Script(ids))
    assert generation.text == "done ST"
    assert generation.finish_reason == "eos"
    assert generation.token_ids == ids


def test_pieces_come_while_the_text_is_being_made(engine):
    stream = engine.stream("go", 50, ignore_eos=True)
    assert not engine.calls or engine.calls[-1].kv_len != 3
    next(stream)
    assert len(engine.calls) < 50


@pytest.mark.real_model
@pytest.mark.parametrize("text", [*TEXTS, "Hello world, don't  stop: 12345 🙂🙂 中文 def f(x):\n"])
def test_the_real_tokenizer_streams_to_the_same_text(loaded, text):
    ids = loaded.tokenizer(text).input_ids
    stream = TextStream(loaded.tokenizer)
    pieces = [stream.push(token_id) for token_id in ids]
    pieces.append(stream.flush())
    assert "".join(pieces) == loaded.tokenizer.decode(ids) == text


@pytest.mark.real_model
@pytest.mark.parametrize("stop", ["<|im_end|>", "<file_sep>", ["two", "<|endoftext|>"]])
def test_a_special_token_as_a_stop_string_ends_where_transformers_ends(loaded, stop):
    from transformers import StopStringCriteria

    ids = loaded.tokenizer("one <file_sep> 🙂<|im_end|> more<|endoftext|> two").input_ids
    stream, pieces, n_read = TextStream(loaded.tokenizer, stop), [], 0
    while not stream.stopped:
        pieces.append(stream.push(ids[n_read]))
        n_read += 1
    criteria = StopStringCriteria(loaded.tokenizer, stop)
    done = [bool(criteria(torch.tensor([ids[:n]]), None)) for n in range(1, len(ids) + 1)]
    assert n_read == done.index(True) + 1
    assert "".join(pieces) == loaded.tokenizer.decode(ids[:n_read], skip_special_tokens=True)


@pytest.mark.real_model
def test_the_engine_ends_at_a_special_token_and_says_that_it_was_a_stop(loaded):
    ids = loaded.tokenizer("one <|im_end|> more").input_ids
    options = {"next_token": Script(ids), "ignore_eos": True, "stop": "<|im_end|>"}
    generation = Engine(loaded).generate("go", len(ids), **options)
    assert (generation.text, generation.finish_reason) == ("one ", "stop")
    assert generation.token_ids == ids[:3]


@pytest.mark.real_model
def test_a_special_token_within_a_stop_string_would_never_be_found(loaded):
    with pytest.raises(ValueError, match=r"stop: 'x<\|im_end\|>' would never be found"):
        Engine(loaded).generate("go", 3, stop="x<|im_end|>")


def test_decoding_a_long_text_takes_linear_work():
    tokenizer = byte_tokenizer()
    decoded = []

    class Counting:
        def decode(self, ids, **options):
            decoded.append(len(ids))
            return tokenizer.decode(ids, **options)

    stream = TextStream(Counting())
    text = "abc " * 200
    assert "".join(stream.push(i) for i in tokenizer(text).input_ids) == text
    assert max(decoded) <= 2
