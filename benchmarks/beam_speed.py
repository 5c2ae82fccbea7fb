"""How fast beam search is: the engine's, and Transformers' generate(num_beams=...).

    python benchmarks/beam_speed.py            # stores its results
    python benchmarks/beam_speed.py --quick    # a look: fewer rounds and tokens, writes nothing

Both search the same prompt in turn in one process, round after round; a number is the median over
the rounds. They must find the same text, or there is no result.
"""

import argparse
import time

import torch
from decode_speed import load_engine, random_prompts
from results import middle, save, show
from tqdm import tqdm

from lecture_lib.decoding import engine_beam_search
from lecture_lib.engine import Engine


def engine_search(engine: Engine, prompt: torch.Tensor, n_new: int, k: int) -> list[int]:
    trace = engine_beam_search(engine, prompt, num_beams=k, max_new_tokens=n_new, ignore_eos=True)
    assert all(call.seq_len == 1 for call in trace.calls[1:])
    return trace.sequences[0]


def generate_search(engine: Engine, prompt: torch.Tensor, n_new: int, k: int) -> list[int]:
    out = engine.hf_model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=n_new,
        num_beams=k,
        do_sample=False,
    )
    return out[0, prompt.shape[1] :].tolist()


def timed(times: dict, n_new: int) -> dict:
    """Milliseconds a new token of the engine and of generate, and the spread of the rounds."""
    found = {}
    for name, seconds in zip(("engine", "generate"), times.values(), strict=True):
        median, found[f"{name}_spread"] = middle(seconds)
        found[f"{name}_ms"] = 1e3 * median / n_new
    return found


def compare(
    engine: Engine, lengths, n_new: int, k: int, n_rounds: int, progress: tqdm
) -> list[dict]:
    """A row for each prompt length: ms a step of either, prefill included."""
    rows = []
    for prompt_len in lengths:
        prompt = random_prompts(1, prompt_len, engine.vocab_size)
        times, found = {engine_search: [], generate_search: []}, {}
        for n in range(n_rounds + 1):
            for search in times:
                started = time.perf_counter()
                found[search] = search(engine, prompt, n_new, k)
                if n > 0:  # the first round warms up
                    times[search].append(time.perf_counter() - started)
                progress.update()
        assert found[engine_search] == found[generate_search], "the searches found different texts"
        rows.append({"prompt": prompt_len, **timed(times, n_new)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--num-beams", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", nargs="+", type=int, default=[32, 512])
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.new_tokens = 2, 16
    torch.set_num_threads(args.threads)
    with tqdm(total=len(args.prompts) * 2 * (args.rounds + 1), unit="run") as progress:
        engine = load_engine("float32")
        rows = compare(engine, args.prompts, args.new_tokens, args.num_beams, args.rounds, progress)
    show({"speed": rows})
    if not args.quick:
        save(
            "beam_speed",
            vars(args) | {"model": "smollm2-135m-instruct", "dtype": "float32"},
            {"speed": rows},
        )


if __name__ == "__main__":
    main()
