"""The lecture's tables of part 5: closed formulas, numbers, and what its block really runs."""

import pytest
import sympy
import torch

from lecture_lib.costs import LECTURE, LectureBlock, lecture_table, op_costs
from lecture_lib.lecture_block import BlockWeights, decode_block, prefill_block
from lecture_lib.op_trace import OpTrace

L, D, n_H, H, B = sympy.symbols("L D n_H H B", positive=True)


def same(left, right) -> bool:
    return sympy.simplify(left - right) == 0


# The number of each row on the slide, and the operation of ``op_costs``.
ROWS = {
    "prefill": {
        "1": "q_proj", "2": "k_proj", "3": "v_proj", "7": "qk_matmul", "8": "sv_matmul",
        "10": "o_proj", "11": "up_proj", "12": "activation", "13": "down_proj",
    },
    "decode": {
        "1": "q_proj", "2": "k_proj", "3": "k_concat", "4": "v_proj", "5": "v_concat",
        "9": "qk_matmul", "10": "sv_matmul", "12": "o_proj", "13": "up_proj", "14": "activation",
        "15": "down_proj",
    },
}  # fmt: skip
LECTURE_INTENSITY = {
    "prefill": {
        **dict.fromkeys(["1", "2", "3", "10"], L * D / (2 * L + D)),
        **dict.fromkeys(["7", "8"], L * H / (2 * H + L)),
        **dict.fromkeys(["11", "13"], 4 * L * D / (5 * L + 4 * D)),
    },
    "decode": {
        **dict.fromkeys(["1", "2", "4", "12"], D / (2 + D)),
        **dict.fromkeys(["9", "10"], (H + L * H) / (2 * H + L + L * H + 1)),
        **dict.fromkeys(["13", "15"], 4 * D / (5 + 4 * D)),
    },
}


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_closed_formulas_of_the_lecture(phase):
    table = lecture_table(phase).set_index("op")
    for no, formula in LECTURE_INTENSITY[phase].items():
        assert same(table.intensity[ROWS[phase][no]], formula), no
    in_fp16, in_fp32 = (
        op_costs(LectureBlock(), phase, 1, 512, n_bytes, conventions=LECTURE).intensity
        for n_bytes in (2, 4)
    )
    assert in_fp32.tolist() == (in_fp16 / 2).tolist()


def test_batching_multiplies_linear_rows_and_not_attention():
    one, many = (lecture_table("decode", batch_size=b).set_index("op") for b in (1, B))
    for op in ("qk_matmul", "sv_matmul"):
        assert same(many.intensity[op], one.intensity[op])
    assert same(many.intensity["q_proj"], B * D / (2 * B + D))
    assert same(many.intensity["up_proj"], 4 * B * D / (5 * B + 4 * D))


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_formulas_and_numbers_are_the_same(phase):
    formulas = lecture_table(phase).set_index("op")
    numbers = op_costs(LectureBlock(4096, 32), phase, 1, 4096, conventions=LECTURE).set_index("op")
    sizes = {L: 4096, D: 4096, n_H: 32, H: 128}
    for column in ("flops", "bytes", "intensity"):
        for op, value in formulas[column].items():
            assert sympy.sympify(value).subs(sizes) == pytest.approx(numbers[column][op])


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_lecture_table_is_what_the_lecture_s_block_runs(phase):
    seq_len, d_model, n_heads = 7, 24, 4
    weights = BlockWeights.random(d_model, n_heads)
    _, cache = prefill_block(torch.randn(seq_len, d_model), weights, n_heads)
    with OpTrace(strict=False, dtype_bytes=2) as trace:
        if phase == "prefill":
            prefill_block(torch.randn(seq_len, d_model), weights, n_heads)
        else:
            decode_block(torch.randn(1, d_model), cache, weights, n_heads)
    ran = trace.table().set_index("no.")
    ours = lecture_table(phase).set_index("op")
    sizes = {L: seq_len, D: d_model, n_H: n_heads, H: d_model // n_heads}
    assert set(ROWS[phase].values()) == set(ours.index)
    assert set(ran[ran.flops > 0].index) <= set(ROWS[phase])
    for no, op in ROWS[phase].items():
        assert sympy.sympify(ours.flops[op]).subs(sizes) == ran.flops[no], no
        assert sympy.sympify(ours.bytes[op]).subs(sizes) == ran.bytes[no], no
