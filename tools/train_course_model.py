"""Trains one of the small models that lecture 08c runs, or computes its held-out score again.

    python tools/train_course_model.py tones              # trains; minutes on one core
    python tools/train_course_model.py tones --evaluate   # scores the stored weights

Model and data of each name are in tools/course_models. Data, order and start depend on the seed
alone. Written are weights, config, model card and training.json, to lecture_lib/models/course_NAME.
"""

import argparse
import importlib
import json
import platform
import sys
from pathlib import Path

import torch
import transformers
from course_models.card import write_card
from course_models.training import save, train

TOOLS = Path(__file__).resolve().parent
MODELS = TOOLS.parent / "lecture_lib" / "models"
NAMES = sorted(
    path.stem
    for path in (TOOLS / "course_models").glob("*.py")
    if path.stem not in ("__init__", "card", "training") and not path.stem.startswith("_")
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--evaluate", action="store_true", help="score the stored weights only")
    parser.add_argument("--steps", type=int, help="default: the model's own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, help="examples that are scored; 500, or the card's")
    parser.add_argument("--output", type=Path, help="default: lecture_lib/models/course_NAME")
    options = parser.parse_args(arguments)
    for name in ("steps", "held_out"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    options.output = options.output or MODELS / f"course_{options.name}"
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    recipe = importlib.import_module(f"course_models.{options.name}")
    path = options.output / "training.json"
    if options.evaluate:
        facts = json.loads(path.read_text("utf-8"))
    else:
        steps = options.steps or recipe.STEPS
        torch.manual_seed(options.seed)
        model, processor = recipe.build(options.seed)
        n_params = sum(p.numel() for p in model.parameters())
        print(f"{type(model).__name__}, {n_params:,} parameters", flush=True)
        curve, seconds = train(
            model, recipe.batches(options.seed, processor, recipe.BATCH_SIZE),
            steps=steps, learning_rate=recipe.LEARNING_RATE, muon=recipe.MUON,
        )  # fmt: skip
        save(model, processor, options.output)
        facts = {
            "name": options.output.name, "module": options.name, "task": recipe.TASK,
            "architecture": type(model).__name__, "n_params": n_params,
            "about": recipe.ABOUT, "data": recipe.DATA, "limits": recipe.LIMITS,
            "steps": steps, "batch_size": recipe.BATCH_SIZE,
            "learning_rate": recipe.LEARNING_RATE, "seed": options.seed,
            "optimizer": "Muon and AdamW" if recipe.MUON else "AdamW",
            "seconds": round(seconds), "processor": platform.machine(),
            "torch": torch.__version__, "transformers": transformers.__version__,
            "loss_curve": curve,
        }  # fmt: skip
    n = facts["held_out"] = options.held_out or facts.get("held_out", 500)
    scores = recipe.score(options.output, n, options.seed)
    for score in scores:
        print(f"{score['measure']}: {score['value']:.3f} of {score['n']:,}")
    # Another processor rounds differently, so one answer in a thousand may be another.
    known = {score["measure"]: score["value"] for score in facts.get("scores", scores)}
    if any(abs(score["value"] - known[score["measure"]]) > 0.002 for score in scores):
        print("The card has other scores:", facts["scores"], file=sys.stderr)
        return 1
    facts["scores"] = scores
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_card(options.output, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
