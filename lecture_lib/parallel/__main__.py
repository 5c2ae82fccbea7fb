"""A parallel run from the command line.

    python -m lecture_lib.parallel tensor --ranks 3 --prompt "The quick brown"
    torchrun --nproc-per-node 3 -m lecture_lib.parallel tensor --prompt "The quick brown"

The first starts its ranks itself; under torchrun each process is a rank, on one machine or several
(docs/parallel_on_several_machines.md).
"""

import argparse
import json
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for a failed run, 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if not under_torchrun and options.ranks is None:
        print("error: --ranks is needed (torchrun gives it with --nproc-per-node)", file=sys.stderr)
        return 2
    from .job import choose_device_type, make_job
    from .run import run_locally

    n_ranks = int(os.environ["WORLD_SIZE"]) if under_torchrun else options.ranks
    prompts = options.prompt if len(options.prompt) > 1 else options.prompt[0]
    names = ("model", "backend", "dtype", "device", "ignore_eos")
    chosen = {name: getattr(options, name) for name in names}
    try:
        if under_torchrun:  # this machine needs GPUs for its own ranks alone
            n_here = int(os.environ["LOCAL_WORLD_SIZE"])
            chosen["device"] = choose_device_type(options.device, n_here)
        job, tokenizer = make_job(options.kind, n_ranks, prompts, options.max_new_tokens, **chosen)
    except ValueError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        return 2
    if not under_torchrun:
        result = run_locally(job, tokenizer, options.timeout)
    else:
        from torch.distributed.elastic.multiprocessing.errors import record

        # torchrun ends the other ranks when this one fails, and shows the recorded traceback.
        result = record(_run_this_rank)(job, tokenizer, options.timeout)
    if result is not None:
        _show(result, job, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lecture_lib.parallel",
        description="Generates text with one model over several processes, and counts its traffic.",
    )
    parser.add_argument("kind", choices=("tensor", "pipeline"))
    parser.add_argument("--ranks", type=int, help="processes to start (not under torchrun)")
    parser.add_argument("--prompt", action="append", required=True, help="pipeline: several times")
    parser.add_argument("--max-new-tokens", type=int, default=8)
    parser.add_argument("--model", default="smollm2-135m-instruct", help="as load_model's name")
    parser.add_argument("--backend", choices=("own", "torch"), default="own")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--ignore-eos", action="store_true")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--json", metavar="FILE", help="write tokens and bytes there")
    check = "compare with the engine in a single process"
    parser.add_argument("--check", action="store_true", help=check)
    return parser


def _run_this_rank(job, tokenizer, timeout_s: float):
    """Be one of torchrun's ranks; rank 0 returns the whole result, the others None."""
    import torch.distributed as dist

    from .job import run_job
    from .ranks.rank import join_group
    from .run import assemble

    join_group("gloo" if job.device_type == "cpu" else "nccl", timeout_s)
    try:
        results: list = [None] * job.n_ranks
        dist.all_gather_object(results, run_job(job))
        return assemble(job, tokenizer, results) if dist.get_rank() == 0 else None
    finally:
        dist.destroy_process_group()


def _show(result, job, options) -> None:
    for prompt, text in zip(options.prompt, result.texts, strict=True):
        print(f"{prompt!r} -> {text!r}")
    print(f"\n{result.traffic_table().to_string(index=False)}")
    print(f"\npayload {result.payload_bytes:,} bytes, over the wire {result.wire_bytes or 0:,}")
    print(f"\n{result.memory_table().round(1).to_string()}")
    names = ("token_ids", "payload_bytes", "wire_bytes")
    content = {name: getattr(result, name) for name in names}
    if options.check:
        content["difference"] = _difference_to_engine(result, job)
        print(f"\nlargest difference of a logit to the single process: {content['difference']:.1e}")
    if options.json:
        Path(options.json).write_text(json.dumps(content), encoding="utf-8")


def _difference_to_engine(result, job) -> float:
    """max |logit - logit'| along the chosen tokens: the engine gets the same ones."""
    from ..engine import Engine
    from ..loading import load_model

    engine = Engine(load_model(job.folder, device=job.device_type, dtype=job.dtype))
    runs = [(result.token_ids, result.logits)]
    if job.kind == "pipeline":
        runs = zip(result.token_ids, result.logits, strict=True)
    largest = 0.0
    for prompt, (token_ids, logits) in zip(job.prompts, runs, strict=True):
        full = engine.logits([prompt + token_ids[:-1]])[0, len(prompt) - 1 :]  # (T, V)
        largest = max(largest, float((full.float().cpu() - logits).abs().max()))
    return largest


if __name__ == "__main__":
    sys.exit(main())
