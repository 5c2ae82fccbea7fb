"""The lecture's transformer block, as its tables have it: one text, X of shape (L, D), no batch.

Each ``with row(...)`` is a row of the slide, with the slide's number; it does nothing unless an
OpTrace watches. Keyword flags of all three functions add what real models have and the slide leaves
out, each off by default: see BlockFlags. The rows that they add have no number on the slide; here
each has the number of the row before it and a letter.

Decoding with a cache equals computing everything again only if keys and values of the past do not
change. In one block they never do: they are rows of X times a matrix. In a stack, the next block's
X is this one's output, and without ``causal`` a new token changes all its rows. So the slide's "an
embedding depends on its left context alone" needs the mask that the slide leaves out.
"""

import torch
import torch.nn.functional as F

from ..checks import check_count, check_type
from ..op_trace import name_tensors, row
from .cache import KVCache, PreallocatedKVCache
from .weights import BlockFlags, BlockWeights


def naive_block(
    x: torch.Tensor, weights: BlockWeights, n_heads: int, **flags: bool
) -> torch.Tensor:
    """X -> X', (L, D) both: the table of part 3. Nothing is kept. Flags, errors: prefill_block."""
    x_next, _ = prefill_block(x, weights, n_heads, **flags)
    return x_next


def prefill_block(
    x: torch.Tensor, weights: BlockWeights, n_heads: int, **flags: bool
) -> tuple[torch.Tensor, KVCache]:
    """X -> X', (L, D) both, and the cache with K and V of the L positions: the table of part 3.

    Raises:
        ValueError: x that is empty or not (L, D); n_heads that does not divide D.
    """
    n_heads = _check(x, "x", weights, n_heads)
    w, on = weights, BlockFlags(**flags)
    root, divisor = on.scale(w.d_model, n_heads)
    name_tensors({"X": x, **w.slide_names()})
    normed = _layer_norm("0", "X", x) if on.layer_norm else x
    with row("1", "Q = X W^Q", "Q"):
        q = normed @ w.w_q  # (L, D)
    with row("2", "K = X W^K", "K"):
        k = normed @ w.w_k  # (L, D)
    with row("3", "V = X W^V", "V"):
        v = normed @ w.w_v  # (L, D)
    with row("4-6", "[Q_1..Q_nH] = Partition_-1(Q), same for K, V", "Q_i, K_i, V_i"):
        q_heads, k_heads, v_heads = (_partition(y, n_heads) for y in (q, k, v))  # n_H of (L, H)
    z_heads = []
    for i in range(n_heads):
        with row("7", f"Score_i = softmax(Q_i K_i^T / {root})", "score_i", head=i):
            score_i = _score(q_heads[i], k_heads[i], divisor, on.causal)  # (L, L)
        with row("8", "Z_i = score_i V_i", "Z_i", head=i):
            z_heads.append(score_i @ v_heads[i])  # (L, H)
    with row("9", "Z = Merge_-1([Z_1..Z_nH])", "Z"):
        z = torch.cat(z_heads, dim=-1)  # (L, D)
    with row("10", "Out = Z W^O", "Out"):
        out = z @ w.w_o  # (L, D)
    out = _add("10a", "Out = X + Out", x, out) if on.residual else out
    normed = _layer_norm("10b", "Out", out) if on.layer_norm else out
    with row("11", "A = Out W^1", "A"):
        a = normed @ w.w_1  # (L, 4D)
    with row("12", "A' = relu(A)", "A'"):
        a = F.relu(a)  # (L, 4D)
    with row("13", "X' = A' W^2", "X'"):
        x_next = a @ w.w_2  # (L, D)
    x_next = _add("13a", "X' = Out + X'", out, x_next) if on.residual else x_next
    return x_next, KVCache(k, v)


