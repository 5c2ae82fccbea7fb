"""What a rank does: the same code, whether ``run_ranks`` or torchrun started it."""

import time
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from .meters import MemoryMeter, WireMeter
from .pipeline import Stage, run_stage
from .shards import ModelFolder, Shards
from .tensor import TensorParallelLlama
from .traffic import TrafficRecorder, label


@dataclass(frozen=True)
class Job:
    """One parallel run."""

    kind: str  # "tensor" or "pipeline"
    n_ranks: int
    backend: str  # "own" or "torch"
    model: ModelFolder
    prompts: list[list[int]]  # token ids of each request
    max_new_tokens: int  # of each request
    eos_token_ids: list[int]  # what ends a request
    dtype: torch.dtype
    device_type: str  # "cpu" or "cuda"

    def cache_len(self, request: int) -> int:
        """Positions that a request's cache needs: the last token is never fed back."""
        return len(self.prompts[request]) + self.max_new_tokens - 1


def run_job(job: Job) -> dict:
    """Run this rank's part of a job; the process group is up.

    Returns:
        records, memory and wire_by_phase of this rank; token_ids and logits (T, V) of each request
        (tensor: rank 0 has the logits; pipeline: the last stage has both); tensor: step_s, the
        seconds of each step; pipeline: blocks.
    """
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    tensor, own = job.kind == "tensor", job.backend == "own"
    if not own:  # late, because the caller imports this module too and needs no more of torch
        from .torch_backend import TorchTensorParallel, run_torch_stage
    device = torch.device("cpu")
    if job.device_type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    memory = MemoryMeter(device)
    # A pipeline's stage has its layers whole: nothing of them is cut.
    part = (rank, n_ranks) if tensor else (0, 1)
    shards = Shards(job.model, *part, job.dtype, device)
    if tensor:
        model = (TensorParallelLlama if own else TorchTensorParallel)(shards, job.cache_len(0))
    else:
        model = Stage(shards, job, rank, n_ranks)
    wire = WireMeter(device)
    with TrafficRecorder() as traffic:
        if tensor:
            token_ids, rows, step_s = generate(model.step, job, device, wire)
            logits = [rows] if rank == 0 else []
            result = {"token_ids": [token_ids], "step_s": step_s}
        else:
            (run_stage if own else run_torch_stage)(model, job)
            wire.lap("all")  # prefill and decode of different requests overlap
            logits = model.logits_of if model.is_last else []
            result = {"token_ids": model.tokens, "blocks": model.blocks}
    if tensor:
        check_same_tokens(token_ids)
    return result | {
        "records": traffic.records,
        "memory": memory.report(rank, shards, model.cache_bytes),
        "wire_by_phase": wire.by_phase,
        "logits": [torch.cat(rows).float().cpu() for rows in logits],
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
        token_ids.append(int(new_ids))  # waits for a GPU, so that its work is in the time
        step_s.append(time.perf_counter() - started)
        all_logits.append(logits)
        done = len(token_ids) == job.max_new_tokens or token_ids[-1] in job.eos_token_ids
        if phase == "prefill" or done:
            wire.lap(phase)
        if done:
            return token_ids, all_logits, step_s


def check_same_tokens(token_ids: list[int]) -> None:
    """Refuse a run whose ranks chose different tokens: one fed another's past to its model.

    Ranks on machines whose processors round differently can disagree where two tokens are equally
    likely.
    """
    everyone: list = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, token_ids)
    if any(each != token_ids for each in everyone):
        raise RuntimeError(f"the ranks chose different tokens: {everyone}")
