"""The decode step on a GPU, eager and as a CUDA graph: ``python benchmarks/decode_gpu.py``.

Decoding reads every weight and the cache once a token, so the yardstick is bandwidth: what a plain
copy of a large tensor reaches on the same GPU. Against Transformers' generate, eager with its
dynamic cache and compiled with its static one. All take turns in one process, round after round;
a number is the median over the rounds. One model: the bundled one; the other has the shape of
Llama-2-7B and random weights, since a step's time does not depend on what the weights are.

    python benchmarks/decode_gpu.py                       # a section of RESULTS.md for each model
    python benchmarks/decode_gpu.py --models llama-2-7b   # one model only
"""

import argparse
import sys
import time
from types import SimpleNamespace

import torch
from decode_speed import DYNAMIC, STATIC, generate_s, layer_matrices, median_s, random_prompts
from results import describe_machine, table, write_section
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from lecture_lib.engine import Engine
from lecture_lib.engine.cuda_graph import GraphedDecode
from lecture_lib.loading import load_model
from lecture_lib.model_spec import MODEL_SPECS, ModelSpec

LOADED, SHAPED = "smollm2-135m-instruct", "llama-2-7b"
EAGER, GRAPH = "engine, eager", "engine, CUDA graph"


def load_engine(name: str, dtype: str) -> Engine:
    """The bundled model, or random weights in the shape of a preset; without an end token."""
    if name == LOADED:
        loaded = load_model(device="cuda", dtype=dtype)
    else:
        loaded = random_weights(MODEL_SPECS[name], getattr(torch, dtype), "cuda")
    engine = Engine(loaded)
    engine.hf_model.generation_config.eos_token_id = None  # all run to the last token
    return engine


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


def copy_bandwidth(n_bytes: int = 2**30, n_times: int = 20) -> float:
    """Bytes a second of a copy on the GPU, read and write both counted."""
    source = torch.empty(n_bytes, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    for _ in range(3):
        target.copy_(source)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(n_times):
        target.copy_(source)
    torch.cuda.synchronize()
    return 2 * n_bytes * n_times / (time.perf_counter() - started)


def engine_tokens(engine: Engine, prompts: torch.Tensor, n_new: int, name: str):
    """Tokens (B, n_new) by greedy search, and seconds of one decode step."""
    cache = engine.new_cache(len(prompts), prompts.shape[1] + n_new)  # not a slot too many
    token = engine.prefill(prompts, cache=cache).argmax(-1)  # (B,)
    step = GraphedDecode(engine, cache) if name == GRAPH else engine.decode
    tokens = [token]
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(n_new - 1):
        token = step(token).argmax(-1)
        tokens.append(token)
    torch.cuda.synchronize()
    return torch.stack(tokens, 1), (time.perf_counter() - started) / (n_new - 1)


def step_bytes(engine: Engine, batch_size: int, context_len: float) -> float:
    """Bytes that one decode step has to read: the matrices, and what the cache holds."""
    matrices = [w for layer in engine.model.layers for w in layer_matrices(layer)]
    cache = batch_size * context_len * engine.spec.kv_bytes_per_token(engine.dtype.itemsize)
    return sum(w.nbytes for w in [*matrices, engine.model.lm_head]) + cache


def compare(engine: Engine, args: argparse.Namespace, progress: tqdm) -> tuple[dict, int]:
    """Median seconds of a step for each contender; how many tokens eager and graph share."""
    prompts = random_prompts(args.batch_size, args.prompt, engine.vocab_size).cuda()
    contenders = {
        EAGER: lambda: engine_tokens(engine, prompts, args.new_tokens, EAGER)[1],
        GRAPH: lambda: engine_tokens(engine, prompts, args.new_tokens, GRAPH)[1],
        DYNAMIC: lambda: generate_s(engine, prompts, args.new_tokens, "dynamic"),
        STATIC: lambda: generate_s(engine, prompts, args.new_tokens, "static"),
    }
    seconds = median_s(contenders, args.rounds, progress)
    eager, graph = (engine_tokens(engine, prompts, args.new_tokens, n)[0] for n in (EAGER, GRAPH))
    same = (eager == graph).all(0).long().cumprod(0).sum()
    return seconds, int(same)


def report(name: str, bandwidth: float, args, progress: tqdm) -> str:
    """The section of one model."""
    engine = load_engine(name, args.dtype)
    seconds, same = compare(engine, args, progress)
    n_bytes = step_bytes(engine, args.batch_size, args.prompt + args.new_tokens / 2)
    shown = {DYNAMIC: f"{DYNAMIC}, eager", STATIC: f"{STATIC}, compiled"}
    rows = [
        [
            shown.get(who, who), 1e3 * s, args.batch_size / s, n_bytes / s / 1e9,
            f"{n_bytes / s / bandwidth:.0%}", f"{s / seconds[GRAPH]:.2f}×",
        ]
        for who, s in seconds.items()
    ]  # fmt: skip
    weights = "" if name == LOADED else " Its shape; the weights are random."
    return "\n\n".join(
        [
            f"## Decoding {name} on a GPU: `python benchmarks/decode_gpu.py`",
            f"Machine: {describe_machine()}.{weights} {args.dtype}, prompt {args.prompt}, "
            f"{args.new_tokens} new tokens, batch {args.batch_size}, median of {args.rounds} "
            f"interleaved rounds. A step reads {n_bytes / 1e9:.2f} GB (matrices and cache); a copy "
            f"reaches {bandwidth / 1e9:.0f} GB/s, read and write both counted.",
            table(
                ["decode step", "ms", "tokens/s", "GB/s", "share of the copy's", "time / graph's"],
                rows,
            ),
            f"The eager step and the graph give the same first {same} of {args.new_tokens} tokens "
            "(their attention kernels differ, and with them the last bits of the logits).",
        ]
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=[LOADED, SHAPED], default=[LOADED, SHAPED])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if not torch.cuda.is_available():
        sys.exit("decode_gpu.py needs a CUDA GPU; for a CPU there is decode_speed.py")
    bandwidth = copy_bandwidth()
    with tqdm(total=4 * (args.rounds + 1) * len(args.models), unit="run") as progress:
        for name in args.models:
            text = report(name, bandwidth, args, progress)
            print(text, flush=True)
            write_section(f"decode_gpu {name}", text)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
