"""Many requests: throughput by batch, memory of pages, stalls by long prompts, and a simulator.

Four tables in one run, on the real model: (1) tokens per second with 1, 4, 8 and 16 requests, a
cache in blocks against one of the longest length for everybody; (2) what both caches reserve and
use; (3) how long requests that decode wait while a long prompt is computed, whole or in pieces;
(4) three rates of arrivals: the real scheduler's throughput and median TTFT beside the simulator's,
whose costs were fitted to other passes.

    python benchmarks/serving_load.py [--quick] [--dtype bfloat16]
"""

import argparse
import statistics
import time

import numpy as np
import torch
from results import save, show

from lecture_lib.engine import Engine
from lecture_lib.loading import load_model
from lecture_lib.serving import (
    LoadReport,
    PagedEngine,
    Request,
    Scheduler,
    poisson_arrivals,
    serve,
    simulate,
)
from lecture_lib.serving.simulator import PassTimer, WallClock, fit_costs

BLOCK = 16


def workload(n: int, seed: int, rate: float | None = None) -> list[Request]:
    """Requests with random tokens as prompts (16 to 128) and 8 to 64 new tokens; at a rate, or all
    at once."""
    rng = np.random.default_rng(seed)
    arrivals = poisson_arrivals(rate, n, seed) if rate else [0.0] * n
    requests = []
    for at in arrivals:
        prompt = rng.integers(1000, 40_000, int(rng.integers(16, 129))).tolist()
        requests.append(
            Request(prompt, int(rng.integers(8, 65)), arrived_s=at, next_token=likeliest)
        )
    return requests


def likeliest(logits: torch.Tensor) -> int:
    return int(logits.max(-1).indices)


class CountingTimer(PassTimer):
    """A PassTimer that notes, too, how many requests each pass had."""

    def __init__(self, run_pass):
        super().__init__(run_pass)
        self.n_requests = []

    def __call__(self, plan: list):
        self.n_requests.append(len(plan))
        return super().__call__(plan)


def paged_run(engine: Engine, requests: list[Request], **options) -> tuple[LoadReport, PassTimer]:
    paged = PagedEngine(engine, 1024, BLOCK, **options)
    timer = CountingTimer(paged.run_pass)
    serve(requests, paged.scheduler, timer, WallClock())
    return LoadReport(requests), timer


def throughput(engine: Engine, batches: list[int], n_new: int, rounds: int) -> list[dict]:
    """Tokens per second of equal requests: the engine's own batch, and pages."""
    rows = []
    for n in batches:
        prompts = [np.random.default_rng(i).integers(1000, 40_000, 64).tolist() for i in range(n)]
        found = {"contiguous": [], "paged": []}
        for _ in range(rounds):
            started = time.perf_counter()
            engine.generate(prompts, n_new, ignore_eos=True)
            found["contiguous"].append(n * n_new / (time.perf_counter() - started))
            requests = [Request(prompt, n_new, next_token=likeliest) for prompt in prompts]
            report, _ = paged_run(engine, requests, max_running=16, token_budget=2048)
            found["paged"].append(report.tokens_per_s)
        rows.append({"requests": n} | {
            f"{name}_tokens_per_s": statistics.median(values) for name, values in found.items()
        })  # fmt: skip
    return rows


def memory(engine: Engine, requests: list[Request]) -> list[dict]:
    """Bytes reserved and used at the step where most positions are cached."""
    spec = engine.spec
    position = 2 * spec.n_layers * spec.n_kv_heads * spec.head_dim * engine.dtype.itemsize
    longest = max(len(r.prompt_ids) + r.max_new_tokens for r in requests)
    paged, most = PagedEngine(engine, 1024, BLOCK, token_budget=2048), {"used": 0, "blocks": 0}

    def watch(plan):
        running = paged.scheduler.running
        used = sum(request.n_cached for request in running)
        if used > most["used"]:
            blocks = sum(readers > 0 for readers in paged.pool.readers)
            most.update(used=used, blocks=blocks, requests=len(running))
        return paged.run_pass(plan)

    serve(requests, paged.scheduler, watch, WallClock())
    used_mb, n = most["used"] * position / 1e6, most["requests"]
    return [
        {"cache": "contiguous", "requests": n, "used_mb": used_mb,
         "reserved_mb": n * longest * position / 1e6},
        {"cache": "paged", "requests": n, "used_mb": used_mb,
         "reserved_mb": most["blocks"] * BLOCK * position / 1e6},
    ]  # fmt: skip


