"""Text by sampling: the tokens of generate(do_sample=True) with the same seed."""

import math

import pytest
import references
import torch
from engine_models import CONFIGS, EOS, left_padded, loaded_model, random_model, token_ids

from lecture_lib.decoding import (
    Sampler,
    SamplingSettings,
    distinct_n,
    engine_beam_search,
    repeated_ngrams,
    sample_generate,
    sampling_distribution,
)
from lecture_lib.engine import Engine

SETTINGS = [
    {},
    {"temperature": 0.8, "top_k": 20},
    {"top_p": 0.9},
    {"temperature": 1.4, "top_k": 40, "top_p": 0.92, "min_p": 0.01},
    {"top_p": 0.8, "repetition_penalty": 1.3},
]


@pytest.fixture(scope="module", params=["llama", "opt"])
def engine(request):
    return Engine(loaded_model(CONFIGS[request.param]))


@pytest.fixture(scope="module")
def llama_engine():
    return Engine(loaded_model(CONFIGS["llama"]))


def transformers_sample(model, ids, mask=None, *, seed, **options):
    """New tokens of generate(do_sample=True), each row up to its EOS; and the scores."""
    torch.manual_seed(seed)
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids) if mask is None else mask,
        do_sample=True,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        **{"top_k": 0, "max_new_tokens": 20} | options,
    )
    rows = out.sequences[:, ids.shape[1] :].tolist()
    return [row[: row.index(EOS) + 1] if EOS in row else row for row in rows], out


@pytest.mark.parity
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_same_seed_gives_generate_s_tokens(engine, settings):
    model = random_model(engine.hf_model.config)
    for seed in range(3):
        ids = token_ids(1, 7, seed)
        expected, _ = transformers_sample(model, ids, seed=seed, **settings)
        text = sample_generate(engine, ids, 20, seed=seed, **settings)
        assert [text.token_ids] == expected


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_batches_and_several_sequences_equal_generate_s(engine, settings):
    lengths = [11, 3, 7]
    ids, mask = left_padded(lengths)
    prompts = [ids[row, -n:].tolist() for row, n in enumerate(lengths)]
    model = random_model(engine.hf_model.config)
    options = {"num_return_sequences": 2, **settings}
    expected, _ = transformers_sample(model, ids, mask, seed=5, **options)
    texts = sample_generate(engine, prompts, 20, seed=5, **options)
    assert [text.token_ids for text in texts] == expected
    assert [text.prompt_len for text in texts] == [11, 11, 3, 3, 7, 7]


def test_rows_that_end_early_keep_the_others_in_step(llama_engine):
    """Many texts that end at different steps: EOS is one of three tokens here."""
    model = random_model(llama_engine.hf_model.config)
    eos = list(range(0, 250, 3))
    ids = token_ids(1, 5)
    torch.manual_seed(1)
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, temperature=3.0,
        max_new_tokens=12, num_return_sequences=8, eos_token_id=eos, pad_token_id=EOS,
    )[:, 5:]  # fmt: skip
    texts = sample_generate(
        llama_engine, ids, 12, seed=1, temperature=3.0, num_return_sequences=8, eos_token_id=eos
    )
    lengths = [len(text.token_ids) for text in texts]
    assert len(set(lengths)) > 2
    for row, text in zip(out.tolist(), texts, strict=True):
        assert text.token_ids == row[: len(text.token_ids)]
        assert set(row[len(text.token_ids) :]) <= {EOS}
        assert text.finish_reason == ("eos" if text.token_ids[-1] in eos else "length")


def test_draws_follow_the_filtered_distribution():
    """Pearson's chi-square, with the 0.1 % point of as many degrees of freedom as tokens - 1."""
    logits = 3 * torch.randn(50, generator=torch.Generator().manual_seed(1))
    for settings in ({"top_k": 6}, {"temperature": 2.0, "min_p": 0.3}, {"top_p": 0.7}):
        probs = sampling_distribution(logits, **settings)
        drawn = Sampler(SamplingSettings(**settings), seed=0)(logits.expand(20_000, -1))
        counts, expected = drawn.bincount(minlength=50), 20_000 * probs
        assert (counts[probs == 0] == 0).all()
        possible = probs > 0
        assert 3 <= (n := int(possible.sum())) <= 7
        statistic = ((counts - expected) ** 2 / expected)[possible].sum()
        assert statistic < {3: 13.82, 4: 16.27, 5: 18.47, 6: 20.52, 7: 22.46}[n]
        # It has teeth: draws from one distribution do not follow another.
        other = 20_000 * sampling_distribution(logits, **settings | {"temperature": 0.8})
        assert ((counts - other) ** 2 / other)[possible].sum() > 100


