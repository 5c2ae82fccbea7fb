"""The closed formulas of the lecture: the very code of the tables, run with symbols for sizes."""

from typing import Any

import pandas as pd

from lecture_lib.checks import check_choice

from .conventions import LECTURE
from .dimensions import PHASES, LectureBlock
from .table import arithmetic_intensity, op_costs

#: Rows of the lecture's tables: number, computation, operation of ``op_costs``.
_ROWS = {
    "prefill": (
        ("1", "Q = X W^Q", "q_proj"),
        ("2", "K = X W^K", "k_proj"),
        ("3", "V = X W^V", "v_proj"),
        ("7", "Score_i = softmax(Q_i K_i^T / √·)", "qk_matmul"),
        ("8", "Z_i = score_i V_i", "sv_matmul"),
        ("10", "Out = Z W^O", "o_proj"),
        ("11", "A = Out W^1", "up_proj"),
        ("12", "A' = relu(A)", "activation"),
        ("13", "X' = A' W^2", "down_proj"),
    ),
    "decode": (
        ("1", "Q = Q_d = t W^Q", "q_proj"),
        ("2", "K_d = t W^K", "k_proj"),
        ("3", "K = concat(K_cache, K_d)", "k_concat"),
        ("4", "V_d = t W^V", "v_proj"),
        ("5", "V = concat(V_cache, V_d)", "v_concat"),
        ("9", "Score_i = softmax(Q_i K_i^T / √·)", "qk_matmul"),
        ("10", "Z_i = score_i V_i", "sv_matmul"),
        ("12", "Out = Z W^O", "o_proj"),
        ("13", "A = Out W^1", "up_proj"),
        ("14", "A' = relu(A)", "activation"),
        ("15", "t' = A' W^2", "down_proj"),
    ),
}


def lecture_table(
    phase: str,
    batch_size: Any = 1,
    seq_len: Any = None,
    d_model: Any = None,
    n_heads: Any = None,
) -> pd.DataFrame:
    """The lecture's table of part 5, as formulas, as numbers, or half and half.

    Args:
        phase: "prefill" or "decode" (``seq_len`` is the cached length then).
        batch_size, seq_len, d_model, n_heads: integers, or None for the symbols L, D, n_H; a
            symbol of your own for ``batch_size`` shows what batching changes.

    Returns:
        DataFrame: no. (of the lecture's slide), computation, op, flops, bytes (FP16, all
        heads together), intensity. Attention rows are in L, H and n_H, the others in L and D.

    Raises:
        ValueError: an unknown phase, a size below 1, n_heads that does not divide d_model.
    """
    import sympy

    check_choice("phase", phase, PHASES)
    L, D, n_H, H = sympy.symbols("L D n_H H", positive=True)
    seq_len, d_model, n_heads = (
        symbol if value is None else value
        for value, symbol in ((seq_len, L), (d_model, D), (n_heads, n_H))
    )
    block, size = LectureBlock(d_model, n_heads), (batch_size, seq_len)
    costs = op_costs(block, phase, *size, conventions=LECTURE).set_index("op")
    rows = []
    for no, computation, op in _ROWS[phase]:
        flops, moved = costs.flops[op], costs.bytes[op]
        if op in ("qk_matmul", "sv_matmul") and d_model is D and n_heads is n_H:
            flops, moved = (sympy.expand(x.subs(D, n_H * H)) for x in (flops, moved))
        intensity = arithmetic_intensity(flops, moved)
        rows.append([no, computation, op, flops, moved, intensity])
    columns = ["no.", "computation", "op", "flops", "bytes", "intensity"]
    return pd.DataFrame(rows, columns=columns)
