"""Things to move: thin ipywidgets shells; what they compute and draw lives elsewhere."""

from .base import PictureWidget
from .cache_watcher import CacheWatcher
from .generation_stepper import GenerationStepper
from .sentence_scorer import SentenceScorer

__all__ = ["CacheWatcher", "GenerationStepper", "PictureWidget", "SentenceScorer"]
