"""How fast a token comes: the engine, Transformers' generate, and the ceiling of the linear layers.

    python benchmarks/decode_speed.py            # all of it; writes a section of RESULTS.md
    python benchmarks/decode_speed.py --quick    # a look: fewer sizes and rounds, writes nothing

All contenders run in turn in one process, round after round, so that whatever else the machine
does hits each of them alike; a number is the median over the rounds.
"""

import argparse
import time
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from decode_memory import COLUMNS, memory_rows
from results import describe_machine, table, write_section
from tqdm import tqdm
from transformers.generation.streamers import BaseStreamer

from lecture_lib.engine import Engine
from lecture_lib.engine.kernels import linear
from lecture_lib.loading import load_model

CEILING, OWN_CEILING, ENGINE, DYNAMIC, STATIC = (
    "F.linear",
    "engine's linear",
    "engine",
    "generate, dynamic",
    "generate, static",
)


class TokenClock(BaseStreamer):
    """Notes when generate hands out each token (the prompt comes first)."""

    def __init__(self):
        self.times = []

    def put(self, value) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass

    @property
    def tpot_s(self) -> float:
        first, last = self.times[1], self.times[-1]
        return (last - first) / (len(self.times) - 2)


def random_prompts(batch_size: int, prompt_len: int, vocab_size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, vocab_size, (batch_size, prompt_len), generator=generator)


@torch.inference_mode()
def linear_layers_s(engine: Engine, batch_size: int, n_passes: int, multiply=F.linear) -> float:
    """Seconds of one pass over every matrix that a decode step multiplies with, and no more."""
    weights = [w for layer in engine.model.layers for w in layer_matrices(layer)]
    weights.append(engine.model.lm_head)
    inputs = {
        n: torch.randn(batch_size, n, dtype=engine.dtype) for n in {w.shape[1] for w in weights}
    }
    started = time.perf_counter()
    for _ in range(n_passes):
        for weight in weights:
            multiply(inputs[weight.shape[1]], weight)
    return (time.perf_counter() - started) / n_passes


def layer_matrices(layer) -> list[torch.Tensor]:
    values = [getattr(layer, name) for name in layer.__slots__]
    return [value for value in values if isinstance(value, torch.Tensor) and value.dim() == 2]


def engine_s(engine: Engine, prompts: torch.Tensor, n_new: int) -> float:
    generations = engine.generate(prompts.tolist(), n_new, ignore_eos=True)
    assert all(call.seq_len == 1 for call in generations[0].calls[1:])
    return generations[0].timings.tpot_s


def generate_s(engine: Engine, prompts: torch.Tensor, n_new: int, cache: str) -> float:
    clock = TokenClock()
    out = engine.hf_model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=n_new,
        do_sample=False,
        cache_implementation=cache,
        streamer=clock,
    )
    assert out.shape[1] == prompts.shape[1] + n_new
    return clock.tpot_s


def median_s(contenders: dict, n_rounds: int, progress: tqdm) -> dict[str, float]:
    """Median of the seconds that each contender returns; all take turns, round after round."""
    times = {name: [] for name in contenders}
    for n in range(n_rounds + 1):
        for name, run in contenders.items():
            seconds = run()
            if n > 0:  # the first round warms up, and compiles
                times[name].append(seconds)
            progress.update()
    return {name: median(values) for name, values in times.items()}


def compare(engine: Engine, sizes, n_new: int, n_rounds: int, progress: tqdm) -> list[list]:
    """A row for each (prompt length, batch size): ms a token of each contender, and the ratios."""
    rows = []
    for prompt_len, batch_size in sizes:
        prompts = random_prompts(batch_size, prompt_len, engine.vocab_size)
        contenders = {
            CEILING: lambda b=batch_size: linear_layers_s(engine, b, n_new),
            OWN_CEILING: lambda b=batch_size: linear_layers_s(engine, b, n_new, linear),
            ENGINE: lambda p=prompts: engine_s(engine, p, n_new),
            DYNAMIC: lambda p=prompts: generate_s(engine, p, n_new, "dynamic"),
            STATIC: lambda p=prompts: generate_s(engine, p, n_new, "static"),
        }
        ms = {name: 1e3 * s for name, s in median_s(contenders, n_rounds, progress).items()}
        rows.append(
            [str(engine.dtype).removeprefix("torch."), prompt_len, batch_size, *ms.values()]
            + [f"{ms[ceiling] / ms[ENGINE]:.0%}" for ceiling in (CEILING, OWN_CEILING)]
            + [f"{ms[name] / ms[ENGINE]:.2f}×" for name in (DYNAMIC, STATIC)]
        )
    return rows


