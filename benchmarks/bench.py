"""Runs the benchmarks one after another, then writes RESULTS.md: ``make bench``.

    python benchmarks/bench.py                     # all of them: about 20 minutes on two cores
    python benchmarks/bench.py --quick             # a look at each; nothing is written
    python benchmarks/bench.py beam_speed          # these only

decode_gpu.py needs a CUDA GPU, and first_run.py the network: they are started by name.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NAMES = [
    "decode_speed",
    "prefill_speed",
    "race",
    "speculation",
    "serving_load",
    "roofline_points",
    "beam_speed",
    "sampling_speed",
    "widget_redraw",
    "grading_throughput",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="a look; nothing is written")
    args = parser.parse_args()
    options, failed = ["--quick"] * args.quick, []
    for name in args.names or NAMES:
        print(f"\n=== {name}", flush=True)
        started = time.perf_counter()
        code = subprocess.run([sys.executable, HERE / f"{name}.py", *options]).returncode
        print(f"=== {name}: {time.perf_counter() - started:.0f} s", flush=True)
        failed += [name] * (code != 0)
    if not args.quick:
        subprocess.run([sys.executable, HERE / "ledger.py"], check=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
