"""The toy models for searches: the lecture's, ours, and random ones."""

import math

import pytest

from lecture_lib.decoding import (
    beam_finds_what_greedy_misses,
    beam_loses_to_greedy,
    beam_search,
    greedy_search,
    lecture_greedy,
    lecture_tree,
    random_toy,
)


def found(model, k, depth=3):
    trace = beam_search(model, num_beams=k, max_new_tokens=depth, length_penalty=0.0)
    [sequence] = trace.sequences
    tokens = model.decode(sequence)
    return "".join(tokens), model.probability(tokens)


def greedy(model, depth=3):
    tokens = model.decode(greedy_search(model, max_new_tokens=depth))
    return "".join(tokens), model.probability(tokens)


def test_the_lecture_s_two_models_differ_in_their_third_step():
    assert greedy(lecture_greedy()) == ("ILU", pytest.approx(0.378))
    assert found(lecture_tree(), 2) == ("ILU", pytest.approx(0.294))
    assert lecture_greedy().next_distribution("I L")["U"] == 0.9
    assert lecture_tree().next_distribution("I L")["U"] == 0.7


def test_beam_search_can_lose_to_greedy():
    model = beam_loses_to_greedy()
    assert greedy(model) == ("AAA", pytest.approx(0.144))
    assert found(model, 2)[1] == pytest.approx(0.05712)
    assert found(model, 1) == greedy(model)


def test_beam_search_finds_what_greedy_misses():
    model = beam_finds_what_greedy_misses()
    best, p = max(model.all_sequences(3).items(), key=lambda item: item[1])
    assert found(model, 2) == ("".join(best), pytest.approx(p))
    assert p > 1.5 * greedy(model)[1]


def test_a_seed_gives_a_model_of_its_own_and_always_the_same():
    assert random_toy(3, seed=7).table == random_toy(3, seed=7).table
    assert random_toy(3, seed=7).table != random_toy(3, seed=8).table
    assert len(random_toy(5, seed=0).table) == 1 + 3 + 9 + 27 + 81
    with pytest.raises(ValueError, match="depth: needs an integer from 1 to 6, got 0"):
        random_toy(0, seed=0)


def test_probabilities_are_round_numbers_and_all_different():
    model = random_toy(3, seed=0)
    for distribution in model.table.values():
        values = list(distribution.values())
        assert len(set(values)) == 3
        assert all(math.isclose(v * 50, round(v * 50)) for v in values)
