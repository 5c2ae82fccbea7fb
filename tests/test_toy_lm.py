"""ToyLM, greedy search and the generation session, against enumeration and hand-made cases."""

import math
from itertools import product

import pytest
import torch

from lecture_lib.decoding import ToyLM, greedy_search, mouse_and_cheese


def test_the_lectures_three_probabilities():
    toy = mouse_and_cheese()
    assert toy.probability("the mouse ate the cheese") == pytest.approx(0.02)
    assert toy.probability("the cheese ate the mouse") == pytest.approx(0.01)
    assert toy.probability("mouse the the cheese ate") == pytest.approx(0.0001)


def test_every_length_is_a_distribution():
    toy = mouse_and_cheese()
    for length in (0, 1, 3, 5):
        joint = toy.all_sequences(length)
        assert len(joint) == 5**length
        assert math.fsum(joint.values()) == pytest.approx(1)


def test_conditionals_are_ratios_of_marginals():
    toy = mouse_and_cheese()
    joint = toy.all_sequences(4)
    for prefix in product(toy.vocab, repeat=2):
        before = sum(p for text, p in joint.items() if text[:2] == prefix)
        for token, conditional in toy.next_distribution(prefix).items():
            both = sum(p for text, p in joint.items() if text[:3] == (*prefix, token))
            assert both / before == pytest.approx(conditional)


def test_next_log_probs_has_a_row_for_each_prefix():
    toy = ToyLM({"": {"a": 1.0}, "a": {"a": 0.25, "b": 0.75}})
    rows = toy.next_log_probs([[], [0]])
    assert rows.shape == (2, 2)
    assert rows.dtype == torch.float64
    assert rows[0, 1] == -math.inf
    torch.testing.assert_close(rows[1].exp(), torch.tensor([0.25, 0.75], dtype=torch.float64))
    assert toy([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"": {"a": 0.5}}, {}, "sum to 1, got 0.5"),
        ({"": {"a": 1.5, "b": -0.5}}, {}, "must be 0 or more"),
        ({"": {"a": math.nan, "b": 1.0}}, {}, "must be 0 or more"),
        ({"": {"a": 1.0}}, {"vocab": ["b"]}, "'a' is not in the vocabulary"),
        ({"x": {"a": 1.0}}, {}, "'x' is not in the vocabulary"),
        ({"": {"a": 1.0}}, {"vocab": ["a", "a"]}, "no repeats"),
        ({}, {}, "at least one token"),
    ],
)
def test_a_wrong_table_is_refused(table, options, message):
    with pytest.raises(ValueError, match=message):
        ToyLM(table, **options)


def test_wrong_questions_are_refused():
    toy = ToyLM({"": {"a": 1.0}})
    with pytest.raises(KeyError, match="no distribution after 'a'"):
        toy.next_distribution("a")
    with pytest.raises(ValueError, match="'z' is not in the vocabulary"):
        toy.probability("z")
    with pytest.raises(ValueError, match=r"token_ids: needs an integer from 0 to 0, got 7"):
        toy.next_log_probs([[7]])
    with pytest.raises(ValueError, match="too many to list"):
        mouse_and_cheese().all_sequences(20)


def test_greedy_takes_the_best_token_at_each_step_and_stops():
    table = {"": {"a": 0.6, "b": 0.4}, "a": {"b": 0.9, "a": 0.1}, "a b": {"end": 1.0}}
    toy = ToyLM(table, default={"a": 1.0})
    end = toy.encode("end")[0]
    assert toy.decode(greedy_search(toy, max_new_tokens=9, eos_token_id=end)) == ["a", "b", "end"]
    assert toy.decode(greedy_search(toy, max_new_tokens=9, eos_token_id=[end])) == ["a", "b", "end"]
    assert toy.decode(greedy_search(toy, max_new_tokens=2, eos_token_id=end)) == ["a", "b"]
    assert len(greedy_search(toy, max_new_tokens=9)) == 9


def test_greedy_refuses_bad_input():
    with pytest.raises(ValueError, match="max_new_tokens: needs an integer from 1 to 1,000, got 0"):
        greedy_search(mouse_and_cheese(), max_new_tokens=0)
    with pytest.raises(ValueError, match="no possible token"):
        greedy_search(lambda prefixes: torch.full((1, 3), -math.inf), max_new_tokens=1)
