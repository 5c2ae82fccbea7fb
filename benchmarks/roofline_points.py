"""The real model's operations on this machine's roofline; predicted against measured.

    python benchmarks/roofline_points.py            # all of it; writes a section of RESULTS.md
    python benchmarks/roofline_points.py --quick    # a look: fewer sizes, writes nothing
    python benchmarks/roofline_points.py --device cuda     # a section of its own

Peak and bandwidth are measured first. Then each operation type of a step is timed on the model's
own weights, and whole steps, and the bytes of cache and process are compared with the formulas.
"""

import argparse
import gc
import json
import subprocess
import sys

import psutil
from results import describe_machine, table, write_section
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: F401

from lecture_lib.costs import kv_cache_bytes, measure_ops, step_latency, weight_bytes
from lecture_lib.costs.conventions import ENGINE
from lecture_lib.costs.measured import step_call
from lecture_lib.engine import Engine, KVCache
from lecture_lib.hardware import Hardware, measure_hardware
from lecture_lib.hardware.measure import time_rounds, wall_clock
from lecture_lib.loading import load_model

# (phase, batch size, prompt or cached length)
STEPS = [
    ("prefill", 1, 32), ("prefill", 1, 128), ("prefill", 1, 512), ("prefill", 4, 128),
    ("decode", 1, 128), ("decode", 1, 1024), ("decode", 8, 128), ("decode", 8, 1024),
    ("decode", 32, 128),
]  # fmt: skip
QUICK = [("prefill", 1, 128), ("decode", 1, 128)]
MEMORY_BATCH, MEMORY_LENGTH = 4, 1024


def point_rows(engine: Engine, hardware: Hardware, step) -> list[list]:
    """A row for each operation of a step: where it stands, and how near the roof it is."""
    phase, batch_size, seq_len = step
    dtype = str(engine.dtype).removeprefix("torch.")
    rows = []
    table = measure_ops(engine, phase, batch_size, seq_len, seconds=4.0, progress=False)
    for row in table.itertuples():
        roof_s = hardware.seconds(row.flops, row.bytes, dtype)
        rows.append(
            [
                phase, batch_size, seq_len, row.op, row.intensity, row.seconds * 1e3,
                row.attained_flops / 1e9, row.attained_bandwidth / 1e9,
                hardware.bound(row.flops, row.bytes, dtype), f"{roof_s / row.seconds:.0%}",
                f"{row.spread:.0%}",
            ]
        )  # fmt: skip
    return rows


def step_row(engine: Engine, hardware: Hardware, step) -> list:
    dtype = str(engine.dtype).removeprefix("torch.")
    predicted = step_latency(
        engine.spec, hardware, *step, engine.dtype.itemsize, conventions=ENGINE, compute_dtype=dtype
    ).seconds
    measured = time_rounds(step_call(engine, *step), wall_clock(engine.device), 3.0).seconds
    return [*step, predicted * 1e3, measured * 1e3, f"{(predicted - measured) / measured:+.0%}"]


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


def byte_rows(engine: Engine) -> list[list]:
    """Predicted and real bytes: tensors exactly, the process as it grows."""
    width, size = engine.dtype.itemsize, (MEMORY_BATCH, MEMORY_LENGTH)
    weights = sum(p.nbytes for p in engine.hf_model.parameters())
    kv_name = f"KV cache, B = {MEMORY_BATCH}, S = {MEMORY_LENGTH}: tensors"
    rows = [
        ["weights: tensors", weight_bytes(engine.spec, width), weights],
        [kv_name, kv_cache_bytes(engine.spec, *size, width), engine.new_cache(*size).nbytes],
    ]
    if engine.device.type == "cpu":  # the process's own memory says nothing of a GPU's
        command = [sys.executable, __file__, "--memory"]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        grown = json.loads(out.splitlines()[-1])
        rows += [[f"{item}: process", *numbers] for item, *numbers in grown]
    return [[name, p / 1e6, m / 1e6, f"{(p - m) / m:+.1%}"] for name, p, m in rows]


def report(engine: Engine, hardware: Hardware, steps) -> str:
    points, whole = [], []
    for step in tqdm(steps, desc="steps"):
        points += point_rows(engine, hardware, step)
        whole.append(step_row(engine, hardware, step))
    where = "this machine" if engine.device.type == "cpu" else hardware.name
    peaks = ", ".join(f"{d} {p / 1e9:.0f}" for d, p in hardware.peak_flops_by_dtype.items())
    return "\n\n".join(
        [
            f"## The roofline of {where}: `python benchmarks/roofline_points.py`",
            f"Machine: {describe_machine()}. Model: {engine.spec.name}, {engine.dtype}.",
            f"Measured: peak GFLOP/s of matrix products {peaks}; memory "
            f"{hardware.memory_bandwidth / 1e9:.1f} GB/s; {hardware.source.split('; ')[-1]}. "
            f"Ridge: {hardware.ridge():.1f} FLOPs a byte ({hardware.peak_dtype}).",
            "Operations, all layers together, weights read from memory (median of rounds; spread: "
            "their middle half). Of the roof: time under the roofline / measured time; above 100% "
            "where small activations never leave the processor's cache.",
            table(
                ["phase", "B", "L", "op", "FLOPs/byte", "ms", "GFLOP/s", "GB/s", "bound",
                 "of the roof", "spread"],
                points,
            ),
            "Whole steps of the engine: sum over operations under the roofline, against measured.",
            table(["phase", "B", "L", "predicted (ms)", "measured (ms)", "error"], whole),
            f"Bytes (MB = 10^6), cache for B = {MEMORY_BATCH}, S = {MEMORY_LENGTH}.",
            table(["what", "predicted (MB)", "measured (MB)", "error"], byte_rows(engine)),
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, writes nothing")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        memory_of_process()
        return
    engine = Engine(load_model(device=arguments.device, dtype=arguments.dtype))
    hardware = measure_hardware(engine.device, seconds=4.0)
    text = report(engine, hardware, QUICK if arguments.quick else STEPS)
    print(text)
    if not arguments.quick:
        suffix = "" if engine.device.type == "cpu" else f" {engine.device.type}"
        write_section(f"roofline_points{suffix}", text)


if __name__ == "__main__":
    main()
