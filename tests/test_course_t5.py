"""The course T5: its data is right, what is held out stays out, and it does what its card says."""

import datetime
import json
import re
from random import Random

import pytest
import torch
from course_t5 import data, numbers_dates, reports, sentences
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from lecture_lib.course_t5 import FOLDER

HELD_OUT = [
    json.loads(line) for line in (FOLDER / "held_out.jsonl").read_text("utf-8").splitlines()
]
FACTS = json.loads((FOLDER / "training.json").read_text("utf-8"))
NO_TEACHER = ("dates", "weather", "match", "timetable")  # these need no num2words


@pytest.fixture(scope="module")
def answer():
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)

    def run(sources):
        batch = tokenizer(sources, padding=True, return_tensors="pt")
        output = model.generate(**batch, max_new_tokens=96, do_sample=False)
        return tokenizer.batch_decode(output, skip_special_tokens=True)

    return run


# -- the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", data.TASKS)
def test_held_out_inputs_come_out_exactly(task, answer):
    pairs = [pair for pair in HELD_OUT if pair["task"] == task]
    assert len(pairs) == 40
    for pair in pairs:
        assert data.is_held_out(pair["input"].removeprefix(data.TASKS[task].prefix))
    found = answer([pair["input"] for pair in pairs])
    wrong = [(p["input"], f) for p, f in zip(pairs, found, strict=True) if f != p["output"]]
    # The card's 99% is of 500 a task; of these 40, three wrong ones would be unlikely at 99%.
    assert len(wrong) <= 2, wrong


def test_the_card_says_what_was_measured(tmp_path):
    assert set(FACTS["held_out"]) == set(data.TASKS)
    card = (FOLDER / "README.md").read_text("utf-8")
    for task, result in FACTS["held_out"].items():
        assert result["correct"] >= 0.99 * result["n"], task
        share = f"{result['correct'] / result['n']:.1%}"
        assert f"| {task} | {result['correct']} | {result['n']} | {share} |" in card
    assert f"{FACTS['n_params']:,} parameters" in card
    assert f"{FACTS['steps']:,} steps" in card
    from course_t5.card import write_card

    write_card(tmp_path, FACTS)
    assert (tmp_path / "README.md").read_text("utf-8") == card


def test_the_files_are_what_the_card_says():
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER)
    assert sum(p.numel() for p in model.parameters()) == FACTS["n_params"]
    assert model.dtype is torch.float16
    assert (
        model.config.vocab_size == FACTS["vocab_size"] == len(AutoTokenizer.from_pretrained(FOLDER))
    )
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5_000_000


