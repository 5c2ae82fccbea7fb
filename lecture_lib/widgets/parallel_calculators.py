"""PipelineCalculator, TensorParallelCalculator, ScheduleView: what the ranks send, and when."""

import contextlib

import ipywidgets

from ..checks import check_choice
from ..costs.units import format_count, format_seconds
from ..figures import Picture, schedule_chart, volume_bars
from ..model_spec import MODEL_SPECS
from ..parallel import (
    LINKS,
    ParallelDegreeError,
    all_reduce_time_s,
    communication_time_s,
    pipeline_schedule,
    pipeline_volume,
    tensor_parallel_volume,
    transfer_time_s,
)
from .base import WIDE, IntSlider, PictureWidget, close_lines, powers_of_two

#: Bytes of an activation by the name of its number format.
DTYPES = {"FP32": 4, "FP16 / BF16": 2, "FP8": 1}
_RANKS = (2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 32)
_VOLUMES = {"pipeline": pipeline_volume, "tensor parallel": tensor_parallel_volume}


class _VolumeCalculator(PictureWidget):
    """The controls that both calculators have: model, ranks, L, tokens, batch, dtype, link.

    A number of ranks that the model doesn't allow is refused with those that it does. A subclass
    has its ``way`` of splitting, a key of _VOLUMES, ``words`` for what it sends at a time, and
    maybe another way ``beside`` it.

    Args:
        model: a name of MODEL_SPECS or of ``specs`` to begin with. n_ranks: ranks to begin with.
        specs: further ModelSpecs to choose from, by name.
    """

    def __init__(self, model: str = "llama-2-7b", n_ranks: int = 4, *, specs: dict | None = None):
        self.specs = {**MODEL_SPECS, **(specs or {})}
        choose = ipywidgets.Dropdown
        check_choice("model", model, list(self.specs))
        check_choice("n_ranks", n_ranks, _RANKS)
        self.model = choose(description="Model", options=list(self.specs), value=model)
        self.dtype = choose(description="Numbers", options=list(DTYPES), value="FP16 / BF16")
        self.link = choose(description="Link", options=list(LINKS), value="nvlink4")
        self.n_ranks = ipywidgets.SelectionSlider(
            description="Ranks", options=_RANKS, value=n_ranks
        )
        self.seq_len = powers_of_two("Length L", 0, 17, 1024)
        self.max_new_tokens = powers_of_two("New tokens", 0, 12, 128)
        self.batch_size = powers_of_two("Batch", 0, 9, 1)
        self.facts = ipywidgets.HTML()
        rows = [
            [self.model, self.dtype, self.link],
            [self.n_ranks, self.seq_len],
            [self.max_new_tokens, self.batch_size],
        ]
        super().__init__([*rows, *self.extra_rows(), self.facts])

    def extra_rows(self) -> list:
        """Controls that the other calculator has not."""
        return []

    def volume(self):
        """What the chosen way sends: a parallel.Volume."""
        return self._volume(self.way)

    def _volume(self, way: str, **options):
        return _VOLUMES[way](
            self.specs[self.model.value],
            n_ranks=self.n_ranks.value,
            seq_len=self.seq_len.value,
            max_new_tokens=self.max_new_tokens.value,
            batch_size=self.batch_size.value,
            dtype_bytes=DTYPES[self.dtype.value],
            **options,
        )

    def draw(self) -> Picture:
        volume, spec, link = self.volume(), self.specs[self.model.value], self.link.value
        shown = {self.way: volume}
        if self.beside:  # where it is possible: stages may be many, heads are few
            with contextlib.suppress(ParallelDegreeError):
                shown[self.beside] = self._volume(self.beside)
        picture = volume_bars(shown)
        lines = []
        for phase, n_tokens, n_bytes in (
            ("Prefill", volume.seq_len, volume.prefill_tensor_bytes),
            ("One decode pass", 1, volume.decode_tensor_bytes),
        ):
            factors = f"{volume.batch_size} × {n_tokens:,} × {spec.d_model:,}"
            activation = f"{factors} × {volume.dtype_bytes} bytes = {n_bytes:,} bytes"
            lines.append(f"<b>{phase}</b>{self.words(volume, activation, n_bytes, link)}.")
        seconds = communication_time_s(volume, link).request_s
        lines.append(
            f"<b>The request</b>: 1 prefill and {volume.n_decode_passes:,} decode passes (the "
            f"first of {volume.max_new_tokens:,} tokens comes out of the prefill): payload "
            f"{format_count(volume.payload_bytes, 'B')}, "
            f"{format_count(volume.wire_bytes, 'B')} on the links, "
            f"{format_seconds(seconds)} on {link}."
        )
        self.facts.value = close_lines("<br>".join(lines))
        return picture


