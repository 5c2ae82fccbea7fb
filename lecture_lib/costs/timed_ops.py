"""A call for each operation of the engine's step, on the model's own weights: what is timed."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F

from lecture_lib.engine.kernels import apply_rope_, attend, linear, rope_tables
from lecture_lib.engine.kv_cache import Pattern

Call = Callable[[], object]


def timed_ops(engine, phase: str, batch_size: int, seq_len: int) -> dict[str, Call]:
    """The name of each operation, and a call that runs it in all layers, as a step does."""
    model, spec = engine.model, engine.spec
    new, kv_len = (seq_len, seq_len) if phase == "prefill" else (1, seq_len + 1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=engine.dtype, device=engine.device)

    x = random(batch_size * new, spec.d_model)  # one row per token
    ops = _linear_ops(model.layers, x, random(len(x), spec.q_width), random(len(x), spec.d_ff))
    ops |= _attention_ops(engine, batch_size, new, kv_len, random)
    ops |= _elementwise_ops(model.layers, x, random(len(x), spec.d_ff), spec.gated_mlp)
    if hasattr(model, "inv_freq"):
        qk = random(batch_size, spec.n_heads + spec.n_kv_heads, new, spec.head_dim)
        positions = torch.arange(new, device=engine.device)[None]  # (1, L)
        tables = rope_tables(positions, model.inv_freq, engine.dtype)
        ops["rope"] = _each(model.layers, lambda layer: apply_rope_(qk, *tables))
    last = random(batch_size, spec.embed_dim or spec.d_model)
    return ops | {"lm_head": lambda: linear(last, model.lm_head)}


def _each(items: Iterable, work: Callable[..., object]) -> Call:
    """A call that does the work on every item, layer by layer."""

    def run() -> None:
        for item in items:
            work(item)

    return run


def _linear_ops(layers, x, z, inner) -> dict[str, Call]:
    """The products of a layer: x enters q, k, v and the MLP, z enters W^O, inner enters W^2."""
    if hasattr(layers[0], "gate_up"):
        mlp = {"gate_up_proj": ("gate_up", x), "down_proj": ("down", inner)}
    else:
        mlp = {"up_proj": ("w1", x), "down_proj": ("w2", inner)}
    ops = {}
    for op, (name, value) in ({"qkv_proj": ("qkv", x), "o_proj": ("out", z)} | mlp).items():
        pairs = [(getattr(layer, name), getattr(layer, f"{name}_bias")) for layer in layers]
        ops[op] = _each(pairs, lambda pair, value=value: linear(value, *pair))
    return ops


def _attention_ops(engine, batch_size: int, new: int, kv_len: int, random) -> dict[str, Call]:
    """QK^T, softmax, score·V on keys and values of every layer; and all three fused."""
    spec = engine.spec
    cache = engine.new_cache(batch_size, kv_len)
    for half in (cache.keys, cache.values):
        half.normal_()
    q = random(batch_size, spec.n_heads, new, spec.head_dim)
    mask = Pattern.of(kv_len - new, new, None, engine.device).mask
    layers = list(zip(cache.keys, cache.values, strict=True))
    # The query heads of a group as further rows, (B · n_KV, L · n_H / n_KV, H): keys are read once.
    n_groups = batch_size * spec.n_kv_heads
    queries = q.reshape(n_groups, -1, spec.head_dim)
    keys, values = (
        [layer.reshape(n_groups, kv_len, -1) for layer in half]
        for half in (cache.keys, cache.values)
    )
    scores = (queries @ keys[0].mT).softmax(-1)
    return {
        "qk_matmul": _each(keys, lambda k: queries @ k.mT),
        "softmax": _each(layers, lambda layer: scores.softmax(-1)),
        "sv_matmul": _each(values, lambda v: scores @ v),
        "attention": _each(layers, lambda layer: attend(q, *layer, mask)),
    }


def _elementwise_ops(layers, x, up, gated_mlp: bool) -> dict[str, Call]:
    other, gate = torch.randn_like(x), torch.randn_like(up)
    return {
        "attn_norm": _each(layers, lambda layer: layer.attention_norm(x)),
        "activation": _each(layers, lambda layer: F.silu(gate) * up if gated_mlp else F.relu(up)),
        "attn_residual": _each(layers, lambda layer: x + other),
    }
