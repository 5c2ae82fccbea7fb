"""Both kinds of parallelism by PyTorch itself: parallelize_module, torch.distributed.pipelining.

Pipelining was made for training: one step takes a batch that is cut into equal microbatches, and
ends when all of them are through. A microbatch is a request here, so the prompts must have one
length, and the pipeline runs empty after every token: no request's next token can start before
all requests have theirs.
"""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from .pipeline import Stage
from .shards import Shards
from .traffic import label


class TorchTensorParallel:
    """Prefill and decode of one prompt on this rank, by PyTorch and Transformers."""

    def __init__(self, shards: Shards, max_seq_len: int):
        from transformers import DynamicCache

        self.model = _empty_model(shards.model.folder, shards.dtype)
        mesh = init_device_mesh(shards.device.type, (shards.n_ranks,))
        for i, layer in enumerate(self.model.model.layers):
            parallelize_module(layer, mesh, _plan())
            layer.self_attn.o_proj.register_forward_pre_hook(_labels(i, "attention"))
            layer.mlp.down_proj.register_forward_pre_hook(_labels(i, "mlp"))
        _fill(self.model, shards)
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


def _plan() -> dict:
    """The same split as in tensor.py, by the names of the modules."""
    columns = [*(f"self_attn.{x}_proj" for x in "qkv"), "mlp.gate_proj", "mlp.up_proj"]
    rows = ["self_attn.o_proj", "mlp.down_proj"]
    by_columns = {name: ColwiseParallel() for name in columns}
    return by_columns | {name: RowwiseParallel() for name in rows}


def _labels(layer: int, part: str):
    # RowwiseParallel's AllReduce comes after the module's forward, and so after this.
    return lambda module, inputs: label(layer=layer, part=part)


def _empty_model(folder: str, dtype: torch.dtype) -> nn.Module:
    """The Transformers model without memory for its weights (on the meta device)."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(Path(folder), local_files_only=True)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def _fill(model: nn.Module, shards: Shards) -> None:
    """Give every parameter its values: this rank's part of those that were split."""
    for name, module in model.named_modules():
        for key, parameter in list(module.named_parameters(recurse=False)):
            full_name = f"{name}.{key}"
            if full_name not in shards and full_name == "lm_head.weight":
                continue  # tied: below
            value = _read(shards, full_name, parameter)
            module.register_parameter(key, nn.Parameter(value, requires_grad=False))
    model.tie_weights()
    rotary = type(model.model.rotary_emb)  # its table is no weight: no file has it
    model.model.rotary_emb = rotary(config=model.config).to(shards.device)


def _read(shards: Shards, name: str, parameter: nn.Parameter) -> Tensor:
    if not isinstance(parameter, DTensor):
        return shards.whole(name)
    mesh, placements = parameter.device_mesh, parameter.placements
    if not placements[0].is_shard():
        return DTensor.from_local(shards.whole(name), mesh, placements, run_check=False)
    read = shards.columns if placements[0].dim == 0 else shards.rows
    return DTensor.from_local(read(name), mesh, placements, run_check=False)


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
