"""Beam search on real architectures: equal to Transformers' generate, and a cache that follows."""

import itertools

import pytest
import references
import torch
from engine_models import CONFIGS, EOS, left_padded, llama, loaded_model, token_ids

from lecture_lib.decoding import SamplingSettings, beam_search, engine_beam_search
from lecture_lib.decoding.beam_engine import follow
from lecture_lib.engine import Engine, ForwardCall

N_NEW = 10
LENGTH_PENALTIES = [-1.0, 0.0, 0.5, 1.0, 2.0]
EARLY = [False, True, "never"]


def ending_model(config):
    """A model to which several tokens are attractive end tokens, some soon and some late.

    Its logits are cooled to those of a language model: neither flat nor one-hot. The end tokens
    (EOS, 3) get weights of their own, so that whether a text ends depends on the text. With these
    numbers no two texts of the grid below between which the search decides have scores that
    differ by less than 1e-5 of the score, ten times what rounding was seen to change.
    """
    loaded = loaded_model(config)
    generator = torch.Generator().manual_seed(2)
    weight = loaded.model.lm_head.weight.data
    weight.mul_(0.5)
    for end in (EOS, 3):
        weight[end] = 0.35 * torch.randn(weight.shape[1], generator=generator)
    loaded.model.generation_config.eos_token_id = None
    return loaded


@pytest.fixture(scope="module", params=["llama", "opt"])
def engine(request):
    return Engine(ending_model(CONFIGS[request.param]))


