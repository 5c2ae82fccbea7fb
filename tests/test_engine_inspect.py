"""look_inside: scores as in Transformers' eager attention, keys as in the engine's cache."""

import pytest
import torch

from lecture_lib.engine import Engine
from lecture_lib.engine.inspect import look_inside

pytestmark = pytest.mark.real_model
TEXT = "The cat sat on the mat because it was tired"


@pytest.fixture(scope="module")
def engine(loaded):
    return Engine(loaded)


@pytest.mark.parametrize("layer", [0, 7, 29])
def test_scores_are_transformers_attentions(loaded, engine, layer):
    ids = loaded.tokenizer(TEXT, return_tensors="pt").input_ids
    loaded.model.set_attn_implementation("eager")
    try:
        theirs = loaded.model(ids, output_attentions=True).attentions[layer][0]  # (n_H, L, L)
    finally:
        loaded.model.set_attn_implementation("sdpa")
    ours = look_inside(engine, ids[0], layer).scores()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_keys_are_the_caches(loaded, engine):
    ids = loaded.tokenizer(TEXT).input_ids
    engine.prefill(ids)
    view = look_inside(engine, ids, 5)
    cached = engine.cache.keys[5, 0, :, : len(ids)]  # (n_KV, L, H)
    torch.testing.assert_close(view.k, cached, atol=1e-4, rtol=1e-4)
    assert view.q.shape == (9, len(ids), 64)
    assert view.k.shape == view.v.shape == (3, len(ids), 64)


def test_rows_of_scores_are_distributions_over_the_past(loaded, engine):
    view = look_inside(engine, loaded.tokenizer(TEXT).input_ids, 3)
    scores = view.scores()
    assert scores.triu(1).abs().max() == 0
    torch.testing.assert_close(scores.sum(-1), torch.ones_like(scores[..., 0]))


def test_bad_input_is_refused(loaded, engine):
    with pytest.raises(ValueError, match="layer: needs an integer from 0 to 29, got 30"):
        look_inside(engine, [1, 2], 30)
    with pytest.raises(ValueError, match="takes one text, got 2"):
        look_inside(engine, [[1, 2], [3, 4]], 0)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        look_inside(engine, [99_999], 0)
