"""OpTrace against the lecture's tables, its intensity formulas and PyTorch's FLOP counter."""

import re

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from IPython.core.formatters import DisplayFormatter
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, OPTConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding
from transformers.models.opt.modeling_opt import OPTDecoderLayer

from lecture_lib.lecture_block import (
    BlockWeights,
    PreallocatedKVCache,
    decode_block,
    naive_block,
    prefill_block,
)
from lecture_lib.op_trace import (
    OpTrace,
    ShapeError,
    Symbols,
    changed_rows,
    name_tensors,
    recorder,
    row,
)
from lecture_lib.op_trace.table import to_latex

pytestmark = pytest.mark.parity

# The lecture's tables, as it prints them.
NAIVE = """
| 1 | Q = X W^Q | X: L×D, W^Q: D×D | Q: L×D |
| 2 | K = X W^K | X: L×D, W^K: D×D | K: L×D |
| 3 | V = X W^V | X: L×D, W^V: D×D | V: L×D |
| 4-6 | [Q_1..Q_nH] = Partition_-1(Q), same for K, V | L×D | Q_i, K_i, V_i: L×H, i = 1..n_H |
| 7 | Score_i = softmax(Q_i K_i^T / √·) | Q_i, K_i: L×H | score_i: L×L |
| 8 | Z_i = score_i V_i | L×L, L×H | Z_i: L×H |
| 9 | Z = Merge_-1([Z_1..Z_nH]) | n_H of L×H | Z: L×D |
| 10 | Out = Z W^O | Z: L×D, W^O: D×D | Out: L×D |
| 11 | A = Out W^1 | L×D, D×4D | A: L×4D |
| 12 | A' = relu(A) | L×4D | L×4D |
| 13 | X' = A' W^2 | L×4D, 4D×D | X': L×D |
"""
DECODE = """
| 1 | Q = Q_d = t W^Q | t: 1×D, D×D | 1×D |
| 2 | K_d = t W^K | 1×D, D×D | 1×D |
| 3 | K = concat(K_cache, K_d) | L×D, 1×D | (L+1)×D |
| 4 | V_d = t W^V | 1×D, D×D | 1×D |
| 5 | V = concat(V_cache, V_d) | L×D, 1×D | (L+1)×D |
| 6 | Partition Q | 1×D | Q_i: 1×H |
| 7-8 | Partition K, V | (L+1)×D | K_i, V_i: (L+1)×H |
| 9 | Score_i = softmax(Q_i K_i^T / √·) | 1×H, (L+1)×H | 1×(L+1) |
| 10 | Z_i = score_i V_i | 1×(L+1), (L+1)×H | 1×H |
| 11 | Z = Merge | n_H of 1×H | 1×D |
| 12 | Out = Z W^O | 1×D, D×D | 1×D |
| 13 | A = Out W^1 | 1×D, D×4D | 1×4D |
| 14 | A' = relu(A) | 1×4D | 1×4D |
| 15 | t' = A' W^2 | 1×4D, 4D×D | 1×D |
"""
PER_HEAD = ("4-6", "7", "8"), ("6", "7-8", "9", "10")  # rows that say i = 1..n_H
REAL = {"causal": True, "head_dim_scale": True, "residual": True, "layer_norm": True}


def lecture_rows(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n")[1:-1]
    ]


def at_l_plus_1(cell):
    return "×".join(
        re.sub(r"\bL\b", "(L+1)" if "×" in cell else "L+1", part) for part in cell.split("×")
    )


def parse(cell):
    """'Q_i, K_i: L×H, W: D×D, i = 1..n_H' -> [([Q_i, K_i], L×H), ([W], D×D)]"""
    groups, names = [], []
    for token in re.sub(r", i = 1\.\.n_H$|n_H of ", "", cell).split(", "):
        name, has_shape, shape = token.rpartition(": ")
        if has_shape or "×" in token:
            groups.append((names + [name] * bool(name), shape))
            names = []
        else:
            names.append(token)
    return groups


