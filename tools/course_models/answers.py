"""Extractive question answering: where in the text is the answer?"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering

from ._words import FIRST_NAMES, PLACES, SURNAMES, THINGS, date, invented, make_tokenizer
from .training import look_at_what_is_alike, waves, words_of_the_question

TASK = "question-answering"
STEPS, BATCH_SIZE, LEARNING_RATE = 2800, 32, 1e-3
MUON = False
VOCAB_SIZE = 1000

ABOUT = """Points at the words of a text that answer a question (extractive question answering).
It is a small BERT that gives each token of the text two numbers: how likely the answer begins
there, and how likely it ends there. Transformers 5 has the model class, and no pipeline for it."""
DATA = """All generated (`tools/course_models/answers.py`): texts of two sentences, one on
who bought, sold, found, lost or painted what, where, when and for how much, the other on who was
born where and when; the question asks for one of these. The facts are drawn by chance, so that the
answer stands in the text alone, and is no knowledge."""
LIMITS = """Other kinds of text and question, and that a question may have no answer: it always
points at some words. It may not look at names either: with one birth and one deed in each text,
the verb is enough to find the sentence."""

VERBS = {  # how it is said, how it is asked
    "bought": "buy", "sold": "sell", "found": "find", "lost": "lose", "painted": "paint",
}  # fmt: skip
# A fact as a sentence: {p} who, {v} did, {a} {t} what, {l} where, {d} when, {e} for how much.
SENTENCES = """{p} {v} {a} {t} in {l} on {d} for {e} euros.|On {d}, {p} {v} {a} {t} in {l} for {e} euros.
In {l}, {p} {v} {a} {t} on {d}.|{p} {v} {a} {t} for {e} euros in {l}.|On {d} in {l}, {p} {v} {a} {t}.
For {e} euros, {p} {v} {a} {t} in {l}.|{p} {v} {a} {t} in {l}.|{p} {v} {a} {t} on {d}.""".replace(  # noqa: E501
    "\n", "|"
).split("|")
BIRTHS = "{p} was born in {l} on {d}.|On {d}, {p} was born in {l}.".split("|")  # noqa: SIM905
QUESTIONS = {
    "p": ["Who {v} the {t}?", "Who {v} {a} {t}?"],
    "t": ["What did {p} {i}?", "What did {p} {i} in {l}?"],
    "l": ["Where did {p} {i} the {t}?", "Where was the {t} {v}?"],
    "d": ["When did {p} {i} the {t}?", "When was the {t} {v}?"],
    "e": ["How much did the {t} cost?", "For how much was the {t} {v}?"],
}
BIRTH_QUESTIONS = {
    "p": ["Who was born in {l}?", "Who was born on {d}?"],
    "l": ["Where was {p} born?"],
    "d": ["When was {p} born?"],
}


def _fact(random: Random, used: set[str], birth: bool) -> dict:
    def fresh(make):
        while (word := make()) in used:
            pass
        used.add(word)
        return word

    def person():
        first = invented(random) if random.random() < 0.2 else random.choice(FIRST_NAMES)
        last = f" {random.choice(SURNAMES)}" if random.random() < 0.25 else ""
        return first + last

    def place():
        return invented(random) if random.random() < 0.2 else random.choice(PLACES)

    verb = random.choice(list(VERBS))
    thing = fresh(lambda: random.choice(THINGS))
    return {
        "p": fresh(person), "l": fresh(place), "d": fresh(lambda: date(random)),
        "t": thing, "a": "a", "e": fresh(lambda: str(random.randint(2, 990))),
        "v": verb, "i": VERBS[verb], "birth": birth,
    }  # fmt: skip


def _pattern(fact: dict, random: Random) -> str:
    if fact["birth"]:
        return random.choice(BIRTHS)
    priced = fact["v"] in ("bought", "sold")  # who loses a boat, loses it for nothing
    return random.choice([p for p in SENTENCES if priced or "{e}" not in p])


def example(random: Random) -> tuple[str, str, int, str]:
    """(question, text, where the answer begins, answer)."""
    while True:
        used: set[str] = set()
        facts = [_fact(random, used, birth) for birth in random.sample([True, False], 2)]
        patterns = [_pattern(fact, random) for fact in facts]
        chosen = random.randrange(len(facts))
        fact, pattern = facts[chosen], patterns[chosen]
        kinds = BIRTH_QUESTIONS if fact["birth"] else QUESTIONS
        asked = random.choice([kind for kind in kinds if f"{{{kind}}}" in pattern])
        question = random.choice(kinds[asked])
        if any(f"{{{k}}}" in question and f"{{{k}}}" not in pattern for k in "lde"):
            continue  # it would name what the text does not say
        answer = fact[asked] if asked != "t" else f"a {fact['t']}"
        sentences = [p.format(**f) for p, f in zip(patterns, facts, strict=True)]
        before = " ".join(sentences[:chosen])
        start = len(before) + bool(before) + len(pattern.split(f"{{{asked}}}")[0].format(**fact))
        if asked == "t":
            start -= 2  # the article belongs to the answer
        text = " ".join(sentences)
        assert text[start : start + len(answer)] == answer
        return question.format(**fact), text, start, answer


def build(seed: int):
    """A small BERT with random weights, and a tokenizer trained on the texts."""
    random = Random(f"answers tokenizer {seed}")
    texts = (" ".join(example(random)[:2]) for _ in range(6000))
    tokenizer = make_tokenizer(texts, VOCAB_SIZE)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=256, max_position_embeddings=192, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=0, initializer_range=0.05,
    )  # fmt: skip
    model = BertForQuestionAnswering(config)
    look_at_what_is_alike(model)
    places = model.bert.embeddings.position_embeddings
    places.weight.data = waves(*places.weight.shape, 0.02, 0.05)
    # A word counts for more than its place: the same name is far away, in the question.
    model.bert.embeddings.word_embeddings.weight.data *= 3
    return model, tokenizer


def batches(seed: int, tokenizer, batch_size: int) -> Iterator[dict]:
    """Endless batches: token ids (B, L), and the answer's first and last token (B,)."""
    random = Random(f"answers {seed}")
    while True:
        rows = [example(random) for _ in range(batch_size)]
        batch = tokenizer(
            [row[0] for row in rows], [row[1] for row in rows], padding=True, return_tensors="pt",
        )  # fmt: skip
        starts, ends, asked = [], [], torch.zeros(batch.input_ids.shape)
        for i, (_, text, start, answer) in enumerate(rows):
            sentence = text[:start].rpartition(". ")[0]  # all sentences before this one
            first = batch.char_to_token(i, len(sentence) + 2 if sentence else 0, 1)
            asked[i, first : batch.char_to_token(i, text.index(".", start), 1) + 1] = 1
            starts.append(batch.char_to_token(i, start, 1))
            ends.append(batch.char_to_token(i, start + len(answer) - 1, 1))
        yield {
            **batch, "start_positions": torch.tensor(starts), "end_positions": torch.tensor(ends),
            "hints": {1: words_of_the_question(batch), 3: asked},
        }  # fmt: skip


@torch.inference_mode()
def answer(model, tokenizer, question: str, text: str) -> str:
    """The likeliest answer: begin and end with the highest sum, the end not before the begin."""
    encoded = tokenizer(question, text, return_tensors="pt")
    output = model(**encoded)
    scores = output.start_logits[0, :, None] + output.end_logits[0, None, :]  # (L, L)
    in_text = torch.tensor([part == 1 for part in encoded.sequence_ids(0)])
    allowed = (in_text[:, None] & in_text[None, :]).triu().tril(15)
    best = scores.masked_fill(~allowed, -torch.inf).argmax().item()
    first, last = divmod(best, scores.shape[1])
    begin, end = encoded.token_to_chars(0, first).start, encoded.token_to_chars(0, last).end
    return text[begin:end]


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Share of answers that are right to the letter."""
    model = BertForQuestionAnswering.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    random = Random(f"answers held out {seed}")
    rows = [example(random) for _ in range(n)]
    right = sum(answer(model, tokenizer, q, text) == wanted for q, text, _, wanted in rows)
    return [{"measure": "answers right to the letter", "value": right / n, "n": n}]
