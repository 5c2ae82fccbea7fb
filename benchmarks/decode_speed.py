"""How fast a token comes: the engine, Transformers' generate, and the ceiling of the linear layers.

    python benchmarks/decode_speed.py            # all of it: about six minutes on two quiet cores
    python benchmarks/decode_speed.py --quick    # a look: fewer sizes and rounds, writes nothing

The ceiling is one pass over the linear layers and lm_head, by F.linear or by the engine's own; it
does not read the KV cache. All contenders run in turn in one process, round after round, so that
whatever else the machine does hits each of them alike; a number is the median over the rounds.
"""

import argparse
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from decode_memory import BATCH_SIZE, NEW_TOKENS, PROMPT_LEN, memory_rows
from results import middle, save, show
from tqdm import tqdm
from transformers.generation.streamers import BaseStreamer

from lecture_lib.engine import Engine
from lecture_lib.engine.cuda_graph import CompiledStep, FixedShapeCache
from lecture_lib.engine.kernels import linear
from lecture_lib.loading import load_model

COMPILER = any(map(shutil.which, ("g++", "clang++")))
LONG_PROMPT = 256  # from here on reading the prompt takes longer than the steps: fewer rounds


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


@torch.inference_mode()
def compiled_s(engine: Engine, prompts: torch.Tensor, n_new: int, step: CompiledStep) -> float:
    """The step that torch.compile makes of the engine's, over a cache of fixed shape."""
    cache = engine.new_cache(len(prompts), prompts.shape[1] + n_new)
    tokens = engine.prefill(prompts, cache=cache).argmax(-1)  # (B,)
    fixed, started = FixedShapeCache(cache), time.perf_counter()
    for _ in range(n_new - 1):
        tokens = step(tokens[:, None], fixed).argmax(-1)
        tokens.tolist()
    return (time.perf_counter() - started) / (n_new - 1)


def in_turns(contenders: dict, n_rounds: int, progress: tqdm) -> dict[str, list[float]]:
    """The seconds that each contender returns; all take turns, round after round."""
    times = {name: [] for name in contenders}
    for _ in range(n_rounds):
        for name, run in contenders.items():
            times[name].append(run())
            progress.update()
    return times


def timed(times: dict[str, list[float]]) -> dict[str, float]:
    """Median and spread of each contender's seconds, as columns in milliseconds."""
    found = {}
    for name, values in times.items():
        seconds, spread = middle(values)
        found |= {f"{name}_ms": 1e3 * seconds, f"{name}_spread": spread}
    return found


def contenders_of(engine: Engine, prompts: torch.Tensor, n_new: int) -> dict:
    """A call for each column, which returns seconds per step."""
    batch_size = len(prompts)
    found = {
        "linear": lambda: linear_layers_s(engine, batch_size, n_new),
        "own_linear": lambda: linear_layers_s(engine, batch_size, n_new, linear),
        "engine": lambda: engine_s(engine, prompts, n_new),
        "dynamic": lambda: generate_s(engine, prompts, n_new, "dynamic"),
        "static": lambda: generate_s(engine, prompts, n_new, "static"),
    }
    if COMPILER and batch_size == 1 and prompts.shape[1] < LONG_PROMPT:  # one is enough to compare
        step = CompiledStep(engine.model)
        found["compiled"] = lambda: compiled_s(engine, prompts, n_new, step)
    return found


def compare(engine: Engine, sizes, n_new: int, n_rounds: int, progress: tqdm) -> list[dict]:
    """A row for each (prompt length, batch size): ms per step of each contender."""
    rows = []
    for prompt_len, batch_size in sizes:
        prompts = random_prompts(batch_size, prompt_len, engine.vocab_size)
        contenders = contenders_of(engine, prompts, n_new)
        if prompt_len < LONG_PROMPT:
            in_turns(contenders, 1, progress)  # warms up, and compiles
        columns = timed(in_turns(contenders, rounds_of(prompt_len, n_rounds), progress))
        size = {"prompt": prompt_len, "batch_size": batch_size}
        dtype = {"dtype": str(engine.dtype).removeprefix("torch.")}
        rows.append(dtype | size | {"compiled_ms": None, "compiled_spread": None} | columns)
    return rows


def rounds_of(prompt_len: int, n_rounds: int) -> int:
    return n_rounds if prompt_len < LONG_PROMPT else max(2, n_rounds // 2)


def growth(engine: Engine, lengths: list[int], progress: tqdm) -> tuple[list[dict], dict]:
    """Seconds for n new tokens, naive and cached, and the exponents of the fitted power laws."""
    prompt = random_prompts(1, 16, engine.vocab_size)[0].tolist()
    seconds = {True: [], False: []}
    for n_new in lengths:
        for use_cache in (True, False):
            run = engine.generate(prompt, n_new, use_cache=use_cache, ignore_eos=True)
            seconds[use_cache].append(run.timings.total_s)
            progress.update()
    pairs = zip(lengths, seconds[False], seconds[True], strict=True)
    rows = [{"new_tokens": n, "naive_s": naive, "cached_s": cached} for n, naive, cached in pairs]
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


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--prompts", nargs="+", type=int, default=[32, 512])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument(
        "--quick", action="store_true", help="few sizes and rounds, nothing written"
    )
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.new_tokens, args.batch_sizes, args.prompts = 2, 8, [1], [32]
    return args


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    sizes = [(p, b) for p in args.prompts for b in args.batch_sizes]
    lengths = [8, 16, 32] if args.quick else [16, 32, 64, 128]
    n_rounds = sum(rounds_of(p, args.rounds) + (p < LONG_PROMPT) for p, _ in sizes)
    n_memory = 0 if args.quick else 3
    n_runs = len(args.dtypes) * (5 * n_rounds + n_memory) + 2 * len(lengths)
    with tqdm(total=n_runs, unit="run") as progress:
        memory = [] if args.quick else [r for d in args.dtypes for r in memory_rows(d, progress)]
        speed = []
        for dtype in args.dtypes:
            engine = load_engine(dtype)
            speed += compare(engine, sizes, args.new_tokens, args.rounds, progress)
        grown, exponents = growth(load_engine("float32"), lengths, progress)
    tables = {"speed": speed, "growth": grown, "memory": memory}
    show(tables)
    if not args.quick:
        settings = {
            "model": "smollm2-135m-instruct",
            "rounds": args.rounds,
            "new_tokens": args.new_tokens,
            "growth_prompt": 16,
            "growth_dtype": "float32",
            "growth_exponents": exponents,
            "memory_batch_size": BATCH_SIZE,
            "memory_prompt": PROMPT_LEN,
            "memory_new_tokens": NEW_TOKENS,
        }
        save("decode_speed", settings, tables)


if __name__ == "__main__":
    main()
