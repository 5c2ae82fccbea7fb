"""The training loop that all small models of lecture 08c share, and how they are saved."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from tqdm import tqdm

SAVED_DTYPE = torch.float16


def train(
    model, batches: Iterator[dict], *, steps: int, learning_rate: float, muon: bool = False
) -> tuple[list[tuple[int, float]], float]:
    """Trains in place with a cosine schedule.

    Args:
        model: anything that returns a loss for ``model(**batch)``.
        batches: the training data, labels included.
        steps: how many batches.
        learning_rate: the largest one of the schedule.
        muon: Muon for the matrices inside the layers, which learns in fewer steps which token has
            to look at which; embeddings and norms always have AdamW.

    Returns:
        (step, mean loss since the last entry) as a list, and the seconds it took.
    """
    groups = {"matrices": [], "embeddings": [], "others": []}
    for name, parameter in model.named_parameters():
        kind = "others" if parameter.ndim < 2 else "embeddings"
        groups["matrices" if parameter.ndim == 2 and "embedding" not in name else kind].append(
            parameter
        )
    adamw = [
        {"params": groups["embeddings"], "weight_decay": 0.01},
        {"params": groups["others"], "weight_decay": 0.0},
    ]
    if not muon:
        adamw.append({"params": groups["matrices"], "weight_decay": 0.01})
    optimizers = [torch.optim.AdamW(adamw, lr=learning_rate, betas=(0.9, 0.98))]
    if muon:
        optimizers.append(torch.optim.Muon(
            # Its steps are a fifth as large as AdamW's at the same rate.
            groups["matrices"], lr=5 * learning_rate, weight_decay=0.01,
            adjust_lr_fn="match_rms_adamw",
        ))  # fmt: skip
    schedules = [
        transformers.get_cosine_schedule_with_warmup(optimizer, steps // 20 + 1, steps)
        for optimizer in optimizers
    ]
    began, losses, curve = time.monotonic(), [], []
    model.train()
    bar = tqdm(range(1, steps + 1), mininterval=5)
    for step in bar:
        loss = loss_of(model, next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % 100 == 0 or step == steps:
            curve.append((step, sum(losses) / len(losses)))
            losses = []
            bar.set_postfix_str(f"loss {curve[-1][1]:.4f}")
    model.eval()
    return curve, time.monotonic() - began


def loss_of(model, batch: dict) -> torch.Tensor:
    """The model's own loss, and that of the hints if the batch has some.

    A hint says what a layer's output should let one see in a fixed direction, for each token: is
    this word in the question, is it in the line that is asked for? Such steps on the way to the
    answer are learned in hundreds of batches, where the answers alone need many thousands.
    """
    hints = batch.pop("hints", {})  # layer -> (B, L), 1 where it is so
    output = model(**batch, output_hidden_states=bool(hints))
    loss = output.loss
    for layer, wanted in hints.items():
        hidden = output.hidden_states[layer]  # (B, L, D)
        width = hidden.shape[-1]
        generator = torch.Generator().manual_seed(layer)
        direction = torch.randn(width, generator=generator) / width**0.5
        seen = hidden @ direction
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(seen, wanted)
    return loss


def words_of_the_question(batch: dict) -> torch.Tensor:
    """1 for each token of the text that the question has too, (B, L)."""
    ids, in_text = batch["input_ids"], batch["token_type_ids"]
    asked = (ids[:, :, None] == ids[:, None, :]) & (in_text == 0)[:, None, :]
    return (asked.any(dim=2) & (in_text == 1)).float()


def look_at_what_is_alike(model, scale: float = 2.0) -> None:
    """Keys begin equal to the queries, so that a token begins by looking at tokens like itself.

    Which is what questions need: the same name in the text, the same height on the page. From two
    random matrices a small model finds that late, or not at all (arXiv 2305.09828).

    Args:
        model: a BERT or its like, with random weights.
        scale: how much larger both are than the other matrices.
    """
    parts = dict(model.named_parameters())
    for name, query in parts.items():
        if name.endswith("query.weight"):
            query.data *= scale
            parts[name.replace("query", "key")].data.copy_(query.data)


def waves(n: int, width: int, slowest: float, std: float) -> torch.Tensor:
    """n places as (n, width) sines and cosines, so that places near each other are alike.

    Args:
        n: how many places.
        width: a multiple of 2.
        slowest: the lowest frequency, in radians per place; the highest is 1.
        std: the standard deviation of the entries.
    """
    frequencies = slowest ** torch.linspace(0, 1, width // 2)
    angles = torch.arange(n)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1) * (std * 2**0.5)


def save(model, processor, folder: Path) -> None:
    """Weights in 16 bits, config and what is needed beside them.

    The config says float32: then ``pipeline(task, model=folder)`` computes in 32 bits, which CPUs
    do faster and which rounds less.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.to(SAVED_DTYPE).save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
