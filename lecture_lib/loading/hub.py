"""Fetches a model of the Hugging Face Hub into the Hub's own cache, without long waits.

huggingface_hub by itself asks without a time limit (where no answer comes, it hangs for minutes),
shows three progress bars, and explains an error by a link. So one question is asked first, with a
deadline; its answer tells all that can go wrong before the download.
"""

import difflib
import fnmatch
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from tqdm import tqdm

from ..checks import shown
from ..model_spec import MODEL_SPECS
from .bundled_model import NAME as BUNDLED
from .errors import (
    CacheError,
    CorruptModelError,
    GatedModelError,
    ModelLoadError,
    ModelNotFoundError,
    NetworkError,
    UnsupportedModelError,
    is_disk_error,
    shortened,
)
from .weight_files import WEIGHTS, find_weights

# One request may take this long, and the first question as a whole (with the look-up of the
# address and every address tried) this long.
REQUEST_TIMEOUT_S = 5.0
DEADLINE_S = 6.0
QUIET_S = 2.0  # no bar for what takes less
SMALL_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")


def fetch_from_hub(repo_id: str, check_params: Callable[[int], None] = lambda n: None) -> Path:
    """The folder in the Hub's cache with the repository's config, tokenizer and weights.

    Safetensors where the repository has them, else ``pytorch_model*.bin``. Without a network, or
    with HF_HUB_OFFLINE=1, what the cache holds is used.

    Args:
        repo_id: owner/model.
        check_params: called before the download with the number of parameters, where the Hub
            says it; may raise.

    Raises:
        ModelNotFoundError: no such repository, or one that can't be seen without a token.
        GatedModelError: its licence must be accepted first, or the token was refused.
        UnsupportedModelError: the repository holds no weights that Transformers reads.
        NetworkError: the Hub can't be reached and the cache doesn't hold the whole model.
        CacheError: the Hub's cache can't be written, or its disk is full.
    """
    if constants.is_offline_mode():
        return _from_cache(repo_id, "HF_HUB_OFFLINE is set, so the Hub is not asked")
    try:
        info = _with_deadline(
            lambda: HfApi().model_info(repo_id, files_metadata=True, timeout=REQUEST_TIMEOUT_S)
        )
        if info.safetensors is not None:
            check_params(info.safetensors.total)
        return _download(repo_id, {file.rfilename: file.size or 0 for file in info.siblings})
    except ModelLoadError:
        raise
    except HFValidationError:
        raise unknown_model(repo_id) from None
    except HfHubHTTPError as error:
        _raise_refusal(repo_id, error)
        why = f"the Hub answered {error.response.status_code}"
    except Exception as error:  # the many ways of no network: names, routes, proxies, timeouts
        if is_disk_error(error):
            raise CacheError(
                f"could not write {repo_id} to the Hub's cache {constants.HF_HUB_CACHE} ({error}). "
                "Free space there, or set HF_HOME to another folder."
            ) from error
        why = f"the Hub can't be reached ({shortened(error)})"
    return _from_cache(repo_id, why)


def unknown_model(name: str) -> ModelNotFoundError:
    """The error for a name that leads nowhere, with near names among the published models."""
    known = {BUNDLED: BUNDLED}
    for preset, spec in MODEL_SPECS.items():
        known[preset] = preset
        if spec.hub_id:
            short = spec.hub_id.split("/")[1]
            known |= {spec.hub_id.lower(): spec.hub_id, short.lower(): spec.hub_id}
    near = difflib.get_close_matches(name.lower(), known, n=3)
    hint = f"Did you mean {' or '.join(dict.fromkeys(known[n] for n in near))}? " if near else ""
    return ModelNotFoundError(
        f"name: {shown(name)} is no folder with a model, and the Hub shows no such repository. "
        f"{hint}A name is 'owner/model' on the Hub (a private one needs HF_TOKEN), a folder, "
        f"or {BUNDLED}"
    )


