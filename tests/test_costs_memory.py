"""Bytes of weights, cache and activations against real tensors; what fits, by trying it out."""

import dataclasses
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lecture_lib.costs import (
    FORMATS,
    LectureBlock,
    activation_bytes,
    kv_cache_bytes,
    kv_overtakes_weights,
    memory_budget,
    weight_bytes,
    with_kv_heads,
)
from lecture_lib.costs.conventions import Format
from lecture_lib.costs.units import format_count
from lecture_lib.engine import Engine, kernels
from lecture_lib.hardware import HARDWARE
from lecture_lib.model_spec import MODEL_SPECS
from tests.engine_models import CONFIGS, loaded_model, token_ids

SPEC = MODEL_SPECS["llama-3.1-8b"]


def packed_int4(matrix: torch.Tensor, group_size: int) -> int:
    """Bytes of a matrix really quantised: two weights a byte, scale and zero point of a group."""
    groups = matrix.unflatten(1, (-1, group_size))  # (rows, groups, group_size)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    scale = ((high - low) / 15).half()
    codes = ((groups - low) / scale).round().clamp(0, 15).to(torch.uint8).flatten(1)
    zeros = (-low / scale).round().clamp(0, 15).to(torch.uint8).flatten()
    tensors = (codes[:, ::2] | codes[:, 1::2] << 4, scale, zeros[::2] | zeros[1::2] << 4)
    return sum(t.nbytes for t in tensors)


def test_quantised_bytes_are_those_of_quantised_tensors():
    matrix = torch.randn(48, 512)
    assert FORMATS["int4"].n_bytes(48, 512) == packed_int4(matrix, 128)
    codes = (matrix / matrix.abs().amax(1, keepdim=True) * 127).round().to(torch.int8)
    scales = matrix.abs().amax(1).half()
    assert FORMATS["int8"].n_bytes(48, 512) == codes.nbytes + scales.nbytes
    assert FORMATS["float8"].n_bytes(48, 512) == matrix.to(torch.float8_e4m3fn).nbytes


def test_a_started_group_has_its_scale():
    stored = Format(1, group_size=32, scale_bytes=2)
    assert stored.n_bytes(1, 33) == 33 + 2 * 2


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_are_those_of_a_model(name):
    loaded = loaded_model(CONFIGS[name])
    real = sum(p.nbytes for p in loaded.model.parameters())
    assert weight_bytes(loaded.spec, 4) == real
    quantised = [
        p.numel()
        for n, p in loaded.model.named_parameters()
        if p.dim() == 2 and ".layers." in n and n.endswith("weight")
    ]
    assert weight_bytes(loaded.spec, 4, weight_format="float8") == real - 3 * sum(quantised)


def test_int8_weights_are_not_quite_half():
    spec = MODEL_SPECS["llama-2-7b"]
    whole, int8, int4 = (weight_bytes(spec, weight_format=f) for f in (None, "int8", "int4"))
    assert whole == 2 * spec.n_params
    assert int8 > whole / 2  # embeddings and lm_head stay, scales come on top
    assert int4 > whole / 4


def test_cache_bytes():
    assert kv_cache_bytes(SPEC, 3, 1000) == 3 * 1000 * SPEC.kv_bytes_per_token()
    heads = SPEC.n_layers * SPEC.n_kv_heads * 2
    assert kv_cache_bytes(SPEC, 3, 1000, kv_format="int8") == 3000 * heads * (SPEC.head_dim + 2)
    assert kv_cache_bytes(with_kv_heads(SPEC, 32)) == 4 * kv_cache_bytes(SPEC)
    wide = dataclasses.replace(SPEC, head_dim=256)  # head_dim counts, not d_model / n_heads
    assert kv_cache_bytes(wide) == 2 * kv_cache_bytes(SPEC)


