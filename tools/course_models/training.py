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
            groups["matrices"], lr=learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ))  # fmt: skip
    schedules = [
        transformers.get_cosine_schedule_with_warmup(optimizer, steps // 20 + 1, steps)
        for optimizer in optimizers
    ]
    began, losses, curve = time.monotonic(), [], []
    model.train()
    bar = tqdm(range(1, steps + 1), mininterval=5)
    for step in bar:
        loss = model(**next(batches)).loss
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