def _download(repo_id: str, sizes: dict[str, int]) -> Path:
    """Fetches the small files of the top folder, and one kind of weights."""
    top = [name for name in sizes if "/" not in name]
    weights = next((w for w in WEIGHTS if fnmatch.filter(top, w)), None)
    if weights is None:
        raise UnsupportedModelError(
            f"name: the repository {repo_id} holds no weights as {' or '.join(WEIGHTS)}"
        )
    names = [name for pattern in (*SMALL_FILES, weights) for name in fnmatch.filter(top, pattern)]
    _check_disk(repo_id, sum(sizes[name] for name in names))
    return Path(snapshot_download(repo_id, allow_patterns=names, tqdm_class=_OneBar))


def _check_disk(repo_id: str, needed: int) -> None:
    """Refuses what can't fit: files that are in the cache already are counted out."""
    cache = Path(constants.HF_HUB_CACHE)
    have = cache / repo_folder_name(repo_id=repo_id, repo_type="model") / "blobs"
    needed -= sum(path.stat().st_size for path in have.glob("*")) if have.is_dir() else 0
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise CacheError(
            f"{repo_id} needs {needed / 1e9:.1f} GB, and the disk of the Hub's cache {cache} has "
            f"{free / 1e9:.1f} GB free. Free space there, or set HF_HOME to another folder."
        )


def _from_cache(repo_id: str, why: str) -> Path:
    try:
        folder = Path(
            snapshot_download(repo_id, local_files_only=True, allow_patterns=["config.json"])
        )
        find_weights(folder)
    except HFValidationError:
        raise unknown_model(repo_id) from None
    except (LocalEntryNotFoundError, CorruptModelError, UnsupportedModelError):
        raise NetworkError(
            f"{repo_id}: {why}, and the Hub's cache {constants.HF_HUB_CACHE} doesn't hold the "
            "whole model. Connect to the network (and unset HF_HUB_OFFLINE) and try again, or use "
            "the bundled model: load_model()."
        ) from None
    return folder


def _raise_refusal(repo_id: str, error: HfHubHTTPError) -> None:
    """Raises for an answer that waiting won't change; returns for the Hub's own troubles."""
    status = error.response.status_code
    is_gated = isinstance(error, GatedRepoError)  # a kind of RepositoryNotFoundError
    if isinstance(error, RepositoryNotFoundError) and not is_gated:
        raise unknown_model(repo_id) from None
    if is_gated or status in (401, 403):
        raise GatedModelError(
            f"{repo_id}: the Hub refused access ({status}). If it has one, accept its licence at "
            f"{constants.ENDPOINT}/{repo_id}; then make a token in your account's settings, and "
            "set it as HF_TOKEN (or run `hf auth login`)."
        ) from None


def _with_deadline(ask: Callable[[], Any]) -> Any:
    """The answer, or TimeoutError: looking up a name has no time limit."""
    answer = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    if not wait([answer], DEADLINE_S).done:
        raise TimeoutError(f"no answer within {DEADLINE_S:.0f} seconds")
    return answer.result()


class _OneBar(tqdm):
    """Of the library's three bars only the one that counts bytes, and only for what takes long."""

    def __init__(self, *args: Any, **kwargs: Any):
        shown = kwargs.get("unit") == "B" and "Reconstructing" in (kwargs.get("desc") or "")
        kwargs |= {"disable": not shown, "desc": "Fetching the model", "bar_format": None}
        self._shown_from = time.monotonic() + QUIET_S
        super().__init__(*args, file=sys.stderr, delay=QUIET_S, leave=False, **kwargs)

    def refresh(self, *args: Any, **kwargs: Any) -> None:
        """Draws the bar, not too early: tqdm's own ``delay`` doesn't hold for refresh()."""
        if time.monotonic() > self._shown_from:
            super().refresh(*args, **kwargs)

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        """Keeps ours."""