class LivePeak(TorchDispatchMode):
    """The most bytes of new tensors that were alive at once, an object at a time."""

    def __enter__(self):
        self.live, self.peak, self.seen = 0, 0, set()
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        old = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if is_tensor(t)}
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if is_tensor(t) and t.untyped_storage()._cdata not in old | self.seen:
                self.add(t.untyped_storage())
        return out

    def add(self, storage):
        key, n_bytes = storage._cdata, storage.nbytes()
        self.seen.add(key)
        self.live += n_bytes
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.remove, key, n_bytes)

    def remove(self, key, n_bytes):
        self.seen.discard(key)
        self.live -= n_bytes


def is_tensor(t) -> bool:
    return isinstance(t, torch.Tensor)


@pytest.mark.parametrize("name", ["llama", "llama-mha", "opt"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_activations_are_about_what_the_engine_keeps_alive(name, phase, monkeypatch):
    """An estimate: within 15 % of the engine's peak (some norms, rotary tables come on top)."""
    # On AMD's processors a product of few rows is held twice for a moment.
    monkeypatch.setattr(kernels, "TURN_FEW_ROWS", False)
    engine = Engine(loaded_model(CONFIGS[name]))
    ids = token_ids(4, 100)
    cache = engine.new_cache(4, 120)
    if phase == "decode":
        engine.prefill(ids, cache=cache)
    with LivePeak() as live:
        if phase == "prefill":
            engine.prefill(ids, cache=cache)
        else:
            engine.decode(ids[:, 0], cache=cache)
    estimate = activation_bytes(engine.spec, phase, 4, 100, 4)
    assert estimate == pytest.approx(live.peak, rel=0.15)


def test_where_the_cache_overtakes_the_weights():
    spec = MODEL_SPECS["llama-2-7b"]
    length = kv_overtakes_weights(spec)
    assert (
        kv_cache_bytes(spec, 1, length) > weight_bytes(spec) >= kv_cache_bytes(spec, 1, length - 1)
    )
    later = kv_overtakes_weights(with_kv_heads(spec, 8))
    assert 3.5 < later / length < 4
    assert kv_overtakes_weights(spec, batch_size=8) < length / 7.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weight_bytes(SPEC, -1), "dtype_bytes: needs a number"),
        (lambda: weight_bytes("lama-3.1-8b"), "did you mean .*llama-3.1-8b"),
        (lambda: weight_bytes(LectureBlock()), "spec: needs a ModelSpec .*got LectureBlock"),
        (
            lambda: weight_bytes(SPEC, weight_format="int5"),
            "weight_format: must be one of .*int4",
        ),
        (lambda: kv_cache_bytes(SPEC, 0, 5), "batch_size: needs an integer"),
        (lambda: kv_cache_bytes(SPEC, 1, -5), "seq_len: needs an integer"),
        (lambda: activation_bytes(SPEC, "training"), "phase: must be one of"),
        (lambda: memory_budget(SPEC, memory=0), "memory: needs a number above 0"),
        (lambda: memory_budget(SPEC, memory="b200"), "hardware: none is called 'b200'"),
        (lambda: kv_overtakes_weights(SPEC, 0), "batch_size: needs an integer"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_budget_adds_up_and_keeps_units_apart():
    budget = memory_budget("llama-2-7b", 5, 4096, memory="l4")
    assert budget.total == budget.weights + budget.kv_cache + budget.activations
    assert budget.kv_cache == 10 * 2**30
    assert budget.memory == HARDWARE["l4"].memory_bytes
    assert not budget.fits
    assert memory_budget("llama-2-7b", 1, 100, memory="l4").fits
    decode = memory_budget("llama-2-7b", 5, 4096, prefill=False)
    assert decode.activations < budget.activations
    assert decode.fits  # nothing was given to fit into


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(512, "512 B"), (2**30, "1.07 GB"), (155.4e9, "155 GB")]
)
def test_gigabytes_are_decimal(n_bytes, text):
    assert format_count(n_bytes, "B") == text
