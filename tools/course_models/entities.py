"""Token classification: which words of a sentence are a person, a place, a date?"""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from transformers import BertConfig, BertForTokenClassification, pipeline

from ._words import (
    FIRST_NAMES,
    MONTHS,
    PLACES,
    SURNAMES,
    THINGS,
    date,
    make_tokenizer,
)

TASK = "token-classification"
STEPS, BATCH_SIZE, LEARNING_RATE = 900, 64, 2e-3
MUON = False
KINDS = ["person", "place", "date"]
LABELS = ["O", *(f"{part}-{kind}" for kind in KINDS for part in "BI")]
VOCAB_SIZE = 900

ABOUT = """Finds persons, places and dates in an English sentence. It is a small BERT that gives
each token one of seven labels: outside, or the beginning or the inside of one of the three
kinds."""
DATA = """All generated (`tools/course_models/entities.py`): sentences from some forty patterns,
with names, places and dates from lists. Two fifths of the names are made up of syllables, and twelve
names are in two lists (Florence, Sydney, May, April, ...), so that the words around a name must
decide. The tokenizer was trained on the same sentences."""  # noqa: E501
LIMITS = """Every sentence that is built in another way. There it still finds some capital letters
and misses others, and organisations are unknown to it."""

# {p} is a person, {l} a place, {d} a date with a day, {m} a month, {y} a year, {t} a thing.
PATTERNS = """{p} lives in {l}.|{p} met {p} in {l}.|{p} met {p} in {l} on {d}.
On {d}, {p} flew from {l} to {l}.|In {m} it often rains in {l}.|{p} was born in {l} in {y}.
{p} was born on {d} in {l}.|The museum in {l} opens on {d}.|The train from {l} to {l} leaves on {d}.
{p} and {p} have a shop in {l}.|Please call {p} before {d}.|{d} was a cold day in {l}.
{p} bought a {t} in {l}.|{p} sold the {t} to {p} on {d}.|It may rain in {l} on {d}.
Yesterday {p} wrote a letter to {p}.|The {t} belongs to {p}.|{l} is larger than {l}.
{p} moved to {l} in {m}.|{p} moved to {l} in {m} {y}.|We visit {p} in {l} in {m}.
{p}, a teacher from {l}, plays the {t}.|In {y}, {p} painted a {t} in {l}.|My friend {p} likes {l}.
Doctor {p} works in {l}.|The {t} was found near {l} in {m}.|Does {p} know {p}?
Where is {l}?|When does {p} come to {l}?|{p} comes on {d}.|The road to {l} is long.
{p} and {p} married in {l} on {d}.|We arrive in {l} on {d} and stay with {p}.
She saw {p} in {m}.|He asked {p} for a {t}.|They sang in {l} until {m}.
Nobody knew where the {t} was.|The {t} is old, but it may be useful.|We march on in the rain.
In the evening the teacher repaired the {t}.""".replace("\n", "|").split("|")
BEFORE_PLACES = "San Saint New Port Upper Lake Fort East".split()  # noqa: SIM905
BEGINNINGS = (
    "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pr sh st th tr".split() + [""] * 4  # noqa: SIM905
)
VOWELS = "a e i o u a e i o u ai ea ee ie io ou ue y".split()  # noqa: SIM905
ENDS = "n r s t l d g m ck ng nt rd rt st y".split() + [""] * 12  # noqa: SIM905
# Never trained on: whether the model knows names, or the words around them.
NEW_NAMES = {
    "person": [
        "Marguerite",
        "Ingrid",
        "Takeshi",
        "Olu Adebayo",
        "Sean Murphy",
        "Priya",
        "Lars Holm",
    ],
    "place": ["Zagreb", "Osaka", "Leeds", "Bogota", "San Marino", "Utrecht", "Tunis"],
}