def stalls(engine: Engine, prompt_len: int) -> list[dict]:
    """Four requests decode; then a long prompt comes. Its TTFT, and the longest time that the
    others wait for a token."""
    rows = []
    for budget in (2048, 128, 32):
        rng = np.random.default_rng(0)
        short = [
            Request(rng.integers(1000, 40_000, 32).tolist(), 60, next_token=likeliest)
            for _ in range(4)
        ]
        prompt = rng.integers(1000, 40_000, prompt_len).tolist()
        long = Request(prompt, 4, arrived_s=0.5, next_token=likeliest)
        paged_run(engine, [*short, long], max_running=16, token_budget=budget)
        gaps = [gap for request in short for gap in np.diff(request.token_s)]
        rows.append({
            "token_budget": budget, "ttft_s": long.token_s[0] - long.arrived_s,
            "longest_gap_ms": 1e3 * max(gaps), "median_gap_ms": 1e3 * statistics.median(gaps),
        })  # fmt: skip
    return rows


def predicted(engine: Engine, n: int, share_of_capacity: list[float]) -> list[dict]:
    """Real and simulated runs of the same arrivals. Costs come from two runs with other requests:
    all at once, so that passes are full, and at half of the capacity, so that many are small.

    The last two columns explain the difference: how many times as long as the law the real passes
    took, those with a piece of a prompt (which is what a TTFT is made of) and those without.
    """
    report, timer = paged_run(engine, workload(n, seed=1))
    capacity = n / report.seconds  # requests per second, when all are there at once
    _, small = paged_run(engine, workload(n, seed=4, rate=capacity / 2))
    costs = fit_costs(timer.passes + small.passes, timer.seconds + small.seconds)
    rows = []
    for share in share_of_capacity:
        real, unreal = (workload(n, seed=2, rate=share * capacity) for _ in range(2))
        real_report, timer = paged_run(engine, real)
        over = np.array(timer.seconds) / (np.array(timer.passes) @ costs)
        has_prompt = np.array([n_tokens for _, n_tokens, _ in timer.passes]) > timer.n_requests
        simulate(unreal, Scheduler(), costs)
        found = LoadReport(unreal)
        row = {"requests_per_s": share * capacity}
        for name, each in (("real", real_report), ("predicted", found)):
            row[f"{name}_tokens_per_s"] = each.tokens_per_s
            row[f"{name}_ttft_s"] = statistics.median(each.ttft_s)
        row["prompt_passes_over_law"] = float(np.median(over[has_prompt]))
        row["decode_passes_over_law"] = float(np.median(over[~has_prompt]))
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller, and nothing is written")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    args = parser.parse_args()
    engine = Engine(load_model(dtype=args.dtype))
    quick = args.quick
    tables = {
        "throughput": throughput(
            engine, [1, 4] if quick else [1, 4, 8, 16], 8 if quick else 32, 1 if quick else 3
        ),
        "memory": memory(engine, workload(6 if quick else 16, seed=3)),
        "stalls": stalls(engine, 256 if quick else 1024),
        "predicted": predicted(engine, 8 if quick else 40, [0.5] if quick else [0.4, 0.7, 1.0]),
    }
    show(tables)
    if not quick:
        save("serving_load", vars(args), tables, device=engine.device.type)


if __name__ == "__main__":
    main()
