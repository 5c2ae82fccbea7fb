"""Speculative decoding: the tokens of generate in fewer passes, and nothing left of what failed.

One pass over several tokens rounds unlike a pass over one. Where two tokens are nearly as likely,
greedy search may then choose the other one; the prompts here have no such near-ties.
"""

from itertools import product

import pytest
import references
import torch
from engine_models import CONFIGS, hf_greedy, llama, loaded_model, random_model, token_ids
from test_engine_generate import PROMPTS
from transformers import AutoModelForCausalLM

from lecture_lib.decoding import Sampler, SamplingSettings, sample_generate, sampling_distribution
from lecture_lib.engine import Engine, Lookup, ModelDrafter, first_layers
from lecture_lib.engine.speculation import accept, accept_or_redraw, choose, lookup
from lecture_lib.loading import load_draft_model

DRAFTERS = {
    "lookup": lambda engine: Lookup(),
    "short lookup": lambda engine: Lookup(k=2, longest=1),
    "layers": lambda engine: ModelDrafter(first_layers(engine, 2)),
    "the model itself": lambda engine: ModelDrafter(engine, k=5),
    "a stranger": lambda engine: ModelDrafter(Engine(loaded_model(llama(num_hidden_layers=1)))),
}


@pytest.fixture(scope="module", params=["llama", "qwen2", "opt"])
def engine(request):
    return Engine(loaded_model(CONFIGS[request.param]))


@pytest.fixture(scope="module")
def llama_engine():
    return Engine(loaded_model(CONFIGS["llama"]))


# -- greedy ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts(engine):
    """Prompts, and what Transformers writes after each."""
    model = random_model(engine.hf_model.config)
    prompts = [token_ids(1, length, seed) for seed, length in enumerate([1, 3, 9, 40])]
    return [(ids, hf_greedy(model, ids, max_new_tokens=24)) for ids in prompts]


@pytest.mark.parametrize("name", DRAFTERS)
def test_greedy_tokens_equal_generate_s(engine, texts, name):
    drafter = DRAFTERS[name](engine)
    for ids, expected in texts:
        assert [engine.generate(ids, 24, speculate=drafter).token_ids] == expected


def test_a_drafter_that_is_always_right_saves_passes(llama_engine):
    found = llama_engine.generate(
        "abc", 25, speculate=ModelDrafter(llama_engine, k=5), ignore_eos=True
    )
    assert [len(p.draft) for p in found.passes] == [5, 5, 5, 5]
    assert [p.n_accepted for p in found.passes] == [5, 5, 5, 5]
    assert [(c.seq_len, c.past_len) for c in found.calls] == [
        (3, 0),
        (6, 3),
        (6, 9),
        (6, 15),
        (6, 21),
    ]
    assert len(found.timings.token_s) == 25


def test_lookup_finds_the_first_place_and_the_longest_end():
    assert lookup([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3], 2) == [9, 1]
    assert lookup([5, 3, 7, 1, 2, 3, 9, 4, 2, 3], 4) == [9, 4, 2, 3]
    assert lookup([1, 2, 3, 4], 4) == []
    assert lookup([7], 4) == []
    assert lookup([7, 7], 4) == [7]


def test_accept_takes_one_token_more_than_agrees():
    assert accept([], [4]) == [4]
    assert accept([1, 2, 3], [1, 2, 3, 4]) == [1, 2, 3, 4]
    assert accept([1, 2, 3], [1, 9, 3, 4]) == [1, 9]
    assert accept([1, 2, 3], [9, 2, 3, 4]) == [9]


# -- the cache ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lookup", "layers", "a stranger"])
def test_a_rejected_draft_leaves_no_trace_in_the_cache(llama_engine, name):
    ids = token_ids(1, 9)
    plain = llama_engine.generate(ids, 24, ignore_eos=True)
    expected = llama_engine.cache
    found = llama_engine.generate(ids, 24, ignore_eos=True, speculate=DRAFTERS[name](llama_engine))
    cache = llama_engine.cache
    assert found.token_ids == plain.token_ids
    rejected = sum(len(p.draft) - p.n_accepted for p in found.passes)
    assert rejected > 5
    # The last pass may have accepted tokens behind the end of the text.
    n = expected.length
    assert n == 9 + 23 <= cache.length
    torch.testing.assert_close(
        cache.kv[:, :, :, :n], expected.kv[:, :, :, :n], rtol=1e-4, atol=1e-5
    )
    # What it goes on with is what it goes on with after a run without speculation.
    cache.length = n
    after = [llama_engine.decode(plain.token_ids[-1:], cache=c) for c in (cache, expected)]
    torch.testing.assert_close(*after, rtol=1e-4, atol=1e-4)


