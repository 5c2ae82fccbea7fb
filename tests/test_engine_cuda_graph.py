"""The parts of the graphed decode step that need no GPU, and the step itself where there is one."""

import pytest
import torch
from engine_models import CONFIGS, assert_logits_close, left_padded, loaded_model, token_ids

from lecture_lib.engine import Engine
from lecture_lib.engine.cuda_graph import FixedShapeCache, GraphedDecode


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


def test_a_graph_needs_a_gpu():
    engine = Engine(loaded_model(CONFIGS["llama"]))
    engine.prefill([1, 2])
    with pytest.raises(ValueError, match="CUDA graphs need a CUDA device, this is cpu"):
        GraphedDecode(engine, engine.cache)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_replaying_the_graph_equals_decode(family):
    loaded = loaded_model(CONFIGS[family])
    loaded.model.cuda()
    engine = Engine(loaded)
    ids, further = token_ids(2, 9), token_ids(2, 6, seed=3).cuda()
    engine.prefill(ids)
    expected = [engine.decode(further[:, i]) for i in range(6)]
    engine.prefill(ids)
    step = GraphedDecode(engine, engine.cache)
    for i in range(6):
        assert_logits_close(step(further[:, i]), expected[i])
