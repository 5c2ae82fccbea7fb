"""Sampling filters: equal to Transformers' logits processors, on any logits; the lecture's toys."""

import math

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lecture_lib.decoding import (
    SamplingSettings,
    apply_repetition_penalty,
    apply_temperature,
    sampling_distribution,
    top_k_filter,
    top_p_filter,
    toy_logits,
)
from lecture_lib.decoding.sampling import filter_logits, min_p_filter
from lecture_lib.decoding.toy_models import TOY_DISTRIBUTIONS

pytestmark = pytest.mark.parity

INF = math.inf
IDS = torch.zeros(1, 1, dtype=torch.long)  # what most processors are given and never look at


def _seeded(*shape, scale=3.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def _one_hot(vocab_size=12):
    return torch.full((1, vocab_size), -INF).index_fill(1, torch.tensor([7]), 0.0)


def _some_impossible():
    return _seeded(3, 40).masked_fill(torch.arange(40) % 3 == 0, -INF)


LOGITS = {
    "random": _seeded(4, 50),
    "sharp": _seeded(4, 50, scale=30.0),
    "real size": _seeded(2, 49152),
    "flat": torch.zeros(2, 17),
    "flat, huge": torch.full((1, 9), 1e30),
    "ties": torch.tensor([[2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 2.0], [0.0, 1, 1, 1, 1, 1, 1, 1]]),
    "many ties": _seeded(3, 200).round(),
    "-inf": _some_impossible(),
    "one-hot": _one_hot(),
    "one-hot, huge": torch.eye(5) * 1e4,
    "huge": _seeded(2, 30, scale=1e30),
    "tiny": _seeded(2, 30, scale=1e-30),
    "one token": torch.tensor([[3.0]]),
    "two tokens": torch.tensor([[3.0, 3.0], [-1e20, 1e20]]),
    "probability exactly p": torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log(),
    "float64": _seeded(3, 40).double(),
    "bfloat16": _seeded(3, 40).bfloat16(),
}
FILTERS = {
    "temperature": (
        apply_temperature, TemperatureLogitsWarper, [0.05, 0.7, 1.0, 1.5, 100.0], {},
    ),
    "top_k": (top_k_filter, TopKLogitsWarper, [1, 2, 3, 7, 50, 10**6], {}),
    "top_p": (top_p_filter, TopPLogitsWarper, [1e-9, 0.1, 0.5, 0.75, 0.92, 0.999999, 1.0], {}),
    "min_p": (min_p_filter, MinPLogitsWarper, [0.0, 0.01, 0.1, 0.5, 1.0], {}),
}  # fmt: skip


@pytest.mark.parametrize("logits", LOGITS.values(), ids=LOGITS)
@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_equals_transformers_and_leaves_its_input_alone(name, logits):
    ours, theirs, values, options = FILTERS[name]
    before = logits.clone()
    for value in values:
        expected = theirs(value, **options)(IDS, logits.clone())
        got = ours(logits, value, **options)
        assert torch.equal(got, expected), value
        assert got.dtype == logits.dtype
        assert torch.equal(ours(logits[0], value), expected[0]), f"one row, {value}"
    assert torch.equal(logits, before)


@pytest.mark.parametrize("keep", [2, 5])
@pytest.mark.parametrize(("k", "p", "min_p"), [(1, 1.0, 0), (7, 0.3, 0.5), (3, 0.9, 0), (9, 1, 1)])
def test_min_tokens_to_keep_equals_transformers(k, p, min_p, keep):
    """Several filters after one another, as beam-search sampling has them; never with ties."""
    least = {"min_tokens_to_keep": keep}
    theirs = LogitsProcessorList([TemperatureLogitsWarper(1.5), TopKLogitsWarper(k, **least)])
    theirs += [TopPLogitsWarper(p, **least), MinPLogitsWarper(min_p, **least)]
    settings = SamplingSettings(1.5, k, p, min_p)
    for name in ("random", "sharp", "real size", "-inf", "float64"):
        logits = LOGITS[name]
        expected = theirs(IDS, logits.clone())
        assert torch.equal(filter_logits(logits, settings, **least), expected), name
        assert ((expected > -INF).sum(-1) >= keep).all()


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.2, 3.0])
def test_repetition_penalty_equals_transformers(penalty):
    for name, logits in LOGITS.items():
        generator = torch.Generator().manual_seed(1)
        shape = (len(logits), 6)  # ids repeat, which must not penalise twice
        ids = torch.randint(0, logits.shape[-1], shape, generator=generator)
        expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
        assert torch.equal(apply_repetition_penalty(logits, ids, penalty), expected), name
        one_row = apply_repetition_penalty(logits[0], ids[0].tolist(), penalty)
        assert torch.equal(one_row, expected[0]), name


