"""The course's parts on a CUDA device: equal to Transformers there, and to the CPU.

What runs on a CPU is tested thoroughly elsewhere; here stands what a device can break: tensors left
on the CPU, kernels of its own, memory that another counter counts.
"""

from types import SimpleNamespace

import pytest
import torch
from engine_models import CONFIGS, hf_greedy, left_padded, loaded_model, token_ids
from parallel_models import PROMPT, WITH_BIASES, greedy_with_logits, save_model

from lecture_lib.costs import kv_cache_bytes, measure_ops
from lecture_lib.decoding import engine_beam_search, sample_generate
from lecture_lib.engine import Engine
from lecture_lib.engine.cuda_graph import GraphedDecode
from lecture_lib.engine.inspect import look_inside
from lecture_lib.hardware import measure_hardware
from lecture_lib.parallel import run_pipeline_parallel, run_tensor_parallel

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def on_device(name: str) -> SimpleNamespace:
    loaded = loaded_model(CONFIGS[name])
    loaded.model.to(DEVICE)
    loaded.model.generation_config.eos_token_id = None  # every text to its last token
    loaded.device = torch.device(DEVICE)
    return loaded


@pytest.fixture(scope="module", params=["llama", "llama3-rope", "qwen2", "opt", "opt-350m-like"])
def engine(request):
    return Engine(on_device(request.param))


@pytest.fixture(scope="module")
def real():
    from lecture_lib.loading import load_model

    return load_model()  # finds the GPU by itself


def test_logits_equal_transformers_on_either_device(engine):
    ids = token_ids(2, 20)
    ours = engine.logits(ids)
    assert ours.device.type == DEVICE
    theirs = engine.hf_model(ids.to(DEVICE)).logits
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)
    config = engine.hf_model.config
    on_cpu = Engine(loaded_model(config)).logits(ids)
    torch.testing.assert_close(ours.cpu(), on_cpu, atol=5e-3, rtol=1e-3)


def test_greedy_tokens_equal_generate_s(engine):
    lengths = [11, 3, 20, 20, 1]
    ids, mask = left_padded(lengths)
    prompts = [ids[row, -n:].tolist() for row, n in enumerate(lengths)]
    batch = engine.generate(prompts, 24, ignore_eos=True)
    expected = hf_greedy(
        engine.hf_model, ids.to(DEVICE), mask.to(DEVICE), max_new_tokens=24, pad_token_id=0
    )
    assert [g.token_ids for g in batch] == expected
    assert all(call.seq_len == 1 for call in batch[0].calls[-23:])
    naive = engine.generate(prompts, 24, ignore_eos=True, use_cache=False)
    assert [g.token_ids for g in naive] == expected


@pytest.mark.parametrize("lengths", [[9, 9], [4, 9]])
def test_the_graph_decodes_the_same_tokens(engine, lengths):
    ids, mask = left_padded(lengths)

    def tokens(make_step):
        cache = engine.new_cache(2, 9 + 21)
        token = engine.prefill(ids, mask, cache=cache).argmax(-1)
        step, found = make_step(cache), [token]
        for _ in range(20):
            found.append(step(found[-1]).argmax(-1))
        return torch.stack(found, 1).tolist()

    plain = tokens(lambda cache: lambda token: engine.decode(token, cache=cache))
    assert tokens(lambda cache: GraphedDecode(engine, cache)) == plain


def test_beams_and_samples_equal_generate_s(engine):
    ids = token_ids(2, 12)
    options = {"attention_mask": torch.ones_like(ids).to(DEVICE), "pad_token_id": 0}
    traces = engine_beam_search(
        engine, ids.tolist(), num_beams=3, max_new_tokens=12, ignore_eos=True
    )
    beams = engine.hf_model.generate(
        ids.to(DEVICE), num_beams=3, do_sample=False, max_new_tokens=12, **options
    )
    assert [trace.sequences[0] for trace in traces] == beams[:, 12:].tolist()
    settings = {"temperature": 0.8, "top_k": 20, "top_p": 0.9}
    texts = sample_generate(engine, ids.tolist(), 12, seed=3, ignore_eos=True, **settings)
    torch.manual_seed(3)
    drawn = engine.hf_model.generate(
        ids.to(DEVICE), do_sample=True, max_new_tokens=12, **settings, **options
    )
    assert [text.token_ids for text in texts] == drawn[:, 12:].tolist()


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_what_a_layer_shows_equals_the_cpu_s(name):
    ids = token_ids(1, 9)[0].tolist()
    here = look_inside(Engine(on_device(name)), ids, 1).scores()
    there = look_inside(Engine(loaded_model(CONFIGS[name])), ids, 1).scores()
    torch.testing.assert_close(here.cpu(), there, atol=1e-3, rtol=1e-3)


