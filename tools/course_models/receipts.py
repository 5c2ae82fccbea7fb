"""Document question answering: what does a receipt say, read by words and where they stand?"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from transformers import LayoutLMConfig, LayoutLMForQuestionAnswering, pipeline

from ._words import MONTHS, PLACES, SURNAMES, make_tokenizer
from .training import look_at_what_is_alike, waves, words_of_the_question

TASK = "document-question-answering"
STEPS, BATCH_SIZE, LEARNING_RATE = 1300, 32, 2e-3
MUON = True
VOCAB_SIZE = 700
# A receipt of 480 × 640 pixels in a font where each letter is 12 wide and 20 high.
WIDTH, HEIGHT, LETTER, LINE = 480, 640, 12, 20

ABOUT = """Answers questions on a receipt. It is a LayoutLM: a BERT whose tokens carry, beside
their place in the text, the box where they stand on the page (left, top, right, bottom, each from
0 to 1000). It sees no pixels; words and boxes come from the program that drew the receipt, or from
a program that reads pictures (OCR)."""
DATA = """All generated (`tools/course_models/receipts.py`): a shop's name, a date, two to five
items with prices, sometimes a tax, the total, sometimes the cash given and the change. The cells
are handed over in any order, so only the boxes tell which price belongs to which item."""
LIMITS = """Every other document, and questions in other words than the seven kinds it learned. It
does not compute: a total that is wrong on the receipt is its answer all the same."""

ITEMS = """bread milk butter cheese eggs apples pears bananas rice pasta coffee tea sugar salt soap
paper candles flour honey juice water cake carrots onions potatoes tomatoes olives yoghurt""".split()  # noqa: E501, SIM905
KINDS = "white brown green red fresh dry black sweet small large".split()  # noqa: SIM905
SHOPS = "Bakery Market Store Shop Corner Grocery Foods".split()  # noqa: SIM905
QUESTIONS = {
    "shop": ["What is the name of the shop?", "Which shop is it?"],
    "date": ["What is the date?", "When was it bought?"],
    "item": ["What does the {} cost?", "What is the price of the {}?", "How much is the {}?"],
    "Total": ["What is the total?", "How much is the total?"],
    "Tax": ["How much is the tax?", "What is the tax?"],
    "Cash": ["How much cash was given?", "What is the cash?"],
    "Change": ["How much is the change?", "What is the change?"],
}


def lines(random: Random) -> list[tuple[str, str, str]]:
    """The receipt's lines as (what it is, text on the left, text on the right)."""
    owner = random.choice([*PLACES, *SURNAMES, *MONTHS])
    month, year = random.choice(MONTHS), random.randint(2000, 2030)
    rows = [
        ("shop", f"{owner} {random.choice(SHOPS)}", ""),
        ("date", f"{random.randint(1, 28)} {month} {year}", ""),
    ]
    sums = []
    for item in random.sample(ITEMS, random.randint(2, 5)):
        if random.random() < 0.4:
            item = f"{random.choice(KINDS)} {item}"
        sums.append(random.randint(20, 1500))
        rows.append(("item", item, f"{sums[-1] / 100:.2f}"))
    total = sum(sums)
    if random.random() < 0.5:
        rows.append(("Tax", "Tax", f"{round(total * random.choice([0.05, 0.07, 0.2])) / 100:.2f}"))
    rows.append(("Total", "Total", f"{total / 100:.2f}"))
    if random.random() < 0.5:
        cash = (total // 500 + random.randint(1, 4)) * 500
        rows.append(("Cash", "Cash", f"{cash / 100:.2f}"))
        rows.append(("Change", "Change", f"{(cash - total) / 100:.2f}"))
    return rows


def cells(rows: list[tuple[str, str, str]], random: Random) -> list[list[tuple[str, list[int]]]]:
    """The words of each cell with their boxes, each number from 0 to 1000."""
    top, step = random.randrange(16, 80, 4), random.choice([32, 36, 40, 44])
    left, right = random.randrange(16, 64, 4), WIDTH - random.randrange(16, 64, 4)
    found = []
    for i, (_, name, price) in enumerate(rows):
        y = top + i * step
        for text, x in ((name, left), (price, right - LETTER * len(price))):
            words = []
            for word in text.split():
                end = x + LETTER * len(word)
                box = (x / WIDTH, y / HEIGHT, end / WIDTH, (y + LINE) / HEIGHT)
                words.append((word, [int(1000 * side) for side in box]))
                x = end + LETTER
            found.append(words)
    return [cell for cell in found if cell]


def example(random: Random) -> tuple[str, list[tuple[str, list[int]]], int, int]:
    """(question, words with boxes in any order of the cells, the answer's first and last word)."""
    rows = lines(random)
    parts = cells(rows, random)
    asked, name, price = random.choice(rows)
    question = random.choice(QUESTIONS[asked]).format(name)
    wanted = price or name
    # A price may stand there twice: the answer is the cell on the same line as the name.
    place = [i for i, cell in enumerate(parts) if " ".join(w for w, _ in cell) == name][0]  # noqa: RUF015
    answer = parts[place + bool(price)]
    assert " ".join(word for word, _ in answer) == wanted
    if random.random() < 0.8:
        random.shuffle(parts)
    start = sum(len(cell) for cell in parts[: parts.index(answer)])
    return question, [word for cell in parts for word in cell], start, start + len(answer) - 1


def build(seed: int):
    """A small LayoutLM with random weights, and a tokenizer trained on the receipts."""
    random = Random(f"receipts tokenizer {seed}")
    rows = (example(random) for _ in range(5000))
    texts = (" ".join([question, *(word for word, _ in words)]) for question, words, *_ in rows)
    tokenizer = make_tokenizer(texts, VOCAB_SIZE)
    config = LayoutLMConfig(
        vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=192, max_position_embeddings=160, max_2d_position_embeddings=1024,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
        initializer_range=0.05,
    )  # fmt: skip
    model = LayoutLMForQuestionAnswering(config)
    look_at_what_is_alike(model)
    layer = model.layoutlm.embeddings
    for table in (
        layer.x_position_embeddings, layer.y_position_embeddings,
        layer.h_position_embeddings, layer.w_position_embeddings,
    ):  # fmt: skip
        turn = torch.linalg.qr(torch.randn(96, 96))[0]  # left and top must not be mixed up
        table.weight.data = waves(1024, 96, 0.002, 0.05) @ turn
    return model, tokenizer


def encode(tokenizer, questions: list[str], pages: list[list[tuple[str, list[int]]]]) -> dict:
    """Token ids and boxes, as the pipeline makes them: (0, ...) for the question, 1000 for [SEP]."""  # noqa: E501
    batch = tokenizer(
        [question.split() for question in questions], [[word for word, _ in page] for page in pages],  # noqa: E501
        is_split_into_words=True, padding=True, return_tensors="pt",
    )  # fmt: skip
    boxes = torch.zeros(*batch.input_ids.shape, 4, dtype=torch.long)
    boxes[batch.input_ids == tokenizer.sep_token_id] = 1000
    for i, page in enumerate(pages):
        for j, (part, word) in enumerate(
            zip(batch.sequence_ids(i), batch.word_ids(i), strict=True)
        ):
            if part == 1:
                boxes[i, j] = torch.tensor(page[word][1])
    batch["bbox"] = boxes
    return batch


def batches(seed: int, tokenizer, batch_size: int) -> Iterator[dict]:
    """Endless batches: token ids (B, L), boxes (B, L, 4), the answer's first and last token (B,)."""  # noqa: E501
    random = Random(f"receipts {seed}")
    while True:
        rows = [example(random) for _ in range(batch_size)]
        batch = encode(tokenizer, [row[0] for row in rows], [row[1] for row in rows])
        starts, ends, asked = [], [], torch.zeros(batch["input_ids"].shape)
        for i, (_, words, first, last) in enumerate(rows):
            asked[i] = (batch["bbox"][i, :, 1] == words[first][1][1]).float()
            starts.append(batch.word_to_tokens(i, first, 1).start)
            ends.append(batch.word_to_tokens(i, last, 1).end - 1)
        yield {
            **batch, "start_positions": torch.tensor(starts), "end_positions": torch.tensor(ends),
            "hints": {1: words_of_the_question(batch), 2: asked},
        }  # fmt: skip


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Share of answers that are right to the letter."""
    ask = pipeline(TASK, model=str(folder))
    random = Random(f"receipts held out {seed}")
    right = 0
    for _ in range(n):
        question, words, first, last = example(random)
        found = ask(image=None, question=question, word_boxes=words)
        right += (found[0]["start"], found[0]["end"]) == (first, last)
    return [{"measure": "answers right to the letter", "value": right / n, "n": n}]