def test_repetition_penalty_takes_rows_of_different_lengths():
    logits = LOGITS["random"]
    rows = [[1, 2, 3], [4], [], [5, 5]]
    got = apply_repetition_penalty(logits, rows, 2.0)
    for row, ids in enumerate(rows):
        assert torch.equal(got[row], apply_repetition_penalty(logits[row], ids, 2.0))
    assert torch.equal(got[2], logits[2])
    assert not torch.equal(got[1], logits[1])


def _transformers_list(settings: SamplingSettings, vocab_size: int):
    """The processors that generate itself makes, in its own order."""
    from engine_models import llama, random_model
    from transformers import GenerationConfig

    model = random_model(llama(vocab_size=260))
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    arguments = {name: getattr(settings, name) for name in names}
    arguments["top_k"] = arguments["top_k"] or 0
    config = GenerationConfig(do_sample=True, num_beams=1, **arguments)
    return model._get_logits_processor(config, input_ids_seq_length=3)


GRID = [
    {},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.9},
    {"temperature": 1.8, "top_k": 7, "top_p": 0.5},
    {"temperature": 2.5, "top_p": 0.8, "min_p": 0.3},
    {"temperature": 0.4, "top_k": 9, "top_p": 0.95, "min_p": 0.02},
    {"temperature": 1.3, "top_p": 0.92, "repetition_penalty": 1.3},
    {"top_k": 3, "repetition_penalty": 0.7, "min_p": 0.1},
    {"top_k": 1},
]


@pytest.mark.parametrize("arguments", GRID, ids=str)
def test_the_distribution_equals_generate_s_processors_in_their_order(arguments):
    settings = SamplingSettings(**arguments)
    processors = _transformers_list(settings, 260)
    for name in ("random", "real size", "many ties", "-inf", "one-hot", "huge", "flat"):
        logits = LOGITS[name]
        ids = torch.arange(3).expand(len(logits), 3)
        expected = processors(ids, logits.clone())
        got = filter_logits(logits, settings, previous_ids=ids)
        assert torch.equal(got, expected), name
        probs = sampling_distribution(logits, **arguments, previous_ids=ids)
        assert torch.equal(probs, expected.softmax(-1)), name
        assert torch.allclose(probs.sum(-1), torch.ones(len(logits)))


def test_the_nucleus_depends_on_the_order():
    """Top-p after temperature, and after top-k, keeps another set than before."""
    logits = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.05]).log()

    def kept(x):
        return (x > -INF).nonzero().flatten().tolist()

    assert kept(top_p_filter(top_k_filter(logits, 3), 0.75)) == [0, 1]
    assert kept(top_k_filter(top_p_filter(logits, 0.75), 3)) == [0, 1, 2]
    assert kept(sampling_distribution(logits, top_k=3, top_p=0.75).log()) == [0, 1]
    warm = sampling_distribution(logits, temperature=3.0, top_p=0.75)
    assert kept(warm.log()) == [0, 1, 2, 3]
    assert kept(apply_temperature(top_p_filter(logits, 0.75), 3.0)) == [0, 1, 2]


