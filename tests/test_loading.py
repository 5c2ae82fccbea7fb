"""load_model from folders and from a Hub on the loopback interface, and each way it can fail."""

import dataclasses
import json
import socket
import time
from types import SimpleNamespace

import pytest
import torch
from forked import Forked
from forked_targets import load_and_look
from local_hub import LocalHub
from tiny_models import WORDS, save_tiny_model, tiny_config
from transformers import AutoModelForCausalLM

from lecture_lib.loading import bundled_model, devices, hub, load_model
from lecture_lib.loading import errors as load_errors
from lecture_lib.loading.errors import (
    CacheError,
    CorruptModelError,
    DeviceError,
    ModelLoadError,
    ModelNotFoundError,
    NotEnoughMemoryError,
    UnsupportedModelError,
)
from lecture_lib.loading.load import find_folder
from lecture_lib.model_spec import MODEL_SPECS


def start(home, **environment):
    return Forked(load_and_look, home, **environment)


def load_in(worker, name, **deadline):
    return SimpleNamespace(**worker.ask(name, **deadline))


def last_logits(model):
    with torch.no_grad():
        return model(torch.tensor([[WORDS.index("the"), WORDS.index("quick")]])).logits[0, -1]


@pytest.fixture
def folder(tmp_path):
    save_tiny_model(tmp_path / "tiny")
    return tmp_path / "tiny"


# -- folders -----------------------------------------------------------------------------------


def test_a_variable_names_the_model_of_whoever_asks_for_none(folder, monkeypatch):
    monkeypatch.setenv("LECTURE_LIB_MODEL", str(folder))
    assert load_model(device="cpu").source == load_model(folder, device="cpu").source
    monkeypatch.setenv("LECTURE_LIB_MODEL", "")
    assert "bundled" in load_model(device="cpu").source


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
@pytest.mark.parametrize("as_bin", [False, True])
def test_folder_gives_the_saved_model(tmp_path, family, as_bin):
    model = save_tiny_model(tmp_path, family, as_bin=as_bin)
    loaded = load_model(tmp_path, device="cpu")
    torch.testing.assert_close(last_logits(loaded.model), last_logits(model), rtol=0, atol=0)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert loaded.spec.n_params == sum(p.numel() for p in model.parameters())
    assert (loaded.device, loaded.dtype) == (torch.device("cpu"), torch.float32)
    assert loaded.source == f"folder {tmp_path}"
    assert loaded.tokenizer.padding_side == "left"
    assert loaded.tokenizer.pad_token == "</s>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.model = None


def test_sharded_folder(tmp_path):
    model = save_tiny_model(tmp_path, max_shard_size="4KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    loaded = load_model(str(tmp_path), device="cpu")
    torch.testing.assert_close(last_logits(loaded.model), last_logits(model), rtol=0, atol=0)
    shards[0].unlink()
    with pytest.raises(CorruptModelError, match=f"lacks {shards[0].name}"):
        load_model(tmp_path, device="cpu")


def test_family_without_a_spec_loads_all_the_same(tmp_path):
    model = save_tiny_model(tmp_path, "bloom")
    loaded = load_model(tmp_path, device="cpu")
    assert loaded.spec is None
    torch.testing.assert_close(last_logits(loaded.model), last_logits(model), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", torch.bfloat16])
def test_dtype_is_what_was_asked_for(folder, dtype):
    loaded = load_model(folder, device="cpu", dtype=dtype)
    expected = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert loaded.dtype == expected
    assert {p.dtype for p in loaded.model.parameters()} == {expected}


def test_loading_leaves_torch_and_the_terminal_alone(folder, capfd):
    def state():
        return (
            torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.get_rng_state().sum().item(), torch.get_float32_matmul_precision(),
        )  # fmt: skip

    before = state()
    load_model(folder, device="cpu", dtype="bfloat16")
    assert state() == before
    assert capfd.readouterr() == ("", "")


# -- what can't be loaded ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "  ", 3, ["gpt2"]])
def test_name_must_be_a_name(name):
    with pytest.raises(ValueError, match=r"^name: (needs a model's name|is empty)"):
        load_model(name)


def test_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"holds no config\.json"):
        load_model(tmp_path)
    with pytest.raises(ModelNotFoundError, match="is not there"):
        load_model(tmp_path / "nothing")
    with pytest.raises(ModelNotFoundError, match="is not there"):
        load_model("./nothing")
    assert issubclass(ModelNotFoundError, ValueError)
    assert issubclass(ModelNotFoundError, ModelLoadError)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_of_a_file_its_folder_is_to_be_named(folder, file):
    with pytest.raises(ModelNotFoundError, match=f"is a file; name its folder, {folder}"):
        load_model(folder / file)


@pytest.mark.real_model
def test_a_gguf_file_is_the_bundled_models_or_is_refused(tmp_path):
    gguf = bundled_model.find_gguf()
    assert find_folder(str(gguf), None) == find_folder(bundled_model.NAME, None)
    other = tmp_path / "model.gguf"
    other.write_bytes(b"GGUF")
    with pytest.raises(ModelNotFoundError, match=r"is a GGUF file; .* as safetensors"):
        load_model(other)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8"])
def test_a_quantised_model_is_named_so(folder, method):
    edit_config(folder, quantization_config={"quant_method": method, "bits": 4, "group_size": 128})
    with pytest.raises(UnsupportedModelError, match=f"is quantised by {method}; .* plain weights"):
        load_model(folder, device="cpu")


def test_a_tokenizer_of_sentencepiece_alone_is_named_so(folder):
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    with pytest.raises(UnsupportedModelError, match=r"only as tokenizer\.model"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), NotEnoughMemoryError),
        (ImportError("needs sentencepiece"), UnsupportedModelError),
        (PermissionError(13, "Permission denied"), ModelNotFoundError),
        (ValueError("bad header"), CorruptModelError),
    ],
)
def test_only_a_damaged_file_is_called_damaged(folder, monkeypatch, error, kind):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(kind):
        load_model(folder, device="cpu")


