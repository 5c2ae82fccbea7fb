"""op_costs against Transformers counted by PyTorch's FlopCounterMode, and by brute force."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, Qwen3Config

from lecture_lib.costs import Conventions, op_costs, weight_bytes, with_kv_heads
from lecture_lib.model_spec import MODEL_SPECS, ModelSpec
from tests.engine_models import CONFIGS, token_ids

SPEC = MODEL_SPECS["llama-3.1-8b"]


# ---- FLOPs of real models ------------------------------------------------------------------------

FLOP_CONFIGS = CONFIGS | {
    "qwen3": Qwen3Config(
        vocab_size=50, hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=10,
        intermediate_size=80, num_hidden_layers=2, max_position_embeddings=64,
    )
}  # fmt: skip


def eager(config):
    with torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    return model.requires_grad_(False)


def counted_flops(model, phase: str, ids: torch.Tensor, **options) -> dict[str, int]:
    """FLOPs by module as PyTorch counts them, "" the whole, without making the rotary angles."""
    past = None
    if phase == "decode":
        past, ids = model(ids[:, :-1], use_cache=True).past_key_values, ids[:, -1:]
    with FlopCounterMode(display=False) as counter:
        model(ids, past_key_values=past, use_cache=True, **options)
    by_module = {
        name.partition(".")[2]: sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
        if name != "Global"
    }
    angles = sum(n for name, n in by_module.items() if name.endswith("rotary_emb"))
    # opt-350m alone: Transformers projects every position out, the engine those it needs logits of.
    projected = sum(n for name, n in by_module.items() if name.endswith("project_out"))
    unused = projected * (ids.shape[1] - 1) // ids.shape[1] if options else 0
    return by_module | {"": counter.get_total_flops() - angles - unused}


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("name", FLOP_CONFIGS)
def test_flops_are_those_of_transformers(name, phase):
    model = eager(FLOP_CONFIGS[name])
    spec = ModelSpec.from_config(model.config, name=name)
    batch_size, seq_len = 2, 9
    ids = token_ids(batch_size, seq_len + (phase == "decode")) % model.config.vocab_size
    counted = counted_flops(model, phase, ids, logits_to_keep=1)
    costs = op_costs(spec, phase, batch_size, seq_len)
    assert costs.flops.sum() == counted[""]
    for op in ("q_proj", "k_proj", "v_proj"):
        of_layers = [n for module, n in counted.items() if module.endswith(f"self_attn.{op}")]
        assert costs.set_index("op").flops[op] == sum(of_layers), op
    fused = op_costs(spec, phase, batch_size, seq_len, fused_attention=True)
    assert fused.flops.sum() == counted[""]


@pytest.mark.real_model
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_flops_of_the_bundled_model(loaded, phase):
    implementation = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        ids = token_ids(1, 12 + (phase == "decode"))
        counted = counted_flops(loaded.model, phase, ids, logits_to_keep=1)[""]
    finally:
        loaded.model.set_attn_implementation(implementation)
    assert op_costs(loaded.spec, phase, 1, 12).flops.sum() == counted


# ---- bytes, and what conventions change ----------------------------------------------------------


@pytest.mark.parametrize("name", MODEL_SPECS)
def test_a_decode_step_reads_every_weight_once(name):
    """All but the tables, of which it reads a row for each sequence."""
    spec, batch_size = MODEL_SPECS[name], 3
    parts = spec.params_by_part
    read = op_costs(spec, "decode", batch_size, 100).weight_bytes.sum()
    tables = parts["token_embedding"] + parts["position_embedding"]
    rows = (spec.embed_dim or spec.d_model) + (spec.d_model if spec.position_rows else 0)
    head = parts["token_embedding"] if spec.tied_embeddings else 0  # read whole, as the lm_head
    assert read == weight_bytes(spec) + 2 * (head - tables + batch_size * rows)


def test_fused_attention_moves_no_scores():
    plain, fused = (op_costs(SPEC, "prefill", 2, 64, fused_attention=f) for f in (False, True))
    names = ["qk_matmul", "softmax", "sv_matmul"]
    rows = plain.set_index("op").loc[names]
    row = fused.set_index("op").loc["attention"]
    scores = 2 * SPEC.n_layers * 2 * SPEC.n_heads * 64 * 64  # bytes
    assert rows.bytes.sum() - row.bytes == 4 * scores  # written, read, written, read
    assert row.flops == rows.flops.sum()
    assert not set(names) & set(fused.op)
    q_and_z = 2 * 2 * 2 * 64 * SPEC.n_layers * SPEC.n_heads * SPEC.head_dim
    assert row.bytes == q_and_z + 2 * 64 * SPEC.kv_bytes_per_token()


def test_grouped_queries_read_keys_once_for_the_group():
    mha, gqa, mqa = (
        op_costs(with_kv_heads(SPEC, n), "decode", 4, 1000, fused_attention=True).set_index("op")
        for n in (32, 8, 1)
    )
    assert mha.kv_bytes["attention"] == 4 * gqa.kv_bytes["attention"]
    assert gqa.kv_bytes["attention"] == 8 * mqa.kv_bytes["attention"]
    assert mha.flops["attention"] == gqa.flops["attention"] == mqa.flops["attention"]
    assert mqa.intensity["attention"] > 15 * mha.intensity["attention"]


def test_concat_copies_the_past_and_in_place_does_not():
    concat = op_costs(SPEC, "decode", 2, 100, conventions=Conventions(concat_cache=True))
    in_place = op_costs(SPEC, "decode", 2, 100)
    copied = concat.bytes.sum() - in_place.bytes.sum()
    assert copied == 2 * 2 * 101 * SPEC.kv_bytes_per_token()  # reads and writes L + 1 positions
    prefill = op_costs(SPEC, "prefill", 2, 100, conventions=Conventions(concat_cache=True))
    assert "k_concat" not in set(prefill.op)


def test_joined_projections_read_their_input_once():
    apart, joined = (
        op_costs(SPEC, "prefill", 2, 50, conventions=Conventions(joined_projections=j))
        for j in (False, True)
    )
    x = 2 * 2 * 50 * SPEC.d_model * SPEC.n_layers
    assert apart.bytes.sum() - joined.bytes.sum() == 3 * x  # q, k, v: twice less; gate, up: once
    assert apart.flops.sum() == joined.flops.sum()
    assert {"qkv_proj", "gate_up_proj"} <= set(joined.op)


def test_a_step_is_its_layers_and_what_stands_around_them():
    step = op_costs(SPEC, "decode", 2, 50)
    assert set(step.op[step["count"] == 1]) == {"embedding", "final_norm", "lm_head"}
    one_layer = op_costs(dataclasses.replace(SPEC, n_layers=1), "decode", 2, 50)
    in_layer = step["count"] == SPEC.n_layers
    assert list(one_layer.op) == list(step.op)
    assert (one_layer.bytes[in_layer] * SPEC.n_layers == step.bytes[in_layer]).all()
    assert (one_layer.bytes[~in_layer] == step.bytes[~in_layer]).all()


def test_bytes_halve_with_the_dtype():
    four, two = (op_costs(SPEC, "decode", 2, 50, dtype_bytes=b) for b in (4, 2))
    assert (four.bytes == 2 * two.bytes).all()
    assert (four.flops == two.flops).all()


def test_columns_fit_together():
    costs = op_costs(SPEC, "decode", 2, 50)
    assert (costs.weight_bytes + costs.kv_bytes <= costs.bytes).all()
    assert (costs.intensity * costs.bytes).sum() == pytest.approx(costs.flops.sum())
