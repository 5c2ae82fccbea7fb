"""Both kinds of parallelism by PyTorch itself: parallelize_module, torch.distributed.pipelining.

Pipelining was made for training: one step takes a batch that is cut into equal microbatches, and
ends when all of them are through. A microbatch is a request here, so the prompts must have one
length, and the pipeline runs empty after every token: no request's next token can start before
all requests have theirs.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from .pipeline import Stage
from .shards import SPLIT_BY_COLUMNS, SPLIT_BY_ROWS, Shards
from .traffic import label


class TorchTensorParallel:
    """Prefill and decode of one prompt on this rank, by PyTorch and Transformers."""

    def __init__(self, shards: Shards, max_seq_len: int):
        from transformers import DynamicCache

        self.model = shards.empty_model()
        mesh = init_device_mesh(shards.device.type, (shards.n_ranks,))
        for i, layer in enumerate(self.model.model.layers):
            names = [name for name, _ in layer.named_modules()]
            plan = {n: ColwiseParallel() for n in names if n.endswith(SPLIT_BY_COLUMNS)}
            plan |= {n: RowwiseParallel() for n in names if n.endswith(SPLIT_BY_ROWS)}
            parallelize_module(layer, mesh, plan)
            layer.self_attn.o_proj.register_forward_pre_hook(_labels(i, "attention"))
            layer.mlp.down_proj.register_forward_pre_hook(_labels(i, "mlp"))
        shards.fill(self.model, range(shards.spec.n_layers))
        rotary = type(self.model.model.rotary_emb)  # its table is no weight: no file has it
        self.model.model.rotary_emb = rotary(config=self.model.config).to(shards.device)
        self.cache = DynamicCache(config=self.model.config)

    @torch.no_grad()
    def step(self, input_ids: Tensor) -> Tensor:
        """(1, L) new tokens to the next token's logits (1, V)."""
        out = self.model(input_ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        label(layer=None, part="")
        return out.logits[:, -1]

    @property
    def cache_bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)


def _labels(layer: int, part: str):
    # RowwiseParallel's AllReduce comes after the module's forward, and so after this.
    return lambda module, inputs: label(layer=layer, part=part)


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
    """Labels what is sent: before the first microbatch the stages agree on the shapes."""

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list:
        label(part="hidden")
        return super().get_fwd_recv_ops(fwd_chunk_id)


def run_torch_stage(stage: Stage, job) -> None:
    """Run all requests through this stage: one step of torch.distributed.pipelining per token."""
    module = RequestByRequest(stage)
    n_requests, last = len(job.prompts), stage.n_stages - 1
    tokens = torch.tensor(job.prompts, device=stage.device)  # (R, L)
    prefill = _schedule(module, tokens.shape[1], n_requests)
    decode = _schedule(module, 1, n_requests)
    for step in range(job.max_new_tokens):
        label(phase="decode" if step else "prefill", step=step, part="agreement")
        schedule = decode if step else prefill
        tokens = schedule.eval(*[tokens] if stage.is_first else [])  # (R, 1) at the last stage
        if last and step + 1 < job.max_new_tokens:
            # The tokens go back to the first stage, which pipelining does not do.
            label(phase="decode", step=step + 1, part="token")
            if stage.is_last:
                dist.send(tokens, 0)
            if stage.is_first:
                tokens = torch.empty(n_requests, 1, dtype=torch.long, device=stage.device)
                dist.recv(tokens, last)
    label(part="")


def _schedule(module: RequestByRequest, seq_len: int, n_requests: int) -> ScheduleGPipe:
    """The schedule of passes with ``seq_len`` tokens per request; shapes are given in advance."""
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