def test_published_but_not_on_the_hub():
    with pytest.raises(ModelNotFoundError, match="opt-175b is not on the Hub"):
        load_model("opt-175b")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
        (lambda f: cut(f / "model.safetensors"), "model.safetensors is damaged"),
        (lambda f: cut(f / "config.json"), "config.json can't be read"),
        (lambda f: cut(f / "tokenizer.json"), "the tokenizer in .* can't be read"),
        (lambda f: drop_tensor(f / "model.safetensors"), r"lack 1 of the model's tensors"),
        (lambda f: widen(f / "config.json"), "the weights in .* can't be read"),
    ],
    ids=["empty", "cut", "config", "tokenizer", "tensor missing", "other shape"],
)
def test_damaged_folder(folder, damage, message):
    damage(folder)
    with pytest.raises(CorruptModelError, match=message):
        load_model(folder, device="cpu")


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def drop_tensor(path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    del tensors["model.norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def widen(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 40}))


def test_damaged_bin(tmp_path):
    save_tiny_model(tmp_path, as_bin=True)
    cut(tmp_path / "pytorch_model.bin")
    with pytest.raises(CorruptModelError, match=r"the weights in .* can't be read"):
        load_model(tmp_path, device="cpu")


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match="holds no weights"):
        load_model(folder, device="cpu")


def test_model_that_is_no_causal_language_model(tmp_path):
    save_tiny_model(tmp_path, "bert")
    edit_config(tmp_path, architectures=["BertForMaskedLM"])
    with pytest.raises(UnsupportedModelError, match=r"no causal language model.*BertForMaskedLM"):
        load_model(tmp_path, device="cpu")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(UnsupportedModelError, match="no causal language model"):
        load_model(tmp_path, device="cpu")


def test_code_of_a_model_is_not_run(folder):
    (folder / "modeling_evil.py").write_text("raise SystemExit('was run')")
    edit_config(
        folder,
        model_type="evil",
        auto_map={
            "AutoConfig": "modeling_evil.EvilConfig",
            "AutoModelForCausalLM": "modeling_evil.EvilForCausalLM",
        },
    )
    with pytest.raises(UnsupportedModelError, match="code of its own"):
        load_model(folder, device="cpu")


def edit_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# -- devices, formats, memory ------------------------------------------------------------------


def test_auto_takes_the_fastest_kind(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.choose_device("auto") == torch.device("mps:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.choose_device("auto") == torch.device("cuda:0")
    assert devices.choose_device("cuda") == torch.device("cuda")
    assert devices.choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="'cuda:2' is not on this machine; it has cuda:0, cuda:1"):
        devices.choose_device("cuda:2")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "", None, 7])
def test_unavailable_device(folder, device):
    with pytest.raises(DeviceError, match=r"^device: .* is not on this machine; it has .*cpu"):
        load_model(folder, device=device)


@pytest.mark.parametrize("dtype", ["int8", "float8", torch.int8, 16])
def test_unusable_dtype(folder, dtype):
    with pytest.raises(DeviceError, match=r"^dtype: must be one of float32, bfloat16"):
        load_model(folder, device="cpu", dtype=dtype)


