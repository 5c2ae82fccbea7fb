"""The decode step on a GPU, and the course's lectures there: ``python benchmarks/decode_gpu.py``.

Decoding reads every weight and the cache once per token, so the yardstick is bandwidth: what a
plain copy of a large tensor reaches on the same GPU, and what its data sheet says. The engine's
step, eager, recorded as a CUDA graph, and compiled and recorded, is timed beside Transformers'
generate, eager with its dynamic cache and compiled with its static one. All take turns in one
process; a number is the median over the rounds. The tokens are compared with the textbook engine's.
One model is the bundled one, the other has the shape of Llama-2-7B and random weights, because the
time of a step does not depend on what the weights are. Then the lectures, the exercises and the
tests of the GPU run on it.

    python benchmarks/decode_gpu.py                        # all of it: under ten minutes
    python benchmarks/decode_gpu.py --quick                # few rounds, steps only, writes nothing
    python benchmarks/decode_gpu.py --models llama-2-7b    # one model only
    python benchmarks/decode_gpu.py --device cpu --tiny    # does the script itself run? (no GPU)
"""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from decode_speed import COMPILER, generate_s, in_turns, layer_matrices, random_prompts
from results import middle, save, show
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from lecture_lib.engine import Engine
from lecture_lib.engine.cuda_graph import CompiledStep, FixedShapeCache, GraphedDecode
from lecture_lib.engine.kv_cache import forward
from lecture_lib.hardware import HARDWARE
from lecture_lib.loading import load_model
from lecture_lib.model_spec import MODEL_SPECS, ModelSpec

COURSE = Path(__file__).resolve().parents[1]
LOADED, SHAPED = "smollm2-135m-instruct", "llama-2-7b"
EAGER, GRAPH, COMPILED = "engine, eager", "engine, CUDA graph", "engine, compiled CUDA graph"
DYNAMIC, STATIC = "generate, dynamic, eager", "generate, static, compiled"
LECTURES = [f"notebooks/{n}*.ipynb" for n in ("00", "01", "02", "03", "04", "05", "09", "10", "11")]


def load(name: str, args: argparse.Namespace):
    """The bundled model, or random weights in the shape of a preset; without an end token."""
    if name == LOADED:
        loaded = load_model(device=args.device, dtype=args.dtype)
    else:
        spec = MODEL_SPECS[name]
        if args.tiny:
            spec = tiny(spec)
        loaded = random_weights(spec, getattr(torch, args.dtype), args.device)
    loaded.model.generation_config.eos_token_id = None  # all run to the last token
    return loaded


def tiny(spec: ModelSpec) -> ModelSpec:
    """A model of two layers that is made like this one."""
    sizes = {"n_layers": 2, "d_model": 64, "d_ff": 128, "n_heads": 4, "n_kv_heads": 2}
    return replace(spec, name="tiny", head_dim=16, vocab_size=512, **sizes)


def random_weights(spec: ModelSpec, dtype: torch.dtype, device: str) -> SimpleNamespace:
    """What the engine reads of a LoadedModel: a Llama of this shape, made on the device."""
    config = LlamaConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.d_model,
        intermediate_size=spec.d_ff,
        num_hidden_layers=spec.n_layers,
        num_attention_heads=spec.n_heads,
        num_key_value_heads=spec.n_kv_heads,
        head_dim=spec.head_dim,
        max_position_embeddings=spec.max_seq_len,
        tie_word_embeddings=spec.tied_embeddings,
        dtype=dtype,
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # made in this format, never in float32: 7B would be 27 GB
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(default)
    assert sum(p.numel() for p in model.parameters()) == spec.n_params
    return SimpleNamespace(model=model, tokenizer=None, spec=spec)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def copy_bandwidth(device: str, n_bytes: int, n_times: int = 20) -> float:
    """Bytes per second of a copy, read and write both counted."""
    source = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    for _ in range(3):
        target.copy_(source)
    wait(device)
    started = time.perf_counter()
    for _ in range(n_times):
        target.copy_(source)
    wait(device)
    return 2 * n_bytes * n_times / (time.perf_counter() - started)


