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


class Stage(RankLlama):
    """One stage's layers, the caches of all requests for these layers, and what it has seen.

    Attributes:
        blocks: a StageBlock for every pass. tokens, logits_of: of every request, at the last stage.
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
        # From here on blocks count their seconds. The processes of one machine share a clock, and
        # so the moment of stage 0; of several machines, each counts from when it left the barrier.
        dist.barrier()
        start = [time.perf_counter()]
        if int(os.environ.get("LOCAL_WORLD_SIZE", n_stages)) == n_stages:
            dist.broadcast_object_list(start, src=0)
        self.started_at = start[0]

    @torch.no_grad()
    def compute(self, request: int, step: int, x: Tensor) -> Tensor:
        """One pass of one request through this stage; notes when.

        Embeddings (L, D) to embeddings (L, D). At the first stage x are tokens (L,); the last one
        returns the next token, (1,).
        """
        start_s = time.perf_counter() - self.started_at
        x = F.embedding(x, self.embeddings) if self.is_first else x  # (L, D)
        x = self.run_layers(x, self.caches[request])
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

    def run_layers(self, x: Tensor, cache: KVCache) -> Tensor:
        """(L, D) to (L, D) through this stage's layers; the cache grows by L."""
        pattern = cache.pattern(len(x))
        rope = self.rope_tables(pattern.positions, self.inv_freq, x.dtype)
        for i, layer in enumerate(self.layers):
            x = x + self.attention(layer.attention_norm(x), i, 1, rope, pattern, cache)
            x = x + self.mlp(layer.mlp_norm(x), layer)
        cache.advance(len(x))
        return x


def run_stage(stage: Stage, job) -> None:
    """Run all requests through this stage: every one's prefill, then decode step by step.

    All requests make ``max_new_tokens`` tokens; what follows an EOS is cut off afterwards. So the
    stages know which request is next without communicating.
    """
    last = stage.n_stages - 1
    # A separate connection for the tokens that go back, so that the two directions of a pair
    # of ranks don't wait for one another (NCCL runs the messages of one connection in order).
    token_group = dist.new_group([0, last]) if last else None
    # No stage waits until what it sends is received: stage 0, with the next request's embeddings,
    # would wait for the last stage, which waits with a token for stage 0. What is sent is kept
    # until it has arrived.
    sent = []
    for step in range(job.max_new_tokens):
        for request, prompt in enumerate(job.prompts):
            label(phase="decode" if step else "prefill", step=step, part="hidden")
            if not stage.is_first:
                shape = (1 if step else len(prompt), stage.d_model)  # (L, D)
                x = _receive(shape, stage.dtype, stage, stage.stage - 1)
            elif step == 0:
                x = torch.tensor(prompt, device=stage.device)  # (L,)
            elif stage.is_last:
                x = torch.tensor(stage.tokens[request][-1:], device=stage.device)  # (1,)
            else:
                label(part="token")
                x = _receive((1,), torch.long, stage, last, token_group)
                label(part="hidden")
            y = stage.compute(request, step, x)
            if not stage.is_last:
                sent.append((dist.isend(y, stage.stage + 1), y))
            elif step + 1 < job.max_new_tokens and not stage.is_first:
                label(phase="decode", step=step + 1, part="token")  # the next step's input
                sent.append((dist.isend(y, 0, group=token_group), y))
    for message, _ in sent:
        message.wait()
    label(part="")


def _receive(shape, dtype, stage: Stage, source: int, group=None) -> Tensor:
    x = torch.empty(shape, dtype=dtype, device=stage.device)
    dist.recv(x, source, group=group)
    return x