def test_dtype_that_the_device_lacks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(DeviceError, match="bfloat16 does not work on cuda"):
        devices.choose_dtype("bfloat16", torch.device("cuda"))
    with pytest.raises(DeviceError, match="float64 does not work on mps"):
        devices.choose_dtype(torch.float64, torch.device("mps"))


def test_too_little_memory_is_said_before_loading(folder, monkeypatch):
    n_params = sum(p.numel() for p in AutoModelForCausalLM.from_config(tiny_config()).parameters())
    monkeypatch.setattr(devices, "free_memory_bytes", lambda device: 4 * n_params - 1)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)  # a call would fail
    with pytest.raises(NotEnoughMemoryError, match=rf"{n_params:,} parameters.*bfloat16"):
        load_model(folder, device="cpu")
    monkeypatch.undo()
    monkeypatch.setattr(devices, "free_memory_bytes", lambda device: 4 * n_params - 1)
    assert load_model(folder, device="cpu", dtype="bfloat16").dtype == torch.bfloat16


def test_free_memory_heeds_a_container_limit(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 500\nfile 400\n")
    assert devices._container_free_bytes(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert devices._container_free_bytes(tmp_path) is None
    assert devices.free_memory_bytes(torch.device("cpu")) > 0


# -- the Hub -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub_run(tmp_path_factory):
    """One process's loads from a Hub; then the Hub in trouble, then stopped."""
    base, home = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("home")
    models = {"llama": save_tiny_model(base / "llama"),
              "bin": save_tiny_model(base / "bin", "opt", as_bin=True)}  # fmt: skip
    answers = {}
    with LocalHub() as server:
        server.tokens.add("hf_good")
        both = server.add_repo("course/tiny", base / "llama")
        both.add("pytorch_model.bin", b"not fetched")
        both.add("onnx/model.onnx", b"not fetched")
        server.add_repo("course/tiny-bin", base / "bin")
        server.add_repo("course/gated", base / "llama", gated=True)
        server.add_repo("course/empty").add("config.json", b"{}")
        worker = start(home, HF_ENDPOINT=server.url)
        for name in ("course/tiny", "course/tiny-bin", "course/gated", "course/empty",
                     "course/missing", "facebok/opt-125m", "smollm2-135m-instrukt", "a/b/c",
                     "gpt2"):  # fmt: skip
            answers[name] = load_in(worker, name)
        first_requests = list(server.requests)
        answers["again"] = load_in(worker, "course/tiny")
        again_requests = server.requests[len(first_requests) :]
        server.trouble = 503
        answers["trouble"] = load_in(worker, "course/tiny")
        answers["trouble, new"] = load_in(worker, "course/other")
        server.trouble = None
    answers["stopped"] = load_in(worker, "course/tiny")
    answers["stopped, new"] = load_in(worker, "course/other")
    stderr = worker.stop()
    return SimpleNamespace(
        models=models, answers=answers, requests=first_requests, again=again_requests,
        home=home, stderr=stderr, url=server.url, base=base,
    )  # fmt: skip


def expected(model):
    return pytest.approx(last_logits(model).tolist(), abs=1e-6)


def test_hub_gives_the_model(hub_run):
    for name, model in (("course/tiny", "llama"), ("course/tiny-bin", "bin")):
        answer = hub_run.answers[name]
        assert answer.logits == expected(hub_run.models[model])
        assert answer.source == f"Hub {name}"
        assert answer.origin == name, "no path of this machine in the config"


def test_hub_is_asked_for_one_kind_of_weights_and_no_more(hub_run):
    fetched = {path for method, path in hub_run.requests if method == "GET"}
    assert any(path.startswith("/storage/course/tiny/") for path in fetched)
    assert not any("onnx" in path or "tiny/resolve/main/pytorch" in path for path in fetched)


def test_second_load_fetches_nothing(hub_run):
    assert hub_run.answers["again"].logits == expected(hub_run.models["llama"])
    assert hub_run.again, "it asks whether there is a newer one"
    assert not any("/storage/" in p or "/resolve/" in p for method, p in hub_run.again)


@pytest.mark.parametrize("case", ["trouble", "stopped"])
def test_cache_serves_when_the_hub_does_not(hub_run, case):
    assert hub_run.answers[case].logits == expected(hub_run.models["llama"])


@pytest.mark.parametrize(
    ("case", "why"),
    [("trouble, new", "the Hub answered 503"), ("stopped, new", "the Hub can't be reached")],
)
def test_no_hub_and_no_cache(hub_run, case, why):
    answer = hub_run.answers[case]
    assert answer.error == "NetworkError"
    assert why in answer.message
    assert "load_model()" in answer.message


def test_gated_says_licence_and_token(hub_run):
    answer = hub_run.answers["course/gated"]
    assert answer.error == "GatedModelError"
    assert f"accept its licence at {hub_run.url}/course/gated" in answer.message
    assert "HF_TOKEN" in answer.message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("course/missing", "owner/model"),
        ("facebok/opt-125m", "Did you mean facebook/opt-125m"),
        ("smollm2-135m-instrukt", "Did you mean smollm2-135m-instruct"),
        ("a/b/c", "owner/model"),
        ("gpt2", "openai-community/gpt2"),  # the preset's repository was asked for
    ],
)
def test_unknown_name(hub_run, name, hint):
    answer = hub_run.answers[name]
    assert answer.error == "ModelNotFoundError"
    assert hint in answer.message


