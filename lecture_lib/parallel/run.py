"""run_tensor_parallel and run_pipeline_parallel: a model over several processes, counted."""

import time
from collections import Counter
from collections.abc import Sequence

from ..engine.generation import Timings
from .arguments import make_job
from .job import Job
from .ranks import run_ranks
from .results import CommRecord, PipelineRun, RankMemory, TensorParallelRun
from .schedule import StageBlock

TARGET = "lecture_lib.parallel.job:run_job"


def run_tensor_parallel(
    n_ranks: int,
    prompt: str | Sequence[int],
    max_new_tokens: int = 8,
    *,
    timeout_s: float = 300,
    **options,
) -> TensorParallelRun:
    """Generate greedily with every layer's matrices split over several processes.

    Args:
        n_ranks: processes; must divide the model's heads, key/value heads and d_ff.
        prompt: text or token ids.
        max_new_tokens: how many tokens at most.
        timeout_s: seconds that the whole run may take.
        model: what ``load_model`` takes, or what it returned (the ranks read its files again).
            Default: the bundled model.
        backend: "own" (default), the readable version in tensor.py, or "torch": PyTorch's
            parallelize_module on the Transformers model.
        dtype: "float32" (default), "bfloat16", "float16" or "float64".
        device: "cpu", "cuda" (one GPU a rank) or "auto" (default): cuda where there are enough.
        ignore_eos: go on after EOS. Default: False.

    Returns:
        A TensorParallelRun: tokens, logits, collectives, bytes on the wire, memory, timings.

    Raises:
        ValueError: an argument other than described; ParallelDegreeError: a number of ranks that
            does not divide the model; UnsupportedArchitectureError: a family that is not Llama's.
        RankError: a rank failed (RankTimeoutError: or took too long); all others were ended.
    """
    job, tokenizer = make_job("tensor", n_ranks, prompt, max_new_tokens, **options)
    return run_locally(job, tokenizer, n_ranks, timeout_s)


def run_pipeline_parallel(
    n_stages: int,
    prompts: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]],
    max_new_tokens: int = 8,
    *,
    timeout_s: float = 300,
    **options,
) -> PipelineRun:
    """Generate greedily for several requests with the layers spread over several processes.

    Args:
        n_stages: processes; must divide the model's layers.
        prompts: one prompt (text or token ids), or a list of them: each is a request.
        max_new_tokens: tokens of each request. The stages compute all of them; what follows an
            EOS is cut off in the result (unless ``ignore_eos``).
        backend: "own" (default), the readable version in pipeline.py, or "torch":
            torch.distributed.pipelining, which needs prompts of one length.
        timeout_s, model, dtype, device, ignore_eos: as in ``run_tensor_parallel``.

    Returns:
        A PipelineRun: tokens and logits of each request, sends, the schedule's blocks.

    Raises:
        As ``run_tensor_parallel``.
    """
    job, tokenizer = make_job("pipeline", n_stages, prompts, max_new_tokens, **options)
    return run_locally(job, tokenizer, n_stages, timeout_s)


def run_locally(
    job: Job, tokenizer, n_ranks: int, timeout_s: float
) -> TensorParallelRun | PipelineRun:
    """Run a job on ranks that are started on this machine."""
    started = time.perf_counter()
    backend = "nccl" if job.device_type == "cuda" else "gloo"
    results = run_ranks(TARGET, job.as_json(), n_ranks, timeout_s=timeout_s, backend=backend)
    return assemble(job, tokenizer, results, time.perf_counter() - started)


def assemble(
    job: Job, tokenizer, results: list[dict], ranks_wall_s: float
) -> TensorParallelRun | PipelineRun:
    """What the ranks returned, in the order of their numbers, as one result."""
    common = _common(job, results) | {"ranks_wall_s": ranks_wall_s}
    if job.kind == "tensor":
        first = results[0]
        return TensorParallelRun(
            **common,
            token_ids=first["token_ids"],
            text=tokenizer.decode(first["token_ids"], skip_special_tokens=True),
            logits=first["tensors"]["logits"],
            timings=Timings(ttft_s=first["step_s"][0], step_s=first["step_s"][1:]),
        )
    last = results[-1]
    kept = [cut_after_eos(ids, job.eos_token_ids) for ids in last["tokens"]]
    return PipelineRun(
        **common,
        token_ids=kept,
        texts=[tokenizer.decode(ids, skip_special_tokens=True) for ids in kept],
        logits=[last["tensors"][f"logits_{i}"][: len(ids)] for i, ids in enumerate(kept)],
        blocks=[StageBlock(**block) for result in results for block in result["blocks"]],
    )


def _common(job: Job, results: list[dict]) -> dict:
    # One rank a machine has counted what left that machine.
    wire, packets = Counter(), Counter()
    for result in results:
        wire.update(result["wire_by_phase"])
        packets.update(result["packets_by_phase"])
    return {
        "n_ranks": len(results),
        "backend": job.backend,
        "device": job.device_type,
        "memory": [RankMemory(**result["memory"]) for result in results],
        "records": [CommRecord.from_json(r) for result in results for r in result["records"]],
        "wire_by_phase": dict(wire) or None,
        "packets_by_phase": dict(packets) or None,
        "wire_is_private": results[0].get("private_network", False),
    }


def cut_after_eos(token_ids: list[int], eos_token_ids: list[int]) -> list[int]:
    """The tokens up to and including the first EOS."""
    ends = [i for i, token in enumerate(token_ids) if token in eos_token_ids]
    return token_ids[: ends[0] + 1] if ends else token_ids