class PipelineCalculator(_VolumeCalculator):
    """What the stages of a pipeline send for a request."""

    way, beside = "pipeline", None

    def words(self, volume, activation: str, n_bytes: int, link: str) -> str:
        seconds = format_seconds(transfer_time_s(n_bytes, link))
        at = f"at each boundary (of {volume.n_ranks - 1})"
        return f", {at}: {activation}, {seconds} on {link}"


class TensorParallelCalculator(_VolumeCalculator):
    """What the AllReduces of tensor parallelism sum and send for a request, beside a pipeline's."""

    way, beside = "tensor parallel", "pipeline"

    def extra_rows(self) -> list:
        self.vocab_parallel_embedding = ipywidgets.Checkbox(
            description="Embedding split too (vocabulary-parallel)", value=False, style=WIDE
        )
        self.gather_logits = ipywidgets.Checkbox(
            description="Logits gathered", value=False, style=WIDE
        )
        return [[self.vocab_parallel_embedding, self.gather_logits]]

    def volume(self):
        return self._volume(
            self.way,
            vocab_parallel_embedding=self.vocab_parallel_embedding.value,
            gather_logits=self.gather_logits.value,
        )

    def words(self, volume, activation: str, n_bytes: int, link: str) -> str:
        n, n_layers = volume.n_ranks, self.specs[self.model.value].n_layers
        seconds = format_seconds(all_reduce_time_s(n_bytes, n, link))
        return (
            f": 2 AllReduces × {n_layers} layers of {activation}; in a ring each rank "
            f"sends 2 × {n - 1}/{n} of that, {seconds} on {link} for one"
        )


class ScheduleView(PictureWidget):
    """The pipeline's schedule for a model that is cut into stages of equal time.

    The unit of time is one decode step of the WHOLE model, so that more stages make shorter blocks
    and one request ends no sooner.

    Args:
        n_requests, n_stages: to begin with, 1 to 8.
    """

    def __init__(self, n_requests: int = 3, n_stages: int = 3):
        self.n_requests = IntSlider(description="Requests", min=1, max=8, value=n_requests)
        self.n_stages = IntSlider(description="Stages", min=1, max=8, value=n_stages)
        self.prefill = IntSlider(description="Prefill time", min=1, max=8, value=3)
        self.n_chunks = IntSlider(description="Chunks of it", min=1, max=8, value=1)
        self.max_new_tokens = IntSlider(description="New tokens", min=1, max=12, value=5)
        self.facts = ipywidgets.HTML()
        controls = (self.n_requests, self.n_stages, self.prefill, self.n_chunks)
        rows = [list(controls[:2]), list(controls[2:]), self.max_new_tokens]
        super().__init__([*rows, self.facts])

    def schedule(self):
        """The chosen Schedule, in units of one decode step of the whole model."""
        n_stages = self.n_stages.value
        return pipeline_schedule(
            n_requests=self.n_requests.value,
            n_stages=n_stages,
            prefill_s=self.prefill.value / n_stages,
            decode_s=1 / n_stages,
            max_new_tokens=self.max_new_tokens.value,
            n_chunks=self.n_chunks.value,
        )

    def draw(self) -> Picture:
        schedule = self.schedule()
        in_turn = (self.prefill.value + self.max_new_tokens.value - 1) * schedule.n_requests
        ends = ", ".join(f"{end:.3g}" for end in schedule.completion_s.values())
        verdict = f"{in_turn / schedule.total_s:.3g} × as many tokens in the same time"
        if schedule.n_requests == self.n_chunks.value == 1:
            verdict = "one request gains nothing"
        stages = f"{schedule.n_stages} stage{'s' * (schedule.n_stages > 1)}"
        self.facts.value = close_lines(
            f"Requests complete at {ends}. One GPU, one request after the other: {in_turn}; "
            f"{stages}: {schedule.total_s:.3g}: <b>{verdict}</b>. "
            f"{schedule.bubble_fraction:.0%} of the stages' time is bubbles."
        )
        return schedule_chart(schedule, unit="decode steps of the whole model")