def data_sheet(device: str):
    """The GPU among the course's presets that this one is, by its name and memory, or None."""
    if device != "cuda":
        return None
    words = set(torch.cuda.get_device_name().lower().split())
    known = [hw for name, hw in HARDWARE.items() if model_number(name) in words]
    memory = torch.cuda.get_device_properties(0).total_memory
    return min(known, key=lambda hw: abs(hw.memory_bytes - memory), default=None)


def model_number(name: str) -> str:
    """h100 of h100-80gb-sxm, and 4090 of rtx-4090."""
    return next(part for part in name.split("-") if any(map(str.isdigit, part)))


def make_step(name: str, engine: Engine, cache, compiled: CompiledStep | None):
    """(B,) tokens to (B, V) logits, by this contender."""
    if name == EAGER:
        return partial(engine.decode, cache=cache)
    if engine.device.type == "cuda":
        return GraphedDecode(engine, cache, compiled if name == COMPILED else None)
    step = compiled if name == COMPILED else partial(forward, engine.model)
    fixed = FixedShapeCache(cache)  # what a graph would record
    return lambda tokens: step(tokens[:, None], fixed)


@torch.inference_mode()
def engine_tokens(engine: Engine, prompts, args, name: str, compiled=None):
    """Tokens (B, n_new) by greedy search, and seconds of one decode step."""
    n_new = args.new_tokens
    cache = engine.new_cache(len(prompts), prompts.shape[1] + n_new)  # not a slot too many
    token = engine.prefill(prompts, cache=cache).argmax(-1)  # (B,)
    step = make_step(name, engine, cache, compiled)
    tokens = [token]
    wait(args.device)
    started = time.perf_counter()
    for _ in range(n_new - 1):
        token = step(token).argmax(-1)
        tokens.append(token)
    wait(args.device)
    return torch.stack(tokens, 1), (time.perf_counter() - started) / (n_new - 1)


def step_bytes(engine: Engine, batch_size: int, context_len: float) -> float:
    """Bytes that one decode step has to read: the matrices, and what the cache holds."""
    matrices = [w for layer in engine.model.layers for w in layer_matrices(layer)]
    cache = batch_size * context_len * engine.spec.kv_bytes_per_token(engine.dtype.itemsize)
    return sum(w.nbytes for w in [*matrices, engine.model.lm_head]) + cache


def equal_tokens(found: torch.Tensor, expected: torch.Tensor) -> int:
    """How many tokens two runs share, from the first one on, in every row."""
    return int((found == expected).all(0).long().cumprod(0).sum())


def contenders_of(engine: Engine, prompts: torch.Tensor, args) -> dict:
    """For each of the engine's steps a call that returns (tokens, seconds per step)."""
    names = [EAGER, GRAPH] + [COMPILED] * (args.device == "cuda" or COMPILER)
    compiled = CompiledStep(engine.model) if COMPILED in names else None
    return {name: partial(engine_tokens, engine, prompts, args, name, compiled) for name in names}


def measure(name: str, limits: dict, args: argparse.Namespace, progress: tqdm) -> tuple[dict, list]:
    """Settings and rows of one model."""
    loaded = load(name, args)
    engine, textbook = Engine(loaded), Engine(loaded, textbook=True)
    prompts = random_prompts(args.batch_size, args.prompt, engine.vocab_size).to(args.device)
    expected, _ = engine_tokens(textbook, prompts, args, EAGER)
    ours = contenders_of(engine, prompts, args)
    same = {who: equal_tokens(run()[0], expected) for who, run in ours.items()}  # and warms up
    theirs = {
        DYNAMIC: partial(generate_s, engine, prompts, args.new_tokens, "dynamic"),
        STATIC: partial(generate_s, engine, prompts, args.new_tokens, "static"),
    }
    in_turns(theirs, 1, progress)
    calls = {who: lambda run=run: run()[1] for who, run in ours.items()} | theirs
    times = in_turns(calls, args.rounds, progress)
    n_bytes = step_bytes(engine, args.batch_size, args.prompt + args.new_tokens / 2)
    rows = [row_of(who, times[who], n_bytes, limits, args, same.get(who)) for who in times]
    settings = {
        "model": name, "dtype": args.dtype, "prompt": args.prompt, "new_tokens": args.new_tokens,
        "batch_size": args.batch_size, "rounds": args.rounds, "random_weights": name != LOADED,
        "step_gb": n_bytes / 1e9, "copy_gb_per_s": limits["copy"] / 1e9,
        "data_sheet_gb_per_s": limits["data_sheet"] and limits["data_sheet"] / 1e9,
        "equal_tokens": min(same.values()),
    }  # fmt: skip
    return settings, rows