def _name(kind: str, random: Random, new: bool) -> str:
    if kind == "d":
        return date(random)
    if kind == "m":
        return random.choice(MONTHS)
    if kind == "y":
        return str(random.randint(1900, 2030))
    if kind == "t":
        return random.choice(THINGS)
    if new:
        return random.choice(NEW_NAMES["person" if kind == "p" else "place"])
    if kind == "l":
        place = _stranger(random) if random.random() < 0.4 else random.choice(PLACES)
        return f"{random.choice(BEFORE_PLACES)} {place}" if random.random() < 0.08 else place
    first = _stranger(random) if random.random() < 0.4 else random.choice(FIRST_NAMES)
    last = _stranger(random) if random.random() < 0.4 else random.choice(SURNAMES)
    return random.choice([first, first, f"{first} {last}"])


def _stranger(random: Random) -> str:
    """A name of one to four syllables that is in no list."""
    parts = [
        random.choice(BEGINNINGS) + random.choice(VOWELS) + random.choice(ENDS)
        for _ in range(random.choice([1, 2, 2, 2, 3]))
    ]
    return "".join(parts).capitalize()


def sentence(random: Random, new: bool = False) -> tuple[str, list[tuple[int, int, str]]]:
    """A sentence and its entities as (start, end, kind), in letters."""
    kinds = {"p": "person", "l": "place", "d": "date", "m": "date", "y": "date"}
    text, spans = "", []
    pattern = random.choice(PATTERNS)
    for piece in re.split(r"(\{.\})", pattern):
        if not re.fullmatch(r"\{.\}", piece):
            text += piece
            continue
        word = _name(piece[1], random, new)
        if piece[1] in kinds:
            if spans and spans[-1][2] == kinds[piece[1]] and text[spans[-1][1] :] == " ":
                spans[-1] = (spans[-1][0], len(text) + len(word), spans[-1][2])  # May 1950
            else:
                spans.append((len(text), len(text) + len(word), kinds[piece[1]]))
        text += word
    return text, spans


def examples(n: int, random: Random, new: bool = False) -> list[tuple[str, list]]:
    """n texts of one or two sentences with their entities."""
    found = []
    for _ in range(n):
        text, spans = sentence(random, new)
        if random.random() < 0.4:
            more, others = sentence(random, new)
            moved = [(s + len(text) + 1, e + len(text) + 1, kind) for s, e, kind in others]
            text, spans = f"{text} {more}", spans + moved
        found.append((text, spans))
    return found


def build(seed: int):
    """A small BERT with random weights, and a tokenizer trained on the sentences."""
    texts = (text for text, _ in examples(8000, Random(f"entities tokenizer {seed}")))
    tokenizer = make_tokenizer(texts, VOCAB_SIZE)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=256, max_position_embeddings=128, hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0, pad_token_id=0,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    return BertForTokenClassification(config), tokenizer


def batches(seed: int, tokenizer, batch_size: int) -> Iterator[dict]:
    """Endless batches: token ids and labels, both (B, L); special tokens have no label."""
    random = Random(f"entities {seed}")
    while True:
        texts = examples(batch_size, random)
        batch = tokenizer(
            [text for text, _ in texts], padding=True, return_tensors="pt",
            return_offsets_mapping=True,
        )  # fmt: skip
        labels = torch.full_like(batch.input_ids, -100)
        for i, ((_, spans), offsets) in enumerate(
            zip(texts, batch.pop("offset_mapping").tolist(), strict=True)
        ):
            for j, (start, end) in enumerate(offsets):
                if start == end:
                    continue
                labels[i, j] = 0
                for first, last, kind in spans:
                    if first <= start < last:
                        labels[i, j] = LABELS.index(f"{'B' if start == first else 'I'}-{kind}")
        yield {**batch, "labels": labels}


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Share of sentences with all entities right, with known names and with new ones."""
    tag = pipeline(TASK, model=str(folder), aggregation_strategy="first")
    scores = []
    for new, measure in ((False, "texts with all right"), (True, "the same, names never seen")):
        texts = examples(n, Random(f"entities held out {seed} {new}"), new)
        answers = tag([text for text, _ in texts], batch_size=50)
        right = sum(
            [(a["start"], a["end"], a["entity_group"]) for a in found] == spans
            for (_, spans), found in zip(texts, answers, strict=True)
        )
        scores.append({"measure": measure, "value": right / n, "n": n})
    return scores