def test_repository_without_weights(hub_run):
    assert hub_run.answers["course/empty"].error == "UnsupportedModelError"


def test_hub_loads_write_nothing_on_the_terminal(hub_run):
    assert hub_run.stderr == ""


def test_offline_uses_the_cache_and_asks_no_one(hub_run, tmp_path):
    with LocalHub() as server:
        server.add_repo("course/new", hub_run.base / "llama")
        worker = start(hub_run.home, HF_ENDPOINT=server.url, HF_HUB_OFFLINE="1")
        cached, new, odd = (load_in(worker, n) for n in ("course/tiny", "course/new", "a b"))
        worker.stop()
        assert server.requests == []
    assert cached.logits == expected(hub_run.models["llama"])
    assert new.error == "NetworkError"
    assert "HF_HUB_OFFLINE is set" in new.message
    assert odd.error == "ModelNotFoundError"


def test_tokens(hub_run, tmp_path):
    with LocalHub() as server:
        server.tokens.add("hf_good")
        server.add_repo("course/gated", hub_run.base / "llama", gated=True)
        good = start(tmp_path / "good", HF_ENDPOINT=server.url, HF_TOKEN="hf_good")
        bad = start(tmp_path / "bad", HF_ENDPOINT=server.url, HF_TOKEN="hf_bad")
        served, refused = load_in(good, "course/gated"), load_in(bad, "course/gated")
        good.stop(), bad.stop()
    assert served.logits == expected(hub_run.models["llama"])
    assert refused.error == "GatedModelError"
    assert "the Hub refused access (401)" in refused.message


def test_hub_that_accepts_but_never_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        worker = start(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
        answer = load_in(worker, "course/tiny", deadline_s=0.5)
        worker.stop()
    assert answer.error == "NetworkError"
    assert "can't be reached" in answer.message


def test_question_has_a_deadline(monkeypatch):
    monkeypatch.setattr(hub, "DEADLINE_S", 0.05)
    with pytest.raises(TimeoutError, match="no answer"):
        hub._with_deadline(lambda: time.sleep(5))
    assert hub._with_deadline(lambda: 7) == 7
    with pytest.raises(KeyError):
        hub._with_deadline(lambda: {}["x"])


def test_download_that_cannot_fit_is_refused_first(monkeypatch):
    monkeypatch.setattr(hub, "snapshot_download", None)  # a call would fail
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(CacheError, match=r"has 0\.0 GB free.*HF_HOME"):
        hub._download("course/tiny", {"config.json": 5, "model.safetensors": 6})


def test_every_error_is_one_kind():
    kinds = [e for e in vars(load_errors).values() if isinstance(e, type)]
    assert len(kinds) == 10
    assert all(issubclass(kind, ModelLoadError) for kind in kinds)


# -- the bundled model -------------------------------------------------------------------------


@pytest.mark.real_model
def test_bundled_model():
    loaded = load_model(device="cpu")
    preset = MODEL_SPECS["smollm2-135m"]
    assert loaded.spec.n_params == preset.n_params == loaded.model.num_parameters()
    assert loaded.model.config._name_or_path == bundled_model.NAME
    for text, word, probability in (
        ("The quick brown", " fox", 0.243),
        ("The quick brown fox", " with", 0.487),
    ):
        inputs = loaded.tokenizer(text, return_tensors="pt")
        probs = loaded.model(**inputs).logits[0, -1].softmax(-1)
        assert loaded.tokenizer.decode(probs.argmax()) == word
        assert probs.max().item() == pytest.approx(probability, abs=0.0006)