def test_positions_that_are_not_rolled_back_would_be_seen(llama_engine):
    """The comparison above has teeth: other tokens at the same places give other keys."""
    ids, other = token_ids(1, 9), token_ids(1, 9)
    other[0, 5] = (other[0, 5] + 1) % 256
    caches = []
    for row in (ids, other):
        llama_engine.prefill(row)
        caches.append(llama_engine.cache.kv[:, :, :, :9])
    with pytest.raises(AssertionError):
        torch.testing.assert_close(*caches, rtol=1e-4, atol=1e-5)


def test_a_drafter_is_used_for_one_text_after_another(llama_engine):
    drafter = ModelDrafter(first_layers(llama_engine, 2))
    for prompt in ("abcde", "abxyz", "abxyzabxyz", "q"):
        fresh = ModelDrafter(first_layers(llama_engine, 2))
        runs = [llama_engine.generate(prompt, 12, speculate=d) for d in (drafter, fresh)]
        assert runs[0].passes == runs[1].passes
        assert runs[0].token_ids == llama_engine.generate(prompt, 12).token_ids


def test_the_last_positions_of_the_context_are_used(llama_engine):
    """A draft is cut where the cache ends; prompt and text fill all 128 positions."""
    for drafter in (Lookup(), ModelDrafter(llama_engine, k=7)):
        found = llama_engine.generate(token_ids(1, 100), 28, ignore_eos=True, speculate=drafter)
        plain = llama_engine.generate(token_ids(1, 100), 28, ignore_eos=True)
        assert found.token_ids == plain.token_ids


# -- the end of a text ----------------------------------------------------------------------------


def test_stop_strings_end_tokens_and_streams(engine):
    for drafter in (Lookup(), ModelDrafter(engine, k=6)):
        for prompt in ("abcabcabc", "The quick brown"):
            plain = engine.generate(prompt, 16, ignore_eos=True)
            stop, end = plain.text[7:9], plain.token_ids[10]
            options = [{"stop": stop}, {"eos_token_id": end}, {"ignore_eos": True}]
            for option in options:
                expected = engine.generate(prompt, 16, **option)
                found = engine.generate(prompt, 16, speculate=drafter, **option)
                assert (found.token_ids, found.text) == (expected.token_ids, expected.text)
                assert found.finish_reason == expected.finish_reason
                pieces = list(engine.stream(prompt, 16, speculate=drafter, **option))
                assert pieces == list(engine.stream(prompt, 16, **option))
    assert {
        engine.generate("ab", 5, speculate=Lookup(), **o).finish_reason for o in options[2:]
    } == {"length"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"speculate": "lookup"}, "speculate: needs a drafter such as Lookup.*got str"),
        ({"speculate": lambda *a: []}, "speculate: needs a drafter"),
        (
            {"prompt": ["ab", "c"]},
            "speculate: takes one prompt, got 2: each accepts another number",
        ),
        ({"use_cache": False}, "speculate: needs use_cache=True"),
    ],
)
def test_what_cannot_be_speculated_is_refused(llama_engine, arguments, message):
    given = {"prompt": "ab", "max_new_tokens": 3, "speculate": Lookup()} | arguments
    with pytest.raises(ValueError, match=message):
        llama_engine.generate(**given)


def test_bad_drafters_are_refused(llama_engine):
    other = Engine(loaded_model(llama(vocab_size=270)))
    with pytest.raises(ValueError, match="vocabulary has 270 tokens, and the model 260"):
        llama_engine.generate("a", 3, speculate=ModelDrafter(other))
    for make in (
        lambda: Lookup(0),
        lambda: Lookup(longest=0),
        lambda: ModelDrafter(llama_engine, 0),
    ):
        with pytest.raises(ValueError, match="needs an integer of 1 or more"):
            make()
    with pytest.raises(ValueError, match="engine"):
        ModelDrafter(llama_engine.hf_model)
    for n in (0, 4):
        with pytest.raises(ValueError, match="n_layers: needs an integer from 1 to 3"):
            first_layers(llama_engine, n)


