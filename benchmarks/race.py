"""Who decodes fastest on one machine: our engine, Transformers' generate, and llama.cpp.

    python benchmarks/race.py            # all of it; stores its results
    python benchmarks/race.py --quick    # a look: few tokens and rounds, stores nothing

All of them run the bundled model: ours and generate with the weights in several formats, llama.cpp
the same GGUF file, whose 4-bit blocks our int4 takes too. They take turns in one process, round
after round, so that whatever else the machine does hits each of them alike.

llama.cpp takes part where its Python binding is installed. It is no dependency of the course, and
is built from source, which takes minutes and a C++ compiler:

    pip install llama-cpp-python
"""

import argparse
import json
import subprocess
import sys
import time

import psutil
import torch
from decode_speed import TokenClock, random_prompts
from results import middle, save, show
from tqdm import tqdm

from lecture_lib.costs import step_latency
from lecture_lib.costs.measured import weight_formats
from lecture_lib.engine import Engine
from lecture_lib.hardware import measure_hardware
from lecture_lib.loading import load_model
from lecture_lib.loading.bundled_model import find_gguf
from lecture_lib.scoring import sample_text
from lecture_lib.tokens import log_probs_of

OURS = ("float32", "bfloat16", "int8", "int4")
PROMPTS = (32, 512)


class Ours:
    """The engine, with its weights in one format; or, ``by_generate``, Transformers on the same."""

    def __init__(self, weights: str, by_generate: bool = False):
        self.loaded = load_model(device="cpu", weights=weights)
        self.engine, self.by_generate = Engine(self.loaded), by_generate
        self.loaded.model.generation_config.eos_token_id = None  # all run to the last token
        weights = {
            id(m.weight): m.weight for m in self.loaded.model.modules() if hasattr(m, "weight")
        }
        self.weight_bytes = sum(weight.nbytes for weight in weights.values())

    def decode_s(self, prompt: list[int], n_new: int) -> float:
        """Seconds per token after the first."""
        if not self.by_generate:
            return self.engine.generate(prompt, n_new, ignore_eos=True).timings.tpot_s
        clock, ids = TokenClock(), torch.tensor([prompt])
        options = {"max_new_tokens": n_new, "do_sample": False, "streamer": clock}
        self.loaded.model.generate(ids, attention_mask=torch.ones_like(ids), **options)
        return clock.tpot_s

    @torch.inference_mode()
    def prefill_s(self, prompt: list[int]) -> float:
        """Seconds of one pass over the prompt, up to the next token's logits."""
        ids = torch.tensor([prompt])
        started = time.perf_counter()
        if self.by_generate:
            self.loaded.model(ids, use_cache=True, logits_to_keep=1)
        else:
            self.engine.prefill(ids)
        return time.perf_counter() - started

    def perplexity(self, ids: list[int]) -> float:
        logits = self.engine.logits(ids)[0].float()  # (L, V)
        return float((-log_probs_of(logits[:-1], ids[1:]).mean()).exp())


class LlamaCpp:
    """llama.cpp, by its Python binding, on the bundled model's file."""

    def __init__(self, n_threads: int, all_logits: bool = False):
        import llama_cpp

        self.llama = llama_cpp.Llama(
            str(find_gguf()), n_ctx=1024, n_batch=512, n_threads=n_threads,
            n_threads_batch=n_threads, logits_all=all_logits, verbose=False,
        )  # fmt: skip
        self.weight_bytes = find_gguf().stat().st_size

    def decode_s(self, prompt: list[int], n_new: int) -> float:
        self.llama.reset()
        self.llama.eval(prompt)
        started = time.perf_counter()
        for token in prompt[: n_new - 1]:  # which token makes no difference to the time
            self.llama.eval([token])
        return (time.perf_counter() - started) / len(prompt[: n_new - 1])

    def prefill_s(self, prompt: list[int]) -> float:
        self.llama.reset()
        started = time.perf_counter()
        self.llama.eval(prompt)
        return time.perf_counter() - started

    @staticmethod
    def perplexity(ids: list[int]) -> float:
        llama = LlamaCpp(torch.get_num_threads(), all_logits=True).llama
        llama.reset()
        llama.eval(ids)
        logits = torch.from_numpy(llama.scores[: len(ids) - 1]).float()
        return float((-log_probs_of(logits, ids[1:]).mean()).exp())


