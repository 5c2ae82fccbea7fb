"""Tensor parallelism by real processes, against Transformers, the engine and the formulas."""

import json
from types import SimpleNamespace

import pytest
import torch
from engine_models import byte_tokenizer, llama, opt
from parallel_models import PROMPT, TIED, WITH_BIASES, greedy_with_logits, save_model
from tiny_models import save_tiny_model

from lecture_lib.costs import weight_bytes
from lecture_lib.engine import Engine
from lecture_lib.loading import load_model
from lecture_lib.model_spec import ModelSpec, UnsupportedArchitectureError
from lecture_lib.parallel import (
    ParallelDegreeError,
    ring_wire_bytes,
    run_pipeline_parallel,
    run_tensor_parallel,
    tensor_parallel_volume,
)
from lecture_lib.parallel.job import Job, choose_device_type, generate
from lecture_lib.parallel.run import cut_after_eos
from lecture_lib.parallel.shards import RankLlama, Shards

N_TOKENS = 5
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biased")
    model = save_model(folder, WITH_BIASES)
    token_ids, logits = greedy_with_logits(model, PROMPT, N_TOKENS)
    spec = ModelSpec.from_config(model.config, name="biased")
    return SimpleNamespace(folder=folder, model=model, ids=token_ids, logits=logits, spec=spec)


@pytest.fixture(scope="module", params=[("own", 3), ("own", 2), ("torch", 3)], ids=str)
def run(request, biased):
    backend, n_ranks = request.param
    return run_tensor_parallel(
        n_ranks, PROMPT, N_TOKENS, model=biased.folder, backend=backend, timeout_s=120
    )


@pytest.mark.slow
def test_tokens_and_logits_are_those_of_transformers(run, biased):
    assert run.token_ids == biased.ids
    assert run.text == byte_tokenizer().decode(biased.ids, skip_special_tokens=True)
    torch.testing.assert_close(run.logits, biased.logits, atol=1e-4, rtol=1e-4)


def test_payload_is_exactly_the_formulas(run, biased):
    volume = tensor_parallel_volume(
        biased.spec, n_ranks=run.n_ranks, seq_len=len(PROMPT), max_new_tokens=N_TOKENS,
        dtype_bytes=4,
    )  # fmt: skip
    assert len(run.collectives) == volume.n_all_reduces == 2 * 6 * N_TOKENS
    assert run.payload_bytes == 2 * 6 * (len(PROMPT) + N_TOKENS - 1) * 48 * 4
    sizes = {record.payload_bytes for record in run.collectives if record.phase == "prefill"}
    assert sizes == {volume.prefill_tensor_bytes}
    sizes = {record.payload_bytes for record in run.collectives if record.phase == "decode"}
    assert sizes == {volume.decode_tensor_bytes}


def test_there_are_two_allreduces_a_layer_and_pass_and_all_ranks_join_in(run):
    expected = [
        ("all_reduce", "decode" if step else "prefill", step, layer, part)
        for step in range(N_TOKENS)
        for layer in range(6)
        for part in ("attention", "mlp")
    ]
    for rank in range(run.n_ranks):
        seen = [(r.kind, r.phase, r.step, r.layer, r.part) for r in run.records if r.rank == rank]
        assert seen == expected


def test_the_wire_carries_more_than_the_ring_formula(run):
    if run.wire_bytes is None:
        pytest.skip("the bytes of the loopback cannot be read here")
    for phase in ("prefill", "decode"):
        payload = sum(r.payload_bytes for r in run.collectives if r.phase == phase)
        assert run.wire_by_phase[phase] > ring_wire_bytes(payload, run.n_ranks, all_ranks=True)
    assert run.wire_bytes == sum(run.wire_by_phase.values())


