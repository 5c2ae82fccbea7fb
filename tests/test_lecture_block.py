"""The lecture's block against PyTorch's attention, Transformers' OPT, and itself with a cache."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import OPTConfig
from transformers.models.opt.modeling_opt import OPTDecoderLayer

from lecture_lib.lecture_block import (
    BlockWeights,
    KVCache,
    PreallocatedKVCache,
    ToyTransformer,
    decode_block,
    naive_block,
    prefill_block,
)
from lecture_lib.op_trace import OpTrace

pytestmark = pytest.mark.parity

D, N_HEADS, H = 12, 3, 4
REAL = {"causal": True, "head_dim_scale": True, "residual": True, "layer_norm": True}
EXACT = {"atol": 1e-12, "rtol": 0}


@pytest.fixture
def weights():
    return BlockWeights.random(D, N_HEADS, seed=1, dtype=torch.float64)


@pytest.fixture
def x():
    return 3 * torch.randn(7, D, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def reference_block(x, w, *, causal=False, head_dim_scale=False):
    """The same block through PyTorch's own attention."""
    heads = [(x @ m).unflatten(-1, (N_HEADS, H)).transpose(0, 1) for m in (w.w_q, w.w_k, w.w_v)]
    scale = 1 / math.sqrt(H if head_dim_scale else D)
    z = F.scaled_dot_product_attention(*heads, is_causal=causal, scale=scale)
    return F.relu(z.transpose(0, 1).flatten(1) @ w.w_o @ w.w_1) @ w.w_2


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("head_dim_scale", [False, True])
def test_naive_block_is_the_block_of_pytorch_attention(x, weights, causal, head_dim_scale):
    flags = {"causal": causal, "head_dim_scale": head_dim_scale}
    ours = naive_block(x, weights, N_HEADS, **flags)
    torch.testing.assert_close(ours, reference_block(x, weights, **flags), **EXACT)


def test_without_flags_the_scale_is_the_slides_and_nothing_is_masked(x, weights):
    slide = naive_block(x, weights, N_HEADS)
    torch.testing.assert_close(slide, reference_block(x, weights), **EXACT)
    for flag in REAL:
        changed = naive_block(x, weights, N_HEADS, **{flag: True})
        assert (changed - slide).abs().max() > 1e-3, f"{flag} changes nothing"


def test_with_all_flags_it_is_an_opt_layer_of_transformers(x):
    torch.manual_seed(3)
    config = OPTConfig(
        hidden_size=D, num_attention_heads=N_HEADS, ffn_dim=20, enable_bias=False,
        attn_implementation="eager",
    )  # fmt: skip
    layer = OPTDecoderLayer(config, layer_idx=0).double().eval()  # new norms have weight 1, bias 0
    attention = layer.self_attn
    linears = [attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj]
    matrices = [linear.weight.T for linear in [*linears, layer.fc1, layer.fc2]]
    weights = BlockWeights(*matrices)
    mask = torch.full((1, 1, 7, 7), -torch.inf, dtype=torch.float64).triu(1)
    with torch.no_grad():
        theirs = layer(x[None], attention_mask=mask)[0]
        ours = naive_block(x, weights, N_HEADS, **REAL)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)  # their softmax is in float32


@pytest.mark.parametrize("flags", [{}, {"causal": True}, REAL])
def test_in_one_block_decode_is_the_last_row_of_naive(x, weights, flags):
    _, cache = prefill_block(x[:4], weights, N_HEADS, **flags)
    for n in range(4, 7):
        t_next, cache = decode_block(x[n : n + 1], cache, weights, N_HEADS, **flags)
        naive = naive_block(x[: n + 1], weights, N_HEADS, **flags)
        torch.testing.assert_close(t_next, naive[-1:], **EXACT)
        assert len(cache) == n + 1


