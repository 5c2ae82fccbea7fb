"""From what a caller asks for to a Job, and what every rank does with it.

The ranks do the same whether ``run_ranks`` or torchrun has started them.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lecture_lib.checks import check_choice, check_count, check_text, check_type, checked
from lecture_lib.model_spec import ModelSpec, UnsupportedArchitectureError
from lecture_lib.tokens import check_token_ids, encode_prompts, end_tokens

from ..engine.weights import inverse_frequencies
from ..loading import bundled_model, devices
from ..loading.load import find_folder
from ..loading.weight_files import find_weights, tensor_shapes
from .degrees import check_pipeline_degree, check_tensor_parallel_degree
from .meters import MemoryMeter, WireMeter
from .pipeline import Stage, run_stage
from .shards import Shards
from .tensor import TensorParallelLlama
from .traffic import TrafficRecorder, label

FAMILIES = ("llama", "mistral", "qwen2")


@dataclass(frozen=True)
class Job:
    """One parallel run."""

    kind: str  # "tensor" or "pipeline"
    n_ranks: int
    backend: str  # "own" or "torch"
    folder: str  # of the model: every rank reads its part of the files
    spec: ModelSpec
    prompts: list[list[int]]  # token ids of each request
    max_new_tokens: int  # of each request
    eos_token_ids: list[int]  # what ends a request
    dtype: torch.dtype
    device_type: str  # "cpu" or "cuda"

    def cache_len(self, request: int) -> int:
        """Positions that a request's cache needs: the last token is never fed back."""
        return len(self.prompts[request]) + self.max_new_tokens - 1


@checked
def make_job(
    kind: str,
    n_ranks: int,
    prompts,
    max_new_tokens: int = 8,
    *,
    model: Any = bundled_model.NAME,
    backend: str = "own",
    dtype: str = "float32",
    device: str = "auto",
    ignore_eos: bool = False,
):
    """A run's Job and the model's tokenizer; ``run_tensor_parallel`` explains the arguments."""
    from transformers import AutoTokenizer

    check_count("max_new_tokens", max_new_tokens)
    check_choice("backend", backend, ("own", "torch") if kind == "tensor" else ("own",))
    loaded = model if hasattr(model, "tokenizer") else None
    if loaded is not None:  # load_model left the name that it was given in the config
        model = loaded.model.config.name_or_path
    check_type("model", model, str | Path, "a model's name, a folder or a LoadedModel")
    check_text("model", str(model), "word")
    folder, _ = find_folder(str(model), check=lambda n_params: None)
    folder = Path(folder).absolute()
    config, spec = _read_config(folder, Path(str(model)).name)
    if loaded is not None and spec != spec.with_tensors_of(loaded.model):
        raise ValueError(
            f"model: its embeddings are not those of the files of {model}, which the ranks read; "
            "save it with save_pretrained and give that folder"
        )
    check_degree = check_tensor_parallel_degree if kind == "tensor" else check_pipeline_degree
    check_degree(spec, n_ranks)
    device_type = choose_device_type(device, n_ranks)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    job = Job(
        kind=kind,
        n_ranks=n_ranks,
        backend=backend,
        folder=str(folder),
        spec=spec,
        prompts=_encode_prompts(kind, prompts, tokenizer, spec.vocab_size),
        max_new_tokens=max_new_tokens,
        eos_token_ids=[] if ignore_eos else _read_eos(folder, config),
        dtype=devices.choose_dtype(dtype, torch.device(device_type)),
        device_type=device_type,
    )
    _check_lengths(job, spec.context_length or 2**31 - 1)
    return job, tokenizer


