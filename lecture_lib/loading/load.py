"""load_model(): the bundled model, a folder or a Hub name, ready to run."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import check_choice, check_text, check_type
from ..model_spec import MODEL_SPECS, ModelSpec, UnsupportedArchitectureError
from . import bundled_model
from .errors import (
    CorruptModelError,
    ModelNotFoundError,
    NotEnoughMemoryError,
    UnsupportedModelError,
    shortened,
)

if TYPE_CHECKING:  # importing them takes seconds
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


MODEL_VARIABLE = "LECTURE_LIB_MODEL"  # the model that load_model() takes without a name
PACKED = ("int4", "int8")  # formats of weights that no dtype is


@dataclass(frozen=True)
class LoadedModel:
    """A model and what belongs to it.

    Attributes:
        model: Transformers' model in eval mode, its parameters without gradients.
        tokenizer: pads on the left, as generation in batches needs; has a pad token wherever the
            model has an end token.
        spec: the model's dimensions, None for a family that ModelSpec doesn't know.
        device, dtype: where the parameters are, and in which format the model computes.
        weights: the format of its matrices: "int4", "int8", or the dtype's name.
        source: where it came from, for the reader: the bundled model, a folder or a Hub name.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    spec: ModelSpec | None
    device: "torch.device"
    dtype: "torch.dtype"
    source: str
    weights: str = ""


def load_model(
    name: str | Path | None = None,
    *,
    device: "str | torch.device" = "auto",
    dtype: "str | torch.dtype | None" = None,
    weights: str | None = None,
) -> LoadedModel:
    """Loads a causal language model.

    Args:
        name: a folder, a name on the Hub (``"facebook/opt-125m"``), or one of MODEL_SPECS that
            is on the Hub; without it the model that the variable LECTURE_LIB_MODEL names, else
            the bundled model, which needs no network. Code that comes with a model is never run.
        device: "auto" (CUDA, else MPS, else the CPU) or a name such as "cpu" or "cuda:1".
        dtype: "float32" (the default), "bfloat16", "float16" or "float64".
        weights: "int4" or "int8" keeps the matrices packed, 5 or 8 bits per weight, and computes in
            bfloat16. The bundled model's 4-bit blocks are taken as its file has them; other models
            are rounded to the nearest. Where a device has no kernel for them, a message says so
            and the weights are bfloat16. A dtype's name does what ``dtype`` does.

    Returns:
        A LoadedModel. Loading changes none of torch's global settings.

    Raises:
        ModelLoadError: one of those in ``lecture_lib.loading.errors``; each says what to do.
        ValueError: ``name`` is no text; unknown names, devices and dtypes are ValueErrors too.
    """
    if name is None:  # so that a whole lecture can run on another model
        name = os.environ.get(MODEL_VARIABLE) or bundled_model.NAME
    check_type("name", name, str | Path, "a model's name or a folder")
    from . import devices
    from .quiet import quiet_transformers

    name, device = str(name), devices.choose_device(device)
    dtype, weights = _choose_weights(dtype, weights, device)

    def check(n_params: int) -> None:
        devices.check_memory(name, n_params, dtype, device)

    with quiet_transformers():
        folder, source = find_folder(name, check)
        return _load_folder(folder, name, source, device, dtype, weights, check)


def _choose_weights(dtype, weights: str | None, device) -> tuple["torch.dtype", str]:
    """The dtype to compute in, and the format of the weights."""
    from . import devices

    if weights is not None and dtype is not None:
        raise ValueError("dtype: weights says already in which format the weights are; give one")
    packed = check_choice("weights", weights, (None, *PACKED, *devices.DTYPES)) in PACKED
    if packed:
        from .packed_model import why_not_packed

        if reason := why_not_packed(device):
            warnings.warn(f"weights are bfloat16 and not {weights}: {reason}", stacklevel=3)
            packed = False
    chosen = "bfloat16" if weights in PACKED else weights or dtype or "float32"
    chosen = devices.choose_dtype(chosen, device)
    return chosen, weights if packed else str(chosen).removeprefix("torch.")


def find_folder(name: str, check) -> tuple[Path, str]:
    """The folder with the model's files, and words for where it comes from."""
    path = Path(os.path.expanduser(check_text("name", name, "word")))  # also of no such user
    if name == bundled_model.NAME or bundled_model.is_its_gguf(path):
        package = f"{bundled_model.PACKAGE}, {bundled_model.GGUF_FILE}"
        return bundled_model.ensure_bundled_model(), f"bundled model (package {package})"
    # os.path asks without an error for what can't be the name of a file.
    if os.path.isfile(path / "config.json"):
        return path, f"folder {path}"
    if os.path.isfile(path):
        raise ModelNotFoundError(_why_no_file(path))
    is_folder = os.path.isdir(path)
    if is_folder or name.startswith((".", "~")) or path.is_absolute():
        what = "holds no config.json" if is_folder else "is not there"
        raise ModelNotFoundError(
            f"name: the folder {name} {what}; a model's folder has config.json, the weights "
            "(model.safetensors) and the tokenizer (tokenizer.json), as save_pretrained writes them"
        )
    from .hub import fetch_from_hub

    hub_id = MODEL_SPECS[name].hub_id if name in MODEL_SPECS else name
    if hub_id is None:
        raise ModelNotFoundError(f"name: {name} is not on the Hub; only its ModelSpec is known")
    return fetch_from_hub(hub_id, check), f"Hub {hub_id}"