# -- first layers ---------------------------------------------------------------------------------


def test_the_first_layers_are_those_of_a_shorter_model(engine):
    config = engine.hf_model.config
    short = AutoModelForCausalLM.from_config(
        type(config)(**config.to_dict() | {"num_hidden_layers": 2, "layer_types": None})
    )
    short.load_state_dict(engine.hf_model.state_dict(), strict=False)
    ids = token_ids(1, 9)
    part = first_layers(engine, 2)
    with torch.inference_mode():
        expected = short.eval()(ids).logits[:, -1]
    torch.testing.assert_close(part.prefill(ids), expected, rtol=1e-4, atol=1e-4)
    assert part.cache.keys.shape[0] == 2
    assert engine.spec.n_layers == len(engine.model.layers) == 3


# -- sampling -------------------------------------------------------------------------------------


def chi_square(drawn, probs):
    """Pearson's statistic of counts against probabilities, over what is possible."""
    counts, expected = torch.tensor(drawn).bincount(minlength=len(probs)), len(drawn) * probs
    assert (counts[probs == 0] == 0).all()
    return float(((counts - expected) ** 2 / expected)[probs > 0].sum())


def wrong_rule(draft, q, p, generator=None):
    """On rejection it draws from p in place of the residual."""
    for i, token in enumerate(draft):
        if torch.rand((), generator=generator) * q[i, token] >= p[i, token]:
            return [*draft[:i], int(torch.multinomial(p[i], 1, generator=generator))]
    return [*draft, int(torch.multinomial(p[-1], 1, generator=generator))]


def pairs_of_tokens(rule, p, q, generator, n):
    """The first two tokens of n texts by speculation with k = 2; p and q depend on nothing."""
    found = []
    for _ in range(n):
        text = []
        while len(text) < 2:
            draft = torch.multinomial(q, 2, replacement=True, generator=generator).tolist()
            text += rule(draft, q.expand(2, -1), p.expand(3, -1), generator)
        found.append(4 * text[0] + text[1])
    return found


def test_accepted_and_redrawn_tokens_are_distributed_as_p():
    p, q = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    pairs = torch.tensor([p[a] * p[b] for a, b in product(range(4), repeat=2)])
    generator = torch.Generator().manual_seed(0)
    limit = 37.70  # the 0.1 % point of 15 degrees of freedom
    assert chi_square(pairs_of_tokens(accept_or_redraw, p, q, generator, 4000), pairs) < limit
    assert chi_square(pairs_of_tokens(wrong_rule, p, q, generator, 4000), pairs) > 3 * limit


def test_the_rule_gives_p_exactly_when_it_is_summed_up():
    """By enumeration: q(x) min(1, p/q) is accepted, and the rest goes to the residual."""
    p, q = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    accepted = torch.minimum(p, q)
    residual = (p - q).clamp_min(0)
    total = accepted + (1 - accepted.sum()) * residual / residual.sum()
    torch.testing.assert_close(total, p)
    # The same numbers out of the code: where the draw rejects, and what it draws then.
    generator = torch.Generator().manual_seed(1)
    for token in range(4):
        drawn = [
            accept_or_redraw([token], q[None], torch.stack((p, p)), generator)[0]
            for _ in range(4000)
        ]
        share = float(torch.minimum(p, q)[token] / q[token])
        expected = (1 - share) * residual / residual.sum()
        expected[token] += share
        assert chi_square(drawn, expected) < 16.27  # the 0.1 % point of 3


N_TEXTS = 500
# The 0.1 % points of the chi-square distribution with 1, 2, ... degrees of freedom.
LIMITS = [10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88, 29.59, 31.26, 32.91, 34.53,
          36.12, 37.70, 39.25]  # fmt: skip
SETTINGS = {"temperature": 1.3, "top_k": 4, "repetition_penalty": 1.2}


