"""How fast a prompt is read: the engine, Transformers' generate, the law, and what explains both.

    python benchmarks/prefill_speed.py            # stores its results
    python benchmarks/prefill_speed.py --quick    # a look: fewer prompts and rounds, writes nothing

First the products alone: every matrix of the model times so many rows, all layers in turn, so that
the weights come from memory. Then whole prompts: the engine and generate take turns, one new token
each. From the products at the same number of rows the time of a prompt is predicted again: plus
attention and the small operations, measured alone, and what a prompt of one token takes beside all
that (Python, and the bookkeeping of a generation).
"""

import argparse
import time

import torch
from decode_speed import load_engine, random_prompts
from results import middle, save, show
from tqdm import tqdm

from lecture_lib.costs import step_latency
from lecture_lib.costs.conventions import ENGINE
from lecture_lib.costs.timed_ops import timed_ops
from lecture_lib.engine import Engine
from lecture_lib.engine.kernels import linear
from lecture_lib.hardware import Hardware, measure_hardware
from lecture_lib.hardware.measure import time_in_turns, wall_clock

MATRICES = {"qkv": "qkv", "o": "out", "gate_up": "gate_up", "down": "down"}
PROMPTS = {1: [1, 16, 32, 64, 128, 256, 512, 1024], 4: [16, 64, 256, 1024]}  # by batch size
# What a layer does beside products and attention: two norms, two additions, and so on.
SMALL = ["attn_norm", "attn_norm", "activation", "attn_residual", "attn_residual", "rope"]
QUICK = {1: [1, 16, 128]}


def products(engine: Engine, n_rows: int, turned: bool):
    """A call for each matrix that multiplies so many rows by it, in all layers.

    As the engine does, or turned: the matrix times the rows as columns.
    """

    def call(weights, x):
        def run() -> None:
            for weight in weights:
                torch.mm(weight, x.mT) if turned else linear(x, weight)

        return run

    found = {}
    for name, attribute in MATRICES.items():
        weights = [getattr(layer, attribute) for layer in engine.model.layers]
        found[name] = call(weights, torch.randn(n_rows, weights[0].shape[1], dtype=engine.dtype))
    return found


def product_rows(engine: Engine, rows: list[int], seconds: float) -> list[dict]:
    """A row for each number of rows and each matrix: what its products take in all layers."""
    found = []
    for n_rows in tqdm(rows, desc="products", unit="size"):
        calls = {(t, n): c for t in (0, 1) for n, c in products(engine, n_rows, bool(t)).items()}
        with torch.inference_mode():
            timed = time_in_turns(calls, wall_clock("cpu"), seconds)
        for name, attribute in MATRICES.items():
            weights = [getattr(layer, attribute) for layer in engine.model.layers]
            taken, flops = timed[0, name], 2 * n_rows * sum(w.numel() for w in weights)
            found.append(
                {
                    "rows": n_rows, "matrix": name, "outputs": weights[0].shape[0],
                    "inputs": weights[0].shape[1], "ms": 1e3 * taken.seconds,
                    "spread": taken.spread, "turned_ms": 1e3 * timed[1, name].seconds,
                    "gflops": flops / taken.seconds / 1e9,
                    "weights_gb_per_s": sum(w.nbytes for w in weights) / taken.seconds / 1e9,
                }
            )  # fmt: skip
    return found


def head_ms(engine: Engine, batch_size: int) -> float:
    """The product with lm_head, which only the last row of each prompt meets."""
    rows = torch.randn(batch_size, engine.spec.d_model, dtype=engine.dtype)
    with torch.inference_mode():
        call = lambda: linear(rows, engine.model.lm_head)  # noqa: E731
        return 1e3 * time_in_turns({"": call}, wall_clock("cpu"), 0.3)[""].seconds


def in_turns(contenders: dict, n_rounds: int) -> dict[str, tuple[float, float]]:
    """Milliseconds (median) and spread of each; one round more, at the beginning, warms up."""
    times = {name: [] for name in contenders}
    for n in range(n_rounds + 1):
        for name, call in contenders.items():
            started = time.perf_counter()
            call()
            if n > 0:
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: middle(values) for name, values in times.items()}


@torch.inference_mode()
def prompt_row(engine: Engine, batch_size: int, prompt_len: int, n_rounds: int) -> dict:
    """What one size takes: the engine, generate, attention and the small operations alone."""
    prompts = random_prompts(batch_size, prompt_len, engine.vocab_size)
    mask, token_ids = torch.ones_like(prompts), prompts.tolist()
    alone = timed_ops(engine, "prefill", batch_size, prompt_len)
    contenders = {
        "attention": alone["attention"],
        "small": lambda: [alone[op]() for op in SMALL],
        "engine": lambda: engine.generate(token_ids, 1, ignore_eos=True),
        "generate": lambda: engine.hf_model.generate(
            prompts, attention_mask=mask, max_new_tokens=1, do_sample=False
        ),
    }
    found = {"batch_size": batch_size, "prompt": prompt_len, "rows": batch_size * prompt_len}
    for name, (ms, spread) in in_turns(contenders, n_rounds).items():
        found |= {f"{name}_ms": ms, f"{name}_spread": spread}
    return found


def predict(engine: Engine, here: Hardware, gemm: list[dict], prompts: list[dict]) -> list[dict]:
    """Adds to each prompt what the law says, and what the products at its rows say."""
    alone, largest = {}, max(row["rows"] for row in gemm)
    for row in gemm:
        alone[row["rows"]] = alone.get(row["rows"], 0) + row["ms"]
    heads = {batch_size: head_ms(engine, batch_size) for batch_size in {1, 4}}
    starts_ms = 0.0
    for row in prompts:
        size = row["batch_size"], row["prompt"], engine.dtype.itemsize
        dtype = str(engine.dtype).removeprefix("torch.")
        law = step_latency(
            engine.spec, here, "prefill", *size, conventions=ENGINE, compute_dtype=dtype
        )
        n_rows = min(row["rows"], largest)  # more rows: at the rate of the largest number
        row["products_ms"] = alone[n_rows] * row["rows"] / n_rows + heads[row["batch_size"]]
        known = row["products_ms"] + row["attention_ms"] + row["small_ms"]
        if row["rows"] == 1:
            starts_ms = max(0.0, row["engine_ms"] - known)
        row |= {"law_ms": 1e3 * law.seconds, "starts_ms": starts_ms, "gflop": law.flops / 1e9}
        row["peak_gflops"] = here.peak_flops / 1e9
        row["predicted_ms"] = known + starts_ms
    return prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few prompts, nothing written")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    engine = load_engine(args.dtype)
    here = measure_hardware("cpu", dtypes=(args.dtype,), max_spread=1)
    sizes = [(b, p) for b, lengths in (QUICK if args.quick else PROMPTS).items() for p in lengths]
    rows = sorted({b * p for b, p in sizes if b * p <= 1024})
    gemm = product_rows(engine, rows, 0.3 if args.quick else 1.5)
    prompts = [prompt_row(engine, *size, args.rounds) for size in tqdm(sizes, desc="prompts")]
    tables = {"products": gemm, "prompts": predict(engine, here, gemm, prompts)}
    show(tables)
    if not args.quick:
        peak = {"peak_gflops": here.peak_flops / 1e9, "gb_per_s": here.memory_bandwidth / 1e9}
        save("prefill_speed", vars(args) | peak, tables)


if __name__ == "__main__":
    main()
