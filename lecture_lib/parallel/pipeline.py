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

from ..engine.kernels import FastLlama, attend, linear, rope_tables
from ..engine.kv_cache import KVCache
from ..engine.weights import inverse_frequencies
from .degrees import check_pipeline_degree
from .schedule import StageBlock
from .shards import Shards, new_cache, read_layer, read_lm_head, read_norm
from .traffic import label


class Stage(FastLlama):
    """One stage's layers, the caches of all requests for these layers, and what it has seen.

    Attributes:
        stage, n_stages: its number, and how many there are.
        blocks: a StageBlock for every pass. tokens, logits_of: of every request (the last stage's).
    """

    def __init__(self, shards: Shards, job, stage: int, n_stages: int):
        spec = shards.model.spec
        self.stage, self.n_stages = stage, n_stages
        self.is_first, self.is_last = stage == 0, stage == n_stages - 1
        self.n_heads, self.n_kv_heads = spec.n_heads, spec.n_kv_heads
        self.head_dim, self.d_model = spec.head_dim, spec.d_model
        self.dtype, self.device = shards.dtype, shards.device
        layers = check_pipeline_degree(spec, n_stages)[stage]
        self.layers = [read_layer(shards, i) for i in layers]
        self.embeddings = shards.whole("model.embed_tokens.weight") if self.is_first else None
        if self.is_last:
            self.final_norm = read_norm(shards, "model.norm")
            self.lm_head = read_lm_head(shards, self.embeddings)
        self.inv_freq = inverse_frequencies(shards.model.rope, spec.head_dim).to(shards.device)
        lengths = [job.cache_len(i) for i in range(len(job.prompts))]
        self.caches = [new_cache(shards, self.layers, self.n_kv_heads, n) for n in lengths]
        self.blocks: list[StageBlock] = []
        self.tokens: list[list[int]] = [[] for _ in job.prompts]
        self.logits_of: list[list[Tensor]] = [[] for _ in job.prompts]
        self.started_at = 0.0

    def start_clock(self) -> None:
        """From now on ``blocks`` count their seconds; all stages call this together.

        On one machine the processes share a clock, and so the moment of stage 0. Clocks of
        several machines differ: there each counts from when it left the barrier.
        """
        dist.barrier()
        start = [time.perf_counter()]
        if int(os.environ.get("LOCAL_WORLD_SIZE", self.n_stages)) == self.n_stages:
            dist.broadcast_object_list(start, src=0)
        self.started_at = start[0]

    @property
    def cache_bytes(self) -> int:
        return sum(cache.nbytes for cache in self.caches)

    @torch.no_grad()
    def compute(self, request: int, step: int, x: Tensor) -> Tensor:
        """One pass of one request through this stage; notes when.

        Args:
            x: tokens (L,) at the first stage, else the stage before's embeddings (L, D).

        Returns:
            Embeddings (L, D); at the last stage the next token, (1,).
        """
        started = time.perf_counter()
        x = F.embedding(x, self.embeddings) if self.is_first else x  # (L, D)
        x = self.run_layers(x, self.caches[request])
        if self.is_last:
            logits = self.logits(x[-1:])  # (1, V)
            x = logits.float().argmax(-1)  # (1,)
            self.tokens[request].append(int(x))
            self.logits_of[request].append(logits)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        times = (started - self.started_at, time.perf_counter() - self.started_at)
        phase = "prefill" if step == 0 else "decode"
        self.blocks.append(StageBlock(self.stage, request, phase, step, *times))
        return x

    def run_layers(self, x: Tensor, cache: KVCache) -> Tensor:
        """(L, D) to (L, D) through this stage's layers; the cache grows by L."""
        seq_len = len(x)
        pattern = cache.pattern(seq_len)
        rope = rope_tables(pattern.positions, self.inv_freq, x.dtype)
        for i, layer in enumerate(self.layers):
            q, kv = self.project(layer.attention_norm(x), layer, 1, rope)
            z = attend(q, *cache.append(i, kv), pattern)  # (1, L, n_H * H)
            x = x + linear(z[0], layer.out, layer.out_bias)
            x = x + self.mlp(layer.mlp_norm(x), layer)
        cache.advance(seq_len)
        return x


def run_stage(stage: Stage, job) -> None:
    """Run all requests through this stage: every one's prefill, then decode step by step.

    All requests make ``max_new_tokens`` tokens; what follows an EOS is cut off afterwards. So the
    stages know which request is next without communicating.
    """
    # A separate connection for the tokens that go back, so that the two directions of a pair
    # of ranks don't wait for one another (NCCL runs the messages of one connection in order).
    token_group = dist.new_group([0, stage.n_stages - 1]) if stage.n_stages > 1 else None
    # No stage waits until what it sends is received: stage 0, with the next request's embeddings,
    # would wait for the last stage, which waits with a token for stage 0. What is sent is kept
    # until it has arrived.
    sent = []
    for step in range(job.max_new_tokens):
        for request, prompt in enumerate(job.prompts):
            label(phase="decode" if step else "prefill", step=step, part="hidden")
            if stage.is_first:
                x = _first_input(stage, prompt, request, step, token_group)
            else:
                shape = (1 if step else len(prompt), stage.d_model)  # (L, D)
                x = _receive(shape, stage.dtype, stage, stage.stage - 1)
            y = stage.compute(request, step, x)
            if not stage.is_last:
                sent.append((dist.isend(y, stage.stage + 1), y))
            elif step + 1 < job.max_new_tokens and not stage.is_first:
                label(phase="decode", step=step + 1, part="token")  # the next step's input
                sent.append((dist.isend(y, 0, group=token_group), y))
    for request_to_send, _ in sent:
        request_to_send.wait()
    label(part="")


def _first_input(stage: Stage, prompt: list[int], request: int, step: int, group) -> Tensor:
    """Tokens (L,) for stage 0: the prompt, then each token that the last stage has chosen."""
    if step == 0:
        return torch.tensor(prompt, device=stage.device)
    if stage.is_last:
        return torch.tensor(stage.tokens[request][-1:], device=stage.device)
    label(part="token")
    token = _receive((1,), torch.long, stage, stage.n_stages - 1, group)
    label(part="hidden")
    return token


def _receive(shape, dtype, stage: Stage, source: int, group=None) -> Tensor:
    x = torch.empty(shape, dtype=dtype, device=stage.device)
    dist.recv(x, source, group=group)
    return x
