"""Pipeline parallelism, written out: each rank has some of the layers, and passes on its result.

Stage 0 turns tokens into embeddings, the last stage makes logits and chooses the next token, which
goes back to stage 0. Requests follow one another through the stages; while stage 1 works on the
first, stage 0 works on the second.
"""

import os
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ..engine.kv_cache import KVCache
from .degrees import check_pipeline_degree
from .schedule import StageBlock
from .shards import RankLlama, Shards
from .traffic import label


def run_layers(model, x: Tensor, cache: KVCache) -> Tensor:
    """(L, D) to (L, D) through the layers that this model has; the cache grows by L."""
    pattern = cache.pattern(len(x))
    rope = model.rope_tables(pattern.positions, model.inv_freq, x.dtype)
    for i, layer in enumerate(model.layers):
        x = x + model.attention(layer.attention_norm(x), i, 1, rope, pattern, cache)
        x = x + model.mlp(layer.mlp_norm(x), layer)
    cache.advance(len(x))
    return x


def run_stage(stage, prompts: list[list[int]], max_new_tokens: int) -> None:
    """Every request's prefill, then decode step by step: what one stage does from first to last.

    All requests make ``max_new_tokens`` tokens; what follows an EOS is cut off afterwards. So the
    stages know which request is next without communicating.
    """
    for step in range(max_new_tokens):
        for request, prompt in enumerate(prompts):
            if not stage.is_first:  # embeddings from the stage before, (L, D)
                x = receive(stage, (1 if step else len(prompt), stage.d_model), stage.dtype)
            elif step == 0:
                x = torch.tensor(prompt, device=stage.device)  # (L,)
            else:
                x = receive(stage, (1,), torch.long)  # the token that the last stage chose
            y = stage.compute(request, x)
            if not stage.is_last or step + 1 < max_new_tokens:  # nobody needs the last token
                send(stage, y)
    for message in stage.messages:
        message.wait()


class Stage(RankLlama):
    """One stage's layers, the caches of all requests for these layers, and what it has seen.

    Attributes:
        blocks: a StageBlock for every pass. tokens, logits_of: of every request, at the last stage.
        messages: what is on its way; sent: its tensors, kept until they have arrived.
    """

    def __init__(self, shards: Shards, job, stage: int, n_stages: int):
        super().__init__(shards, check_pipeline_degree(shards.spec, n_stages)[stage])
        self.stage, self.n_stages = stage, n_stages
        self.is_first, self.is_last = stage == 0, stage == n_stages - 1
        for i in range(len(job.prompts)):
            self.new_cache(job.cache_len(i))
        self.blocks: list[StageBlock] = []
        self.tokens: list[list[int]] = [[] for _ in job.prompts]
        self.logits_of: list[list[Tensor]] = [[] for _ in job.prompts]
        self.messages, self.sent = [], []
        # A separate connection for the tokens that go back, so that the two directions of a pair
        # of ranks don't wait for one another (NCCL runs the messages of one connection in order).
        self.token_group = dist.new_group([0, n_stages - 1]) if n_stages > 1 else None
        # Blocks count their seconds from here. Processes on one machine share a clock and start at
        # stage 0's moment; on several machines, each starts when it has left the barrier.
        dist.barrier()
        start = [time.perf_counter()]
        if int(os.environ.get("LOCAL_WORLD_SIZE", n_stages)) == n_stages:
            dist.broadcast_object_list(start, src=0)
        self.started_at = start[0]

    @torch.no_grad()
    def compute(self, request: int, x: Tensor) -> Tensor:
        """One pass of one request through this stage; notes when.

        Embeddings (L, D) to embeddings (L, D). At the first stage x are tokens (L,); the last one
        returns the next token, (1,).
        """
        step = len(self.blocks) // len(self.caches)
        start_s = time.perf_counter() - self.started_at
        x = F.embedding(x, self.embeddings) if self.is_first else x  # (L, D)
        x = run_layers(self, x, self.caches[request])
        if self.is_last:
            logits = self.logits(x[-1:])  # (1, V)
            x = logits.float().argmax(-1)  # (1,)
            self.tokens[request].append(int(x))
            self.logits_of[request].append(logits)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        end_s = time.perf_counter() - self.started_at
        self.blocks.append(StageBlock(self.stage, request, step, start_s, end_s))
        return x

    def channel(self, n_passes: int, is_token: bool):
        """The connection for this pass's message; tells the recorder which pass it is."""
        step = n_passes // len(self.caches)
        part = "token" if is_token else "hidden"
        label(phase="decode" if step else "prefill", step=step, part=part)
        return self.token_group if is_token else None


def receive(stage: Stage, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Wait for a message from the stage before this one (for stage 0: from the last one)."""
    if stage.n_stages == 1:  # it has sent its token to itself
        return stage.sent.pop(0)
    x = torch.empty(shape, dtype=dtype, device=stage.device)
    group = stage.channel(len(stage.blocks), dtype == torch.long)
    dist.recv(x, (stage.stage - 1) % stage.n_stages, group=group)
    return x


def send(stage: Stage, y: Tensor) -> None:
    """Send to the next stage (the last one: its token to stage 0), and don't wait.

    If stage 0 waited until its embeddings have arrived, it would wait for the last stage, which
    waits with a token for stage 0.
    """
    stage.sent.append(y)
    if stage.n_stages > 1:
        ahead = len(stage.caches) if stage.is_last else 0  # a token is the next step's input
        group = stage.channel(len(stage.blocks) - 1 + ahead, stage.is_last)
        stage.messages.append(dist.isend(y, (stage.stage + 1) % stage.n_stages, group=group))
