"""run_tensor_parallel and run_pipeline_parallel: a model over several processes, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .ranks import run_ranks

if TYPE_CHECKING:
    from torch import Tensor

    from ..engine.generation import Timings
    from .job import Job
    from .meters import RankMemory
    from .schedule import StageBlock
    from .traffic import CommRecord


@dataclass(frozen=True)
class ParallelRun:
    """What a model over several processes wrote, and what they sent and kept for it."""

    n_ranks: int
    device: str  # "cpu" or "cuda"
    memory: list[RankMemory]  # of each rank
    records: list[CommRecord] = field(repr=False)  # what each rank sent, got or took part in
    # Bytes that crossed the network interface; None where they can't be counted (no Linux, GPUs
    # that talk over NVLink), and whether the ranks had a network where nothing else counts.
    wire_by_phase: dict[str, int] | None
    wire_is_private: bool

    # The new tokens, the EOS that ended them included, and float32 (T, V), row i the logits that
    # token i was chosen from. Of a pipeline: a list, with an entry for each request.
    token_ids: list
    logits: Tensor | list[Tensor] = field(repr=False)
    texts: list[str]  # of each request
    timings: Timings | None  # tensor: of rank 0, time to first token, seconds of each decode step
    blocks: list[StageBlock] | None = field(repr=False)  # pipeline: when which stage computed what

    @property
    def text(self) -> str:
        """The text of the only, or the first, request."""
        return self.texts[0]

    @property
    def collectives(self) -> list[CommRecord]:
        """Each collective once, as rank 0 recorded it."""
        return [r for r in self.records if r.peer is None and r.rank == 0]

    @property
    def sends(self) -> list[CommRecord]:
        """Each message once, as its sender recorded it."""
        return [r for r in self.records if r.kind == "send"]

    @property
    def payload_bytes(self) -> int:
        """Sum of the payloads of collectives and messages, each counted once, not per rank."""
        return sum(record.payload_bytes for record in [*self.collectives, *self.sends])

    @property
    def wire_bytes(self) -> int | None:
        """Bytes over the interface in the whole run, sent by all ranks together, or None."""
        return None if self.wire_by_phase is None else sum(self.wire_by_phase.values())

    def traffic_table(self):
        """The collectives and messages as a DataFrame, equal ones counted together."""
        from .traffic import traffic_table

        return traffic_table([*self.collectives, *self.sends])

    def memory_table(self):
        """The memory of each rank in MB (10⁶ bytes) as a DataFrame, one row per rank."""
        import pandas as pd

        table = pd.DataFrame(map(vars, self.memory)).set_index("rank") / 1e6
        return table.rename(columns=lambda name: name.replace("_bytes", " (MB)").replace("_", " "))


def run_tensor_parallel(
    n_ranks: int,
    prompt: str | Sequence[int],
    max_new_tokens: int = 8,
    *,
    timeout_s: float = 300,
    **options,
) -> ParallelRun:
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
        ignore_eos: continue after EOS. Default: False.

    Returns:
        A ParallelRun: tokens, logits, collectives, bytes on the wire, memory, timings.

    Raises:
        ValueError: an argument other than described; ParallelDegreeError: a number of ranks that
            does not divide the model; UnsupportedArchitectureError: a family that is not Llama's.
        RankError: a rank failed (RankTimeoutError: or took too long); all others were ended.
    """
    from .job import make_job

    job, tokenizer = make_job("tensor", n_ranks, prompt, max_new_tokens, **options)
    return run_locally(job, tokenizer, timeout_s)


def run_pipeline_parallel(
    n_stages: int,
    prompts: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]],
    max_new_tokens: int = 8,
    *,
    timeout_s: float = 300,
    **options,
) -> ParallelRun:
    """Generate greedily for several requests with the layers spread over several processes.

    Args:
        n_stages: processes; must divide the model's layers.
        prompts: one prompt (text or token ids), or a list of them: each is a request.
        max_new_tokens: tokens of each request. The stages compute all of them; what follows an
            EOS is cut off in the result (unless ``ignore_eos``).
        timeout_s, model, dtype, device, ignore_eos: as in ``run_tensor_parallel``.

    Returns:
        A ParallelRun: tokens and logits of each request, sends, the schedule's blocks.

    Raises:
        As ``run_tensor_parallel``.
    """
    from .job import make_job

    job, tokenizer = make_job("pipeline", n_stages, prompts, max_new_tokens, **options)
    return run_locally(job, tokenizer, timeout_s)


def run_locally(job: Job, tokenizer, timeout_s: float) -> ParallelRun:
    """Run a job on ranks that are started on this machine."""
    from .job import run_job

    backend = "nccl" if job.device_type == "cuda" else "gloo"
    results = run_ranks(run_job, job, job.n_ranks, timeout_s=timeout_s, backend=backend)
    return assemble(job, tokenizer, results)


def assemble(job: Job, tokenizer, results: list[dict]) -> ParallelRun:
    """What the ranks returned, in the order of their numbers, as one result."""
    from ..engine.generation import Timings

    wire_by_phase = Counter()  # one rank per machine has counted what left that machine
    for result in results:
        wire_by_phase.update(result["wire_by_phase"])
    # Rank 0, or the last stage, has the tokens and their logits.
    last = results[0 if job.kind == "tensor" else -1]
    token_ids = [cut_after_eos(ids, job.eos_token_ids) for ids in last["token_ids"]]
    logits = [rows[: len(ids)] for rows, ids in zip(last["logits"], token_ids, strict=True)]
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in token_ids]
    timings = blocks = None
    if job.kind == "tensor":
        (token_ids,), (logits,) = token_ids, logits
        timings = Timings(last["step_s"])
    else:
        blocks = [block for result in results for block in result["blocks"]]
    return ParallelRun(
        n_ranks=job.n_ranks,
        device=job.device_type,
        memory=[result["memory"] for result in results],
        records=[record for result in results for record in result["records"]],
        wire_by_phase=dict(wire_by_phase) or None,
        wire_is_private=results[0].get("private_network", False),
        token_ids=token_ids,
        logits=logits,
        texts=texts,
        timings=timings,
        blocks=blocks,
    )


def cut_after_eos(token_ids: list[int], eos_token_ids: list[int]) -> list[int]:
    """The tokens up to and including the first EOS."""
    ends = [i for i, token in enumerate(token_ids) if token in eos_token_ids]
    return token_ids[: ends[0] + 1] if ends else token_ids