def assert_same_table(table, expected):
    assert list(table["no."]) == [cells[0] for cells in expected]
    for ours, (no, computation, *sides) in zip(
        table.itertuples(index=False), expected, strict=True
    ):
        assert ours[1] == computation.replace("√·", "√D"), f"row {no}"
        for our_side, side in zip((ours.input, ours.output), sides, strict=True):
            mine, theirs = parse(our_side), parse(side)
            assert [shape for _, shape in mine] == [shape for _, shape in theirs], f"row {no}"
            for (our_names, _), (names, _) in zip(mine, theirs, strict=True):
                assert our_names == names or not names, f"row {no}"


def inputs(past=8, d=64, n_heads=4, dtype=torch.float32, **flags):
    """Weights, L+1 rows, the cache of the first L, and the symbols."""
    weights = BlockWeights.random(d, n_heads, dtype=dtype)
    x = torch.randn(past + 1, d, dtype=dtype, generator=torch.Generator().manual_seed(0))
    _, cache = prefill_block(x[:past], weights, n_heads, **flags)
    return weights, x, cache, {"L": past, "D": d, "n_H": n_heads, "H": d // n_heads}


@pytest.fixture
def traces():
    """The lecture's three runs: naive at L, naive at L+1, decode."""
    weights, x, cache, symbols = inputs()
    result = [OpTrace(symbols) for _ in range(3)]
    with result[0]:
        naive_block(x[:8], weights, 4)
    with result[1]:
        naive_block(x, weights, 4)
    with result[2]:
        decode_block(x[8:], cache, weights, 4)
    return result


def test_the_lectures_three_tables_come_out(traces):
    first, second, decode = (trace.table() for trace in traces)
    assert_same_table(first, lecture_rows(NAIVE))
    grown = [[no, text, *map(at_l_plus_1, sides)] for no, text, *sides in lecture_rows(NAIVE)]
    assert grown[6][2:] == ["n_H of (L+1)×H", "Z: (L+1)×D"]  # the test's own substitution
    assert_same_table(second, grown)
    assert_same_table(decode, lecture_rows(DECODE))
    for table, numbers in ((first, PER_HEAD[0]), (second, PER_HEAD[0]), (decode, PER_HEAD[1])):
        per_head = table["output"].str.endswith(", i = 1..n_H")
        assert tuple(table["no."][per_head]) == numbers


def test_prefill_runs_the_naive_table(traces):
    weights, x, _, symbols = inputs()
    with OpTrace(symbols) as trace:
        prefill_block(x[:8], weights, 4)
    pd.testing.assert_frame_equal(trace.table(), traces[0].table())


def test_columns_and_types(traces):
    table = traces[2].table()
    columns = ["no.", "computation", "input", "output", "flops", "bytes", "intensity"]
    assert type(table) is pd.DataFrame
    assert list(table) == columns
    with OpTrace() as trace:  # without symbols, shapes are numbers
        torch.ones(8, 64) @ torch.ones(64, 9)
    assert trace.table()["output"].iloc[-1] == "8×9"


@pytest.mark.parametrize("sizes", [(8, 64, 4), (100, 96, 3), (1000, 32, 2)])
def test_intensities_are_the_lectures_formulas(sizes):
    L, D, n_heads = sizes
    H = D // n_heads
    weights, x, cache, symbols = inputs(*sizes)
    with OpTrace(symbols, dtype_bytes=2) as prefill:
        prefill_block(x[:L], weights, n_heads)
    with OpTrace(symbols, dtype_bytes=2) as decode:
        decode_block(x[L:], cache, weights, n_heads)
    for trace, formulas in (
        (
            prefill,
            {
                ("1", "2", "3", "10"): L * D / (2 * L + D),
                ("7", "8"): L * H / (2 * H + L),
                ("11", "13"): 4 * L * D / (5 * L + 4 * D),
            },
        ),
        (
            decode,
            {
                ("1", "2", "4", "12"): D / (2 + D),
                ("9", "10"): (H + L * H) / (2 * H + L + L * H + 1),
                ("13", "15"): 4 * D / (5 + 4 * D),
            },
        ),
    ):
        intensity = trace.table().set_index("no.")["intensity"]
        for numbers, value in formulas.items():
            assert list(intensity[list(numbers)]) == [value] * len(numbers)


def test_dtype_bytes_accounts_or_takes_what_is_stored():
    weights, x, _, symbols = inputs()
    moved = {}
    for dtype_bytes in (2, 4, None):
        with OpTrace(symbols, dtype_bytes=dtype_bytes) as trace:
            naive_block(x[:8], weights, 4)
        moved[dtype_bytes] = trace.table()["bytes"][0]
    assert moved == {2: 2 * (2 * 8 * 64 + 64 * 64), 4: 2 * moved[2], None: 2 * moved[2]}
    for bad in (0, -1, 2.5):
        with pytest.raises(ValueError, match="dtype_bytes"):
            OpTrace(dtype_bytes=bad)


def test_views_are_free_and_a_preallocated_cache_moves_one_row():
    weights, x, cache, symbols = inputs()
    engine = PreallocatedKVCache(cache, 20)
    rows = {}
    for name, used in (("concat", cache), ("preallocated", engine)):
        with OpTrace(symbols) as trace:
            decode_block(x[8:], used, weights, 4)
        rows[name] = trace.table().set_index("no.")
    assert list(rows["concat"]["bytes"][["6", "7-8"]]) == [0, 0]
    assert rows["concat"]["intensity"][["6", "7-8"]].isna().all()
    assert rows["concat"]["bytes"]["3"] == 2 * 64 * (8 + 1 + 9)
    assert rows["preallocated"]["bytes"]["3"] == 2 * 64 * (1 + 1)
    assert rows["preallocated"]["output"]["3"] == "K: (L+1)×D"


def llama_layer():
    config = LlamaConfig(
        hidden_size=96, intermediate_size=250, num_attention_heads=6, num_key_value_heads=2,
        num_hidden_layers=1, vocab_size=50, attn_implementation="eager",
    )  # fmt: skip
    layer, rotary = LlamaDecoderLayer(config, 0).eval(), LlamaRotaryEmbedding(config)
    x, mask = torch.randn(1, 11, 96), torch.full((1, 1, 11, 11), -torch.inf).triu(1)
    positions = rotary(x, torch.arange(11)[None])
    symbols = {"L": 11, "D": 96, "n_H": 6, "n_KV": 2, "H": 16, "F": 250}
    symbols |= {"H/2": 8}
    run = lambda: layer(x, position_embeddings=positions, attention_mask=mask)  # noqa: E731
    matmuls = 2 * 11 * 96 * (96 + 32 + 32 + 96 + 3 * 250)
    return layer, run, symbols, matmuls, 2 * 2 * 6 * 11 * 11 * 16


def opt_layer():
    config = OPTConfig(
        hidden_size=64, ffn_dim=250, num_attention_heads=4, attn_implementation="eager"
    )
    layer = OPTDecoderLayer(config, 0).eval()
    x, mask = torch.randn(1, 11, 64), torch.full((1, 1, 11, 11), -torch.inf).triu(1)
    symbols = {"L": 11, "D": 64, "n_H": 4, "H": 16, "F": 250}
    run = lambda: layer(x, attention_mask=mask)  # noqa: E731
    return layer, run, symbols, 2 * 11 * 64 * (4 * 64 + 2 * 250), 2 * 2 * 4 * 11 * 11 * 16


@pytest.mark.parametrize("make", [llama_layer, opt_layer])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_flops_of_a_real_layer_agree_with_pytorchs_counter(make, mode):
    layer, run, symbols, linear, attention = make()
    with mode(), FlopCounterMode(display=False) as counter:
        expected_output = run()
    with mode(), OpTrace(symbols, module=layer) as trace:
        output = run()
    assert torch.equal(output, expected_output), "listening must not change the result"
    table = trace.table()
    assert table["flops"].sum() == counter.get_total_flops() == linear + attention
    by_row = table.groupby("computation")["flops"].sum()
    assert by_row["self_attn: matmul"] == attention
    assert by_row[by_row.index.str.endswith(": Linear")].sum() == linear


@pytest.mark.parametrize("flags", [{}, REAL])
def test_flops_of_the_lectures_block_agree_with_pytorchs_counter(flags):
    weights, x, cache, symbols = inputs(**flags)
    L, D = 8, 64
    linear, mlp = 4 * D * D, 8 * D * D
    for run, expected in (
        (lambda: naive_block(x[:L], weights, 4, **flags), L * (linear + mlp + 2 * L * D)),
        (lambda: prefill_block(x, weights, 4, **flags), 9 * (linear + mlp + 2 * 9 * D)),
        (lambda: decode_block(x[L:], cache, weights, 4, **flags), linear + mlp + 2 * 9 * D),
    ):
        with FlopCounterMode(display=False) as counter:
            run()
        with OpTrace(symbols) as trace:
            run()
        assert trace.table()["flops"].sum() == counter.get_total_flops() == 2 * expected


def test_fused_attention_on_a_cpu_counts_though_pytorchs_counter_says_0():
    q, k, v = torch.randn(3, 1, 4, 9, 16)  # (1, n_H, L, H) each: in other layouts it is not fused
    with OpTrace() as trace, FlopCounterMode(display=False) as counter:
        F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert list(trace.table()["computation"]) == ["scaled_dot_product_attention"]
    assert trace.table()["flops"].sum() == 2 * 2 * 4 * 9 * 9 * 16
    assert counter.get_total_flops() == 0  # when this fails, use theirs


def test_a_real_layer_without_labels_is_listed_by_function_or_module():
    layer, run, symbols, *_ = llama_layer()
    with torch.no_grad(), OpTrace(symbols) as plain:
        run()
    with torch.no_grad(), OpTrace(symbols, module=layer) as grouped:
        run()
    plain, grouped = plain.table(), grouped.table()
    assert list(plain["no."]) == [str(n + 1) for n in range(len(plain))]
    expected = {"linear": 7, "matmul": 2, "softmax": 1, "silu": 1, "rsqrt": 2, "cat": 2, "neg": 2}
    counts = plain["computation"].value_counts()
    assert counts[list(expected)].to_dict() == expected
    assert not {"view", "transpose", "getitem"} & set(counts.index)
    by_name = grouped.set_index("computation")
    q_proj, k_proj = (
        by_name.loc["self_attn.q_proj: Linear"],
        by_name.loc["self_attn.k_proj: Linear"],
    )
    assert (q_proj["input"], q_proj["output"]) == ("1×L×D, D×D", "1×L×D")
    assert (k_proj["input"], k_proj["output"]) == ("1×L×D, (n_KV·H)×D", "1×L×(n_KV·H)")
    assert q_proj["intensity"] == 11 * 96 / (2 * 11 + 96)
    norm = by_name.loc["input_layernorm: LlamaRMSNorm"]
    assert norm["bytes"] == 2 * (11 * 96 + 96 + 11 * 96)  # x once, although it is used three times
    softmax = by_name.loc["self_attn: softmax"]
    assert softmax["output"] == "1×n_H×L×L"
    assert softmax["bytes"] == 2 * 2 * 6 * 11 * 11


def test_the_table_comes_from_what_ran():
    _, x, _, symbols = inputs()
    with OpTrace({**symbols, "F": 100}) as trace:
        naive_block(x[:8], BlockWeights.random(64, 4, d_ff=100), 4)
    assert list(trace.table()["output"][-3:]) == ["A: L×F", "A': L×F", "X': L×D"]
    with OpTrace(symbols) as trace, row("1", "Q = X W^Q", "Q"):
        x[:8].T @ x[:8]  # the label says one thing, the code does another
    assert trace.table()["output"][0] == "Q: D×D"


def test_a_shape_that_contradicts_the_symbols_is_refused():
    weights, x, _, symbols = inputs(past=10)
    with OpTrace({**symbols, "L": 8}) as trace:
        naive_block(x[:10], weights, 4)
    with pytest.raises(ShapeError, match=r"row 1 \(Q = X W\^Q\).*size 10 is none of L = 8, D = 64"):
        trace.table()
    with OpTrace({**symbols, "L": 8}, strict=False) as trace:
        naive_block(x[:10], weights, 4)
    assert trace.table()["output"][0] == "Q: 10×D"


@pytest.mark.parametrize(("past", "names"), [(16, "L and H"), (15, "H and L+1"), (64, "L and D")])
def test_two_symbols_of_one_size_are_refused(past, names):
    weights, x, _, symbols = inputs(past=past)
    for strict in (True, False):
        with OpTrace(symbols, strict=strict) as trace:
            naive_block(x[:past], weights, 4)
        if strict:
            with pytest.raises(ShapeError, match=f"{re.escape(names)} are both"):
                trace.table()
        else:
            table = trace.table()
            ambiguous = past + 1 if "+" in names else past
            assert f"×{ambiguous}" in "".join(table["input"] + table["output"])
            assert names in table.attrs["notes"][0]
            assert names in trace.show().caption()


def test_symbols_follow_from_each_other_and_must_agree():
    symbols = Symbols({"L": 8, "D": 60, "n_H": 4, "H": 16, "n_KV": 4})
    assert symbols.shape((9, 240, 64)) == "(L+1)×4D×(n_H·H)"
    assert symbols.shape((1, 8)) == "1×L"
    assert symbols.shape((9,)) == "L+1"
    assert symbols.shape(()) == "scalar"
    assert symbols.shape((4, 4)) == "n_H×n_H"  # n_KV is n_H without grouped queries
    assert Symbols({"D": 64, "F": 256}).shape((256,)) == "F"
    assert Symbols({"D": 64, "n_KV": 2, "H": 16}).size(32) == "n_KV·H"
    with pytest.raises(ShapeError, match="n_KV and n_H/n_KV are both 3"):  # as in SmolLM2
        Symbols({"n_H": 9, "n_KV": 3}).size(3)
    assert Symbols({"B": 1, "L": 8}).shape((1, 8)) == "1×L"
    for bad, message in (
        ({"L": 8, "L+1": 10}, r"'L\+1'.*10 given, but it is 9"),
        ({"D": 64, "4D": 100}, "it is 256"),
        ({"L": 0}, "integer of 1 or more, got 0"),
        ({"L": 2.0}, "got 2.0"),
        ({"L": True}, "got True"),
    ):
        with pytest.raises(ValueError, match=message):
            OpTrace(symbols=bad)


def test_rows_outside_a_trace_do_nothing():
    x = torch.ones(2)
    name_tensors({"X": x})
    with row("1", "Y = X + 1", "no, such, names"):
        y = x + 1
    assert torch.equal(y, torch.tensor([2.0, 2.0]))


def test_rows_check_their_names_and_heads():
    x = torch.ones(2, 3)

    def run(no, label, names, head=None, x=x):
        with row(no, label, names, head=head):
            return 2 * x

    with OpTrace() as trace:
        with pytest.raises(ValueError, match=r"row 1 .*names 2 results, A, B, but leaves 1"):
            run("1", "A = 2 X", "A, B")
        with pytest.raises(ValueError, match="head numbers start at 0"):
            run("7", "Z_i", "Z_i", head=1)
        run("8", "Z_i", "Z_i", head=0)
        with pytest.raises(ValueError, match="head 1 has other shapes than head 0"):
            run("8", "Z_i", "Z_i", head=1, x=x.T)
        with row("9", "outer", "Y"):
            run("10", "inner", "no")
    assert [r.label for r in trace.rows if r.labelled] == ["Z_i", "outer"]


def test_a_result_that_is_also_used_inside_its_row_is_found_when_it_is_read():
    x = torch.ones(2, 3)
    with OpTrace() as trace:
        with row("1", "A = 2 X, B = A + 1"):
            a = 2 * x
            torch.add(a, 1)
        with row("2", "C = -A"):
            torch.neg(a)
    table = trace.table()
    assert table["output"][0] == "2×3, 2×3"
    assert list(table["bytes"]) == [3 * 6 * 2, 2 * 6 * 2]


def test_writing_into_memory_is_a_result():
    with OpTrace() as trace, row("1", "Z", "Z"):
        z = torch.zeros(4, 3)
        z[1].fill_(1)
        z += 1
    assert trace.table()["output"][0] == "Z: 4×3"
    assert trace.table()["bytes"][0] == 4 * 3 * 2


def test_an_operand_used_twice_in_a_row_is_read_once():
    x = torch.ones(8, 4)
    with OpTrace() as trace:
        with row("1", "G = X X^T", "G"):
            (x @ x.T).relu() + x @ x.T
        x @ x[:4]
    assert list(trace.table()["bytes"]) == [2 * (32 + 64), 2 * (32 + 16 + 32)]


def test_inference_mode_gives_the_same_table():
    x, w, tables = torch.ones(2, 8, 4), torch.ones(3, 4), []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), OpTrace() as trace:
            F.linear(x, w)
        tables.append(trace.table())
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["flops"].sum() == 2 * 16 * 4 * 3


