"""run_tensor_parallel and run_pipeline_parallel: a model over several processes, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .ranks import run_ranks

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ..engine.generation import Timings
    from .job import Job
    from .meters import RankMemory
    from .schedule import StageBlock
    from .traffic import CommRecord


@dataclass(frozen=True)
class ParallelRun:
    """What both kinds of run have.

    Attributes:
        n_ranks: processes that ran. backend: "own" or "torch". device: "cpu" or "cuda".
        memory: one RankMemory per rank.
        records: everything that every rank sent, received or took part in.
        wire_by_phase: bytes that crossed the network interface, by phase; None where they can't
            be counted (no Linux, GPUs that talk over NVLink).
        wire_is_private: whether the ranks had a network of their own, where nothing else counts.
    """

    n_ranks: int
    backend: str
    device: str
    memory: list[RankMemory]
    records: list[CommRecord] = field(repr=False)
    wire_by_phase: dict[str, int] | None
    wire_is_private: bool

    @property
    def counted_once(self) -> list[CommRecord]:
        """Each collective as rank 0 recorded it, each message as its sender did."""
        return [r for r in self.records if r.kind == "send" or (r.peer is None and r.rank == 0)]

    @property
    def payload_bytes(self) -> int:
        """Sum of the payloads of collectives and messages, each counted once, not per rank."""
        return sum(record.payload_bytes for record in self.counted_once)

    @property
    def wire_bytes(self) -> int | None:
        """Bytes over the interface in the whole run, sent by all ranks together, or None."""
        return None if self.wire_by_phase is None else sum(self.wire_by_phase.values())

    def traffic_table(self) -> pd.DataFrame:
        """The collectives and messages, equal ones counted together."""
        from .traffic import traffic_table

        return traffic_table(self.counted_once)

    def memory_table(self) -> pd.DataFrame:
        """The memory of each rank in MB (10⁶ bytes), one row per rank."""
        import pandas as pd

        columns = ("weight_bytes", "split_weight_bytes", "cache_bytes", "start_bytes", "peak_bytes")
        rows = [[getattr(m, name) / 1e6 for name in columns] for m in self.memory]
        names = [name.replace("_bytes", "").replace("_", " ") + " (MB)" for name in columns]
        index = pd.Index([m.rank for m in self.memory], name="rank")
        return pd.DataFrame(rows, columns=names, index=index)


@dataclass(frozen=True)
class TensorParallelRun(ParallelRun):
    """What ``run_tensor_parallel`` returns.

    Attributes:
        token_ids: the new tokens, the EOS that ended them included. text: their text.
        logits: float32 (T, V), row i those that token i was chosen from.
        timings: of rank 0: time to first token, seconds of each decode step.
    """

    token_ids: list[int]
    text: str
    logits: Tensor = field(repr=False)
    timings: Timings

    @property
    def collectives(self) -> list[CommRecord]:
        """Each collective once, as rank 0 recorded it."""
        return self.counted_once


@dataclass(frozen=True)
class PipelineRun(ParallelRun):
    """What ``run_pipeline_parallel`` returns.

    Attributes:
        token_ids: for each request its new tokens, up to and including EOS. texts: their texts.
        logits: for each request float32 (T, V), row i those that token i was chosen from.
        blocks: when which stage computed what, for the chart of the schedule.
    """

    token_ids: list[list[int]]
    texts: list[str]
    logits: list[Tensor] = field(repr=False)
    blocks: list[StageBlock] = field(repr=False)

    @property
    def sends(self) -> list[CommRecord]:
        """Every message once, as its sender recorded it."""
        return self.counted_once


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
        device: "cpu", "cuda" (one GPU per rank) or "auto" (default): cuda where there are enough.
        ignore_eos: go on after EOS. Default: False.

    Returns:
        A TensorParallelRun: tokens, logits, collectives, bytes on the wire, memory, timings.

    Raises:
        ValueError: an argument other than described; ParallelDegreeError: a number of ranks that
            does not divide the model; UnsupportedArchitectureError: a family that is not Llama's.
        RankError: a rank failed (RankTimeoutError: or took too long); all others were ended.
    """
    from .arguments import make_job

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
    from .arguments import make_job

    job, tokenizer = make_job("pipeline", n_stages, prompts, max_new_tokens, **options)
    return run_locally(job, tokenizer, n_stages, timeout_s)


def run_locally(job: Job, tokenizer, n_ranks: int, timeout_s: float) -> ParallelRun:
    """Run a job on ranks that are started on this machine."""
    from .job import run_job

    backend = "nccl" if job.device_type == "cuda" else "gloo"
    results = run_ranks(run_job, job, n_ranks, timeout_s=timeout_s, backend=backend)
    return assemble(job, tokenizer, results)


def assemble(job: Job, tokenizer, results: list[dict]) -> ParallelRun:
    """What the ranks returned, in the order of their numbers, as one result."""
    from ..engine.generation import Timings

    wire_by_phase = Counter()  # one rank per machine has counted what left that machine
    for result in results:
        wire_by_phase.update(result["wire_by_phase"])
    common = {
        "n_ranks": len(results),
        "backend": job.backend,
        "device": job.device_type,
        "memory": [result["memory"] for result in results],
        "records": [record for result in results for record in result["records"]],
        "wire_by_phase": dict(wire_by_phase) or None,
        "wire_is_private": results[0].get("private_network", False),
    }
    result = results[0 if job.kind == "tensor" else -1]
    token_ids = [cut_after_eos(ids, job.eos_token_ids) for ids in result["token_ids"]]
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in token_ids]
    logits = [rows[: len(ids)] for rows, ids in zip(result["logits"], token_ids, strict=True)]
    if job.kind == "pipeline":
        blocks = [block for each in results for block in each["blocks"]]
        return PipelineRun(**common, token_ids=token_ids, texts=texts, logits=logits, blocks=blocks)
    timings = Timings(result["step_s"])
    return TensorParallelRun(
        **common, token_ids=token_ids[0], text=texts[0], logits=logits[0], timings=timings
    )


def cut_after_eos(token_ids: list[int], eos_token_ids: list[int]) -> list[int]:
    """The tokens up to and including the first EOS."""
    ends = [i for i, token in enumerate(token_ids) if token in eos_token_ids]
    return token_ids[: ends[0] + 1] if ends else token_ids
