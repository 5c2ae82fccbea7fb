"""Things to move: thin ipywidgets shells; what they compute and draw lives elsewhere."""

from .base import PictureWidget
from .cache_watcher import CacheWatcher
from .cost_calculator import CostCalculator, StepBreakdown
from .generation_stepper import GenerationStepper
from .sentence_scorer import SentenceScorer

__all__ = [
    "CacheWatcher",
    "CostCalculator",
    "GenerationStepper",
    "PictureWidget",
    "SentenceScorer",
    "StepBreakdown",
]