def growth(engine: Engine, lengths: list[int], progress: tqdm) -> tuple[list[list], dict]:
    """Seconds for n new tokens, naive and cached, and the exponents of the fitted power laws."""
    prompt = random_prompts(1, 16, engine.vocab_size)[0].tolist()
    seconds = {True: [], False: []}
    for n_new in lengths:
        for use_cache in (True, False):
            run = engine.generate(prompt, n_new, use_cache=use_cache, ignore_eos=True)
            seconds[use_cache].append(run.timings.total_s)
            progress.update()
    pairs = zip(lengths, seconds[False], seconds[True], strict=True)
    rows = [[n, naive, cached, f"{naive / cached:.1f}×"] for n, naive, cached in pairs]
    return rows, {
        "naive": exponent(lengths, seconds[False]),
        "cached": exponent(lengths, seconds[True]),
    }


def exponent(lengths: list[int], seconds: list[float]) -> float:
    """p of the power law seconds ~ n^p that fits best (a line in log-log)."""
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def load_engine(dtype: str) -> Engine:
    engine = Engine(load_model(device="cpu", dtype=dtype))
    engine.hf_model.generation_config.eos_token_id = None  # all run to the last token
    return engine


def report(speed: list[list], grown: list[list], exponents: dict, memory: list[list], args) -> str:
    contenders = (CEILING, OWN_CEILING, ENGINE, DYNAMIC, STATIC)
    times = [f"{name} (ms)" for name in contenders]
    ratios = ["share of F.linear's", "of its own", "dynamic / engine", "static / engine"]
    return "\n\n".join(
        [
            "## Decoding speed: `python benchmarks/decode_speed.py`",
            f"Machine: {describe_machine()}. Model: SmolLM2-135M-Instruct.",
            f"Milliseconds a decode step (one token in every row), {args.new_tokens} new tokens, "
            f"median of {args.rounds} interleaved rounds. The ceiling is one pass over the linear "
            "layers and lm_head, by F.linear or by the engine's own, which takes another kernel "
            "for a single row of bfloat16; it does not read the KV cache.",
            table(["dtype", "prompt", "batch", *times, *ratios], speed),
            "Naive against cached: seconds for n new tokens after a prompt of 16 (float32, batch "
            f"1). Fitted growth: naive n^{exponents['naive']:.2f}, "
            f"cached n^{exponents['cached']:.2f}.",
            table(["new tokens", "naive (s)", "cached (s)", "naive / cached"], grown),
            "Memory of a process each (resident MB, batch 4, prompt 512, 16 new tokens): after "
            "loading, peak while the engine joins matrices, peak while generating.",
            table(COLUMNS, memory),
        ]
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--prompts", nargs="+", type=int, default=[32, 512])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument(
        "--quick", action="store_true", help="few sizes and rounds, nothing written"
    )
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.new_tokens, args.batch_sizes = 2, 16, [1]
    return args


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    sizes = [(p, b) for p in args.prompts for b in args.batch_sizes]
    lengths = [8, 16, 32] if args.quick else [16, 32, 64, 128, 256]
    n_runs = len(args.dtypes) * (len(sizes) * 5 * (args.rounds + 1) + 3) + 2 * len(lengths)
    with tqdm(total=n_runs, unit="run") as progress:
        memory = [row for dtype in args.dtypes for row in memory_rows(dtype, progress)]
        speed = []
        for dtype in args.dtypes:
            engine = load_engine(dtype)
            speed += compare(engine, sizes, args.new_tokens, args.rounds, progress)
        grown, exponents = growth(load_engine("float32"), lengths, progress)
    text = report(speed, grown, exponents, memory, args)
    print(text)
    if not args.quick:
        write_section("decode_speed", text)


if __name__ == "__main__":
    main()