def row_of(who: str, times: list[float], n_bytes: float, limits: dict, args, same) -> dict:
    seconds, spread = middle(times)
    rate, sheet = n_bytes / seconds, limits["data_sheet"]
    return {
        "contender": who, "ms": 1e3 * seconds, "spread": spread,
        "tokens_per_s": args.batch_size / seconds, "gb_per_s": rate / 1e9,
        "copy_share": rate / limits["copy"], "data_sheet_share": sheet and rate / sheet,
        "equal_tokens": same,
    }  # fmt: skip


def run_course(args: argparse.Namespace) -> list[dict]:
    """Lectures, exercises and the GPU's own tests, each by pytest; how they ended."""
    lectures = sorted(str(path) for pattern in LECTURES for path in COURSE.glob(pattern))
    parts = {
        "lectures": ["--nbval", *lectures],
        "exercises": ["tests/exercises", "-k", "runs_whole"],
        "tests on a GPU": ["tests/test_on_gpu.py", "tests/test_engine_cuda_graph.py"],
    }
    if args.tiny:
        parts = {"tests on a GPU": ["tests/test_on_gpu.py"]}
    rows = []
    for name, arguments in parts.items():
        started = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(args.workers), *arguments]
        done = subprocess.run(command, cwd=COURSE, stdout=subprocess.PIPE, text=True)
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        print(f"{name}: exit code {done.returncode}", *failed, sep="\n", flush=True)
        last = done.stdout.splitlines()[-1:]
        seconds = time.perf_counter() - started
        rows.append(
            {"part": name, "passed": done.returncode == 0, "seconds": seconds, "summary": last}
        )
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=[LOADED, SHAPED], default=[LOADED, SHAPED])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4, help="processes of pytest")
    parser.add_argument("--no-course", action="store_true", help="no lectures, exercises, tests")
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    parser.add_argument(
        "--tiny", action="store_true", help="the 7B shape made tiny, writes nothing"
    )
    args = parser.parse_args()
    if args.quick or args.tiny:
        args.rounds, args.no_course = 2, args.no_course or not args.tiny
    if args.tiny:
        args.models, args.prompt, args.new_tokens, args.workers = [SHAPED], 8, 6, 0
    return args


def main() -> None:
    args = parse_arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("decode_gpu.py needs a CUDA GPU; for a CPU there is decode_speed.py")
    sheet = data_sheet(args.device)
    limits = {
        "copy": copy_bandwidth(args.device, 2**20 if args.tiny else 2**30),
        "data_sheet": sheet and sheet.memory_bandwidth,
    }
    with tqdm(total=(5 * args.rounds + 2) * len(args.models), unit="run") as progress:
        for name in args.models:
            settings, rows = measure(name, limits, args, progress)
            show({f"steps of {name}": rows})
            if not (args.quick or args.tiny):
                save(f"decode_gpu_{name}", settings, {"steps": rows}, device=args.device)
            if args.device == "cuda":
                torch.cuda.empty_cache()
    if not args.no_course:
        rows = run_course(args)
        show({"course": rows})
        if not args.tiny:
            save("course_on_gpu", {"dtype": args.dtype}, {"course": rows}, device=args.device)
        sys.exit(0 if all(row["passed"] for row in rows) else 1)


if __name__ == "__main__":
    main()
