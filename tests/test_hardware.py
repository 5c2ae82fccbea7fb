"""Hardware presets and measure_hardware(), with a timer that says what it is told."""

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lecture_lib.checks import UnknownNameError
from lecture_lib.hardware import (
    H100_DECODE_MS,
    H100_ROOFLINE,
    HARDWARE,
    Hardware,
    UnstableTimingError,
    as_hardware,
    measure_hardware,
)
from lecture_lib.hardware.measure import time_in_turns, time_rounds

GIVEN = {
    "name": "toy",
    "peak_flops": 100e12,
    "memory_bandwidth": 1e12,
    "memory_bytes": 16e9,
}


def test_roofline_of_a_toy():
    hardware = Hardware(**GIVEN, peak_flops_by_dtype={"float32": 20e12})
    assert hardware.ridge() == 100
    assert hardware.ridge("float32") == 20
    assert hardware.seconds(flops=1e12, n_bytes=1e9) == 0.01  # computing takes longer
    assert hardware.seconds(flops=1e9, n_bytes=1e12) == 1
    assert hardware.bound(1e12, 1e9) == "compute"
    assert hardware.bound(1e9, 1e12) == "memory"
    assert hardware.peak(torch.float32) == 20e12
    assert hardware.dtype_of(4) == "float32"
    assert hardware.dtype_of(1) == "float16"  # no int8 peak stated: computes in its main dtype


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("name", ""),
        ("peak_flops", 0),
        ("peak_flops", -1e12),
        ("peak_flops", "312T"),
        ("memory_bandwidth", float("inf")),
        ("memory_bytes", None),
        ("peak_dtype", None),
        ("peak_flops_by_dtype", 3),
        ("peak_flops_by_dtype", {"int8": 0}),
    ],
)
def test_bad_values_name_their_argument(argument, value):
    with pytest.raises(ValueError, match=rf"^{argument}"):
        Hardware(**{**GIVEN, argument: value})


def test_unknown_dtype_lists_the_known():
    with pytest.raises(ValueError, match=r"'int3'.*float16"):
        Hardware(**GIVEN).peak("int3")


def test_presets_are_read_only_and_suggest_near_names():
    with pytest.raises(TypeError):
        HARDWARE["mine"] = Hardware(**GIVEN)
    with pytest.raises(KeyError, match=r"did you mean .*a100-80gb-sxm"):
        HARDWARE["a100-80gb"]
    with pytest.raises(UnknownNameError, match="there are: "):
        HARDWARE["#"]
    with pytest.raises(ValueError, match=r"did you mean .*rtx-4090"):
        as_hardware("RTX4090")
    with pytest.raises(ValueError, match="hardware: needs a Hardware"):
        as_hardware(3)
    assert HARDWARE.get("a100") is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        HARDWARE["l4"].peak_flops = 1.0
    with pytest.raises(TypeError):
        HARDWARE["l4"].peak_flops_by_dtype["float16"] = 1.0


def test_peaks_are_not_those_of_the_dictionary_they_came_from():
    peaks = {"float32": 20e12}
    hardware = Hardware(**GIVEN, peak_flops_by_dtype=peaks)
    peaks["float32"] = 1.0
    assert hardware.peak("float32") == 20e12


def test_hardware_can_be_copied():
    hardware = HARDWARE["l4"]
    assert copy.deepcopy(hardware) == hardware == pickle.loads(pickle.dumps(hardware))
    faster = dataclasses.replace(hardware, peak_flops=1e15)
    assert faster.peak() == 1e15
    assert hardware.peak() < 1e15, "the peaks of the two are apart"


def test_the_devices_the_course_speaks_of_are_there():
    for part in ("a100", "h100", "h200", "l4", "rtx-4090", "a6000", "tpu-v5e", "apple-m"):
        assert any(part in name for name in HARDWARE), part
    for hardware in HARDWARE.values():
        assert hardware.source
        assert hardware.peak() == hardware.peak(hardware.peak_dtype)


def test_peaks_are_dense_ones():
    """Datasheets print twice as much, for sparse matrices, in the larger type."""
    sparse = {"a100-80gb-sxm": 624e12, "h100-80gb-sxm": 1979e12, "l4": 242e12, "rtx-4090": 330.4e12}
    for name, printed in sparse.items():
        assert HARDWARE[name].peak("float16") == pytest.approx(printed / 2, rel=1e-3)


def test_measured_rates_follow_from_the_timer():
    hardware = measure_hardware(
        "cpu", dtypes=("float32", "bfloat16"), timer=lambda call: 0.01, progress=False
    )
    # each product is tried at its largest size first: 0.01 s is within its share of the time
    assert hardware.peak("float32") == 2 * 1024**3 / 0.01
    assert hardware.peak_dtype == "float32"
    copied, read = 2 * 2**28, 2**28 + 4 * (4096 + 16384)  # 64 Mi float32 read and written
    assert hardware.memory_bandwidth == max(copied, read) / 0.01
    assert hardware.memory_bytes > 1e9
    assert "copy 53.7 GB/s" in hardware.source


