"""From what a caller asks for to a Job; every argument of a parallel run is checked here."""

from pathlib import Path

import torch

from lecture_lib.checks import check_choice, check_count
from lecture_lib.tokens import check_token_ids, encode_prompts

from ..loading import bundled_model, devices
from ..loading.load import find_folder
from .degrees import check_pipeline_degree, check_tensor_parallel_degree
from .job import Job
from .shards import read_model_folder


def make_job(
    kind: str,
    n_ranks: int,
    prompts,
    max_new_tokens: int = 8,
    *,
    model=bundled_model.NAME,
    backend: str = "own",
    dtype: str = "float32",
    device: str = "auto",
    ignore_eos: bool = False,
):
    """A run's Job and the model's tokenizer; ``run_tensor_parallel`` explains the arguments.

    Raises:
        ValueError: an argument other than described.
    """
    from transformers import AutoTokenizer

    check_count("max_new_tokens", max_new_tokens)
    check_choice("backend", backend, ("own", "torch"))
    if hasattr(model, "tokenizer"):  # load_model left the name that it was given in the config
        model = model.model.config.name_or_path
    if not isinstance(model, str | Path) or not str(model).strip():
        raise ValueError(f"model: must be a model's name, a folder or a LoadedModel, got {model!r}")
    folder, _ = find_folder(str(model), check=lambda n_params: None)
    described = read_model_folder(Path(folder).absolute(), Path(str(model)).name)
    check_degree = check_tensor_parallel_degree if kind == "tensor" else check_pipeline_degree
    check_degree(described.spec, n_ranks)
    device_type = choose_device_type(device, n_ranks)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    job = Job(
        kind=kind,
        n_ranks=n_ranks,
        backend=backend,
        model=described,
        prompts=_encode_prompts(kind, prompts, tokenizer, described.spec.vocab_size),
        max_new_tokens=max_new_tokens,
        eos_token_ids=[] if ignore_eos else described.eos_token_ids,
        dtype=devices.choose_dtype(dtype, torch.device(device_type)),
        device_type=device_type,
    )
    _check_lengths(job)
    return job, tokenizer


def _encode_prompts(kind: str, prompts, tokenizer, vocab_size: int) -> list[list[int]]:
    token_lists, single = encode_prompts(prompts, tokenizer)
    if kind == "tensor" and not single:
        n = len(token_lists)
        raise ValueError(f"prompt: takes one prompt, text or token ids, got a list of {n}")
    name = "prompt" if kind == "tensor" else "prompts"
    return [check_token_ids(name, ids, vocab_size).tolist() for ids in token_lists]


def _check_lengths(job: Job) -> None:
    lengths = [len(prompt) for prompt in job.prompts]
    longest = max(lengths) + job.max_new_tokens
    if longest > job.model.max_seq_len:
        raise ValueError(
            f"prompt + max_new_tokens: {longest} positions, more than the {job.model.max_seq_len} "
            "of this model's context (or sliding window)"
        )
    if (job.kind, job.backend) == ("pipeline", "torch") and len(set(lengths)) > 1:
        raise ValueError(
            "prompts: torch.distributed.pipelining cuts a batch into equal microbatches, so all "
            f"need one length, got {lengths} tokens; backend='own' takes them as they are"
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
