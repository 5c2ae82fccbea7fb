"""The benchmark for a GPU runs through on a CPU, made tiny: so it will run where there is one."""

import json
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import decode_gpu  # noqa: E402


@pytest.fixture
def arguments(monkeypatch):
    options = ["--device", "cpu", "--tiny", "--dtype", "float32", "--no-course"]
    monkeypatch.setattr(sys, "argv", ["decode_gpu.py", *options])
    monkeypatch.setattr(decode_gpu, "COMPILER", False)  # its step is tested for itself
    return decode_gpu.parse_arguments()


def test_every_contender_gives_the_textbook_s_tokens(arguments):
    limits = {"copy": 1e10, "data_sheet": 2e10}
    with decode_gpu.tqdm(disable=True) as progress:
        settings, rows = decode_gpu.measure(decode_gpu.SHAPED, limits, arguments, progress)
    assert settings["equal_tokens"] == arguments.new_tokens
    steps = {row["contender"]: row for row in rows}
    assert list(steps) == [
        decode_gpu.EAGER,
        decode_gpu.GRAPH,
        decode_gpu.DYNAMIC,
        decode_gpu.STATIC,
    ]
    for row in rows:
        assert row["ms"] > 0
        assert row["copy_share"] == pytest.approx(2 * row["data_sheet_share"])
        read = row["gb_per_s"] * row["ms"] / 1e3
        assert read == pytest.approx(settings["step_gb"])
    json.dumps([settings, rows])  # what save() needs


def test_a_step_reads_every_matrix_once_and_the_cache(arguments):
    loaded = decode_gpu.load(decode_gpu.SHAPED, arguments)
    engine = decode_gpu.Engine(loaded)
    model = loaded.model
    matrices = sum(p.nbytes for p in model.parameters() if p.dim() == 2)
    embeddings = 0 if model.config.tie_word_embeddings else model.model.embed_tokens.weight.nbytes
    cache = engine.new_cache(2, 10).nbytes
    assert decode_gpu.step_bytes(engine, 2, 10) == matrices - embeddings + cache


def test_it_writes_nothing_when_it_is_tiny(arguments, monkeypatch, capsys):
    monkeypatch.setattr(decode_gpu, "save", None)  # would fail if it were called
    decode_gpu.main()
    assert decode_gpu.EAGER in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "gib", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 80, "h100-80gb-sxm"),
        ("NVIDIA A100-SXM4-40GB", 40, "a100-40gb-sxm"),
        ("NVIDIA H200", 141, "h200-141gb-sxm"),
        ("NVIDIA GeForce RTX 4090", 24, "rtx-4090"),
        ("NVIDIA GeForce RTX 3090", 24, None),
    ],
)
def test_the_data_sheet_is_this_gpu_s(monkeypatch, name, gib, expected):
    class Properties:
        total_memory = gib * 10**9

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    found = decode_gpu.data_sheet("cuda")
    assert found is (expected and decode_gpu.HARDWARE[expected])
