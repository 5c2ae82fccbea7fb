"""What a rank does: the same code, whether the launcher or torchrun started it."""

import time
from dataclasses import asdict, dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ..loading.devices import DTYPES
from .memory import MemoryMeter
from .shards import ModelFolder, Shards
from .traffic import TrafficRecorder, WireMeter, label


@dataclass(frozen=True)
class Job:
    """One parallel run, in numbers and texts that JSON can say.

    Attributes:
        kind: "tensor" or "pipeline". backend: "own" or "torch".
        model: what the ranks must know of it. prompts: token ids of each request.
        max_new_tokens: of each request. eos_token_ids: what ends one ([]: nothing).
        dtype, device_type: "float32" ..., "cpu" or "cuda".
    """

    kind: str
    backend: str
    model: ModelFolder
    prompts: list[list[int]]
    max_new_tokens: int
    eos_token_ids: list[int]
    dtype: str
    device_type: str

    @classmethod
    def from_json(cls, values: dict) -> "Job":
        return cls(**values | {"model": ModelFolder(**values["model"])})

    def as_json(self) -> dict:
        return asdict(self)

    def room(self, request: int) -> int:
        """Positions that a request's cache needs: the last token is never fed back."""
        return len(self.prompts[request]) + self.max_new_tokens - 1


def run_job(job: dict, rank) -> dict:
    """Run this rank's part of a job; the process group is up.

    Returns:
        This rank's records, memory, wire_by_phase and what the job's kind adds.
    """
    job = Job.from_json(job)
    run = {"tensor": run_tensor, "pipeline": run_pipeline}[job.kind]
    result = run(job, rank)
    check_same_tokens(result["token_ids"])
    return result


def this_device(job: Job) -> torch.device:
    """Where this rank computes: its own GPU, or the CPU."""
    if job.device_type == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def run_tensor(job: Job, rank) -> dict:
    """Generate from one prompt, every rank with its part of every layer."""
    if job.backend == "own":
        from .tensor import OwnTensorParallel as TensorParallel
    else:
        from .torch_tensor import TorchTensorParallel as TensorParallel

    device = this_device(job)
    memory = MemoryMeter(device)
    rank.report("loading its shard")
    shards = Shards(job.model, rank.rank, rank.n_ranks, DTYPES[job.dtype], device)
    model = TensorParallel(shards, job.room(0))
    rank.report("running")
    wire = WireMeter(device)
    with TrafficRecorder() as traffic:
        token_ids, logits, step_s = generate(model.step, job, device, wire)
    return {
        "token_ids": token_ids,
        "step_s": step_s,
        "records": [asdict(record) for record in traffic.records],
        "memory": asdict(memory.report(rank.rank, shards, model.cache_bytes)),
        "wire_by_phase": wire.by_phase,
        "packets_by_phase": wire.packets_by_phase,
        "tensors": {"logits": torch.cat(logits).float().cpu()} if rank.rank == 0 else {},
    }


def generate(step, job: Job, device, wire: WireMeter) -> tuple[list[int], list[Tensor], list]:
    """Greedy generation with a function of (1, L) tokens to (1, V) logits.

    Every rank has the same logits, so every rank chooses the same token: nothing is sent for it.

    Returns:
        Token ids, the logits (1, V) of each, and the seconds of each step.
    """
    token_ids, all_logits, step_s = [], [], []
    new_ids = torch.tensor([job.prompts[0]], device=device)  # (1, L)
    while True:
        phase = "decode" if token_ids else "prefill"
        label(phase=phase, step=len(token_ids))
        started = time.perf_counter()
        logits = step(new_ids)  # (1, V)
        new_ids = logits.float().argmax(-1)[None]  # (1, 1)
        token_ids.append(int(new_ids))  # waits for a GPU, so that the time is honest
        step_s.append(time.perf_counter() - started)
        all_logits.append(logits)
        done = len(token_ids) == job.max_new_tokens or token_ids[-1] in job.eos_token_ids
        if phase == "prefill" or done:
            wire.lap(phase)
        if done:
            return token_ids, all_logits, step_s


def run_pipeline(job: Job, rank) -> dict:
    """Generate for all requests, every rank with its layers."""
    from .pipeline import Stage, run_stage

    device = this_device(job)
    memory = MemoryMeter(device)
    rank.report("loading its layers")
    # A stage has its layers whole: nothing is cut.
    shards = Shards(job.model, 0, 1, DTYPES[job.dtype], device)
    stage = Stage(shards, job, rank.rank, rank.n_ranks)
    rank.report("running")
    stage.start_clock()
    wire = WireMeter(device)
    if job.backend == "torch":
        from .torch_pipeline import run_torch_stage as run_stage
    with TrafficRecorder() as traffic:
        run_stage(stage, job)
        wire.lap("all")  # prefill and decode of different requests overlap
    return {
        "token_ids": None,
        "tokens": stage.tokens,
        "blocks": [asdict(block) for block in stage.blocks],
        "records": [asdict(record) for record in traffic.records],
        "memory": asdict(memory.report(rank.rank, shards, stage.cache_bytes)),
        "wire_by_phase": wire.by_phase,
        "packets_by_phase": wire.packets_by_phase,
        "tensors": {
            f"logits_{i}": torch.cat(rows).float().cpu()
            for i, rows in enumerate(stage.logits_of)
            if rows
        },
    }


def check_same_tokens(token_ids: list[int] | None) -> None:
    """Refuse a run whose ranks chose different tokens: one fed another's past to its model.

    Ranks on machines whose processors round differently can disagree where two tokens are equally
    likely. (Nothing is recorded any more.)
    """
    everyone: list = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, token_ids)
    if any(each != everyone[0] for each in everyone):
        raise RuntimeError(f"the ranks chose different tokens: {everyone}")
