"""Things to move: thin ipywidgets shells; what they compute and draw lives elsewhere."""

from .base import PictureWidget
from .beam_stepper import BeamStepper
from .cache_watcher import CacheWatcher
from .chat import ChatWidget
from .cost_calculator import CostCalculator, StepBreakdown
from .generation_stepper import GenerationStepper
from .parallel_calculators import PipelineCalculator, ScheduleView, TensorParallelCalculator
from .quantisation_view import QuantisationView
from .sampling_view import SamplingView
from .sentence_scorer import SentenceScorer
from .serving_view import ServingView
from .speculation_view import SpeculationView
from .tokenizer_view import TokenizerView

__all__ = [
    "BeamStepper",
    "CacheWatcher",
    "ChatWidget",
    "CostCalculator",
    "GenerationStepper",
    "PictureWidget",
    "PipelineCalculator",
    "QuantisationView",
    "SamplingView",
    "ScheduleView",
    "SentenceScorer",
    "ServingView",
    "SpeculationView",
    "StepBreakdown",
    "TensorParallelCalculator",
    "TokenizerView",
]
