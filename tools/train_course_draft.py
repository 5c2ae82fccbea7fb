"""Distils the course's draft model from the bundled model, or computes its acceptance again.

    python tools/train_course_draft.py                 # texts, training, score: two hours at most
    python tools/train_course_draft.py --texts 0 8     # writes texts 0 to 7 only (a second process)
    python tools/train_course_draft.py --evaluate      # scores the stored weights
    python tools/train_course_draft.py --go-on DRAFT/model.safetensors --output NEW  # goes on

The texts are kept in --work, and those that are there are not written again. Prompts, draws and
order depend on the seed alone. Written are weights, model card and training.json, to
lecture_lib/models/course_draft; the SHA-256 that is printed belongs in loading/draft_model.py.
"""

import argparse
import json
import platform
import sys
from functools import partial
from pathlib import Path

import torch
import transformers
from course_draft import pupil, texts
from course_draft.card import write_card
from safetensors.torch import load_file, save_file

from lecture_lib.engine import Engine
from lecture_lib.loading import load_model
from lecture_lib.loading.complete_folder import sha256_of
from lecture_lib.loading.draft_model import FOLDER

N_BATCHES, STEPS = 4, 1200
DEPTHS = (2, 10, 20, 25)  # of the model's own first layers, for comparison


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, nargs=2, metavar=("FIRST", "END"))
    parser.add_argument("--evaluate", action="store_true", help="score the stored weights only")
    parser.add_argument(
        "--go-on",
        type=Path,
        metavar="WEIGHTS",
        help="begin with these, beside which their training.json lies",
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("results/course_draft"), help="texts")
    parser.add_argument("--output", type=Path, default=FOLDER)
    return parser.parse_args(arguments)


def written(engine: Engine, options, number: int, held_out: bool = False) -> list[dict]:
    """One batch of the teacher's texts, from the folder or written now."""
    side = "held" if held_out else "train"
    path = options.work / f"{side}_{options.seed}_{number:03}.pt"
    if not path.is_file():
        if not held_out:  # half the bytes, and many processors multiply bfloat16 faster
            engine = Engine(load_model(device="cpu", dtype="bfloat16"))
        batch = texts.batch_of_texts(engine, options.seed, number, held_out)
        torch.save(batch, path)
        print(f"{path.name}: {sum(len(t['hidden']) for t in batch):,} tokens", flush=True)
    return torch.load(path)


def evaluate(loaded, engine: Engine, options) -> dict[str, float]:
    """Acceptance on held-out texts: of the stored weights, and of the model's own first layers."""
    held_out = written(engine, options, 0, held_out=True)
    draft = pupil.make_pupil(loaded.model)
    draft.load_state_dict(load_file(options.output / "model.safetensors"), strict=False)
    found = {"this draft model": round(pupil.agreement(draft.eval(), held_out), 4)}
    for depth, share in pupil.agreement_of_layers(loaded.model, held_out, DEPTHS).items():
        found[f"the model's first {depth} of 30 layers"] = round(share, 4)
    return found


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    options.work.mkdir(parents=True, exist_ok=True)
    loaded = load_model(device="cpu")
    engine, facts_path = Engine(loaded), options.output / "training.json"
    if options.texts:
        for number in range(*options.texts):
            written(engine, options, number)
        return 0
    if options.evaluate:
        found, known = evaluate(loaded, engine, options), json.loads(facts_path.read_text("utf-8"))
        print(json.dumps(found, indent=1))
        # Another processor rounds differently, so that a few of the tokens may be others.
        return int(any(abs(found[name] - a) > 0.005 for name, a in known["acceptance"].items()))
    draft = pupil.make_pupil(loaded.model)
    if options.go_on:
        draft.load_state_dict(load_file(options.go_on), strict=False)
    held_out = written(engine, options, 0, held_out=True)
    batches = []

    def part(numbers):
        batches.extend(new := [t for n in numbers for t in written(engine, options, n)])
        return new

    parts = [partial(part, range(first, N_BATCHES, 2)) for first in range(2)]
    curve, seconds = pupil.train(
        draft, parts, held_out, options.seed, options.steps, bool(options.go_on)
    )
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "model.safetensors"
    tensors = {n: p.detach().bfloat16() for n, p in pupil.trained_parameters(draft).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    facts = {
        "n_params": sum(t.numel() for t in tensors.values()),
        "megabytes": path.stat().st_size / 1e6,
        "n_texts": len(batches), "n_tokens": sum(len(t["hidden"]) for t in batches),
        "n_held": texts.N_HELD, "temperature": texts.TEMPERATURE, "n_others": pupil.N_OTHERS,
        "n_fitted": pupil.N_FITTED,
        "steps": options.steps, "batch_size": pupil.BATCH_SIZE, "seed": options.seed,
        "learning_rate": pupil.LEARNING_RATE, "seconds": round(seconds),
        "threads": options.threads, "processor": platform.machine(), "torch": torch.__version__,
        "transformers": transformers.__version__, "sha256": sha256_of(path),
        "loss_curve": curve, "acceptance": evaluate(loaded, engine, options),
    }  # fmt: skip
    if options.go_on:
        facts["first"] = json.loads((options.go_on.parent / facts_path.name).read_text("utf-8"))
    facts_path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_card(options.output, facts)
    print(json.dumps(facts["acceptance"], indent=1), facts["sha256"], sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
