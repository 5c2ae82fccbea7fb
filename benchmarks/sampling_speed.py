"""How fast sampling is: the engine's, and Transformers' generate(do_sample=True).

    python benchmarks/sampling_speed.py            # stores its results
    python benchmarks/sampling_speed.py --quick    # a look: fewer rounds and tokens, writes nothing

Both draw for the same prompts with the same seed in turn in one process, round after round; a
number is the median over the rounds. They must draw the same tokens, or there is no result.
"""

import argparse
import time

import torch
from beam_speed import timed
from decode_speed import load_engine, random_prompts
from results import save, show
from tqdm import tqdm

from lecture_lib.decoding import sample_generate
from lecture_lib.engine import Engine

SETTINGS = {
    "temperature 0.7": {"temperature": 0.7},
    "top-k 50": {"top_k": 50},
    "top-p 0.92": {"top_p": 0.92},
    "all three": {"temperature": 0.7, "top_k": 50, "top_p": 0.92},
}


def engine_draws(engine: Engine, prompts: torch.Tensor, n_new: int, settings: dict) -> list:
    texts = sample_generate(engine, prompts.tolist(), n_new, seed=0, ignore_eos=True, **settings)
    assert all(call.seq_len == 1 for call in texts[0].calls[1:])
    return [text.token_ids for text in texts]


def generate_draws(engine: Engine, prompts: torch.Tensor, n_new: int, settings: dict) -> list:
    torch.manual_seed(0)
    out = engine.hf_model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=n_new,
        do_sample=True,
        **{"top_k": 0} | settings,
    )
    return out[:, prompts.shape[1] :].tolist()


def compare(engine: Engine, batch_sizes, n_new: int, n_rounds: int, progress: tqdm) -> list[dict]:
    """A row for each setting and batch size: ms a token of either, prefill included."""
    rows = []
    for name, settings in SETTINGS.items():
        for batch_size in batch_sizes:
            prompts = random_prompts(batch_size, 32, engine.vocab_size)
            times, drawn = {engine_draws: [], generate_draws: []}, {}
            for n in range(n_rounds + 1):
                for draw in times:
                    started = time.perf_counter()
                    drawn[draw] = draw(engine, prompts, n_new, settings)
                    if n > 0:  # the first round warms up
                        times[draw].append(time.perf_counter() - started)
                    progress.update()
            assert drawn[engine_draws] == drawn[generate_draws], "they drew different tokens"
            rows.append({"settings": name, "batch_size": batch_size, **timed(times, n_new)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.new_tokens, args.batch_sizes = 2, 16, [1]
    torch.set_num_threads(args.threads)
    n_runs = len(SETTINGS) * len(args.batch_sizes) * 2 * (args.rounds + 1)
    with tqdm(total=n_runs, unit="run") as progress:
        rows = compare(
            load_engine("float32"), args.batch_sizes, args.new_tokens, args.rounds, progress
        )
    show({"speed": rows})
    if not args.quick:
        save(
            "sampling_speed",
            vars(args) | {"model": "smollm2-135m-instruct", "dtype": "float32"},
            {"speed": rows},
        )


if __name__ == "__main__":
    main()