def _why_no_file(path: Path) -> str:
    if path.suffix != ".gguf":
        return f"name: {path} is a file; name its folder, {path.parent}"
    return (
        f"name: {path} is a GGUF file; Transformers reads its tokenizer only in part, so texts "
        "would be split otherwise. Take the model as safetensors (from the Hub, or save_pretrained)"
    )


def _load_folder(folder, name, source, device, dtype, weights, check) -> LoadedModel:
    from transformers import AutoTokenizer

    from .weight_files import count_params, find_weights

    local = {"local_files_only": True, "trust_remote_code": False}
    config, spec = _read_config(folder, name, local)
    files = find_weights(folder)
    n_params = count_params(files) or (spec.n_params if spec else None)
    check(n_params or sum(file.stat().st_size for file in files) // 4)
    if (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file():
        raise UnsupportedModelError(
            f"name: {name} has its tokenizer only as tokenizer.model, which needs a package that "
            "the course lacks; take a version of the model with tokenizer.json"
        )
    with _reading(f"the tokenizer in {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **local)
    model = _read_weights(folder, name, config, dtype, weights, local)
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    if spec is not None:
        spec = spec.with_tensors_of(model)
        model.config.tie_word_embeddings = spec.tied_embeddings  # so that a saved copy is right
    # Not the path that the cache happens to have here: a printed config is the same everywhere.
    model.config._name_or_path = tokenizer.name_or_path = name
    model.eval().requires_grad_(False).to(device)
    return LoadedModel(model, tokenizer, spec, device, dtype, source, weights)


def _read_weights(folder, name, config, dtype, weights, local):
    """The Transformers model, its matrices packed if ``weights`` says so."""
    from transformers import AutoModelForCausalLM

    if weights == "int4" and name == bundled_model.NAME and bundled_model.is_installed():
        from .packed_model import read_bundled

        with _reading(f"the weights in {bundled_model.GGUF_FILE}"):
            return read_bundled(bundled_model.find_gguf(), folder, config)
    with _reading(f"the weights in {folder}"):
        # "auto", the file's own dtype: to pack a matrix we need not copy it first.
        dtype = "auto" if weights in PACKED else dtype
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=dtype, output_loading_info=True, **local
        )
    # Transformers fills what is missing with random numbers and reports no error.
    missing = sorted(report["missing_keys"])
    if missing:
        raise CorruptModelError(
            f"the weights in {folder} lack {len(missing)} of the model's tensors ({missing[0]}, "
            "...): they are damaged, or of a model that is no causal language model"
        )
    if weights in PACKED:
        from .packed_model import pack_model

        pack_model(model, weights)
    return model


def _read_config(folder, name, local):
    """The config of a causal model, and its spec if its family is one that ModelSpec knows."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    try:
        with _reading(str(folder / "config.json")):
            config = AutoConfig.from_pretrained(folder, **local)
    except CorruptModelError as error:
        said = str(error.__cause__)
        if "trust_remote_code" not in said and "does not recognize" not in said:
            raise
        raise UnsupportedModelError(
            f"name: {name} is of a kind that this Transformers doesn't know: it brings code of "
            "its own, which the course doesn't run, or needs a newer Transformers"
        ) from None
    if quantization := getattr(config, "quantization_config", None):
        method = dict(quantization).get("quant_method", "an unknown method")
        raise UnsupportedModelError(
            f"name: {name} is quantised by {method}; the course computes with plain weights. Take "
            "the model that it was made from, and dtype='bfloat16' where memory is short"
        )
    classes = config.architectures or []
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if not causal or any(c.endswith(("MaskedLM", "Classification")) for c in classes):
        raise UnsupportedModelError(
            f"name: {name} is no causal language model ({', '.join(classes) or config.model_type})"
        )
    try:
        return config, ModelSpec.from_config(config, name=Path(name).name)
    except UnsupportedArchitectureError:
        return config, None


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Whatever goes wrong in here means that the file is damaged, unless the error says more."""
    try:
        yield
    except MemoryError as error:
        raise NotEnoughMemoryError(f"{what} needs more memory than is free") from error
    except ImportError as error:
        raise UnsupportedModelError(f"{what} needs a package: {shortened(error)}") from error
    except PermissionError as error:
        raise ModelNotFoundError(f"{what} can't be read: {shortened(error)}") from error
    except Exception as error:
        reason = shortened(error)
        raise CorruptModelError(f"{what} can't be read ({reason}); fetch it again") from error