def test_an_error_inside_leaves_nothing_behind():
    layer, run, symbols, *_ = opt_layer()
    with pytest.raises(RuntimeError), OpTrace(symbols, module=layer):
        layer(torch.randn(1, 11, 63))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in layer.modules())
    with OpTrace(symbols, module=layer) as trace:
        run()
        with pytest.raises(ValueError, match="recording already"), OpTrace():
            pass
    assert len(trace.table()) == 18
    with pytest.raises(ValueError, match="X: needs a tensor, got int"), OpTrace():
        name_tensors({"X": 3})


def test_names_can_be_given_from_outside():
    x, w = torch.ones(8, 64), torch.ones(64, 64)
    with OpTrace({"L": 8, "D": 64}) as trace:
        name_tensors({"X": x, "W": w})
        x @ w
    assert trace.table()["input"][0] == "X: L×D, W: D×D"


def two_passes(**flags):
    weights, x, _, symbols = inputs(dtype=torch.float64)
    first, second = (OpTrace(symbols, keep_values=True) for _ in range(2))
    with first:
        naive_block(x[:8], weights, 4, **flags)
    with second:
        naive_block(x, weights, 4, **flags)
    return first, second, weights, x


def test_kept_values_are_the_tensors_of_the_rows():
    first, second, weights, x = two_passes()
    for trace in (first, second):
        assert len(trace.table()) == 11, "keeping values must not add rows"
    torch.testing.assert_close(second.values["K"], x @ weights.w_k)
    assert first.values["K_i"].shape == (4, 8, 16)
    assert torch.equal(first.values["K_i"][1], first.values["K"][:, 16:32])
    assert first.values["score_i"].shape == (4, 8, 8)
    torch.testing.assert_close(first.values["X'"], naive_block(x[:8], weights, 4))
    with OpTrace(keep_values=True) as trace:
        with row("1", "A = 2 X", "A"):
            a = 2 * x
        a.zero_()
    assert torch.equal(trace.values["A"], 2 * x), "values must be as they were in the row"
    with OpTrace(keep_values=True) as both:
        out = naive_block(naive_block(x[:8], weights, 4), weights, 4)
    assert torch.equal(both.values["X'"], out), "of the last row with the name"
    assert both.values["score_i"].shape == (4, 8, 8)


