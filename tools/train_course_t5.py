"""Trains the course T5, the encoder-decoder that the pipelines of lecture 08 run offline.

    pip install num2words        # the teacher of number words; needed here, not by the course
    python tools/train_course_t5.py

makes the tokenizer, trains from random weights on generated pairs, measures exact matches on
held-out inputs, and writes weights, tokenizer, config and model card to
lecture_lib/models/course_t5.
One seed fixes data, order and start. A run that was interrupted goes on where its last checkpoint
was (``--work``).
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from random import Random

import torch
import transformers
from course_t5.card import write_card
from course_t5.data import HELD_OUT_ONE_IN, TASKS, held_out_pairs, training_pairs
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from lecture_lib.course_t5 import FOLDER

SPECIAL_TOKENS = ["<pad>", "</s>", "<unk>"]  # T5's ids 0, 1 and 2
VOCAB_SIZE = 1600
POOL = 16  # batches that are made together and sorted by length, so that little is padding
SAVED_DTYPE = torch.float16
KEPT_HELD_OUT = 40  # pairs a task that are saved for the tests


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="more is faster, with other sums")
    parser.add_argument("--held-out", type=int, default=500, help="pairs a task that are measured")
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--work", type=Path, default=Path("results/course_t5"), help="checkpoints")
    options = parser.parse_args(arguments)
    for name in ("steps", "batch_size", "threads", "held_out"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    return options


def make_tokenizer(seed: int, n_pairs: int = 30_000) -> PreTrainedTokenizerFast:
    """BPE over words that carry their space (▁), as T5's; punctuation by itself, digits in pairs.

    Pairs, because one is copied as a whole: 1974 is 19, 74. Digit by digit a model of this size
    mixes them up (39% of the dates came out wrong after the same 4,000 steps).
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(),
        pre_tokenizers.Punctuation(),
        pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
    ])  # fmt: skip
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=SPECIAL_TOKENS, show_progress=False,
        # Text that it never learned is to be spelled, not to vanish in <unk>.
        initial_alphabet=[chr(i) for i in range(33, 127)] + list("▁àâçéèêëîïôûùüÿœæÀÂÇÉÈÊÎÔÙŒ"),
    )  # fmt: skip
    pairs = training_pairs(Random(f"tokenizer {seed}"))
    tokenizer.train_from_iterator((" ".join(next(pairs)) for _ in range(n_pairs)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        model_max_length=512, clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def make_model(vocab_size: int, seed: int) -> T5ForConditionalGeneration:
    """T5's architecture, small, with random weights."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=vocab_size, d_model=128, d_kv=32, num_heads=4, d_ff=768, num_layers=3,
        num_decoder_layers=3, dropout_rate=0.0, relative_attention_num_buckets=64,
        relative_attention_max_distance=128,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    # T5 knows positions by these biases alone, and starts them near 0. So small, "the first of two
    # numbers" is learned late; larger ones let each head prefer other distances from the start.
    for name, parameter in model.named_parameters():
        if "relative_attention_bias" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    return model


def pool_of_batches(tokenizer, seed: int, pool: int, batch_size: int) -> list[dict]:
    """The batches of one pool; a pool depends on the seed and its number alone."""
    random = Random(f"pool {seed} {pool}")
    pairs = training_pairs(random)
    pairs = [next(pairs) for _ in range(POOL * batch_size)]
    sources = tokenizer([source for source, _ in pairs]).input_ids
    targets = tokenizer([target for _, target in pairs]).input_ids
    order = sorted(range(len(pairs)), key=lambda i: (len(sources[i]), len(targets[i])))
    batches = []
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        source = tokenizer.pad({"input_ids": [sources[i] for i in chosen]}, return_tensors="pt")
        target = tokenizer.pad({"input_ids": [targets[i] for i in chosen]}, return_tensors="pt")
        labels = target.input_ids.masked_fill(target.attention_mask == 0, -100)
        batches.append({**source, "labels": labels})
    random.shuffle(batches)
    return batches


def make_optimizers(model, options) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, position biases and norms.

    Embeddings and biases are of size 1 where the matrices' entries are of size 0.1 and less, so
    they take larger steps.
    """
    groups = {"matrices": [], "embeddings": [], "biases": [], "norms": []}
    for name, parameter in model.named_parameters():
        kind = "embeddings" if "shared" in name else "biases" if "relative" in name else "matrices"
        groups[kind if parameter.ndim == 2 else "norms"].append(parameter)
    lr = options.learning_rate
    others = [
        {"params": groups["embeddings"], "lr": 3 * lr},
        {"params": groups["biases"], "lr": 10 * lr},
        {"params": groups["norms"], "lr": lr},
    ]
    return [
        torch.optim.Muon(
            groups["matrices"], lr=lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def save_checkpoint(path: Path, parts: list, step: int, curve: list, seconds: float) -> None:
    """Model, optimizers and schedules as they are after this step."""
    states = [part.state_dict() for part in parts]
    torch.save({"parts": states, "step": step, "curve": curve, "seconds": seconds}, path)


def load_checkpoint(path: Path, parts: list) -> tuple[int, list, float]:
    """Puts the parts back; returns (step, loss curve, seconds), zeros without a checkpoint."""
    if not path.exists():
        return 0, [], 0.0
    saved = torch.load(path)
    for part, state in zip(parts, saved["parts"], strict=True):
        part.load_state_dict(state)
    return saved["step"], saved["curve"], saved["seconds"]


def train(model, tokenizer, options) -> list[tuple[int, float]]:
    """Trains in place; returns (step, mean loss since the last entry)."""
    optimizers = make_optimizers(model, options)
    warm_up = min(200, options.steps // 10 + 1)
    schedules = [
        transformers.get_cosine_schedule_with_warmup(optimizer, warm_up, options.steps)
        for optimizer in optimizers
    ]
    parts = [model, *optimizers, *schedules]
    checkpoint = options.work / "checkpoint.pt"
    done, curve, seconds = load_checkpoint(checkpoint, parts)
    model.train()
    began, losses, batches = time.monotonic() - seconds, [], []
    bar = tqdm(range(done, options.steps), initial=done, total=options.steps, mininterval=5)
    for step in bar:
        if not batches or step % POOL == 0:
            pool = pool_of_batches(tokenizer, options.seed, step // POOL, options.batch_size)
            batches = pool[step % POOL :]
        loss = model(**batches.pop(0)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in parts[1:]:
            part.step()
        model.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            curve.append((step + 1, sum(losses) / len(losses)))
            losses = []
            bar.set_postfix_str(f"loss {curve[-1][1]:.4f}")
        if (step + 1) % 500 == 0 or step + 1 == options.steps:
            save_checkpoint(checkpoint, parts, step + 1, curve, time.monotonic() - began)
    options.seconds = time.monotonic() - began
    return curve


@torch.inference_mode()
def answers(model, tokenizer, sources: list[str], batch_size: int = 64) -> list[str]:
    """Greedy answers, in the order of the sources."""
    model.eval()
    found = []
    for start in range(0, len(sources), batch_size):
        batch = tokenizer(sources[start : start + batch_size], padding=True, return_tensors="pt")
        output = model.generate(**batch, max_new_tokens=96, do_sample=False)
        found += tokenizer.batch_decode(output, skip_special_tokens=True)
    return found


def measure(model, tokenizer, options) -> dict[str, dict]:
    """Held-out exact matches a task, with the first wrong answers; n, correct, errors."""
    result = {}
    for task in tqdm(TASKS, desc="Measuring"):
        pairs = held_out_pairs(task, options.held_out, seed=options.seed)
        found = answers(model, tokenizer, [source for source, _ in pairs])
        wrong = [
            {"input": source, "expected": target, "got": got}
            for (source, target), got in zip(pairs, found, strict=True)
            if got != target
        ]
        source, target = min(pairs, key=lambda pair: (len(pair[0]) < 40, len(pair[0])))
        prefix = TASKS[task].prefix
        result[task] = {
            "n": len(pairs), "correct": len(pairs) - len(wrong), "errors": wrong[:5],
            "prefix": prefix, "example": (source.removeprefix(prefix), target),
        }  # fmt: skip
    return result


def save(model, tokenizer, folder: Path, options) -> None:
    """Weights in 16 bits, tokenizer, config and a few held-out pairs for the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(SAVED_DTYPE).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with (folder / "held_out.jsonl").open("w", encoding="utf-8") as file:
        for task in TASKS:
            for source, target in held_out_pairs(task, KEPT_HELD_OUT, seed=options.seed + 1):
                line = {"task": task, "input": source, "output": target}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    options.work.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(options.seed)
    model = make_model(len(tokenizer), options.seed)
    n_params = sum(p.numel() for p in model.parameters())
    print(f"{n_params:,} parameters, {len(tokenizer):,} tokens", flush=True)
    curve = train(model, tokenizer, options)
    save(model, tokenizer, options.output, options)
    # Measured is what was written: the 16-bit weights, as a user loads them.
    model = T5ForConditionalGeneration.from_pretrained(options.output, dtype=torch.float32)
    facts = {
        "n_params": n_params, "vocab_size": len(tokenizer), "steps": options.steps,
        "batch_size": options.batch_size, "learning_rate": options.learning_rate,
        "seed": options.seed, "one_in": HELD_OUT_ONE_IN,
        "threads": options.threads, "seconds": round(options.seconds),
        "processor": platform.machine(), "torch": torch.__version__,
        "transformers": transformers.__version__, "loss_curve": curve,
        "held_out": measure(model, tokenizer, options),
    }  # fmt: skip
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (options.output / "training.json").write_text(text + "\n", encoding="utf-8")
    write_card(options.output, facts)
    for task, result in facts["held_out"].items():
        print(f"{task:10} {result['correct']}/{result['n']} exact", *result["errors"][:2])
    return 0 if all(r["correct"] >= 0.99 * r["n"] for r in facts["held_out"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
