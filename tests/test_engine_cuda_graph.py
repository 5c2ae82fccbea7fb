"""The parts of the graphed decode step that need no GPU, and the step itself where there is one."""

import os
import shutil

import pytest
import torch
from engine_models import CONFIGS, assert_logits_close, left_padded, loaded_model, token_ids
from needs import missing

from lecture_lib.engine import Engine
from lecture_lib.engine.cuda_graph import CompiledStep, FixedShapeCache, GraphedDecode


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("lengths", [[9, 9], [4, 9]])
def test_a_fixed_shape_cache_gives_the_same_logits_with_the_same_shapes(family, lengths):
    engine = Engine(loaded_model(CONFIGS[family]))
    ids, mask = left_padded(lengths)
    further = token_ids(2, 6, seed=3)
    engine.prefill(ids, mask)
    expected = [engine.decode(further[:, i]) for i in range(6)]
    engine.prefill(ids, mask)
    fixed = FixedShapeCache(engine.cache)
    for i in range(6):
        logits = engine.decode(further[:, i], cache=fixed)
        assert_logits_close(logits, expected[i])
        assert fixed.pattern(1).mask.shape[-1] == fixed.max_seq_len  # never another shape
    assert int(fixed.position) == fixed.length == 15


@pytest.mark.skipif(
    "ATEN_CPU_CAPABILITY" in os.environ, reason="torch.compile writes for the processor it finds"
)
@pytest.mark.parametrize("lengths", [[9], [4, 9]])
@pytest.mark.slow
def test_the_compiled_step_gives_the_textbook_s_logits(lengths):
    if not any(map(shutil.which, ("g++", "clang++"))):
        missing("torch.compile needs a C++ compiler", "sudo apt install g++")
    loaded = loaded_model(CONFIGS["llama"])
    engine, textbook = Engine(loaded), Engine(loaded, textbook=True)
    ids, mask = left_padded(lengths)
    textbook.prefill(ids, mask)
    engine.prefill(ids, mask)
    step, fixed = CompiledStep(engine.model), FixedShapeCache(engine.cache)
    for token_id in range(3, 7):
        tokens = torch.full((len(lengths), 1), token_id)
        assert_logits_close(step(tokens, fixed), textbook.decode(tokens))
    assert int(fixed.position) == fixed.length == 13


def test_there_is_a_compiled_step_for_the_fast_llama_only():
    for engine in (
        Engine(loaded_model(CONFIGS["opt"])),
        Engine(loaded_model(CONFIGS["llama"]), textbook=True),
    ):
        with pytest.raises(ValueError, match="engine: no compiled step for"):
            CompiledStep(engine.model)


def test_a_graph_needs_a_gpu():
    engine = Engine(loaded_model(CONFIGS["llama"]))
    engine.prefill([1, 2])
    with pytest.raises(ValueError, match="CUDA graphs need a CUDA device, this is cpu"):
        GraphedDecode(engine, engine.cache)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("family", "compiled"), [("llama", False), ("opt", False), ("llama", True)]
)
def test_replaying_the_graph_equals_decode(family, compiled):
    loaded = loaded_model(CONFIGS[family])
    loaded.model.cuda()
    engine = Engine(loaded)
    ids, further = token_ids(2, 9), token_ids(2, 6, seed=3).cuda()
    engine.prefill(ids)
    expected = [engine.decode(further[:, i]) for i in range(6)]
    engine.prefill(ids)
    graphed = CompiledStep(engine.model) if compiled else None
    step = GraphedDecode(engine, engine.cache, graphed)
    for i in range(6):
        assert_logits_close(step(further[:, i]), expected[i])
