"""Beam search on models small enough to check by hand, or by listing every text."""

import math

import pytest
import torch

from lecture_lib.decoding import ToyLM, beam_search, greedy_search, lecture_tree
from lecture_lib.decoding.beam_search import Candidate, find_candidates

START = Candidate([], 0, 0.0, 0.0, 1)


def search(model, k=2, n=3, **options):
    return beam_search(model, num_beams=k, max_new_tokens=n, **options)


def texts(model, trace):
    return ["".join(model.decode(sequence)) for sequence in trace.sequences]


def going_on(model, trace, step):
    """{text: probability} of what is kept, or finished, at a step."""
    return {
        "".join(model.decode(node.tokens)): round(math.exp(node.score), 6)
        for node in trace.steps[step - 1]
        if node.status != "pruned"
    }


def random_model(n_tokens: int, seed: int, spread: float = 1.5):
    """p(next | text) of n_tokens tokens, different after every text; float64."""

    def next_log_probs(prefixes):
        rows = []
        for prefix in prefixes:
            number = sum((token + 1) * 31**i for i, token in enumerate(prefix)) * 1000 + seed
            generator = torch.Generator().manual_seed(number)
            rows.append(torch.randn(n_tokens, generator=generator, dtype=torch.float64) * spread)
        return torch.stack(rows).log_softmax(-1)

    return next_log_probs


def all_texts(model, n_tokens, n, ends, penalty):
    """Every text that can end within n tokens, with its final score, the best first."""
    found, open_ = [], [((), 0.0)]
    for length in range(1, n + 1):
        rows = model([list(tokens) for tokens, _ in open_]).tolist()
        grown = [
            ((*tokens, token), score + row[token])
            for (tokens, score), row in zip(open_, rows, strict=True)
            for token in range(n_tokens)
        ]
        ended = [(t, s) for t, s in grown if t[-1] in ends or length == n]
        open_ = [(t, s) for t, s in grown if t[-1] not in ends]
        found += [(list(t), s / length**penalty) for t, s in ended]
    return sorted(found, key=lambda pair: -pair[1])


