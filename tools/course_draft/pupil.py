"""The pupil: two layers and a lens between the teacher's embeddings, and how it learns."""

import copy
import time
from random import Random

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from lecture_lib.loading.draft_model import make_draft_model

BATCH_SIZE, LEARNING_RATE, N_OTHERS, N_FITTED = 16, 8e-4, 1024, 64
ON_HIDDEN = 0.15  # of the steps, in which the pupil learns the teacher's last embedding alone


def make_pupil(teacher):
    """The draft model with the teacher's first layers and its embeddings. The lens, which belongs
    behind the final norm, is its attribute until the LM head is made."""
    pupil = make_draft_model(teacher, copy.deepcopy(teacher.config))
    for mine, layer in zip(pupil.model.layers, teacher.model.layers, strict=False):
        mine.load_state_dict(layer.state_dict())
    torch.nn.init.ones_(pupil.model.norm.weight)
    pupil.lens = torch.nn.Parameter(torch.eye(teacher.config.hidden_size))
    return pupil


def trained_parameters(pupil) -> dict[str, torch.nn.Parameter]:
    """What is learned, and stored: the layers, the final norm and the lens, but no embeddings."""
    return {
        name: parameter
        for name, parameter in pupil.named_parameters()
        if "embed_tokens" not in name and "lm_head" not in name
    }


@torch.no_grad()
def fit_lens(pupil, texts: list[dict]) -> None:
    """The lens that maps the pupil's last embeddings best to the teacher's: least squares, with a
    ridge for directions that the texts hardly use. No step of training is needed for it."""
    x = torch.cat(
        [pupil.model(t["ids"][None]).last_hidden_state[0, t["start"] - 1 : -1] for t in texts]
    )
    y = torch.cat([t["hidden"] for t in texts])  # (n, D) both
    x, y = x.double(), y.double()
    ridge = torch.eye(x.shape[1], dtype=torch.double)
    pupil.lens.copy_(torch.linalg.solve(x.T @ x + ridge, x.T @ y))


def batches(texts: list[dict], seed: int, steps: int):
    """Batches of (input_ids (B, L), which positions count (B, L), their targets (n, D))."""
    random, order = Random(seed), []
    for _ in range(steps):
        while len(order) < BATCH_SIZE:
            order += random.sample(texts, len(texts))
        rows, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        ids = torch.nn.utils.rnn.pad_sequence([t["ids"] for t in rows], batch_first=True)
        counts = torch.zeros(ids.shape, dtype=torch.bool)
        for mask, text in zip(counts, rows, strict=True):
            mask[text["start"] - 1 : len(text["ids"]) - 1] = True
        yield ids, counts, torch.cat([t["hidden"] for t in rows]).float()


def losses(pupil, batch, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far the pupil is from the teacher: in the last embedding (mean squared error, relative to
    the teacher's variance), in the distribution over ``tokens`` (Kullback-Leibler, nats), and in
    the teacher's likeliest of them (cross-entropy, nats)."""
    ids, counts, wanted = batch  # wanted: (n, D), behind the teacher's final norm
    hidden = pupil.model(ids, use_cache=False).last_hidden_state[counts] @ pupil.lens  # (n, D)
    on_hidden = F.mse_loss(hidden, wanted) / wanted.var()
    table = pupil.model.embed_tokens.weight[
        tokens
    ]  # (few, D) and not (V, D): the softmax is most of the cost
    with torch.no_grad():
        target = (wanted @ table.T).log_softmax(-1)  # (n, few)
    mine = (hidden @ table.T).log_softmax(-1)
    divergence = F.kl_div(mine, target, log_target=True, reduction="batchmean")
    return on_hidden, divergence, F.nll_loss(mine, target.argmax(-1))


def train(pupil, parts: list, held_out: list[dict], seed: int, steps: int, go_on: bool):
    """Trains in place; returns [(step, embedding loss, KL, cross-entropy, held-out acceptance)] and
    the seconds.

    ``parts`` are functions that return texts; the second half of the steps has those of all parts,
    so that they can be written meanwhile. Unless it goes on from a trained pupil, the lens is
    fitted first, and the first steps learn the teacher's last embedding. After them the
    distributions count, over the batch's own tokens and others, drawn anew for each batch.
    """
    texts, n_on_hidden = parts[0](), 0 if go_on else ON_HIDDEN * steps
    if not go_on:
        fit_lens(pupil, texts[:N_FITTED])
    torch.manual_seed(seed)
    parameters = list(trained_parameters(pupil).values())
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.1)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, steps // 20 + 1, steps)
    began, curve, sums, step = time.monotonic(), [], [], 0
    pupil.train()
    for half, part in enumerate(parts):
        texts += part() if half else []
        seen = torch.cat([t["ids"] for t in texts]).unique()
        for batch in batches(texts, seed + half, steps // len(parts)):
            others = torch.randint(pupil.config.vocab_size, (N_OTHERS // 4,))
            chosen = seen[torch.randperm(len(seen))[:N_OTHERS]]
            tokens = torch.cat((batch[0].flatten(), chosen, others)).unique()
            with torch.autocast("cpu", torch.bfloat16):  # products; sums and softmax in float32
                on_hidden, divergence, likeliest = losses(pupil, batch, tokens)
            loss = on_hidden if step < n_on_hidden else divergence + likeliest / 2 + on_hidden / 10
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad(set_to_none=True)
            sums.append((on_hidden.item(), divergence.item(), likeliest.item()))
            step += 1
            if step % 20 == 0:
                print(step, *(f"{sum(x) / len(x):.3f}" for x in zip(*sums, strict=True)),
                      f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
            if step % 80 == 0 or step == steps // len(parts) * len(parts):
                means, sums = [round(sum(x) / len(x), 4) for x in zip(*sums, strict=True)], []
                with torch.autocast("cpu", torch.bfloat16):
                    curve.append((step, *means, round(agreement(pupil, held_out), 4)))
                print("held-out acceptance", curve[-1][-1], flush=True)
    pupil.eval()
    return curve, time.monotonic() - began


@torch.inference_mode()
def agreement(pupil, texts: list[dict]) -> float:
    """How often the pupil's likeliest token is the one that the teacher wrote, text by text."""
    right, total, head = 0, 0, pupil.lm_head.weight
    if hasattr(pupil, "lens"):  # the LM head is not made yet
        head = pupil.model.embed_tokens.weight @ pupil.lens.T  # (V, D)
    for text in texts:
        ids, start = text["ids"], text["start"]
        hidden = pupil.model(ids[None], use_cache=False).last_hidden_state[0, start - 1 : -1]
        right += int((F.linear(hidden, head).argmax(-1) == ids[start:]).sum())
        total += len(ids) - start
    return right / total


@torch.inference_mode()
def agreement_of_layers(teacher, texts: list[dict], depths) -> dict[int, float]:
    """The same for the teacher's own first layers, each depth with the final norm and LM head."""
    right, total = dict.fromkeys(depths, 0), 0
    for text in texts:
        ids, start = text["ids"], text["start"]
        states = teacher.model(ids[None], use_cache=False, output_hidden_states=True).hidden_states
        for depth in depths:
            hidden = states[depth][0, start - 1 : -1]
            if depth < len(states) - 1:  # the last one is behind the norm already
                hidden = teacher.model.norm(hidden)
            right[depth] += int((teacher.lm_head(hidden).argmax(-1) == ids[start:]).sum())
        total += len(ids) - start
    return {depth: n / total for depth, n in right.items()}