def test_changed_rows_shows_what_was_computed_for_nothing():
    causal, slide = (
        changed_rows(*two_passes(causal=c)[:2]).set_index("tensor") for c in (True, False)
    )
    assert set(causal["unchanged"]) == {8}
    assert set(causal["new"]) == {1}
    assert causal["max_difference"].max() < 1e-12
    assert list(slide["unchanged"][["Q", "K", "V", "K_i"]]) == [8] * 4
    assert list(slide["changed"][["score_i", "Z", "Out", "X'"]]) == [8] * 4
    assert slide["max_difference"]["score_i"] > 0.01


def kept(**tensors):
    """A trace that kept these tensors."""
    with OpTrace(keep_values=True) as trace:
        for name, tensor in tensors.items():
            with row("1", name, name):
                tensor.clone()
    return trace


def test_changed_rows_by_hand():
    a = torch.zeros(3, 2)
    b = torch.tensor([[0, 0], [0, 0.5], [float("nan"), 0], [9, 9]])
    line = changed_rows(kept(K=a, only_here=a), kept(K=b)).iloc[0]
    assert list(line)[:6] == ["K", 3, 4, 1, 2, 1]
    scores, wider = torch.eye(2), torch.tensor([[1, 0, 0], [0, 1, 0.25], [0, 0, 1]])
    line = changed_rows(kept(score=scores), kept(score=wider)).iloc[0]
    assert (line["changed"], line["max_difference"]) == (1, 0.25)
    for first, second, message in (
        (kept(K=b), kept(K=a), "is not .* with rows added"),
        (kept(K=a), kept(V=a), "no tensor is in both"),
        (kept(K=a), kept(K=a[0]), r"K: cannot compare \(3, 2\) with \(2,\)"),
        (kept(K=a[:0]), kept(K=a), r"K: cannot compare \(0, 2\)"),
        (OpTrace(), kept(K=a), "first: needs an OpTrace that ran with keep_values=True"),
        (kept(K=a), a, "second: needs an OpTrace"),
    ):
        with pytest.raises(ValueError, match=message):
            changed_rows(first, second)


