"""What head pruning did: take one attention head away and see how much worse the model gets.

Transformers 4 had ``model.prune_heads``; version 5 has not. A head writes into the residual stream
only through its H rows of W^O, so with these rows zero it is as good as pruned (only no faster).
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..checks import check_count
from ..scoring import score_text


@contextlib.contextmanager
def without_head(model, layer: int, head: int) -> Iterator[None]:
    """Inside: the head's rows of W^O are zero. Afterwards the model is as it was.

    torch's Linear keeps W transposed, (D, n_H × H) for W^O: the lecture's rows are its columns.

    Raises:
        ValueError: a layer or head that the model doesn't have, or a family without ``o_proj``.
    """
    weight = _output_projection(model, layer)
    n_heads = model.config.num_attention_heads
    check_count("head", head, 0, n_heads - 1)
    head_dim = weight.shape[1] // n_heads
    columns = weight.detach()[:, head * head_dim : (head + 1) * head_dim]
    kept = columns.clone()
    columns.zero_()
    try:
        yield
    finally:
        columns.copy_(kept)


def mean_loss(loaded, texts: Sequence[str]) -> float:
    """Mean of -log p(token | left context) over all predicted tokens of the texts, in nats."""
    if isinstance(texts, str) or not texts:
        raise ValueError(f"texts: needs a list of at least one text, got {texts!r}")
    scores = [score_text(loaded, text) for text in texts]
    for score in scores:
        if score.n_scored == 0:
            raise ValueError(f"texts: {score.text!r} needs at least two tokens, one to predict")
    return -sum(score.total for score in scores) / sum(score.n_scored for score in scores)


def ablate_heads(loaded, texts: Sequence[str], *, layers: Sequence[int]) -> np.ndarray:
    """How much the loss rises without each head, one head at a time.

    Args:
        loaded: what ``load_model()`` returned (Llama family).
        texts: what the loss is measured on.
        layers: which layers; a row of the result each.

    Returns:
        float64 array (layers, n_H): loss without the head minus loss with all of them, in nats a
        token. Below 0 the model is better without it on these texts.

    Raises:
        ValueError: no texts, one too short, or a layer that isn't there.
    """
    model = loaded.model
    for layer in layers:
        _output_projection(model, layer)  # refuse before the first minute has passed
    whole = mean_loss(loaded, texts)
    rises = np.zeros((len(layers), model.config.num_attention_heads))
    for row, head in np.ndindex(rises.shape):
        with without_head(model, layers[row], head):
            rises[row, head] = mean_loss(loaded, texts) - whole
    return rises


def _output_projection(model, layer: int) -> torch.Tensor:
    layers = getattr(getattr(model, "model", None), "layers", None)
    if layers is None or not hasattr(layers[0].self_attn, "o_proj"):
        raise ValueError(f"model: {type(model).__name__} is not of the Llama family (no o_proj)")
    check_count("layer", layer, 0, len(layers) - 1)
    return layers[layer].self_attn.o_proj.weight
