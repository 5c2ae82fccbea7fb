"""load_model(): the bundled model, a folder or a Hub name, ready to run.

load             load_model, LoadedModel
bundled_model    SmolLM2 from its Python package, converted once
draft_model      two layers that draft for it
optional_models  Whisper and MobileNetV2 from two packages, fetched by a step of its own
complete_folder  a folder that is there whole or not at all, whoever is killed
hub              files from the Hub or its cache, without long waits
devices          which device and dtype, and whether the weights fit
weight_files     which files hold the weights
errors           what can go wrong, each with what to do
quiet            Transformers without its progress bars and warnings
"""

from .draft_model import load_draft_model
from .errors import ModelLoadError
from .load import LoadedModel, load_model

__all__ = ["LoadedModel", "ModelLoadError", "load_draft_model", "load_model"]
