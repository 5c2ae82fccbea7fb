"""Quantisation against its definition, and against the gguf library on the real file."""

import gguf
import pytest
import torch

from lecture_lib.loading.bundled_model import find_gguf
from lecture_lib.loading.packed_model import halves_of_heads
from lecture_lib.quantisation import (
    dequantise,
    in_groups,
    quantise_absmax,
    quantise_zero_point,
    read_q4_1,
    read_q8_0,
)


@pytest.fixture(scope="module")
def gguf_tensors():
    return {tensor.name: tensor for tensor in gguf.GGUFReader(find_gguf()).tensors}


def test_the_example_by_hand():
    """The greatest is 4.0 and a step 4 / 127, so 0.1 becomes 3 and comes back as 0.0945."""
    q, scale = quantise_absmax(torch.tensor([4.0, 0.1, -2.0, 0.0]))
    assert q.tolist() == [127, 3, -64, 0]
    assert torch.allclose(dequantise(q, scale), torch.tensor([4.0, 12 / 127, -256 / 127, 0.0]))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dim", [None, -1, 0])
def test_no_error_is_more_than_half_a_step(bits, dim):
    x = torch.randn(6, 64, generator=torch.Generator().manual_seed(bits)) + 0.5
    q, scale = quantise_absmax(x, bits, dim)
    assert q.abs().max() <= 2 ** (bits - 1) - 1
    assert ((dequantise(q, scale) - x).abs() <= scale * 0.5001).all()
    q, scale, minimum = quantise_zero_point(x, bits, dim)
    assert (q.min(), q.max()) == (0, 2**bits - 1)
    assert ((dequantise(q, scale, minimum) - x).abs() <= scale * 0.5001).all()


def test_a_tensor_without_spread_comes_back_exactly():
    zeros, ones = torch.zeros(2, 32), torch.ones(2, 32)
    assert dequantise(*quantise_absmax(zeros, 8, -1)).equal(zeros)
    assert dequantise(*quantise_zero_point(ones, 4, -1)).equal(ones)


def test_an_outlier_spoils_its_group_alone():
    x = torch.linspace(-1, 1, 64)[None].clone()
    x[0, 3] = 100.0
    whole = dequantise(*quantise_zero_point(x, 4, -1))
    groups = dequantise(*quantise_zero_point(in_groups(x), 4, -1)).flatten(-2)
    assert (whole - x)[0, 32:].abs().max() > 0.5 > 0.05 > (groups - x)[0, 32:].abs().max()


def test_groups_must_divide_the_rows():
    with pytest.raises(ValueError, match=r"x: rows of 40 numbers .* groups of 32"):
        in_groups(torch.zeros(2, 40))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["token_embd", "blk.0.attn_q", "blk.7.attn_v", "blk.15.ffn_gate", "blk.29.ffn_down"]
)
def test_the_files_blocks_are_read_bit_by_bit(gguf_tensors, name):
    tensor = gguf_tensors[f"{name}.weight"]
    read = {"Q4_1": read_q4_1, "Q8_0": read_q8_0}[tensor.tensor_type.name]
    ours = dequantise(*read(torch.tensor(tensor.data))).flatten(1)
    theirs = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type))
    assert ours.equal(theirs)


def test_the_rows_of_heads_go_where_transformers_has_them(gguf_tensors, loaded):
    """Against the model that Transformers converted from the same file."""
    spec, attention = loaded.spec, loaded.model.model.layers[3].self_attn
    parts = {
        "attn_q": (attention.q_proj, spec.n_heads),
        "attn_k": (attention.k_proj, spec.n_kv_heads),
    }
    for name, (module, n_heads) in parts.items():
        blocks = halves_of_heads(torch.tensor(gguf_tensors[f"blk.3.{name}.weight"].data), n_heads)
        assert dequantise(*read_q4_1(blocks)).flatten(1).equal(module.weight)
