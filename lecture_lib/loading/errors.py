"""What can go wrong when a model is loaded, one named error each; every message says what to do."""


class ModelLoadError(RuntimeError):
    """A model could not be loaded. The errors below are all of this kind."""


class ModelNotFoundError(ModelLoadError, ValueError):
    """The name is no folder with a model, and no repository on the Hub that can be seen."""


class UnsupportedModelError(ModelLoadError, ValueError):
    """There is a model, but not a causal language model that Transformers loads by itself."""


class DeviceError(ModelLoadError, ValueError):
    """This machine doesn't have the device, or the device can't compute in the dtype."""


class MissingPackageError(ModelLoadError):
    """The package that holds the bundled model is not installed."""


class NetworkError(ModelLoadError):
    """The Hub can't be reached (or may not be), and the Hub's cache doesn't hold the model."""


class GatedModelError(ModelLoadError):
    """The Hub gives the model only to those who accepted its licence and say who they are."""


class CorruptModelError(ModelLoadError):
    """A file of the model is damaged or missing."""


class NotEnoughMemoryError(ModelLoadError):
    """The weights don't fit into the memory that is free."""


class CacheError(ModelLoadError):
    """A cache folder can't be written, or its disk is full."""
