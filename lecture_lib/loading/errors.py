"""What can go wrong when a model is loaded, one named error each; every message says what to do."""

import errno
import re

_DISK_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EIO,
}  # fmt: skip


class ModelLoadError(RuntimeError):
    """A model could not be loaded. The errors below are all of this kind."""

    in_short = ""  # why, in a few words that name no path; the message says more


class ModelNotFoundError(ModelLoadError, ValueError):
    """The name is no folder with a model, and no repository on the Hub that can be seen."""

    in_short = "the Hub shows no such repository"


class UnsupportedModelError(ModelLoadError, ValueError):
    """There is a model, but not a causal language model that Transformers loads by itself."""


class DeviceError(ModelLoadError, ValueError):
    """This machine doesn't have the device, or the device can't compute in the dtype."""


class MissingPackageError(ModelLoadError):
    """The package that holds the bundled model is not installed."""


class NetworkError(ModelLoadError):
    """The Hub can't be reached (or may not be), and the Hub's cache doesn't hold the model."""

    in_short = "the Hub can't be reached and its cache here doesn't hold that model"


class GatedModelError(ModelLoadError):
    """The Hub gives the model only to those who accepted its licence and say who they are."""

    in_short = "the Hub refused access to it"


class CorruptModelError(ModelLoadError):
    """A file of the model is damaged or missing."""

    in_short = "one of its files in the Hub's cache here is damaged or missing"


class NotEnoughMemoryError(ModelLoadError):
    """The weights don't fit into the memory that is free."""

    in_short = "it doesn't fit into the free memory"


class CacheError(ModelLoadError):
    """A cache folder can't be written, or its disk is full."""

    in_short = "the Hub's cache can't be written or its disk is full"


def is_disk_error(error: BaseException) -> bool:
    """Whether writing failed. Rust libraries wrap the system's error: then the text tells."""
    told = {int(number) for number in re.findall(r"os error (\d+)", str(error))}
    return bool(_DISK_ERRORS & (told | {getattr(error, "errno", None)}))


def shortened(error: BaseException) -> str:
    """The beginning of what an error of another library says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
