"""Speculative decoding on three kinds of text: what is predicted, and what the clock says.

    python benchmarks/speculation.py            # stores its results
    python benchmarks/speculation.py --quick    # a look: few tokens and rounds, stores nothing

Plain decoding and the drafters take turns, round after round, on the same prompt in one process; a
number is the median over the rounds. All must write the same tokens, or there is no result. The
prediction is the law (1 - a^(k+1)) / (1 - a) for every pass, over the measured cost of its rows and
of its draft.
"""

import argparse
import itertools
import time
from statistics import median

import torch
from results import middle, save, show
from tqdm import tqdm

from lecture_lib.engine import Engine, Lookup, ModelDrafter, first_layers
from lecture_lib.engine.speculation import verify
from lecture_lib.loading import load_draft_model, load_model
from lecture_lib.scoring import chat_ids

CODE = """def area(width, height):
    return width * height

def volume(width, height, depth):
    return area(width, height) * depth

def describe(name, width, height, depth):
    size = volume(width, height, depth)
    print(f"{name} has a volume of {size}")
    return size
"""
NAMES = ["Anna", "Ben", "Carla", "David", "Emma", "Felix", "Greta", "Henry", "Iris", "Jonas"]
LIST = "".join(f"{i}. {name}, {1950 + 3 * i}\n" for i, name in enumerate(NAMES, 1))
TEXTS = {
    "copying code": f"{CODE}\n# The same functions once more:\n\n{CODE[:24]}",
    "copying a list": f"The list:\n{LIST}\nThe same list again:\n1. Anna,",
    "a free story": [{"role": "user", "content": "Tell me a story about a fox and a baker."}],
}
ROWS = (1, 2, 3, 5, 8, 11)


def contenders(engine: Engine, loaded, args) -> dict:
    """The drafters by name; None is plain decoding."""
    part = first_layers(engine, args.layers)
    return {
        "plain": None,
        **{f"lookup, k = {k}": Lookup(k) for k in (4, 10)},
        "draft model, k = 4": ModelDrafter(Engine(load_draft_model(loaded)), 4),
        f"first {args.layers} layers, k = 4": ModelDrafter(part, 4),
    }


def seconds(function, n: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(n + 1):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return median(times[1:])  # the first warms up


def measure_rows(engine: Engine, rows, n: int, past_len: int = 200) -> list[dict]:
    """What a pass over so many tokens costs behind a cache."""
    ids = torch.arange(past_len) % 1000 + 300
    cache = engine.new_cache(1, past_len + max(rows))
    engine.prefill(ids, cache=cache)

    def run(n_rows: int) -> None:
        verify(engine, ids[:n_rows].tolist(), cache)
        cache.length = past_len

    return [{"rows": r, "pass_ms": 1e3 * seconds(lambda r=r: run(r), n)} for r in rows]


def between(costs: list[dict], rows: float) -> float:
    """The cost of any number of rows, by straight lines between those measured."""
    for low, high in itertools.pairwise(costs):
        if rows <= high["rows"]:
            share = (rows - low["rows"]) / (high["rows"] - low["rows"])
            return low["pass_ms"] + share * (high["pass_ms"] - low["pass_ms"])
    return costs[-1]["pass_ms"]


def expected_tokens(a: float, k: int) -> float:
    """The law: tokens of a pass that drafts k, each of which is accepted with probability a."""
    return k + 1 if a == 1 else (1 - a ** (k + 1)) / (1 - a)


def predict(passes, costs: list[dict], drafted_ms: float) -> dict:
    """Acceptance rate, and by the law what a pass gives and costs."""
    tried = sum(min(len(p.draft), p.n_accepted + 1) for p in passes)  # behind a rejection none is
    a = sum(p.n_accepted for p in passes) / tried if tried else 0.0
    tokens = sum(expected_tokens(a, len(p.draft)) for p in passes)
    ms = sum(between(costs, len(p.draft) + 1) + len(p.draft) * drafted_ms for p in passes)
    return {"acceptance": a, "predicted_ms": ms / tokens}


def compare(engine: Engine, drafters: dict, costs, drafted_ms: dict, args, progress) -> list[dict]:
    """A row for each text and contender: counts, ms per token as predicted and as measured."""
    rows = []
    for text, prompt in TEXTS.items():
        ids = chat_ids(engine.tokenizer, prompt) if isinstance(prompt, list) else prompt
        times, found = {name: [] for name in drafters}, {}
        for _ in range(args.rounds):
            for name, drafter in drafters.items():
                if isinstance(drafter, ModelDrafter):
                    drafter.cache = None  # its prefill belongs to the time
                found[name] = engine.generate(ids, args.new_tokens, speculate=drafter)
                decoding = sum(found[name].timings.step_s)
                times[name].append(1e3 * decoding / (len(found[name].token_ids) - 1))
                progress.update()
        for name, run in found.items():
            assert run.token_ids == found["plain"].token_ids, f"{text}, {name}: other tokens"
            per_pass = (len(run.token_ids) - 1) / (len(run.calls) - 1)
            ms, spread = middle(times[name])
            row = {"text": text, "contender": name, "tokens_per_pass": per_pass}
            plain = {"acceptance": None, "predicted_ms": costs[0]["pass_ms"]}
            row |= predict(run.passes, costs, drafted_ms[name]) if run.passes else plain
            row |= {"measured_ms": ms, "measured_spread": spread}
            rows.append(row | {"plain_ms": median(times["plain"]), "step_ms": costs[0]["pass_ms"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing stored")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.new_tokens = 1, 24
    torch.set_num_threads(args.threads)
    loaded = load_model(device="cpu", dtype=args.dtype)
    engine = Engine(loaded)
    drafters = contenders(engine, loaded, args)
    n = 3 if args.quick else 15
    costs, drafted_ms = measure_rows(engine, ROWS, n), {}
    for name, drafter in drafters.items():
        own = getattr(drafter, "engine", None)
        drafted_ms[name] = measure_rows(own, (1,), n)[0]["pass_ms"] if own else 0.0
    with tqdm(total=len(TEXTS) * args.rounds * len(drafters), unit="run") as progress:
        rows = compare(engine, drafters, costs, drafted_ms, args, progress)
    drafting = [{"contender": name, "drafted_ms": ms} for name, ms in drafted_ms.items()]
    tables = {"speed": rows, "rows": costs, "drafting": drafting}
    show(tables)
    if not args.quick:
        save("speculation", vars(args) | {"model": "smollm2-135m-instruct"}, tables)


if __name__ == "__main__":
    main()
