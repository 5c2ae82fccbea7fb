"""linear: F.linear's numbers, and the vector kernel where it is the faster one."""

import pytest
import torch
import torch.nn.functional as F
from engine_models import llama, loaded_model, opt, token_ids
from torch.profiler import ProfilerActivity, profile

from lecture_lib.engine import Engine, kernels
from lecture_lib.engine.kernels import linear
from lecture_lib.engine.packed import dtype_of_many_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(1, 48), (2, 48), (1, 1, 48), (3, 5, 48)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_the_numbers_are_those_of_the_exact_product(dtype, shape, with_bias):
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(size, generator=generator).to(dtype) for size in (shape, (7, 48), (7,))
    )
    bias = bias if with_bias else None
    y = linear(x, weight, bias)
    exact = F.linear(x.double(), weight.double(), bias.double() if with_bias else None)
    assert y.dtype == dtype
    assert y.shape == exact.shape
    one_rounding = 20 * torch.finfo(dtype).eps  # of a sum of up to 20; it is kept in float32
    torch.testing.assert_close(y.double(), exact, atol=one_rounding + 2e-5, rtol=0)


@pytest.mark.parametrize("n_rows", range(1, 10))
@pytest.mark.parametrize("with_bias", [False, True])
def test_few_rows_of_float32_may_go_the_other_way_round(monkeypatch, n_rows, with_bias):
    """On AMD's processors; here wherever the tests run."""
    generator = torch.Generator().manual_seed(n_rows)
    x, weight, bias = (torch.randn(s, generator=generator) for s in ((n_rows, 48), (7, 48), 7))
    bias = bias if with_bias else None
    expected = F.linear(x, weight, bias)
    monkeypatch.setattr(kernels, "TURN_FEW_ROWS", True)
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        turned = linear(x, weight, bias)
    torch.testing.assert_close(turned, expected, rtol=1e-5, atol=1e-5)
    assert turned.is_contiguous()
    (product,) = [event for event in trace.events() if event.name in ("aten::mm", "aten::addmm")]
    assert (product.name == "aten::mm" and n_rows <= 8) or n_rows == 9
    monkeypatch.setattr(kernels, "TURN_FEW_ROWS", False)
    torch.testing.assert_close(linear(x, weight, bias), expected, rtol=0, atol=0)


@pytest.mark.parametrize("config", [llama(), llama(attention_bias=True, mlp_bias=True), opt()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_one_row_of_two_byte_numbers_goes_by_the_vector_kernel(config, dtype, batch_size):
    loaded = loaded_model(config)
    loaded.model.to(dtype)
    engine = Engine(loaded)
    engine.prefill(token_ids(batch_size, 5))
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        engine.decode([1] * batch_size)
    names = [event.name for event in trace.events()]
    by_vector = sum(name in ("aten::mv", "aten::addmv") for name in names)
    products = 4 * 3 + 1  # of three layers, and lm_head
    if batch_size == 1 and dtype == torch.bfloat16:
        assert by_vector >= products
        assert not {"aten::mm", "aten::addmm"} & set(names)
    else:
        assert by_vector == 0
        assert sum(name in ("aten::mm", "aten::addmm") for name in names) == products


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(8, 48), (9, 48), (3, 5, 48)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_many_rows_go_through_float32_where_the_processor_is_slow(
    monkeypatch, dtype, shape, with_bias
):
    x, weight, bias = (torch.randn(size).to(dtype) for size in (shape, (7, 48), (7,)))
    bias = bias if with_bias else None
    exact = F.linear(x.double(), weight.double(), bias.double() if with_bias else None)
    for inner in (dtype, torch.float32):
        monkeypatch.setitem(kernels.MANY_ROWS, dtype, inner)
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            y = linear(x, weight, bias)
        assert (y.dtype, y.shape) == (dtype, exact.shape)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(y.double(), exact, rtol=eps, atol=20 * eps)
        converted = "aten::_to_copy" in [event.name for event in trace.events()]
        assert converted == (inner == torch.float32 and x.numel() > 8 * 48)


@pytest.mark.parametrize(
    ("dtype", "used", "instructions", "expected"),
    [
        (torch.bfloat16, "AVX512", {"avx512_bf16"}, torch.bfloat16),
        (torch.bfloat16, "AVX512", {"avx512_f"}, torch.float32),
        (torch.bfloat16, "AVX2", {"avx2"}, torch.float32),
        (torch.bfloat16, "AVX2", {"avx512_bf16"}, torch.float32),  # it was told not to use them
        (torch.bfloat16, "DEFAULT", {"neon", "bf16"}, torch.bfloat16),
        (torch.bfloat16, "DEFAULT", {"neon"}, torch.float32),
        (torch.float16, "AVX512", {"avx512_bf16"}, torch.float32),
        (torch.float16, "AVX512", {"avx512_fp16"}, torch.float16),
    ],
)
def test_the_rule_for_many_rows(monkeypatch, dtype, used, instructions, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True))
    assert dtype_of_many_rows(dtype) == expected
