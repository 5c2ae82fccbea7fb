"""The roof columns of a table of costs, and the bad input it refuses."""

import pytest
import sympy

from lecture_lib.costs import (
    Conventions,
    LectureBlock,
    arithmetic_intensity,
    op_costs,
    with_kv_heads,
)
from lecture_lib.model_spec import MODEL_SPECS

SPEC = MODEL_SPECS["llama-3.1-8b"]
L, D, n_H = sympy.symbols("L D n_H", positive=True)


def test_roof_columns():
    costs = op_costs(SPEC, "prefill", 1, 4096, hardware="a100-80gb-sxm").set_index("op")
    assert costs.bound["up_proj"] == "compute"
    assert costs.seconds["up_proj"] == costs.flops["up_proj"] / 312e12
    assert costs.bound["softmax"] == "memory"
    assert costs.seconds["softmax"] == costs.bytes["softmax"] / 2039e9
    fp32 = op_costs(SPEC, "prefill", 1, 4096, 4, hardware="a100-80gb-sxm").set_index("op")
    assert fp32.seconds["up_proj"] == costs.flops["up_proj"] / 19.5e12
    tf32 = op_costs(SPEC, "prefill", 1, 4096, 4, hardware="a100-80gb-sxm", compute_dtype="tf32")
    assert tf32.set_index("op").seconds["up_proj"] == costs.flops["up_proj"] / 156e12


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "train"}, r"phase: .*'prefill'.*'decode'.*got 'train'"),
        ({"batch_size": 0}, "batch_size: needs an integer of 1 or more, got 0"),
        ({"batch_size": 1.5}, "batch_size: needs an integer"),
        ({"batch_size": True}, "batch_size: needs an integer"),
        ({"seq_len": -3}, "seq_len: needs an integer .*got -3"),
        ({"dtype_bytes": 0}, "dtype_bytes: needs a number .*got 0"),
        ({"dtype_bytes": "fp16"}, "dtype_bytes: needs a number"),
        ({"fused_attention": 1}, "fused_attention: must be True or False"),
        ({"spec": "llama2-7b"}, "spec: .*did you mean .*llama-2-7b"),
        ({"spec": 7}, "spec: needs a ModelSpec"),
        ({"weight_format": "int9"}, "weight_format: must be one of .*'int8'.*got 'int9'"),
        ({"kv_format": "nvfp"}, "kv_format: must be one of .*got 'nvfp'"),
        ({"conventions": "full"}, "conventions: needs a Conventions"),
        ({"hardware": "a100"}, "hardware: none is called 'a100'; did you mean"),
        ({"hardware": "l4", "compute_dtype": "int3"}, "dtype: no peak of 'int3' is known for l4"),
        ({"hardware": "l4", "seq_len": L}, "hardware: a time needs numbers"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        op_costs(**{"spec": SPEC, "phase": "decode", "batch_size": 1, "seq_len": 16, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"softmax_pass": 1}, "softmax_pass: must be True or False"),
        ({"concat_cache": "copy"}, "concat_cache: must be True or False"),
        ({"joined_projections": None}, "joined_projections: must be True or False"),
    ],
)
def test_bad_conventions(change, message):
    with pytest.raises(ValueError, match=message):
        Conventions(**change)


def test_kv_heads_that_do_not_divide():
    with pytest.raises(ValueError, match=r"n_kv_heads: must divide n_heads=32"):
        with_kv_heads(SPEC, 5)
    with pytest.raises(ValueError, match="n_heads: must divide d_model=100"):
        LectureBlock(100, 3)


def test_intensity():
    assert arithmetic_intensity(6, 3) == 2
    assert arithmetic_intensity(4 * L * D, 2 * L) == 2 * D
    with pytest.raises(ValueError, match="n_bytes: must be positive"):
        arithmetic_intensity(6, 0)