def test_costs_are_measured_on_the_device(engine):
    hardware = measure_hardware(DEVICE, max_spread=5, progress=False)
    assert hardware.name == torch.cuda.get_device_name()
    assert hardware.memory_bytes == torch.cuda.get_device_properties(DEVICE).total_memory
    for phase in ("prefill", "decode"):
        ops = measure_ops(engine, phase, 2, 16, seconds=0.2, progress=False)
        assert (ops.seconds > 0).all()
        assert ops.attrs["step_seconds"] > 0
    width = engine.dtype.itemsize
    assert kv_cache_bytes(engine.spec, 2, 64, width) == engine.new_cache(2, 64).nbytes


def test_the_device_s_memory_grows_by_weights_and_cache():
    before = torch.cuda.memory_allocated()
    engine = Engine(on_device("llama"))
    with_weights = torch.cuda.memory_allocated()
    assert with_weights > before
    cache = engine.new_cache(4, 128)
    grown = torch.cuda.memory_allocated() - with_weights
    predicted = kv_cache_bytes(engine.spec, 4, 128, engine.dtype.itemsize)
    assert predicted == cache.nbytes <= grown <= predicted + 4096  # CUDA hands out blocks


def test_a_widget_watches_a_cache_on_the_device():
    from lecture_lib.widgets import CacheWatcher

    loaded = on_device("llama")
    widget = CacheWatcher(Engine(loaded), "abc def")
    assert widget.children


@pytest.mark.parametrize("backend", ["own", "torch"])
@pytest.mark.parametrize("run", [run_tensor_parallel, run_pipeline_parallel])
def test_a_rank_on_the_gpu_writes_what_transformers_writes(tmp_path, run, backend):
    """One rank, as one GPU takes: its group is NCCL's, though there is nobody to send to."""
    expected, logits = greedy_with_logits(save_model(tmp_path, WITH_BIASES), PROMPT, 5)
    done = run(1, PROMPT, 5, model=tmp_path, backend=backend, device=DEVICE, timeout_s=120)
    assert done.device == DEVICE
    one = run is run_tensor_parallel  # one text; a pipeline takes several
    assert done.token_ids == (expected if one else [expected])
    found = done.logits if one else done.logits[0]
    torch.testing.assert_close(found.cpu(), logits, atol=1e-3, rtol=1e-3)
    assert not done.records


@pytest.mark.real_model
def test_the_real_model_is_put_on_the_gpu_and_writes_what_transformers_writes(real):
    from lecture_lib.scoring import next_token_probs, score_text, top_tokens

    assert real.device.type == DEVICE
    probs = next_token_probs(real, "The quick brown")
    token, probability = top_tokens(real, probs, 1)[0]
    assert (token, round(probability, 2)) == (" fox", 0.24)
    assert score_text(real, "The quick brown fox").total < 0
    engine = Engine(real)
    prompt = "The capital of France is"
    ids = real.tokenizer(prompt, return_tensors="pt").input_ids
    expected = hf_greedy(real.model, ids.to(DEVICE), max_new_tokens=32)
    assert [engine.generate(prompt, 32).token_ids] == expected


@pytest.mark.real_model
def test_pipelines_and_the_script_run_there(real):
    from lecture_lib.inference_script import TaskInfo, generate
    from lecture_lib.pipelines import load_pipeline

    translate = load_pipeline("translation", device=DEVICE, model="course-t5")
    assert translate.device.type == DEVICE
    assert isinstance(translate("The train to Berlin leaves at 7:15.")[0]["translation_text"], str)
    answers = generate(TaskInfo(prompt_seqs="Once upon a time", output_len=5), real)
    assert len(answers[0].token_ids) == 5