def _read_config(folder: Path, name: str):
    """A model's config and spec; refuses what can't be run in parallel here."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in FAMILIES or getattr(config, "hidden_act", None) != "silu":
        raise UnsupportedArchitectureError(
            f"model: {name} is of the type {config.model_type!r}; parallel runs are for "
            f"{', '.join(FAMILIES)} with a gated MLP (silu)"
        )
    if any(path.suffix != ".safetensors" for path in find_weights(folder)):
        raise ValueError(
            f"model: {name} has its weights as pytorch_model.bin; ranks read their parts out of "
            "safetensors (load it and save it again with save_pretrained)"
        )
    spec = ModelSpec.from_config(config, name=name)
    shapes = tensor_shapes(find_weights(folder))
    rows, _ = shapes["model.embed_tokens.weight"]
    spec = replace(spec, vocab_size=rows, tied_embeddings="lm_head.weight" not in shapes)
    inverse_frequencies(config.rope_parameters, spec.head_dim)  # refuses unknown kinds
    return config, spec


def _read_eos(folder: Path, config) -> list[int]:
    from transformers import GenerationConfig

    if (folder / "generation_config.json").is_file():
        config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return sorted(end_tokens(None, config.eos_token_id))


def _encode_prompts(kind: str, prompts, tokenizer, vocab_size: int) -> list[list[int]]:
    token_lists, single = encode_prompts(prompts, tokenizer)
    if kind == "tensor" and not single:
        n = len(token_lists)
        raise ValueError(f"prompt: takes one prompt, text or token ids, got a list of {n}")
    name = "prompt" if kind == "tensor" else "prompts"
    return [check_token_ids(name, ids, vocab_size).tolist() for ids in token_lists]


def _check_lengths(job: Job, max_seq_len: int) -> None:
    longest = max(map(len, job.prompts)) + job.max_new_tokens
    if longest > max_seq_len:
        raise ValueError(
            f"prompt + max_new_tokens: {longest} positions, more than the {max_seq_len} "
            "of this model's context (or sliding window)"
        )


def choose_device_type(device: str, n_ranks: int) -> str:
    """ "cuda" or "cpu" for this many ranks on this machine; refuses fewer GPUs than ranks."""
    check_choice("device", device, ("auto", "cpu", "cuda"))
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if n_gpus >= n_ranks else "cpu"
    if device == "cuda" and n_gpus < n_ranks:
        raise ValueError(f"device: {n_ranks} ranks need as many GPUs, this machine has {n_gpus}")
    return device


def run_job(job: Job) -> dict:
    """Run this rank's part of a job, when the ranks are connected.

    Returns:
        records, memory and wire_by_phase of this rank; token_ids and logits (T, V) of each request
        (tensor: rank 0 has the logits; pipeline: the last stage has both); tensor: step_s, the
        seconds of each step; pipeline: blocks.
    """
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    tensor, own = job.kind == "tensor", job.backend == "own"
    if not own:  # late, because the caller imports this module too and needs no more of torch
        from .torch_backend import TorchTensorParallel
    device = torch.device("cpu")
    if job.device_type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    memory = MemoryMeter(device)
    # A pipeline's stage has its layers whole: nothing of them is cut.
    part = (rank, n_ranks) if tensor else (0, 1)
    shards = Shards(job.folder, job.spec, *part, job.dtype, device)
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
            run_stage(model, job.prompts, job.max_new_tokens)
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
    for step_number in range(job.max_new_tokens):
        label(phase="decode" if step_number else "prefill", step=step_number)
        started = time.perf_counter()
        logits = step(new_ids)  # (1, V)
        new_ids = logits.float().argmax(-1)[None]  # (1, 1)
        token_ids.append(int(new_ids))  # waits for a GPU, so that its work is in the time
        step_s.append(time.perf_counter() - started)
        all_logits.append(logits)
        if step_number == 0:
            wire.lap("prefill")
        if token_ids[-1] in job.eos_token_ids:
            break
    if step_number > 0:
        wire.lap("decode")
    return token_ids, all_logits, step_s


def check_same_tokens(token_ids: list[int]) -> None:
    """Refuse a run whose ranks chose different tokens: from then on their texts differed.

    Ranks on machines whose processors round differently can disagree where two tokens are equally
    likely.
    """
    everyone: list = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, token_ids)
    if any(each != token_ids for each in everyone):
        raise RuntimeError(f"the ranks chose different tokens: {everyone}")