def test_the_nucleus_is_the_smallest_set_that_reaches_p():
    """Against the definition, by hand in float64, where float32's rounding can't decide."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        logits = 3 * torch.randn(60, generator=generator, dtype=torch.float64)
        probs = logits.softmax(-1)
        for p in (0.1, 0.5, 0.9, 0.99):
            kept = set((top_p_filter(logits, p) > -INF).nonzero().flatten().tolist())
            mass, nucleus = 0.0, set()
            for token in probs.argsort(descending=True).tolist():
                nucleus.add(token)
                mass += float(probs[token])
                if mass >= p:
                    break
            assert kept == nucleus


def test_top_k_1_is_greedy_and_defaults_change_nothing():
    logits = LOGITS["random"]
    probs = sampling_distribution(logits, top_k=1)
    assert torch.equal(probs.argmax(-1), logits.argmax(-1))
    assert (probs.amax(-1) == 1).all()
    assert torch.equal(sampling_distribution(logits), logits.softmax(-1))
    assert torch.equal(sampling_distribution(logits, top_k=0), logits.softmax(-1))
    assert torch.equal(sampling_distribution(logits, top_k=None), logits.softmax(-1))


def test_half_precision_is_raised_to_float32_as_generate_does():
    logits = LOGITS["bfloat16"]
    probs = sampling_distribution(logits, temperature=0.7, top_p=0.9)
    assert probs.dtype == torch.float32
    assert torch.equal(probs, sampling_distribution(logits.float(), temperature=0.7, top_p=0.9))


def test_integers_and_lists_are_taken_as_numbers():
    assert top_k_filter([3, 1, 2], 2).tolist() == [3.0, -INF, 2.0]
    assert sampling_distribution([[0, 0]]).tolist() == [[0.5, 0.5]]


GOOD = torch.tensor([0.0, 1.0, 2.0])
BAD_SETTINGS = [
    (apply_temperature, 0, "use greedy search"),
    (apply_temperature, -1.0, "temperature: needs a number above 0, got -1.0"),
    (apply_temperature, math.nan, "temperature"),
    (apply_temperature, INF, "temperature"),
    (apply_temperature, "warm", "temperature: needs a number above 0, got 'warm'"),
    (top_k_filter, 0, "top_k: needs an integer of 1 or more, got 0"),
    (top_k_filter, -3, "top_k"),
    (top_k_filter, 2.0, "top_k"),
    (top_k_filter, True, "top_k"),
    (top_k_filter, None, "top_k"),
    (top_p_filter, 0, r"top_p: needs a number above 0 and at most 1, got 0; .* use top_k=1"),
    (top_p_filter, 1.1, "top_p"),
    (top_p_filter, -0.1, "top_p"),
    (top_p_filter, math.nan, "top_p"),
    (min_p_filter, -0.1, "min_p: needs a number from 0 to 1"),
    (min_p_filter, 1.1, "min_p"),
]


@pytest.mark.parametrize(("function", "value", "message"), BAD_SETTINGS)
def test_bad_settings_are_named(function, value, message):
    with pytest.raises(ValueError, match=message):
        function(GOOD, value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": False}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": 0.0, "previous_ids": [0]}, "repetition_penalty"),
        ({"repetition_penalty": 1.2}, "previous_ids: the repetition penalty needs"),
        ({"repetition_penalty": 1.2, "previous_ids": [3]}, r"3 is outside the vocabulary, 0\.\.2"),
        ({"repetition_penalty": 1.2, "previous_ids": [-1]}, "-1 is outside"),
        ({"repetition_penalty": 1.2, "previous_ids": [[0]]}, "previous_ids"),
        ({"repetition_penalty": 1.2, "previous_ids": [0.5]}, "previous_ids"),
    ],
)
def test_bad_arguments_of_the_distribution_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sampling_distribution(GOOD, **arguments)


BAD_LOGITS = [
    (torch.full((3,), -INF), "is -inf everywhere: no token is possible"),
    (torch.tensor([[0.0, 1.0], [-INF, -INF]]), "row 1 is -inf everywhere"),
    (torch.tensor([[0.0, 1.0], [math.nan, 0.0]]), "row 1 holds NaN"),
    (torch.tensor([0.0, INF]), r"holds \+inf"),
    (torch.zeros(2, 2, 2), r"needs shape \(V,\) or \(B, V\), got \(2, 2, 2\)"),
    (torch.tensor(1.0), "shape"),
    (torch.zeros(0), "shape"),
    (torch.zeros(2, 0), "shape"),
    (torch.tensor([True, False]), "bool"),
    ([[0.0, 1.0], [0.0]], "rows of one length"),
    ("logits", "needs numbers"),
    (None, "needs numbers"),
]


@pytest.mark.parametrize(("logits", "message"), BAD_LOGITS)
def test_bad_logits_are_refused_by_every_function(logits, message):
    calls = [
        lambda: apply_temperature(logits, 0.5),
        lambda: top_k_filter(logits, 2),
        lambda: top_p_filter(logits, 0.5),
        lambda: min_p_filter(logits, 0.5),
        lambda: apply_repetition_penalty(logits, [0], 2.0),
        lambda: sampling_distribution(logits),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_temperature_that_overflows_is_named_not_nan():
    with pytest.raises(ValueError, match=r"holds \+inf.*after temperature 1e-09"):
        apply_temperature(torch.tensor([1e30, 0.0]), 1e-9)


# The lecture's two distributions


@pytest.mark.parametrize(
    ("name", "top_6", "n_nucleus", "nucleus"), [("flat", 0.68, 9, 0.94), ("peaked", 0.99, 3, 0.97)]
)
def test_the_lectures_sums(name, top_6, n_nucleus, nucleus):
    words, logits = toy_logits(name)
    probs = logits.softmax(-1)
    assert words == list(TOY_DISTRIBUTIONS[name])
    assert float(probs.sum()) == pytest.approx(1)
    assert (probs.diff() < 0).all()
    for arguments, n, mass in [({"top_k": 6}, 6, top_6), ({"top_p": 0.92}, n_nucleus, nucleus)]:
        kept = sampling_distribution(logits, **arguments) > 0
        assert int(kept.sum()) == n
        assert float(probs[kept].sum()) == pytest.approx(mass, abs=1e-6)


def test_another_distribution_is_refused():
    with pytest.raises(ValueError, match="name"):
        toy_logits("round")