def generate(engine, input_ids, attention_mask=None, **options):
    """New tokens (the padding behind an end token cut off) and scores of Transformers' own."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    out = engine.hf_model.generate(
        input_ids,
        attention_mask=mask,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
        **{"do_sample": False, "max_new_tokens": N_NEW} | options,
    )
    ends = options.get("eos_token_id") or []
    new = out.sequences[:, input_ids.shape[1] :].tolist()
    texts = [_until_end(row, [ends] if isinstance(ends, int) else ends) for row in new]
    scores = getattr(out, "sequences_scores", None)  # greedy search has none
    return texts, None if scores is None else scores.tolist()


def _until_end(row, ends):
    places = [i for i, token in enumerate(row) if token in ends]
    return row[: places[0] + 1] if places else row


def ours(engine, prompts, eos_token_id=None, **options):
    traces = engine_beam_search(
        engine,
        prompts,
        eos_token_id=eos_token_id,
        ignore_eos=eos_token_id is None,
        **{"max_new_tokens": N_NEW} | options,
    )
    return traces if isinstance(traces, list) else [traces]


def assert_equal(traces, expected):
    texts, scores = expected
    assert [s for trace in traces for s in trace.sequences] == texts
    # Rounding is relative, but a log-probability near 0 has that of the logits, which reach 30.
    found = [x for trace in traces for x in trace.scores]
    assert found == pytest.approx(scores, rel=1e-5, abs=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("early_stopping", EARLY)
@pytest.mark.parametrize("num_beams", [2, 3, 5, 8])
def test_texts_and_scores_are_generate_s(engine, num_beams, early_stopping):
    lengths = set()
    grid = itertools.product(LENGTH_PENALTIES, (None, EOS, [EOS, 3]))
    for i, (length_penalty, ends) in enumerate(grid):
        options = {
            "num_beams": num_beams,
            "length_penalty": length_penalty,
            "early_stopping": early_stopping,
            "eos_token_id": ends,
            "num_return_sequences": num_beams,
        }
        # Two texts at once: half the time, and a batch decides for each text alone.
        ids = torch.cat([token_ids(1, 5, seed) for seed in (i % 4, (i + 1) % 4)])
        traces = ours(engine, ids, **options)
        assert_equal(traces, generate(engine, ids, **options))
        lengths |= {len(s) for trace in traces for s in trace.sequences}
    assert len(lengths) > 3  # texts really end at different steps


@pytest.mark.parity
@pytest.mark.parametrize(("num_beams", "num_return_sequences"), [(2, 1), (4, 3), (6, 6), (7, 2)])
def test_a_padded_batch_is_generate_s(engine, num_beams, num_return_sequences):
    lengths = [7, 2, 11, 1]
    ids, mask = left_padded(lengths)
    prompts = [ids[row, -n:].tolist() for row, n in enumerate(lengths)]
    for early_stopping, length_penalty in itertools.product(EARLY, (-1.0, 1.0)):
        options = {
            "num_beams": num_beams,
            "num_return_sequences": num_return_sequences,
            "early_stopping": early_stopping,
            "length_penalty": length_penalty,
            "eos_token_id": [EOS, 3],
        }
        batch = ours(engine, prompts, **options)
        assert_equal(batch, generate(engine, ids, mask, **options))
        alone = [ours(engine, prompt, **options)[0] for prompt in prompts]
        assert [t.sequences for t in batch] == [t.sequences for t in alone]
        assert [t.n_steps for t in batch] == [t.n_steps for t in alone]


def test_one_beam_is_greedy_search(engine):
    for seed in range(4):
        ids = token_ids(1, 4, seed)
        for early_stopping in EARLY:
            options = {"num_beams": 1, "eos_token_id": [EOS, 3]}
            [trace] = ours(engine, ids, early_stopping=early_stopping, **options)
            assert trace.sequences == generate(engine, ids, **options)[0]
            total = _sum_log_probs(trace)
            assert trace.scores[0] == pytest.approx(total / len(trace.sequences[0]))


def _sum_log_probs(trace):
    """Of the best text: each of its beginnings is a node of the tree."""
    nodes = {tuple(node.tokens): node.log_prob for node in trace.nodes}
    [tokens] = trace.sequences
    return sum(nodes[tuple(tokens[:n])] for n in range(1, len(tokens) + 1))


def test_the_model_s_own_end_tokens_are_the_default():
    engine = Engine(ending_model(llama()))
    ids = token_ids(1, 5, 1)
    engine.hf_model.generation_config.eos_token_id = [EOS, 3]
    by_default = engine_beam_search(engine, ids, num_beams=4, max_new_tokens=N_NEW)
    [given] = ours(engine, ids, num_beams=4, eos_token_id=[EOS, 3])
    [without] = ours(engine, ids, num_beams=4)
    assert by_default.sequences == given.sequences != without.sequences


@pytest.mark.parity
def test_with_a_cache_and_without_it_is_the_same_tree(engine):
    ids = token_ids(1, 6, 3)
    options = {"num_beams": 4, "max_new_tokens": 8, "eos_token_id": [EOS, 3]}
    cached = engine_beam_search(engine, ids, **options)

    def next_log_probs(prefixes):
        whole_texts = [ids[0].tolist() + prefix for prefix in prefixes]
        return engine.logits(whole_texts, last_only=True).log_softmax(-1)

    plain = beam_search(next_log_probs, **options)
    assert len(cached.nodes) == len(plain.nodes)
    for a, b in zip(cached.nodes, plain.nodes, strict=True):
        assert (a.tokens, a.rank, a.status) == (b.tokens, b.rank, b.status)
        assert a.score == pytest.approx(b.score, rel=1e-5)
    assert cached.sequences == plain.sequences


def test_prefill_sees_the_prompt_once_and_every_step_one_token_a_beam(engine):
    trace = engine_beam_search(
        engine, token_ids(1, 6), num_beams=4, max_new_tokens=5, ignore_eos=True
    )
    assert trace.calls[0] == ForwardCall(batch_size=1, seq_len=6, past_len=0, kv_len=6)
    assert list(trace.calls[1:]) == [ForwardCall(4, 1, n, n + 1) for n in range(6, 10)]


def test_each_row_of_the_cache_is_its_parent_s(engine):
    cache = engine.new_cache(3, 9)
    engine.prefill(token_ids(3, 6), cache=cache)
    past, parents = cache.kv[:, :, :, :6].clone(), [2, 0, 2, 2]
    new = follow(engine, cache, parents)
    assert (new.length, new.batch_size, new.max_seq_len) == (6, 4, 9)
    for row, parent in enumerate(parents):
        assert torch.equal(new.kv[:, row, :, :6], past[:, parent])
    engine.decode([5, 6, 7, 8], cache=new)
    assert torch.equal(cache.kv[:, :, :, :6], past)  # the old one is as it was
    assert cache.length == 6


@pytest.mark.parametrize("num_beams", [2, 4])
def test_the_same_seed_draws_generate_s_texts(engine, num_beams):
    """Beam-search multinomial sampling: one multinomial a step over beams × vocabulary."""
    drawn, n_unlike_ranked = set(), 0
    for seed, ends in itertools.product(range(4), (None, [EOS, 3])):
        ids = token_ids(1, 5, seed)
        options = {"num_beams": num_beams, "num_return_sequences": num_beams, "eos_token_id": ends}
        torch.manual_seed(seed)
        expected = generate(engine, ids, do_sample=True, top_k=0, temperature=0.7, **options)
        [trace] = ours(
            engine,
            ids,
            do_sample=True,
            generator=torch.Generator().manual_seed(seed),
            sampling=SamplingSettings(temperature=0.7),
            **options,
        )
        assert_equal([trace], expected)
        drawn.add(tuple(trace.sequences[0]))
        [ranked] = ours(engine, ids, **options)
        n_unlike_ranked += ranked.sequences != trace.sequences
    assert len(drawn) > 4
    assert n_unlike_ranked > 4


BAD = {
    "empty": ({"prompt": ""}, "at least one token"),
    "one empty of two": ({"prompt": [[5, 6], []]}, "at least one token"),
    "no prompt": ({"prompt": []}, "prompt"),
    "token outside": ({"prompt": [5, 999]}, "outside the vocabulary"),
    "context": ({"max_new_tokens": 125}, "128 of this"),
    "beams": ({"num_beams": 300}, "from 1 to 260"),
    "eos": ({"eos_token_id": 260}, "eos_token_id: 260 is outside"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_explained(engine, name):
    changes, message = BAD[name]
    arguments = {"prompt": [5, 6, 7, 8], "num_beams": 2, "max_new_tokens": 4} | changes
    with pytest.raises(ValueError, match=message):
        engine_beam_search(engine, arguments.pop("prompt"), **arguments)


@pytest.mark.parity
@pytest.mark.real_model
def test_real_texts_and_scores_are_generate_s(loaded):
    engine = Engine(loaded)
    for prompt, k, length_penalty in [
        ("The quick brown", 4, 1.0),
        ("The capital of France is", 3, 0.0),
        ("1, 1, 2, 3, 5, 8,", 2, 2.0),
    ]:
        options = {"num_beams": k, "length_penalty": length_penalty, "num_return_sequences": k}
        options["max_new_tokens"] = N_NEW
        texts = references.stored(loaded, [prompt], do_sample=False, **options)
        trace = engine_beam_search(engine, prompt, **options)
        scores = [_score(loaded, prompt, text, length_penalty) for text in texts]
        assert_equal([trace], (texts, scores))


def _score(loaded, prompt, text, length_penalty):
    """By the definition, with one pass of Transformers over the whole text."""
    ids = loaded.tokenizer(prompt).input_ids
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([ids + text])).logits[0, len(ids) - 1 : -1]  # (L, V)
    chosen = logits.log_softmax(-1)[range(len(text)), text]
    return float(chosen.sum()) / len(text) ** length_penalty