def test_latex_and_display(traces):
    assert to_latex("Score_i = softmax(Q_i K_i^T / √D)") == (
        r"\text{Score}_{i} = \text{softmax}(Q_{i} K_{i}^T / \sqrt{D})"
    )
    assert to_latex("Q_i: (L+1)×H, i = 1..n_H") == (r"Q_{i}: (L+1) \times H, i = 1 \dots n_{H}")
    assert to_latex("[Q_1..Q_nH] = Partition_-1(Q)") == (
        r"[Q_{1} \dots Q_{n_H}] = \text{Partition}_{-1}(Q)"
    )
    data, _ = DisplayFormatter().format(traces[2].show())
    assert set(data) == {"text/plain", "text/markdown"}
    lines = data["text/markdown"].split("\n")
    assert all(line.count("|") == 8 for line in lines[:16])
    assert all(cell.count("$") % 2 == 0 for line in lines[:16] for cell in line.split("|"))
    assert lines[2].startswith("| 1 | $Q =")
    assert r"D \times D$ |" in lines[2]
    assert "K = concat(K_cache, K_d)" in str(traces[2].show())
    assert "2 bytes per element" in str(traces[2].show())
    assert re.fullmatch(r"OpTrace\(\d+ rows\)", repr(traces[2]))
    assert "0x" not in data["text/plain"]


def test_a_trace_that_fails_to_start_leaves_the_next_one_alone(monkeypatch):
    with pytest.raises(ValueError, match=r"module: needs a torch\.nn\.Module, got int"):
        OpTrace(module=5)

    def fail(trace):
        raise RuntimeError("no listener")

    monkeypatch.setattr(recorder, "listen_to_modules", fail)
    with pytest.raises(RuntimeError, match="no listener"), OpTrace():
        pass
    monkeypatch.undo()
    with OpTrace() as trace:
        torch.ones(2, 2) @ torch.ones(2, 2)
    assert len(trace.rows) == 3