def decode_block(
    t: torch.Tensor,
    cache: KVCache | PreallocatedKVCache,
    weights: BlockWeights,
    n_heads: int,
    **flags: bool,
) -> tuple[torch.Tensor, KVCache | PreallocatedKVCache]:
    """One new token t -> t', (1, D) both, and the cache grown from L to L+1: the table of part 4.

    The newest position may attend to all L+1, so ``causal`` changes nothing here; it is accepted
    so that the same flags work for prefill and decode.

    Raises:
        ValueError: t that is not (1, D); n_heads that does not divide D; a cache of another width
            or dtype, or without room for one more position.
    """
    n_heads = _check(t, "t", weights, n_heads)
    _check_cache(t, cache)
    w, on = weights, BlockFlags(**flags)
    root, divisor = on.scale(w.d_model, n_heads)
    name_tensors({"t": t, "K_cache": cache.keys, "V_cache": cache.values, **w.slide_names()})
    normed = _layer_norm("0", "t", t) if on.layer_norm else t
    with row("1", "Q = Q_d = t W^Q", "Q"):
        q = normed @ w.w_q  # (1, D)
    with row("2", "K_d = t W^K", "K_d"):
        k_d = normed @ w.w_k  # (1, D)
    with row("3", "K = concat(K_cache, K_d)", "K"):
        k = cache.with_key(k_d)  # (L+1, D)
    with row("4", "V_d = t W^V", "V_d"):
        v_d = normed @ w.w_v  # (1, D)
    with row("5", "V = concat(V_cache, V_d)", "V"):
        v = cache.with_value(v_d)  # (L+1, D)
    with row("6", "Partition Q", "Q_i"):
        q_heads = _partition(q, n_heads)  # n_H of (1, H)
    with row("7-8", "Partition K, V", "K_i, V_i"):
        k_heads, v_heads = (_partition(y, n_heads) for y in (k, v))  # n_H of (L+1, H)
    z_heads = []
    for i in range(n_heads):
        with row("9", f"Score_i = softmax(Q_i K_i^T / {root})", "score_i", head=i):
            score_i = _score(q_heads[i], k_heads[i], divisor, causal=False)  # (1, L+1)
        with row("10", "Z_i = score_i V_i", "Z_i", head=i):
            z_heads.append(score_i @ v_heads[i])  # (1, H)
    with row("11", "Z = Merge", "Z"):
        z = torch.cat(z_heads, dim=-1)  # (1, D)
    with row("12", "Out = Z W^O", "Out"):
        out = z @ w.w_o  # (1, D)
    out = _add("12a", "Out = t + Out", t, out) if on.residual else out
    normed = _layer_norm("12b", "Out", out) if on.layer_norm else out
    with row("13", "A = Out W^1", "A"):
        a = normed @ w.w_1  # (1, 4D)
    with row("14", "A' = relu(A)", "A'"):
        a = F.relu(a)  # (1, 4D)
    with row("15", "t' = A' W^2", "t'"):
        t_next = a @ w.w_2  # (1, D)
    t_next = _add("15a", "t' = Out + t'", out, t_next) if on.residual else t_next
    return t_next, cache.after(k, v)


def _partition(y: torch.Tensor, n_heads: int) -> tuple[torch.Tensor, ...]:
    return y.split(y.shape[-1] // n_heads, dim=-1)  # (L, D) -> n_H of (L, H), views of y


def _score(q_i, k_i, divisor: float, causal: bool) -> torch.Tensor:
    """softmax(Q_i K_i^T / divisor), (L, L); with ``causal`` a row sees no later column."""
    scores = q_i @ k_i.T / divisor
    if causal:
        scores = scores + torch.full_like(scores, -torch.inf).triu(1)
    return F.softmax(scores, dim=-1)


def _layer_norm(no: str, name: str, x: torch.Tensor) -> torch.Tensor:
    with row(no, f"{name}_n = LayerNorm({name})", f"{name}_n"):
        return F.layer_norm(x, (x.shape[-1],))


def _add(no: str, label: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    with row(no, label, label.split(" = ")[0]):
        return x + y


def _check(x, argument: str, weights: BlockWeights, n_heads: int) -> int:
    check_type("weights", weights, BlockWeights, "BlockWeights")
    d, dtype = weights.d_model, weights.w_q.dtype
    if not isinstance(x, torch.Tensor) or x.ndim != 2:
        got = tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
        raise ValueError(f"{argument}: needs a tensor of shape (L, D), no batch axis, got {got}")
    if len(x) == 0:
        raise ValueError(f"{argument}: needs at least one row, got 0")
    if x.shape[1] != d or x.dtype != dtype:
        got = f"{x.shape[1]} and {x.dtype}"
        raise ValueError(f"{argument}: the weights are for width {d} and {dtype}, got {got}")
    if d % check_count("n_heads", n_heads):
        raise ValueError(f"n_heads: needs a divisor of D = {d}, got {n_heads}")
    return int(n_heads)


def _check_cache(t: torch.Tensor, cache: KVCache | PreallocatedKVCache) -> None:
    if len(t) != 1:
        raise ValueError(f"t: needs one row, the new token, got {len(t)}")
    check_type("cache", cache, KVCache | PreallocatedKVCache, "what prefill_block returned")
    k = cache.keys
    if k.shape[1] != t.shape[1] or k.dtype != t.dtype:
        got = f"{k.shape[1]} and {k.dtype}"
        raise ValueError(f"cache: t is of width {t.shape[1]} and {t.dtype}, the cache of {got}")