def test_prefill_is_naive_and_keeps_keys_and_values(x, weights):
    x_next, cache = prefill_block(x, weights, N_HEADS, causal=True)
    assert torch.equal(x_next, naive_block(x, weights, N_HEADS, causal=True))
    assert torch.equal(cache.keys, x @ weights.w_k)
    assert torch.equal(cache.values, x @ weights.w_v)


def test_causal_rows_ignore_what_comes_later(x, weights):
    changed = x.clone()
    changed[5:] += 1
    for causal in (True, False):
        before = naive_block(x, weights, N_HEADS, causal=causal)
        after = naive_block(changed, weights, N_HEADS, causal=causal)
        assert torch.equal(before[:5], after[:5]) == causal


def test_concat_cache_copies_all_rows_and_preallocated_only_new_ones(x, weights):
    _, slide = prefill_block(x[:4], weights, N_HEADS)
    engine = PreallocatedKVCache(slide, max_seq_len=6)
    row_bytes = 2 * D * 8  # K and V, float64
    assert (slide.bytes_copied, engine.bytes_copied) == (0, 4 * row_bytes)
    address, before = engine.keys.data_ptr(), slide.keys.clone()
    first = slide
    for n in (4, 5):
        a, slide = decode_block(x[n : n + 1], slide, weights, N_HEADS)
        b, engine = decode_block(x[n : n + 1], engine, weights, N_HEADS)
        assert torch.equal(a, b)
        assert torch.equal(slide.keys, engine.keys)
        assert torch.equal(slide.values, engine.values)
        assert engine.keys.data_ptr() == address
        assert slide.keys.data_ptr() != first.keys.data_ptr()
    assert slide.bytes_copied == (5 + 6) * row_bytes
    assert engine.bytes_copied == (4 + 1 + 1) * row_bytes
    assert torch.equal(first.keys, before), "a concat cache must not change in place"
    with pytest.raises(ValueError, match="all 6 positions are taken"):
        decode_block(x[6:], engine, weights, N_HEADS)


def make_model(n_layers=3, **flags):
    return ToyTransformer.random(11, D, N_HEADS, n_layers, seed=4, dtype=torch.float64, **flags)


@pytest.mark.parametrize("flags", [{"causal": True}, REAL])
def test_stack_cached_equals_naive_when_causal(flags):
    model, tokens = make_model(**flags), [3, 1, 4, 1, 5, 9, 2]
    p, caches = model.prefill(tokens[:3])
    torch.testing.assert_close(p, model.naive(tokens[:3]), **EXACT)
    for n in range(3, len(tokens)):
        p, caches = model.decode(tokens[n], caches)
        torch.testing.assert_close(p, model.naive(tokens[: n + 1]), **EXACT)
    assert p.shape == (11,)
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)


def test_stack_cached_differs_from_naive_without_a_mask_but_one_block_does_not():
    difference = {}
    for n_layers in (1, 3):
        model = make_model(n_layers, residual=True, layer_norm=True)
        _, caches = model.prefill([3, 1, 4])
        p, _ = model.decode(1, caches)
        difference[n_layers] = float((p - model.naive([3, 1, 4, 1])).abs().max())
    assert difference[1] < 1e-12
    assert difference[3] > 1e-4
    with pytest.raises(ValueError, match="without causal=True"):
        make_model(3).generate([3, 1], 2, use_cache=True)


def test_generation_cached_equals_naive_and_really_decodes_one_token_at_a_time():
    model, prompt = make_model(**REAL), [3, 1, 4]
    naive = model.generate(prompt, 6, use_cache=False)
    with OpTrace() as trace:
        cached = model.generate(prompt, 6, use_cache=True)
    assert cached == naive
    assert len(cached) == 6
    q_rows = [r.outputs[0].shape[0] for r in trace.rows if r.labelled and r.no == "1"]
    assert q_rows == [3] * 3 + [1] * 3 * 5, "each decode step sees one token in each of 3 blocks"
    assert model.generate(prompt, 0) == []


