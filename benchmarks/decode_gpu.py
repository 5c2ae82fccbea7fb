"""The decode step on a GPU, eager and as a CUDA graph: ``python benchmarks/decode_gpu.py``.

Decoding reads every weight and the cache once a token, so the yardstick is bandwidth: what a plain
copy of a large tensor reaches on the same GPU. Untested: no GPU was at hand when this was written.
"""

import argparse
import sys
import time

import torch
from results import describe_machine, table, write_section

from lecture_lib.engine import Engine
from lecture_lib.engine.cuda_graph import GraphedDecode
from lecture_lib.loading import load_model


def copy_bandwidth(n_bytes: int = 2**30, n_times: int = 20) -> float:
    """Bytes a second of a copy on the GPU, read and write both counted."""
    source = torch.empty(n_bytes, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = seconds_per_call(lambda: target.copy_(source), n_times)
    return 2 * n_bytes / seconds


def seconds_per_call(call, n_times: int) -> float:
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(n_times):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / n_times


def step_bytes(engine: Engine) -> int:
    """Bytes that one decode step has to read: the matrices, and what the cache holds."""
    layers = engine.model.layers
    weights = [getattr(layer, name) for layer in layers for name in layer.__slots__]
    weights = [w for w in weights if isinstance(w, torch.Tensor)] + [engine.model.lm_head]
    return sum(w.nbytes for w in weights) + engine.cache.filled_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("decode_gpu.py needs a CUDA GPU; for a CPU there is decode_speed.py")
    engine = Engine(load_model(device="cuda", dtype=args.dtype))
    bandwidth = copy_bandwidth()
    prompt = torch.randint(3, engine.vocab_size, (1, args.prompt), device="cuda")
    rows = []
    for name in ("eager", "CUDA graph"):
        logits = engine.prefill(prompt)
        graphed = name == "CUDA graph"
        step = GraphedDecode(engine, engine.cache) if graphed else engine.decode
        token = logits.argmax(-1)
        n_bytes = step_bytes(engine)
        seconds = seconds_per_call(lambda s=step, t=token: s(t), args.new_tokens)
        speed = n_bytes / seconds
        rows.append([name, 1e3 * seconds, speed / 1e9, f"{speed / bandwidth:.0%}"])
    text = "\n\n".join(
        [
            "## Decoding on a GPU: `python benchmarks/decode_gpu.py`",
            f"Machine: {describe_machine()}. SmolLM2-135M-Instruct, {args.dtype}, prompt "
            f"{args.prompt}, batch 1. A copy reaches {bandwidth / 1e9:.0f} GB/s.",
            table(["step", "ms a token", "GB/s", "share of the copy's"], rows),
        ]
    )
    print(text)
    write_section("decode_gpu", text)


if __name__ == "__main__":
    main()
