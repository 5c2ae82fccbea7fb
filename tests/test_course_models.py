"""The small models of lecture 08c: loaded as a student loads them, scored, and broken."""

import importlib
import json
import shutil
from random import Random

import numpy as np
import pytest
import torch
from course_models import answers, entities, receipts, tones
from course_models.card import write_card
from safetensors import safe_open
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline

from lecture_lib.loading import ModelLoadError
from lecture_lib.pipelines import load_pipeline
from lecture_lib.pipelines.tasks import BUNDLED, TASKS

FOLDERS = sorted(path.parent for path in BUNDLED.glob("*/training.json"))
FOLDERS = [f for f in FOLDERS if "module" in json.loads((f / "training.json").read_text("utf-8"))]
NAMES = [folder.name for folder in FOLDERS]
OURS = {"course_tones", "course_entities", "course_answers", "course_receipts"}


def test_the_models_are_there_and_in_the_table_of_tasks():
    assert set(NAMES) >= OURS
    assert {task.model.replace("-", "_") for task in TASKS.values()} >= set(NAMES)


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_the_card_says_what_was_measured(folder, tmp_path):
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    write_card(tmp_path, facts)
    card = (folder / "README.md").read_text("utf-8")
    assert (tmp_path / "README.md").read_text("utf-8") == card
    for score in facts["scores"]:
        assert f"| {score['measure']} | {score['value']:.3f} | {score['n']:,} |" in card
    assert "license: mit" in card


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_the_weights_are_small_and_their_size_is_the_cards(folder):
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    path = folder / "model.safetensors"
    assert path.stat().st_size < 2_100_000
    row = next(row for row in TASKS.values() if row.model.replace("-", "_") == folder.name)
    assert float(row.megabytes) == pytest.approx(path.stat().st_size / 1e6, abs=0.5)
    with safe_open(path, "pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text("utf-8"))["dtype"] == "float32"
    recipe = importlib.import_module(f"course_models.{facts['module']}")
    assert (facts["steps"], facts["task"]) == (recipe.STEPS, recipe.TASK)
    assert tuple(facts[name] for name in ("about", "data", "limits")) == (
        recipe.ABOUT,
        recipe.DATA,
        recipe.LIMITS,
    )


@pytest.mark.parametrize("name", sorted(OURS))
def test_held_out_examples_come_out_right(name):
    facts = json.loads((BUNDLED / name / "training.json").read_text("utf-8"))
    assert facts["scores"][0]["value"] > 0.95
    recipe = importlib.import_module(f"course_models.{facts['module']}")
    assert recipe.score(BUNDLED / name, 40, seed=1)[0]["value"] >= 0.85


@pytest.mark.parametrize("name", ["course_tones", "course_entities", "course_receipts"])
def test_a_damaged_file_is_one_clear_error_and_the_others_still_run(name, tmp_path):
    shutil.copytree(BUNDLED / name, tmp_path / name)
    path = tmp_path / name / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    task = next(t for t, row in TASKS.items() if row.model.replace("-", "_") == name)
    with pytest.raises(ModelLoadError, match=name):
        load_pipeline(task, model=tmp_path / name, device="cpu")
    assert load_pipeline(task, device="cpu").model.dtype is torch.float32


# -- one example each, against the truth ----------------------------------------------------------


def test_sounds_are_named():
    classify = pipeline("audio-classification", model=str(BUNDLED / "course_tones"))
    t = np.arange(tones.SAMPLING_RATE) / tones.SAMPLING_RATE
    rising = 0.3 * np.sin(2 * np.pi * (300 * t + 300 * t**2))
    assert classify(rising)[0]["label"] == "rising"
    assert classify(rising[::-1].copy())[0]["label"] == "falling"
    clips, labels = tones.examples(12, 7)
    assert classify(clips[0])[0]["label"] == tones.LABELS[labels[0]]


def test_the_same_name_is_a_person_or_a_place():
    tag = pipeline(
        "token-classification", model=str(BUNDLED / "course_entities"),
        aggregation_strategy="first",
    )  # fmt: skip
    text = "Florence met April in Sydney on 4 May. On Friday, Paris flew from Georgia to Jordan."
    found = [(text[a["start"] : a["end"]], a["entity_group"]) for a in tag(text)]
    assert found == [
        ("Florence", "person"), ("April", "person"), ("Sydney", "place"), ("4 May", "date"),
        ("Friday", "date"), ("Paris", "person"), ("Georgia", "place"), ("Jordan", "place"),
    ]  # fmt: skip


def test_the_answer_is_found_in_the_text():
    folder = BUNDLED / "course_answers"
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    story = "Ada bought a lamp in Oslo on 4 May for 12 euros. On 9 June 1980, Ben was born in Rome."
    for question, expected in {
        "Where was Ben born?": "Rome",
        "Who bought the lamp?": "Ada",
        "When did Ada buy the lamp?": "4 May",
        "How much did the lamp cost?": "12",
    }.items():
        assert answers.answer(model, tokenizer, question, story) == expected


def test_a_receipt_is_read_by_its_boxes_and_not_in_its_order():
    ask = pipeline("document-question-answering", model=str(BUNDLED / "course_receipts"))
    rows = ["Lima Bakery", "4 May 2024", "brown bread|3.20", "coffee|5.40", "butter|2.10",
            "Total|10.70"]  # fmt: skip
    words = []
    for i, row in enumerate(rows):
        name, _, price = row.partition("|")
        for cell, x in ((name, 32), (price, 448 - 12 * len(price))):
            for word in cell.split():
                box = (x, 72 + 40 * i, x + 12 * len(word), 92 + 40 * i)  # of 480 by 640 pixels
                words.append(
                    (word, [1000 * a // b for a, b in zip(box, (480, 640) * 2, strict=True)])
                )
                x += 12 * (len(word) + 1)
    boxes = dict(words)
    exchanged = {"5.40": boxes["2.10"], "2.10": boxes["5.40"]}
    for given, price in (
        (words, "5.40"),
        (sorted(words), "5.40"),
        ([(word, exchanged.get(word, box)) for word, box in words], "2.10"),
    ):
        found = ask(image=None, question="What does the coffee cost?", word_boxes=given)
        assert found[0]["answer"] == price


# -- the data -------------------------------------------------------------------------------------


def test_data_is_the_same_each_time_and_its_answers_are_in_it():
    for _ in range(2):
        text, spans = entities.examples(1, Random(5))[0]
        assert (text, spans) == entities.examples(1, Random(5))[0]
    random = Random(3)
    for _ in range(300):
        question, text, start, answer = answers.example(random)
        assert text[start : start + len(answer)] == answer
        assert question.endswith("?")
        question, words, first, last = receipts.example(random)
        assert 0 <= first <= last < len(words)
        assert all(0 <= side <= 1000 for _, box in words for side in box)
    for label in tones.LABELS:
        wave = tones.clip(label, np.random.default_rng(0))
        assert wave.shape == (16_000,)
        assert 0.01 < np.abs(wave).max() <= 1