def test_next_token_is_softmax_of_the_last_row_times_w_lm():
    model = make_model(1)
    x_next = naive_block(model.embedding[[3, 1]], model.blocks[0], N_HEADS)
    expected = F.softmax((x_next @ model.w_lm)[-1], dim=-1)
    torch.testing.assert_close(model.naive([3, 1]), expected, **EXACT)


def test_random_weights_follow_the_seed_and_keep_the_scale():
    a, b = (BlockWeights.random(64, 4, seed=5) for _ in range(2))
    assert torch.equal(a.w_1, b.w_1)
    assert not torch.equal(a.w_1, BlockWeights.random(64, 4, seed=6).w_1)
    assert not torch.equal(a.w_q, a.w_k)
    assert a.w_1.shape == (64, 256)
    assert a.w_2.std() == pytest.approx(1 / 16, rel=0.05)
    assert BlockWeights.random(64, 4, d_ff=100).w_2.shape == (100, 64)


GOOD = torch.ones(2, D, dtype=torch.float64)


@pytest.mark.parametrize(
    ("x", "n_heads", "message"),
    [
        (GOOD, 5, "n_heads: needs a divisor of D = 12, got 5"),
        (GOOD, 0, "n_heads"),
        (GOOD, 3.0, "n_heads"),
        (GOOD[:, :8], 3, "x: the weights are for width 12"),
        (GOOD.float(), 3, "float64, got 12 and torch.float32"),
        (GOOD[None], 3, "no batch axis"),
        (GOOD[:0], 3, "x: needs at least one row, got 0"),
        ([[1.0] * D], 3, "x: needs a tensor of shape"),
    ],
)
def test_bad_input_is_refused_by_name(weights, x, n_heads, message):
    for block in (naive_block, prefill_block):
        with pytest.raises(ValueError, match=message):
            block(x, weights, n_heads)


def test_bad_decode_input_is_refused_by_name(weights):
    _, cache = prefill_block(GOOD, weights, N_HEADS)
    narrow = KVCache(GOOD[:, :6], GOOD[:, :6])
    for t, bad_cache, message in [
        (GOOD, cache, "t: needs one row, the new token, got 2"),
        (GOOD[:1], narrow, "cache: t is of width 12"),
        (GOOD[:1], KVCache(GOOD.float(), GOOD.float()), "cache: .*float32"),
        (GOOD[:1], (GOOD, GOOD), "cache: needs what prefill_block returned, got tuple"),
        (GOOD[:1], PreallocatedKVCache(cache, 2), "all 2 positions are taken"),
    ]:
        with pytest.raises(ValueError, match=message):
            decode_block(t, bad_cache, weights, N_HEADS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlockWeights.random(10, 4), "n_heads: needs a divisor of d_model = 10"),
        (lambda: BlockWeights.random(0, 1), "d_model: needs an integer from 1"),
        (lambda: BlockWeights(*[GOOD] * 6), "w_q: needs the shape"),
        (lambda: KVCache(GOOD, GOOD[:1]), "need two tensors of one shape"),
        (lambda: KVCache(GOOD[:0], GOOD[:0]), "L at least 1"),
        (lambda: KVCache(None, GOOD), "need two tensors"),
        (
            lambda: PreallocatedKVCache(KVCache(GOOD, GOOD), 1),
            "max_seq_len: needs an integer from 2 to 1,000,000, got 1",
        ),
        (lambda: make_model(0), "n_layers: needs an integer from 1 to 1,000, got 0"),
        (lambda: make_model(1).naive([]), "token_ids: needs at least one token"),
        (lambda: make_model(1).naive([11]), r"outside the vocabulary, 0\.\.10"),
        (lambda: make_model(1).naive([-1]), r"outside the vocabulary, 0\.\.10"),
        (lambda: make_model(1).generate([1], -1), "max_new_tokens"),
        (lambda: make_model(2, causal=True).decode(1, []), "caches: needs 2"),
    ],
)
def test_bad_construction_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_flag_is_refused(weights):
    with pytest.raises(TypeError, match="casual"):
        naive_block(GOOD, weights, N_HEADS, casual=True)