def test_a_slow_dtype_is_measured_on_a_smaller_matrix():
    hardware = measure_hardware("cpu", dtypes=("float16",), timer=lambda c: 10.0, progress=False)
    assert hardware.peak("float16") == 2 * 256**3 / 10.0


def test_warm_up_does_not_count_and_the_median_does():
    times = iter([9.0, 9.0, 1.0] + 20 * [0.1, 0.1, 0.12])
    rounds = time_rounds(lambda: None, lambda call: next(times), seconds=40)
    assert len(rounds.times) == 30  # 30 s left; after 9 + 9 s the last warm-up call took 1 s
    assert (rounds.seconds, max(rounds.times)) == (0.1, 0.12)


def test_calls_take_turns():
    made = []

    def timer(call):
        call()
        return {"a": 0.1, "b": 0.3}[made[-1]]

    calls = {name: lambda name=name: made.append(name) for name in ("a", "b")}
    rounds = time_in_turns(calls, timer, seconds=8)
    assert "".join(made) == "ab" * (len(made) // 2)
    assert {name: one.seconds for name, one in rounds.items()} == {"a": 0.1, "b": 0.3}
    assert len(rounds["a"].times) == len(rounds["b"].times) == 15  # 6 s of 0.4 s each


def test_the_bandwidth_is_read_by_the_kernel_that_the_engine_uses():
    """A roof that another kernel measured lies below the points that it is meant for."""
    from torch.profiler import ProfilerActivity, profile

    from lecture_lib.engine.kernels import linear

    def ops_of(call):
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            call()
        return [event.name for event in trace.events() if event.name.startswith("aten::")]

    seen = []

    def timer(call):
        seen.append(ops_of(call) if len(seen) < 20 else [])
        return 0.5

    measure_hardware("cpu", dtypes=("float32",), timer=timer, seconds=1, progress=False)
    row, matrix = torch.randn(1, 16), torch.randn(8, 16)
    assert ops_of(lambda: linear(row, matrix)) in seen


def test_the_decode_steps_on_an_h100_are_those_of_the_benchmark():
    results = Path(__file__).parents[1] / "benchmarks" / "results"
    for model, steps in H100_DECODE_MS.items():
        [path] = results.glob(f"decode_gpu_{model}*.nvidia-h100-80gb-*.json")
        rows = json.loads(path.read_text("utf-8"))["steps"]
        assert {row["contender"]: row["ms"] for row in rows} == steps


def test_the_operations_on_an_h100_are_those_of_the_benchmark():
    results = Path(__file__).parents[1] / "benchmarks" / "results"
    [path] = results.glob("roofline_points.nvidia-h100-80gb-*.json")
    run = json.loads(path.read_text("utf-8"))
    [peak] = [row for row in run["hardware"] if row["dtype"] == H100_ROOFLINE["dtype"]]
    assert all(H100_ROOFLINE[name] == peak[name] for name in ("peak_gflops", "memory_gb_per_s"))
    sizes = {"prefill": (1, 512), "decode": (1, 128)}
    for point in H100_ROOFLINE["points"]:
        step = (point["step"], *sizes[point["step"]])
        keys = ("phase", "batch_size", "seq_len", "op")
        [row] = [row for row in run["ops"] if tuple(row[k] for k in keys) == (*step, point["op"])]
        assert all(row[name] == point[name] for name in ("intensity", "ms", "gflops"))


def test_the_call_is_really_made():
    calls = []

    def timer(call):
        call()
        return 0.01

    rounds = time_rounds(lambda: calls.append(1), timer, seconds=0.2)
    assert len(calls) > len(rounds.times) >= 5


def test_unstable_rounds_are_refused():
    times = iter([0.01, 0.03] * 1000)
    with pytest.raises(UnstableTimingError, match=r"matmul float32: .*0.01 to 0.03 s"):
        measure_hardware("cpu", timer=lambda call: next(times), progress=False)
    times = iter([0.01, 0.03] * 1000)
    hardware = measure_hardware(
        "cpu", dtypes=("float32",), timer=lambda call: next(times), max_spread=5, progress=False
    )
    assert hardware.peak_flops > 0


def test_one_outlier_is_no_instability():
    times = [0.01] * 1000
    times[5::10] = [0.5] * 100
    values = iter(times)
    hardware = measure_hardware(
        "cpu", dtypes=("float32",), timer=lambda call: next(values), progress=False
    )
    assert hardware.peak_flops == 2 * 1024**3 / 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu9"}, "device: 'tpu9' is not on this machine"),
        ({"device": "cuda:77"}, "device: 'cuda:77' is not on this machine"),
        ({"dtypes": ("int8",)}, "dtypes: must be one of 'float32', .*got 'int8'"),
        ({"dtypes": ("float31",)}, "dtypes: .*got 'float31'"),
        ({"seconds": 0}, "seconds: needs a number above 0"),
        ({"max_spread": -1}, "max_spread: needs a number above 0"),
    ],
)
def test_measuring_refuses_nonsense(arguments, message):
    with pytest.raises(ValueError, match=message):
        measure_hardware(**{"progress": False, "timer": lambda call: 0.01, **arguments})


def test_importing_imports_nothing_heavy():
    code = (
        "import sys, lecture_lib.hardware, lecture_lib.costs\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