def test_the_prefix_counts(answer):
    lines = (FOLDER / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    pairs = [(pair["input"], pair["output"]) for pair in pairs if pair["task"] == "numbers"]
    words = [source.removeprefix(data.TRANSLATE) for source, _ in pairs]
    asked_to_summarize = answer([data.SUMMARIZE + text for text in words])
    right = sum(got == wanted for got, (_, wanted) in zip(asked_to_summarize, pairs, strict=True))
    assert right < 0.75 * len(pairs)
    text = "Oslo played at home against Lima. Oslo won 3 to 1."
    assert answer([f"summarize: {text}"]) == ["Oslo beat Lima 3-1."]


def test_french_comes_back_from_its_pieces():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    for pair in HELD_OUT:
        ids = tokenizer(pair["output"]).input_ids
        assert ids[-1] == tokenizer.eos_token_id == 1
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == pair["output"]
    assert tokenizer.decode(tokenizer("Any ASCII: {[@#~]}").input_ids[:-1]) == "Any ASCII: {[@#~]}"


# -- the data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", NO_TEACHER)
def test_training_and_held_out_pairs_share_no_input(task):
    random = Random(0)
    train = {data.make_pair(task, random, held_out=False)[0] for _ in range(3000)}
    held = {data.make_pair(task, random, held_out=True)[0] for _ in range(1000)}
    assert not train & held
    assert not train & {pair["input"] for pair in HELD_OUT}
    assert all(source.startswith(data.TASKS[task].prefix) for source in train | held)


def test_data_is_the_same_each_time():
    assert data.held_out_pairs("match", 5, seed=3) == data.held_out_pairs("match", 5, seed=3)
    assert data.held_out_pairs("match", 5, seed=3) != data.held_out_pairs("match", 5, seed=4)
    assert sum(task.share for task in data.TASKS.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="task: 'colours' is none of numbers"):
        data.make_pair("colours", Random(0), held_out=False)


def test_months_and_weekdays_are_babels():
    from babel import dates

    for name, table, days in (
        ("MMMM", numbers_dates.MONTHS, [datetime.date(2024, m, 1) for m in range(1, 13)]),
        ("EEEE", numbers_dates.WEEKDAYS, [datetime.date(2024, 1, d) for d in range(1, 8)]),
    ):
        for day, (english, french) in zip(days, table.items(), strict=True):
            assert dates.format_date(day, name, locale="en") == english
            assert dates.format_date(day, name, locale="fr") == french


def test_dates_are_dates():
    random = Random(1)
    for _ in range(300):
        source, target = numbers_dates.date_pair(random)
        day, month, year = re.search(r"(\d{1,2})(?:er)? (\w+) (\d{4})", target).groups()
        months = list(numbers_dates.MONTHS.values())
        date = datetime.date(int(year), months.index(month) + 1, int(day))
        assert f"{date:%B}" in source
        assert str(date.day) in source
        assert str(date.year) in source
        assert (f"{day}er" in target) == (day == "1")
        weekday = list(numbers_dates.WEEKDAYS.values())[date.weekday()]
        spoken = [w for w in numbers_dates.WEEKDAYS.values() if w in target]
        assert spoken in ([], [weekday])


def test_times_of_day_count_to_24():
    random = Random(2)
    for _ in range(200):
        english, french = numbers_dates._clock_in_digits(random)
        hour, minute = french.split(" h ")
        moment = datetime.time(int(hour), int(minute))
        assert english == f"{moment.hour % 12 or 12}:{moment:%M} {moment:%p}".replace(
            "AM", "a.m"
        ).replace("PM", "p.m")


@pytest.mark.parametrize("number", [0, 17, 21, 71, 80, 81, 200, 201, 80_000, 200_000, 421_306])
def test_number_words_are_the_teachers(number):
    # Checked by hand against the spelling of 1990's predecessor, which num2words follows.
    expected = {
        0: "zéro", 17: "dix-sept", 21: "vingt et un", 71: "soixante et onze",
        80: "quatre-vingts", 81: "quatre-vingt-un", 200: "deux cents", 201: "deux cent un",
        80_000: "quatre-vingt mille", 200_000: "deux cent mille",
        421_306: "quatre cent vingt et un mille trois cent six",
    }  # fmt: skip
    assert numbers_dates.number_words(number, "fr") == expected[number]


# Written by hand, each for one thing that French does.
@pytest.mark.parametrize(
    ("noun", "adjective", "plural", "expected"),
    [
        ("tree", "beautiful", False, "bel"),
        ("tree", "old", False, "vieil"),
        ("cat", "old", False, "vieux"),
        ("tree", "new", True, "nouveaux"),
        ("apple", "beautiful", False, "belle"),
        ("apple", "expensive", True, "chères"),
        ("horse", "white", True, "blancs"),
        ("clock", "old", False, "vieille"),
    ],
)
def test_adjectives_agree(noun, adjective, plural, expected):
    noun = next(n for n in sentences.NOUNS if n.english == noun)
    adjective = next(a for a in sentences.ADJECTIVES if a.english == adjective)
    assert adjective.form(noun, plural) == expected


def test_words_lose_their_vowel_before_another():
    assert sentences._elide("je", "achète") == "j'"
    assert sentences._elide("je", "vois") == "je "
    assert sentences._elide("ne", "ai") == "n'"
    assert sentences._elide("de", "horloge") == "d'"
    assert sentences._elide("est-ce que", "elle") == "est-ce qu'"
    assert sentences._elide("elle", "achète") == "elle "


def test_sentences_keep_the_rules_of_french():
    random = Random(3)
    for _ in range(2000):
        english, french = sentences.sentence_pair(random)
        assert english[0].isupper()
        assert "  " not in english + french
        # je, ne, de, la, ce never stand before a vowel; un, cet and mon may.
        assert not re.search(r"\b(je|ne|de|la|ce|ma|que) [aeiouéèêœh]", french.lower()), french
        assert ("not" in english.split()) == (" pas " in french)
        assert english.endswith("?") == french.endswith(" ?") == french.startswith("Est-ce qu")
        if "not" in english.split():
            assert not re.search(r" (un|une) ", french), french
        assert not re.search(r"\ba [aeiou]", english), english


@pytest.mark.parametrize("seed", range(200))
def test_summaries_say_what_the_report_says(seed):
    random = Random(seed)
    report, line = reports.match_pair(random)
    home, away = re.match(
        r"(?:\d+,000 people saw )?(.+?) (?:played at home )?against (.+?)\. ", report
    ).groups()
    goals, goals_away = map(int, re.search(r"(\d) to (\d)", report).groups())
    assert goals >= goals_away
    if goals == goals_away:
        assert line == f"{home} and {away} drew {goals}-{goals}."
    else:
        others = report.split(". ", 1)[1]
        (winner,) = {city for city in (home, away) if city in others}
        loser = away if winner == home else home
        assert line == f"{winner} beat {loser} {goals}-{goals_away}."
    report, line = reports.weather_pair(random)
    high = re.search(r"(-?\d+) degrees\.", report).group(1)
    assert f", {high} degrees, " in line
    report, line = reports.timetable_pair(random)
    new, old = re.search(r": (\S+) instead of (\S+),", line).groups()
    assert old in report.split(". ")[0]
    assert new in report.split(". ", 1)[1]
    platform = re.search(r"platform (\d+)\.$", line).group(1)
    assert re.search(rf"(to|from) platform {platform}\b", report)