def test_every_decode_step_computes_one_token_a_row(llama_engine):
    texts = sample_generate(llama_engine, token_ids(2, 9).tolist(), 6, seed=0, ignore_eos=True)
    calls = texts[0].calls
    assert (calls[0].batch_size, calls[0].seq_len) == (2, 9)
    assert [(c.seq_len, c.past_len) for c in calls[1:]] == [(1, n) for n in range(9, 14)]


def test_seeds_and_the_global_generator(llama_engine):
    ids = token_ids(1, 5)

    def tokens(**options):
        return sample_generate(llama_engine, ids, 12, **options).token_ids

    before = torch.get_rng_state()
    assert tokens(seed=3) == tokens(seed=3) != tokens(seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert tokens() == tokens(seed=3)


def test_top_k_1_is_greedy(llama_engine):
    ids = token_ids(1, 5)
    greedy = llama_engine.generate(ids, 12).token_ids
    assert sample_generate(llama_engine, ids, 12, top_k=1, seed=9).token_ids == greedy


def test_a_sampler_streams_the_same_text(llama_engine):
    text = sample_generate(llama_engine, "hello", 12, seed=1, temperature=0.5)
    sampler = Sampler(SamplingSettings(temperature=0.5), seed=1)
    pieces = llama_engine.stream("hello", 12, next_token=sampler)
    assert "".join(pieces) == text.text


def test_one_text_or_a_list_in_the_order_of_the_prompts(llama_engine):
    assert sample_generate(llama_engine, "ab", 3, seed=0).prompt_len == 2
    assert len(sample_generate(llama_engine, "ab", 3, seed=0, num_return_sequences=2)) == 2
    assert [t.prompt_len for t in sample_generate(llama_engine, ["ab", "c"], 3, seed=0)] == [2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "use greedy search"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"num_return_sequences": 0}, "num_return_sequences"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"prompts": ""}, "prompt"),
    ],
)
def test_bad_arguments_are_named(llama_engine, arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_generate(llama_engine, **{"prompts": "ab", "max_new_tokens": 3} | arguments)


def test_a_sampler_with_a_penalty_needs_the_prompts():
    with pytest.raises(ValueError, match="prompt_ids: the repetition penalty"):
        Sampler(SamplingSettings(repetition_penalty=1.2))


@pytest.mark.real_model
def test_the_real_model_writes_generate_s_text(loaded):
    engine = Engine(loaded)
    prompt = "The best way to learn a language is"
    for seed, settings in enumerate(SETTINGS[1:]):
        options = {"do_sample": True, "max_new_tokens": 8, "top_k": 0} | settings
        text = sample_generate(engine, prompt, 8, seed=seed, **settings)
        assert [text.token_ids] == references.stored(loaded, [prompt], seed, **options)


# Statistics of texts


def test_distinct_n_and_repeated_ngrams_by_hand():
    text = ["a", "b", "a", "b", "a", "b"]
    assert distinct_n([text], 1) == pytest.approx(2 / 6)
    assert distinct_n([text], 2) == pytest.approx(2 / 5)
    assert distinct_n([text, ["c", "d"]], 2) == pytest.approx(3 / 6)  # no "b c" across texts
    assert repeated_ngrams(text, 4) == pytest.approx(1 / 3)
    assert repeated_ngrams([1, 2, 3, 4, 5], 4) == 0
    assert repeated_ngrams([7] * 103, 4) == pytest.approx(0.99)
    assert math.isnan(repeated_ngrams([1, 2, 3], 4))
    assert math.isnan(distinct_n([[1]], 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distinct_n([1, 2], 1), "several texts"),
        (lambda: distinct_n("abc", 1), "several texts"),
        (lambda: distinct_n([[1]], 0), "n: needs"),
        (lambda: repeated_ngrams([1], 0), "n: needs"),
    ],
)
def test_bad_statistics_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [{"temperature": 1.5, "top_p": 0.9}, {"top_k": 1}], ids=str)
def test_beam_sampling_equals_generate_s(llama_engine, shape):
    """With top_k = 1 two tokens stay all the same: a beam must be able to go on after EOS."""
    model = random_model(llama_engine.hf_model.config)
    ids = token_ids(1, 5, seed=1)
    for seed in range(3):
        torch.manual_seed(seed)
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, num_beams=3,
            do_sample=True, **{"top_k": 50} | shape,
        )[0, 5:].tolist()  # fmt: skip
        settings = SamplingSettings(**{"top_k": 50} | shape)
        trace = engine_beam_search(
            llama_engine, ids, num_beams=3, max_new_tokens=10, do_sample=True,
            generator=torch.Generator().manual_seed(seed), sampling=settings,
        )  # fmt: skip
        assert trace.sequences == [out]


def test_beam_sampling_takes_no_repetition_penalty(llama_engine):
    with pytest.raises(ValueError, match="repetition_penalty: must be 1"):
        engine_beam_search(
            llama_engine, "ab", num_beams=2, max_new_tokens=2, do_sample=True,
            sampling=SamplingSettings(repetition_penalty=1.2),
        )  # fmt: skip