def contenders(n_threads: int) -> dict[str, object]:
    """Who takes part, by name."""
    found = {f"engine, {weights}": Ours(weights) for weights in OURS}
    found |= {f"generate, {w}": Ours(w, by_generate=True) for w in ("float32", "bfloat16")}
    try:
        found["llama.cpp, Q4_1"] = LlamaCpp(n_threads)
    except ImportError as error:
        print(f"without llama.cpp ({error}); to have it: pip install llama-cpp-python")
    return found


def race(teams: dict, args) -> list[dict]:
    """A row for each contender: medians over the rounds."""
    prompts = {n: random_prompts(1, n, 49152)[0].tolist() for n in PROMPTS}
    times = {name: {} for name in teams}
    for n_round in tqdm(range(args.rounds + 1), desc="rounds"):
        for name, team in teams.items():
            found = {
                f"decode_{n}_ms": team.decode_s(p, args.new_tokens) for n, p in prompts.items()
            }
            found["prefill_512_ms"] = team.prefill_s(prompts[512])
            for key, seconds in found.items():
                if n_round:  # the first round warms up
                    times[name].setdefault(key, []).append(1e3 * seconds)
    rows = []
    for name, measured in times.items():
        middles = {key: middle(values) for key, values in measured.items()}
        row = {"contender": name, "weight_mb": teams[name].weight_bytes / 1e6}
        row |= {"perplexity": None, "resident_mb": None}
        row |= {key: value for key, (value, _) in middles.items()}
        rows.append(row | {f"{key[:-3]}_spread": spread for key, (_, spread) in middles.items()})
    return rows


def predictions(teams: dict) -> list[dict]:
    """What the law of lecture 05 says of each format: bytes over this machine's bandwidth."""
    hardware, rows = measure_hardware("cpu", dtypes=("float32",), max_spread=5, progress=False), []
    for weights in OURS:
        loaded = teams[f"engine, {weights}"].loaded
        for n in PROMPTS:
            step = step_latency(
                loaded.spec, hardware, "decode", 1, n, loaded.dtype.itemsize, True,
                compute_dtype="float32", **weight_formats(loaded.model),
            )  # fmt: skip
            rows.append(
                {
                    "weights": weights,
                    "prompt": n,
                    "step_mb": step.bytes / 1e6,
                    "predicted_ms": 1e3 * step.seconds,
                }
            )
    return [row | {"gb_per_s": hardware.memory_bandwidth / 1e9} for row in rows]


def resident_mb(name: str) -> float:
    """What loading and a few tokens add to a process of its own; the imports don't count."""
    command = [sys.executable, __file__, "--resident", name]
    return json.loads(subprocess.check_output(command, text=True).splitlines()[-1])


def show_resident(name: str) -> None:
    who, weights = name.split(", ")
    import transformers.models.llama.modeling_llama  # noqa: F401  (imports take memory too)

    before = psutil.Process().memory_info().rss
    team = LlamaCpp(2) if who == "llama.cpp" else Ours(weights, who == "generate")
    team.decode_s(random_prompts(1, 32, 49152)[0].tolist(), 4)
    print(json.dumps((psutil.Process().memory_info().rss - before) / 1e6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing stored")
    parser.add_argument("--resident", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.resident:
        return show_resident(args.resident)
    if args.quick:
        args.rounds, args.new_tokens = 1, 8
    teams = contenders(args.threads)
    ids = next(iter(teams.values())).loaded.tokenizer(sample_text()).input_ids
    rows = race(teams, args)
    for row in rows:
        if not row["contender"].startswith("generate"):
            row["perplexity"] = teams[row["contender"]].perplexity(ids)
        if not args.quick:
            row["resident_mb"] = resident_mb(row["contender"])
    predicted = predictions(teams)
    measured = {row["contender"]: row for row in rows}
    for row in predicted:
        row["measured_ms"] = measured[f"engine, {row['weights']}"][f"decode_{row['prompt']}_ms"]
    show({"race": rows, "predicted": predicted})
    if not args.quick:
        settings = {"rounds": args.rounds, "new_tokens": args.new_tokens, "threads": args.threads}
        save("race", settings, {"race": rows, "predicted": predicted})


if __name__ == "__main__":
    main()