@pytest.mark.parametrize("name", ["lookup", "layers", "a stranger"])
def test_sampled_frequencies_follow_the_model(llama_engine, name):
    """The second token of 500 texts: the sum over all first tokens, by passes of their own."""
    ids = [97, 98, 97, 98, 97]
    first = sampling_distribution(llama_engine.logits([ids])[0, -1], previous_ids=ids, **SETTINGS)
    second = torch.zeros_like(first)
    for token in first.nonzero()[:, 0].tolist():
        text = [*ids, token]
        logits = llama_engine.logits([text])[0, -1]
        second += first[token] * sampling_distribution(logits, previous_ids=text, **SETTINGS)
    drafter = DRAFTERS[name](llama_engine)
    texts = [
        sample_generate(
            llama_engine, ids, 2, seed=seed, speculate=drafter, ignore_eos=True, **SETTINGS
        )
        for seed in range(N_TEXTS)
    ]
    for place, probs in enumerate((first, second)):
        n = int((probs > 0).sum())
        assert chi_square([text.token_ids[place] for text in texts], probs) < LIMITS[n - 2]
        flatter = torch.where(probs > 0, probs**0.7, 0)  # it has teeth
        drawn = [text.token_ids[place] for text in texts]
        assert chi_square(drawn, flatter / flatter.sum()) > LIMITS[n - 2]


def test_a_wrong_residual_is_seen_on_the_model(llama_engine, monkeypatch):
    ids = [97, 98, 97, 98, 97]
    probs = sampling_distribution(llama_engine.logits([ids])[0, -1], temperature=1.3, top_k=4)
    q = torch.full_like(probs, 0.0)
    q[probs > 0] = 0.25
    counts = {}
    for rule in (accept_or_redraw, wrong_rule):
        monkeypatch.setattr("lecture_lib.engine.speculation.accept_or_redraw", rule)
        sampler = Sampler(SamplingSettings(temperature=1.3, top_k=4), seed=5)
        generator, logits = sampler.generator_on("cpu"), llama_engine.logits([ids])[0, -1]
        counts[rule] = []
        for _ in range(1000):
            draft = torch.multinomial(q, 1, generator=generator).tolist()
            new = choose(sampler, ids, draft, q[None], torch.stack((logits, logits)))
            counts[rule].append(new[0])
    assert chi_square(counts[accept_or_redraw], probs) < 16.27
    assert chi_square(counts[wrong_rule], probs) > 3 * 16.27


def test_seeds_repeat_a_text_and_leave_the_global_generator_alone(llama_engine):
    def tokens(seed, drafter):
        return sample_generate(llama_engine, "abc", 16, seed=seed, speculate=drafter).token_ids

    before = torch.get_rng_state()
    for name in ("lookup", "layers"):
        drafter = DRAFTERS[name](llama_engine)
        assert tokens(3, drafter) == tokens(3, drafter) != tokens(4, drafter)
    assert torch.equal(torch.get_rng_state(), before)


def test_top_k_1_is_greedy(llama_engine):
    greedy = llama_engine.generate("abcab", 16).token_ids
    for name in ("lookup", "layers"):
        drafter = DRAFTERS[name](llama_engine)
        found = sample_generate(llama_engine, "abcab", 16, top_k=1, seed=9, speculate=drafter)
        assert found.token_ids == greedy


# -- the real model -------------------------------------------------------------------------------

N_NEW, N_STORED = 8, 16  # tokens that are written here, and of the stored texts


@pytest.fixture(scope="module")
def real(loaded):
    return Engine(loaded)


@pytest.fixture(scope="module")
def drafters(loaded, real):
    draft = ModelDrafter(Engine(load_draft_model(loaded)))
    return {"lookup": Lookup(), "draft": draft, "layers": ModelDrafter(first_layers(real, 3), k=2)}


@pytest.mark.real_model
@pytest.mark.parametrize("prompt", PROMPTS[:10])
def test_all_drafters_give_generate_s_tokens(loaded, real, drafters, prompt):
    expected = references.stored(loaded, [prompt], max_new_tokens=N_STORED, do_sample=False)[0]
    for name, drafter in drafters.items():
        found = real.generate(prompt, N_NEW, speculate=drafter)
        assert found.token_ids == expected[:N_NEW], name
        assert len(found.calls) <= len(found.token_ids)


@pytest.mark.real_model
def test_transformers_prompt_lookup_gives_the_same_tokens(loaded, real):
    prompt = "1, 2, 3, 4, 1, 2, 3, 4, 1, 2,"
    mine = real.generate(prompt, N_STORED, speculate=Lookup())
    options = {"max_new_tokens": N_STORED, "do_sample": False, "prompt_lookup_num_tokens": 10}
    assert [mine.token_ids] == references.generate(loaded, [prompt], **options)
    assert len(mine.calls) < N_STORED / 2
