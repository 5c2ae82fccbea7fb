"""Pipeline parallelism by PyTorch: torch.distributed.pipelining, as far as it fits.

It was made for training: one step takes a batch that is cut into equal microbatches, and ends
when all of them are through. A microbatch is a request here, so the prompts must have one length,
and the pipeline runs empty after every token: no request's next token can start before all
requests have theirs.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from .pipeline import Stage
from .traffic import label


class RequestByRequest(nn.Module):
    """A Stage as the module that PipelineStage wants; its microbatches are the requests in turn."""

    def __init__(self, stage: Stage):
        super().__init__()
        self.stage, self.calls = stage, 0

    def forward(self, x: Tensor) -> Tensor:
        """(1, L) tokens or (1, L, D) embeddings to (1, L, D), or (1, 1): the next token."""
        step, request = divmod(self.calls, len(self.stage.caches))
        self.calls += 1
        return self.stage.compute(request, step, x[0])[None]


class LabelledStage(PipelineStage):
    """Says what is sent: before their first microbatch the stages agree on how shapes are known."""

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list:
        label(part="hidden")
        return super().get_fwd_recv_ops(fwd_chunk_id)


def run_torch_stage(stage: Stage, job) -> None:
    """Run all requests through this stage, a step of torch.distributed.pipelining a token."""
    module = RequestByRequest(stage)
    n_requests = len(job.prompts)
    input_ids = torch.tensor(job.prompts, device=stage.device)  # (R, L)
    prefill = _schedule(module, input_ids.shape[1], n_requests)
    decode = _schedule(module, 1, n_requests)
    for step in range(job.max_new_tokens):
        label(phase="decode" if step else "prefill", step=step, part="agreement")
        schedule = decode if step else prefill
        tokens = schedule.eval(*[input_ids] if stage.is_first else [])  # (R, 1) at the last stage
        if step + 1 < job.max_new_tokens:
            label(phase="decode", step=step + 1, part="token")  # the next step's input
            input_ids = _hand_back(stage, tokens, n_requests)
    label(part="")


def _schedule(module: RequestByRequest, seq_len: int, n_requests: int) -> ScheduleGPipe:
    """The schedule of passes with ``seq_len`` tokens a request; shapes are said in advance."""
    stage = module.stage
    tokens = torch.empty(1, seq_len, dtype=torch.long, device="meta")
    hidden = torch.empty(1, seq_len, stage.d_model, dtype=stage.dtype, device="meta")
    chosen = torch.empty(1, 1, dtype=torch.long, device="meta")
    pipeline_stage = LabelledStage(
        module,
        stage.stage,
        stage.n_stages,
        stage.device,
        input_args=tokens if stage.is_first else hidden,
        output_args=chosen if stage.is_last else hidden,
    )
    return ScheduleGPipe(pipeline_stage, n_requests)


def _hand_back(stage: Stage, tokens: Tensor | None, n_requests: int) -> Tensor:
    """The chosen tokens (R, 1) from the last stage to the first; pipelining has no way back."""
    if stage.n_stages == 1:
        return tokens
    if stage.is_last:
        dist.send(tokens, 0)
    if stage.is_first:
        tokens = torch.empty(n_requests, 1, dtype=torch.long, device=stage.device)
        dist.recv(tokens, stage.n_stages - 1)
    return tokens
