"""The lecture's toy models for searches, and those that a search over toy models finds."""

import math

import pytest

from lecture_lib.decoding import (
    beam_finds_what_greedy_misses,
    beam_loses_to_greedy,
    beam_search,
    find_toy_model,
    greedy_search,
    lecture_greedy,
    lecture_tree,
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


def test_the_search_over_toys_finds_both_kinds_and_always_the_same():
    wins = find_toy_model(lambda greedy_p, beam_p, best_p: beam_p > greedy_p, seed=3)
    again = find_toy_model(lambda greedy_p, beam_p, best_p: beam_p > greedy_p, seed=3)
    assert wins.model.table == again.model.table
    loses = find_toy_model(lambda greedy_p, beam_p, best_p: beam_p < greedy_p, depth=5)
    for toy, depth in ((wins, 3), (loses, 5)):
        assert toy.greedy_p == pytest.approx(greedy(toy.model, depth)[1])
        assert toy.beam_p == pytest.approx(found(toy.model, 2, depth)[1])
        assert toy.best_p == pytest.approx(max(toy.model.all_sequences(depth).values()))
    assert wins.beam_p > wins.greedy_p
    assert loses.beam_p < loses.greedy_p <= loses.best_p


def test_the_search_over_toys_gives_up_and_refuses_nonsense(monkeypatch):
    monkeypatch.setattr("lecture_lib.decoding.toy_models._MAX_TRIES", 20)
    with pytest.raises(ValueError, match="none of 20 models"):
        find_toy_model(lambda greedy_p, beam_p, best_p: beam_p > 1)
    with pytest.raises(ValueError, match="depth: needs an integer from 1 to 6, got 0"):
        find_toy_model(lambda *p: True, depth=0)


def test_probabilities_are_round_numbers_and_all_different():
    model = beam_finds_what_greedy_misses()
    for distribution in model.table.values():
        values = list(distribution.values())
        assert len(set(values)) == 3
        assert all(math.isclose(v * 50, round(v * 50)) for v in values)