def test_the_lecture_s_tree():
    model = lecture_tree()
    trace = search(model, num_return_sequences=2)
    assert going_on(model, trace, 1) == {"I": 0.6, "L": 0.3}
    assert going_on(model, trace, 2) == {"IL": 0.42, "LI": 0.15}
    assert going_on(model, trace, 3) == {"ILU": 0.294, "ILL": 0.084}
    assert texts(model, trace) == ["ILU", "ILL"]
    assert trace.scores == pytest.approx([math.log(0.294) / 3, math.log(0.084) / 3])
    assert [len(trace.steps[step - 1]) for step in (1, 2, 3)] == [3, 6, 6]


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_what_listing_every_text_finds(seed, penalty):
    """81 beams hold all texts of two tokens: nothing is pruned before the end."""
    model = random_model(9, seed)
    trace = search(
        model, 81, 3, length_penalty=penalty, early_stopping="never", num_return_sequences=9
    )
    expected = all_texts(model, 9, 3, set(), penalty)[:9]
    assert trace.sequences == [tokens for tokens, _ in expected]
    assert trace.scores == pytest.approx([score for _, score in expected])


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("ends", [{0}, {0, 1}])
def test_a_wide_beam_finds_the_best_of_all_texts_that_end_anywhere(ends, penalty):
    """Three tokens that are possible, among 40: 27 beams hold every text of up to three of them."""
    lengths = set()
    for seed in range(8):
        small = random_model(3, seed)

        def model(prefixes, small=small):
            never = torch.full((len(prefixes), 37), -torch.inf, dtype=torch.float64)
            return torch.cat((small(prefixes), never), -1)

        trace = search(
            model, 27, 4, length_penalty=penalty, early_stopping="never", eos_token_id=ends
        )
        best, score = all_texts(small, 3, 4, ends, penalty)[0]
        assert trace.sequences == [best]
        assert trace.scores == pytest.approx([score])
        lengths.add(len(best))
    assert len(lengths) > 1 or penalty in (-1.0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_one_beam_is_greedy_search(seed):
    model = random_model(6, seed)
    for ends in (None, 2, [1, 2, 3]):
        expected = greedy_search(model, max_new_tokens=6, eos_token_id=ends)
        for early_stopping in (False, True, "never"):
            trace = search(model, 1, 6, eos_token_id=ends, early_stopping=early_stopping)
            assert trace.sequences == [expected]


# Two beams; E ends. At the start E is second, and so ends; the third, B, moves up.
ENDING = {
    "": {"A": 0.5, "E": 0.3, "B": 0.2},
    "A": {"A": 0.5, "B": 0.44, "E": 0.06},
    "B": {"A": 0.7, "B": 0.1, "E": 0.2},
    "A A": {"A": 0.1, "B": 0.1, "E": 0.8},
    "A B": {"A": 0.2, "B": 0.5, "E": 0.3},
}


def ending_trace(**options):
    model = ToyLM(ENDING, vocab=["A", "B", "E"])
    return model, search(model, eos_token_id=2, **options)


def status(model, trace, text):
    [node] = [n for n in trace.nodes if "".join(model.decode(n.tokens)) == text]
    return node.rank, node.status


def test_each_candidate_has_a_rank_and_a_status():
    model, trace = ending_trace(length_penalty=0.0, num_return_sequences=2)
    assert status(model, trace, "A") == (1, "kept")
    assert status(model, trace, "E") == (2, "finished")
    assert status(model, trace, "B") == (3, "kept")  # moves up, as E has ended
    assert status(model, trace, "BA") == (3, "pruned")
    assert status(model, trace, "AE") == (5, "pruned")  # an end outside the best 2 is dropped
    assert status(model, trace, "AAE") == (1, "finished")
    assert texts(model, trace) == ["E", "AAE"]


def test_the_length_penalty_turns_the_result_around():
    results = {
        penalty: texts(*ending_trace(length_penalty=penalty))[0] for penalty in (-1.0, 0.0, 1.0)
    }
    assert results == {-1.0: "E", 0.0: "E", 1.0: "AAE"}


def test_a_finished_text_does_not_narrow_the_search():
    _, trace = ending_trace()
    kept = [node for node in trace.steps[0] if node.status == "kept"]
    assert len(kept) == 2
    assert [node.status for node in trace.steps[0]] == ["kept", "finished", "kept"]


def test_a_better_text_displaces_one_that_was_finished():
    table = {"": {"A": 0.5, "E": 0.3, "B": 0.2}}
    model = ToyLM(table, vocab=["A", "B", "E"], default={"A": 0.5, "B": 0.3, "E": 0.2})
    trace = search(model, n=6, eos_token_id=2, early_stopping="never", length_penalty=2.0)
    assert status(model, trace, "E") == (2, "finished")
    assert "E" not in ["".join(model.decode(text.tokens)) for text in trace.finished]
    assert trace.finished[0].tokens == [0] * 6


# Both first continuations can end at once; whoever waits finds a better text.
WAITING = {
    "": {"A": 0.6, "B": 0.4},
    "A": {"E": 0.5, "A": 0.5},
    "B": {"E": 0.9, "A": 0.1},
    "A A": {"A": 1.0},
    "A A A": {"A": 1.0},
    "A A A A": {"E": 1.0},
}


def test_early_stopping_ends_the_search_at_different_steps():
    """By hand: in step 2 BE .36 and AE .30 end, AA .30 goes on and loses nothing any more."""
    model = ToyLM(WAITING, vocab=["E", "A", "B"], default={"E": 1.0})
    found = {}
    for early_stopping in (False, True, "never"):
        trace = search(model, n=6, eos_token_id=0, early_stopping=early_stopping)
        found[early_stopping] = (trace.n_steps, texts(model, trace)[0])
    # log .36 / 2 = -.51; AAAAE .3 ** (1 / 5): -.24. False compares with AA as if it ended at once.
    assert found == {True: (2, "BE"), False: (2, "BE"), "never": (5, "AAAAE")}


def test_equally_good_candidates_rank_by_beam_and_token():
    flat = torch.zeros(1, 50_000)
    flat[0, 40_000] = 1.0
    found = find_candidates([START], flat, 4)
    assert [candidate.tokens for candidate in found] == [[40_000], [0], [1], [2]]
    trace = search(lambda prefixes: torch.full((len(prefixes), 300), -5.7), 3, 2)
    assert [node.tokens[-1] for node in trace.steps[0]][:3] == [0, 1, 2]
    assert [node.parent for node in trace.steps[1]][:3] == [0, 0, 0]


def test_the_last_bit_of_a_toy_s_score_decides_nothing():
    """.6 · .1 = .3 · .2, but which sum of logarithms is larger depends on the processor."""
    score = math.log(0.06)
    for other in (math.nextafter(score, 0), math.nextafter(score, -9)):
        totals = torch.tensor([[score, other, math.log(0.42)]], dtype=torch.float64)
        assert [found.tokens for found in find_candidates([START], totals, 3)] == [[2], [0], [1]]


def test_impossible_candidates_are_no_candidates():
    model = ToyLM({"": {"A": 1.0}, "A": {"B": 1.0}}, vocab=["A", "B", "C"], default={"C": 1.0})
    trace = search(model, 2, 4)
    assert texts(model, trace) == ["ABCC"]
    assert len(trace.nodes) == 4


def test_only_what_the_search_considered_is_traced_of_a_large_vocabulary():
    trace = search(lambda p: torch.randn(len(p), 5000).log_softmax(-1), 3, 4, eos_token_id=[1, 2])
    assert [len(trace.steps[step - 1]) for step in (1, 2, 3, 4)] == [9, 9, 9, 9]
    assert {(n.rank <= 3) == (n.status != "pruned") for n in trace.nodes} == {True}


def test_the_table_says_what_the_nodes_say():
    model = lecture_tree()
    trace = search(model)
    table = trace.table(lambda token: model.vocab[token])
    assert len(table) == len(trace.nodes)
    row = table[(table.after == "I L") & (table.token == "U")].iloc[0]
    assert row["p(text)"] == pytest.approx(0.294)
    assert row.p == pytest.approx(0.7)
    assert row.status == "finished"
    assert row["final score"] == pytest.approx(math.log(0.294) / 3)


BAD = {
    "no beams": ({"num_beams": 0}, "num_beams: needs an integer of 1 or more, got 0"),
    "half a beam": ({"num_beams": 1.5}, "num_beams"),
    "True beams": ({"num_beams": True}, "num_beams"),
    "no tokens": ({"max_new_tokens": 0}, "max_new_tokens: needs an integer of 1 or more, got 0"),
    "returns": ({"num_return_sequences": 3}, "num_return_sequences: 3 texts out of num_beams=2"),
    "no returns": ({"num_return_sequences": 0}, "num_return_sequences"),
    "early": ({"early_stopping": "always"}, "early_stopping: needs False, True or 'never'"),
    "early number": ({"early_stopping": 1}, "early_stopping"),
    "penalty": ({"length_penalty": math.nan}, "length_penalty: needs a finite number"),
    "penalty text": ({"length_penalty": "long"}, "length_penalty"),
    "huge penalty": ({"length_penalty": 1e4}, "length_penalty"),
    "wide": ({"num_beams": 10**7}, "num_beams: needs an integer from 1 to 1,000,000"),
    "eos": ({"eos_token_id": 3}, "eos_token_id: 3 is outside 0..2"),
    "eos text": ({"eos_token_id": "U"}, "eos_token_id"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_explained(name):
    changes, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        beam_search(lecture_tree(), **{"num_beams": 2, "max_new_tokens": 3} | changes)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: torch.full((n, 4), -torch.inf), "all candidates have probability 0"),
        (lambda n: torch.full((n, 4), math.nan), "NaN"),
        (lambda n: torch.arange(4.0).expand(n, 4), "log_softmax"),
        (lambda n: torch.zeros(n + 1, 4), "must return"),
        (lambda n: torch.zeros(4), "must return"),
        (lambda n: torch.zeros(n, 4, dtype=torch.long), "must return log-probabilities"),
    ],
)
def test_what_is_no_distribution_is_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        search(lambda prefixes: answer(len(prefixes)))


def test_one_possible_text_is_not_two():
    model = ToyLM({}, vocab=["A", "B"], default={"A": 1.0})
    with pytest.raises(ValueError, match="only 1 texts"):
        search(model, num_return_sequences=2)
