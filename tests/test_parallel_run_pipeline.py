"""Pipeline parallelism by real processes: tokens, messages and the schedule that was run."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from parallel_models import WITH_BIASES, greedy_with_logits, save_model

from lecture_lib.engine import Engine
from lecture_lib.model_spec import ModelSpec
from lecture_lib.parallel import (
    ParallelDegreeError,
    pipeline_volume,
    run_pipeline_parallel,
    schedule_from_timestamps,
)
from lecture_lib.parallel.__main__ import main

N_TOKENS = 4
PROMPTS = [list(b"The quick brown"), list(b"Once"), list(b"A mouse ate"), list(b"I")]


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biased")
    model = save_model(folder, WITH_BIASES)
    return SimpleNamespace(folder=folder, model=model, spec=ModelSpec.from_config(model.config))


@pytest.fixture(scope="module", params=[3, 2, 1])
def case(request, biased):
    run = run_pipeline_parallel(
        request.param, PROMPTS, N_TOKENS, model=biased.folder, ignore_eos=True, timeout_s=120
    )
    return SimpleNamespace(run=run, n_stages=request.param, prompts=PROMPTS)


def test_tokens_and_logits_of_each_request_are_those_of_transformers(case, biased):
    for i, prompt in enumerate(case.prompts):
        token_ids, logits = greedy_with_logits(biased.model, prompt, N_TOKENS)
        assert case.run.token_ids[i] == token_ids
        torch.testing.assert_close(case.run.logits[i], logits, atol=1e-4, rtol=1e-4)
    assert len(case.run.texts) == len(case.prompts)


def test_messages_are_exactly_the_formulas(case, biased):
    sent = Counter()
    for record in case.run.sends:
        sent[record.phase, record.part] += record.payload_bytes
    expected = Counter()
    for prompt in case.prompts:
        volume = pipeline_volume(
            biased.spec, n_ranks=case.n_stages, seq_len=len(prompt), max_new_tokens=N_TOKENS,
            dtype_bytes=4,
        )  # fmt: skip
        expected["prefill", "hidden"] += volume.prefill_bytes
        expected["decode", "hidden"] += volume.n_decode_passes * volume.decode_step_bytes
        expected["decode", "token"] += 8 * (N_TOKENS - 1) * (case.n_stages > 1)
    assert sent == +expected
    n_tokens = sum(map(len, case.prompts)) + len(case.prompts) * (N_TOKENS - 1)
    hidden = sum(n_bytes for (_, part), n_bytes in sent.items() if part == "hidden")
    assert hidden == n_tokens * 48 * 4 * (case.n_stages - 1)


def test_what_is_sent_is_received(case):
    def ends(kind):
        found = (r for r in case.run.records if r.kind == kind)
        forward = kind == "send"
        return Counter(
            (r.rank if forward else r.peer, r.peer if forward else r.rank, r.payload_bytes, r.part)
            for r in found
        )

    assert ends("send") == ends("recv")
    hops = {(r.rank, r.peer) for r in case.run.sends if r.part == "hidden"}
    assert hops == {(i, i + 1) for i in range(case.n_stages - 1)}


def test_every_stage_computes_every_pass_once_and_after_the_stage_before(case):
    when = {(b.stage, b.request, b.step): b for b in case.run.blocks}
    assert len(when) == len(case.run.blocks) == case.n_stages * len(case.prompts) * N_TOKENS
    for (stage, request, step), block in when.items():
        assert block.phase == ("decode" if step else "prefill")
        assert block.start_s < block.end_s
        if stage:
            assert when[stage - 1, request, step].end_s < block.start_s
        elif step:
            assert when[case.n_stages - 1, request, step - 1].end_s < block.start_s
    schedule = schedule_from_timestamps(case.run.blocks)
    assert schedule.n_stages == case.n_stages
    assert schedule.n_requests == len(case.prompts)


def test_requests_take_turns_and_each_token_is_a_message(case):
    orders = [(b.step, b.request) for b in case.run.blocks if b.stage == 0]
    assert orders == sorted(orders)
    returned = [(r.shape, r.step) for r in case.run.sends if r.part == "token"]
    steps = [step for step in range(1, N_TOKENS) for _ in PROMPTS] if case.n_stages > 1 else []
    assert returned == [((1,), step) for step in steps]


def test_each_stage_keeps_its_layers_and_their_caches(case, biased):
    parts = biased.spec.params_by_part
    layers = 4 * (parts["attention"] + parts["mlp"])
    biases = 4 * 2 * 6 * 48  # those of W^O and W^2 are whole tensors
    assert {m.split_weight_bytes * case.n_stages for m in case.run.memory} == {layers - biases}
    positions = sum(len(prompt) + N_TOKENS - 1 for prompt in case.prompts)
    whole_cache = biased.spec.kv_bytes_per_token(4) * positions
    assert {m.cache_bytes * case.n_stages for m in case.run.memory} == {whole_cache}


def test_what_follows_eos_is_cut_off(biased, tmp_path):
    token_ids, _ = greedy_with_logits(biased.model, PROMPTS[0], N_TOKENS)
    biased.model.generation_config.eos_token_id = [token_ids[1]]
    save_folder = tmp_path / "eos"
    biased.model.save_pretrained(save_folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (save_folder / name).write_bytes((biased.folder / name).read_bytes())
    biased.model.generation_config.eos_token_id = None
    run = run_pipeline_parallel(2, PROMPTS[0], N_TOKENS, model=save_folder, timeout_s=120)
    end = token_ids.index(token_ids[1]) + 1
    assert run.token_ids == [token_ids[:end]]
    assert len(run.logits[0]) == end
    assert len({b.step for b in run.blocks}) == N_TOKENS, "all of them were computed"


@pytest.mark.parametrize(
    ("n_stages", "prompts", "options", "error", "message"),
    [
        (4, "a", {}, ParallelDegreeError, "numbers of stages that work: 1, 2, 3, 6"),
        (2, [], {}, ValueError, "needs at least one token"),
        (2, ["a", ""], {}, ValueError, "needs at least one token"),
        (2, ["a", [300]], {}, ValueError, "prompts: 300 is outside the vocabulary"),
        (2, "a", {"backend": "torch"}, ValueError, "backend: must be one of 'own', got 'torch'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(
    biased, monkeypatch, n_stages, prompts, options, error, message
):
    monkeypatch.setattr("lecture_lib.parallel.run.run_ranks", None)
    with pytest.raises(error, match=message):
        run_pipeline_parallel(n_stages, prompts, model=biased.folder, **options)


@pytest.mark.real_model
@pytest.mark.slow
def test_the_real_models_requests_over_three_stages(loaded):
    prompts = ["The quick brown fox", "The capital of France is", "Once"]
    run = run_pipeline_parallel(3, prompts, 4, model=loaded, device="cpu", ignore_eos=True)
    engine = Engine(loaded)
    for i, prompt in enumerate(prompts):
        assert run.token_ids[i] == engine.generate(prompt, 4, ignore_eos=True).token_ids
    stages_at_once = max(
        len({b.stage for b in run.blocks if b.start_s <= at < b.end_s})
        for at in (block.start_s for block in run.blocks)
    )
    assert stages_at_once > 1, "the stages took turns, as with a single request"
    assert all(m.peak_bytes < loaded.spec.n_params * 4 for m in run.memory)


def test_the_command_starts_ranks_by_itself_and_names_bad_arguments(biased, tmp_path, capsys):
    common = ["--model", str(biased.folder), "--prompt", "ab"]
    assert main(["tensor", *common]) == 2
    assert "--ranks is needed" in capsys.readouterr().err
    assert main(["tensor", "--ranks", "4", *common]) == 2
    assert "degrees that work: 1, 2, 3, 6" in capsys.readouterr().err
    assert main(["tensor", "--ranks", "2", *common, "--prompt", "c"]) == 2
    assert "takes one prompt" in capsys.readouterr().err
    out = tmp_path / "out.json"
    run = ["pipeline", "--ranks", "2", *common, "--prompt", "c", "--json", str(out), "--check"]
    assert main([*run, "--max-new-tokens", "2", "--ignore-eos"]) == 0
    result = json.loads(out.read_text())
    assert [len(ids) for ids in result["token_ids"]] == [2, 2]
    assert result["difference"] < 1e-3
    assert "'ab' -> " in capsys.readouterr().out
