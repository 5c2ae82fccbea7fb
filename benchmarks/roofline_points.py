"""The real model's operations on this machine's roofline; predicted against measured.

    python benchmarks/roofline_points.py            # stores its results
    python benchmarks/roofline_points.py --quick    # a look: fewer sizes, writes nothing
    python benchmarks/roofline_points.py --device cuda --dtype bfloat16

Peak and bandwidth are measured first. Then each operation type of a step is timed on the model's
own weights, and whole steps, and the bytes of cache and process are compared with the formulas.
"""

import argparse
import gc
import json
import re
import subprocess
import sys

import psutil
from results import save, show
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: F401

from lecture_lib.costs import kv_cache_bytes, measure_ops, step_latency, weight_bytes
from lecture_lib.costs.conventions import ENGINE
from lecture_lib.engine import Engine, KVCache
from lecture_lib.hardware import Hardware, measure_hardware
from lecture_lib.loading import load_model

# (phase, batch size, prompt or cached length)
STEPS = [
    ("prefill", 1, 32), ("prefill", 1, 128), ("prefill", 1, 512), ("prefill", 4, 128),
    ("decode", 1, 128), ("decode", 1, 1024), ("decode", 8, 128), ("decode", 8, 1024),
    ("decode", 32, 128),
]  # fmt: skip
QUICK = [("prefill", 1, 128), ("decode", 1, 128)]
MEMORY_BATCH, MEMORY_LENGTH = 4, 1024


def measure_step(engine: Engine, hardware: Hardware, step) -> tuple[list[dict], dict]:
    """A row for each operation of a step, how near the roof it is; and one for the whole step."""
    size = dict(zip(("phase", "batch_size", "seq_len"), step, strict=True))
    dtype = str(engine.dtype).removeprefix("torch.")
    table = measure_ops(engine, *step, seconds=5.0, progress=False)
    points = [
        {
            **size, "op": row.op, "intensity": row.intensity, "ms": row.seconds * 1e3,
            "gflops": row.attained_flops / 1e9, "gb_per_s": row.attained_bandwidth / 1e9,
            "bound": hardware.bound(row.flops, row.bytes, dtype),
            "roof_share": hardware.seconds(row.flops, row.bytes, dtype) / row.seconds,
            "spread": row.spread,
        }
        for row in table.itertuples()
    ]  # fmt: skip
    predicted = step_latency(
        engine.spec, hardware, *step, engine.dtype.itemsize, conventions=ENGINE, compute_dtype=dtype
    )
    # The fused attention is one of these parts; the three rows that it is made of are not.
    parts = table.set_index("op").seconds.drop(
        ["qk_matmul", "softmax", "sv_matmul"], errors="ignore"
    )
    products = parts[[op for op in parts.index if op.endswith("proj") or op == "lm_head"]]
    return points, size | {
        "predicted_ms": 1e3 * predicted.seconds,
        "measured_ms": 1e3 * table.attrs["step_seconds"],
        "products_ms": 1e3 * float(products.sum()),
        "attention_ms": 1e3 * float(parts.attention),
    }


def memory_of_process() -> None:
    """One process: prints what it takes up for weights and cache, predicted and measured.

    (Transformers' code is imported above, so that it doesn't count as the model's memory.)
    """
    before = resident_bytes()
    loaded = load_model(device="cpu")
    parameters = list(loaded.model.parameters())
    for parameter in parameters:
        parameter.sum()  # a mapped file's pages are resident from the first reading on
    with_weights = resident_bytes()
    spec, dtype = loaded.spec, parameters[0].dtype
    cache = KVCache(
        n_layers=spec.n_layers, batch_size=MEMORY_BATCH, n_kv_heads=spec.n_kv_heads,
        max_seq_len=MEMORY_LENGTH, head_dim=spec.head_dim, dtype=dtype,
    )  # fmt: skip
    for half in (cache.keys, cache.values):
        half.zero_()  # other memory is resident from the first writing on
    predicted = kv_cache_bytes(spec, MEMORY_BATCH, MEMORY_LENGTH, dtype.itemsize)
    rows = [
        ["weights", weight_bytes(spec, dtype.itemsize), with_weights - before],
        ["KV cache", predicted, resident_bytes() - with_weights],
    ]
    print(json.dumps(rows))


def resident_bytes() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def byte_rows(engine: Engine) -> list[dict]:
    """Predicted and real bytes: tensors exactly, the process as it grows."""
    width, size = engine.dtype.itemsize, (MEMORY_BATCH, MEMORY_LENGTH)
    weights = sum(p.nbytes for p in engine.hf_model.parameters())
    kv_bytes = kv_cache_bytes(engine.spec, *size, width)
    rows = [
        ["weights: tensors", weight_bytes(engine.spec, width), weights],
        ["KV cache: tensors", kv_bytes, engine.new_cache(*size).nbytes],
    ]
    if engine.device.type == "cpu":  # the process's own memory says nothing of a GPU's
        command = [sys.executable, __file__, "--memory"]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        grown = json.loads(out.splitlines()[-1])
        rows += [[f"{item}: process", *numbers] for item, *numbers in grown]
    return [{"what": what, "predicted_mb": p / 1e6, "measured_mb": m / 1e6} for what, p, m in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, writes nothing")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        memory_of_process()
        return
    engine = Engine(load_model(device=args.device, dtype=args.dtype))
    here = measure_hardware(engine.device, seconds=4.0, max_spread=1)
    bandwidth = {"memory_gb_per_s": here.memory_bandwidth / 1e9}
    for way, rate in re.findall(r"(read|copy) ([\d.]+) GB/s", here.source):
        bandwidth[f"{way}_gb_per_s"] = float(rate)
    tables = {"hardware": [], "ops": [], "steps": [], "bytes": byte_rows(engine)}
    for dtype, peak in here.peak_flops_by_dtype.items():
        tables["hardware"].append({"dtype": dtype, "peak_gflops": peak / 1e9, **bandwidth})
    for step in tqdm(QUICK if args.quick else STEPS, desc="steps"):
        points, whole = measure_step(engine, here, step)
        tables["ops"] += points
        tables["steps"].append(whole)
    show(tables)
    if not args.quick:
        sizes = {"memory_batch_size": MEMORY_BATCH, "memory_length": MEMORY_LENGTH}
        model = {"model": engine.spec.name, "dtype": args.dtype, "device": args.device}
        save("roofline_points", model | sizes, tables, args.device)


if __name__ == "__main__":
    main()