def test_each_rank_keeps_its_part_of_the_weights_and_of_the_cache(run, biased):
    whole_cache = biased.spec.kv_bytes_per_token(4) * (len(PROMPT) + N_TOKENS - 1)
    assert {m.cache_bytes * run.n_ranks for m in run.memory} == {whole_cache}
    parts = biased.spec.params_by_part
    biases = 2 * 6 * 48  # of W^O and W^2: on one rank, or replicated
    split = 4 * (parts["attention"] + parts["mlp"] - biases)
    assert {m.split_weight_bytes for m in run.memory} == {split // run.n_ranks}
    assert [m.rank for m in run.memory] == list(range(run.n_ranks))
    assert run.memory_table().shape == (run.n_ranks, 5)


def test_a_tied_model_in_bfloat16_sends_half_as_much(tmp_path):
    save_model(tmp_path, TIED)
    run = run_tensor_parallel(
        2, "abc", 3, model=str(tmp_path), dtype="bfloat16", ignore_eos=True, timeout_s=120
    )
    assert {record.dtype for record in run.collectives} == {"bfloat16"}
    assert run.payload_bytes == 2 * 6 * (3 + 2) * 48 * 2
    assert len(run.token_ids) == 3
    engine = Engine(load_model(tmp_path, device="cpu"))
    full = engine.logits([byte_tokenizer()("abc").input_ids + run.token_ids[:-1]])[0, 2:]
    error = (full - run.logits).abs().max() / full.abs().max()
    assert error < 0.05, "bfloat16 has 8 bits: about 1 % a sum"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n_ranks": 4}, ParallelDegreeError, "degrees that work: 1, 2, 3, 6"),
        ({"n_ranks": 0}, ValueError, "n_ranks"),
        ({"prompt": ""}, ValueError, "prompt: needs at least one token"),
        ({"prompt": [999]}, ValueError, "prompt: 999 is outside the vocabulary"),
        ({"prompt": ["a", "b"]}, ValueError, "prompt: takes one prompt"),
        ({"prompt": "a" * 127}, ValueError, "132 positions, more than the 128"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens"),
        ({"backend": "jax"}, ValueError, "backend: must be one of 'own', 'torch'"),
        ({"dtype": "int8"}, ValueError, "dtype: must be one of"),
        ({"device": "tpu"}, ValueError, "device: must be one of 'auto', 'cpu', 'cuda'"),
        ({"model": 3}, ValueError, "model: needs a model's name"),
        ({"model": "./nothing-here"}, ValueError, "is not there"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(
    biased, monkeypatch, changes, error, message
):
    monkeypatch.setattr("lecture_lib.parallel.run.run_ranks", None)
    call = {"n_ranks": 2, "prompt": "abc", "max_new_tokens": N_TOKENS, "model": biased.folder}
    with pytest.raises(error, match=message):
        run_tensor_parallel(**call | changes)


def test_too_few_gpus_are_refused(biased, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 ranks need as many GPUs, this machine has 1"):
        run_tensor_parallel(2, "abc", model=biased.folder, device="cuda")
    assert choose_device_type("auto", 2) == "cpu"
    assert choose_device_type("auto", 1) == "cuda"


def test_other_families_and_files_are_refused(tmp_path):
    save_model(tmp_path / "opt", opt())
    with pytest.raises(UnsupportedArchitectureError, match="type 'opt'; parallel runs are for"):
        run_tensor_parallel(2, "abc", model=tmp_path / "opt")
    save_model(tmp_path / "gelu", llama(hidden_act="gelu"))
    with pytest.raises(UnsupportedArchitectureError, match="gated MLP"):
        run_pipeline_parallel(3, "abc", model=tmp_path / "gelu")
    save_tiny_model(tmp_path / "bin", as_bin=True)
    with pytest.raises(ValueError, match="safetensors"):
        run_tensor_parallel(2, "the", model=tmp_path / "bin")


def test_the_parts_of_all_ranks_are_the_whole_matrix(biased):
    attention = biased.model.model.layers[1].self_attn
    mlp = biased.model.model.layers[1].mlp
    parts = []
    for rank in range(3):
        shards = Shards(biased.folder, biased.spec, rank, 3, torch.float32, CPU)
        parts.append(RankLlama(shards, range(1, 2)).layers[0])
    q, k, v = (torch.cat([p.qkv.split((16, 8, 8))[i] for p in parts]) for i in range(3))
    assert torch.equal(q, attention.q_proj.weight)
    assert torch.equal(k, attention.k_proj.weight)
    assert torch.equal(v, attention.v_proj.weight)
    assert torch.equal(torch.cat([p.out for p in parts], 1), attention.o_proj.weight)
    assert torch.equal(torch.cat([p.down for p in parts], 1), mlp.down_proj.weight)
    gates, ups = zip(*(p.gate_up.chunk(2) for p in parts), strict=True)
    assert torch.equal(torch.cat(gates), mlp.gate_proj.weight)
    assert torch.equal(torch.cat(ups), mlp.up_proj.weight)
    assert [p.out_bias is None for p in parts] == [False, True, True]


def test_generation_stops_at_eos():
    logits = {1: 5, 2: 7, 3: 9, 4: 5}

    def step(new_ids):
        step.calls += 1
        return torch.nn.functional.one_hot(torch.tensor([logits[step.calls]]), 12)

    step.calls = 0
    laps = SimpleNamespace(lap=lambda phase: None)
    job = Job("tensor", 1, "own", "", None, [[1, 2]], 10, [9], "float32", "cpu")
    assert generate(step, job, "cpu", laps)[0] == [5, 7, 9]
    assert cut_after_eos([5, 7, 9, 5, 9], [9]) == [5, 7, 9]
    assert cut_after_eos([5, 7], [9]) == [5, 7]


@pytest.mark.real_model
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["own", "torch"])
def test_the_real_model_over_three_ranks(loaded, backend):
    prompt = loaded.tokenizer("The quick brown fox jumps over the lazy dog and").input_ids
    assert len(prompt) == 10
    run = run_tensor_parallel(3, prompt, 3, model=loaded, backend=backend, device="cpu")
    engine = Engine(loaded)
    assert run.token_ids == engine.generate(prompt, 3).token_ids
    alone = engine.logits([prompt + run.token_ids[:-1]])[0, len(prompt) - 1 :].float()
    assert float((run.logits - alone.cpu()).abs().max()) < 2e-4

    prefill = [record for record in run.collectives if record.phase == "prefill"]
    assert len(prefill) == 60
    assert {record.payload_bytes for record in prefill} == {10 * 576 * 4}
    if run.wire_is_private and run.wire_by_phase:
        # Each AllReduce sends 2(n-1) = 4 times its payload; TCP and gloo add their headers.
        assert 4.0 < run.wire_by_phase["prefill"] / (60 * 10 * 576 * 4) < 5.0

    whole_weights = loaded.spec.n_params * 4
    for memory in run.memory:
        assert memory.split_weight_bytes * 3 == 4 * (
            loaded.spec.params_by_part["attention"] + loaded.spec.params_by_part["mlp"]
        )
        assert memory.peak_bytes - memory.start_bytes < 0.5 * whole_weights


@pytest.fixture(scope="module")
def two_matrices(tmp_path_factory):
    """A folder with an output matrix of its own, whose config says that there is none."""
    folder = tmp_path_factory.mktemp("two_matrices")
    model = save_model(folder, WITH_BIASES)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    expected, _ = greedy_with_logits(model, PROMPT, N_TOKENS)
    n_params = sum(parameter.numel() for parameter in model.parameters())
    return SimpleNamespace(folder=folder, ids=expected, n_params=n_params)


@pytest.mark.parametrize(
    ("run_parallel", "backend"),
    [(run_tensor_parallel, "own"), (run_tensor_parallel, "torch"), (run_pipeline_parallel, "own")],
)
def test_the_weights_are_believed_and_not_the_config(two_matrices, run_parallel, backend):
    prompt = PROMPT if run_parallel is run_tensor_parallel else [PROMPT]
    run = run_parallel(2, prompt, N_TOKENS, model=two_matrices.folder, backend=backend)
    found = run.token_ids if run_parallel is run_tensor_parallel else run.token_ids[0]
    assert found == two_matrices.ids


def test_the_engine_and_the_counts_believe_the_weights_too(two_matrices, tmp_path):
    loaded = load_model(two_matrices.folder)
    assert loaded.spec.n_params == weight_bytes(loaded.spec, 1) == two_matrices.n_params
    assert Engine(loaded).generate(PROMPT, N_TOKENS).token_ids == two_matrices.ids
    loaded.model.save_pretrained(tmp_path)
    assert not json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"]


def test_a_model_whose_embeddings_were_resized_is_not_run_from_its_old_files(two_matrices):
    loaded = load_model(two_matrices.folder)
    loaded.model.resize_token_embeddings(300)
    spec = Engine(loaded).spec
    assert spec.n_params == sum(parameter.numel() for parameter in loaded.model.parameters())
    with pytest.raises(ValueError, match="model: its embeddings are not those of the files"):
        run_tensor_parallel(2, PROMPT, N_TOKENS, model=loaded)
