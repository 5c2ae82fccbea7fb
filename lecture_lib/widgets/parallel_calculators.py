"""PipelineCalculator, TensorParallelCalculator, ScheduleView: what the ranks send, and when."""

import contextlib

import ipywidgets

from ..costs.units import format_count, format_seconds
from ..figures.parallel import volume_bars
from ..figures.picture import Picture
from ..figures.schedule import schedule_chart
from ..model_spec import MODEL_SPECS, ModelSpec
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
from .base import PictureWidget, close_lines

#: Bytes of an activation by the name of its number format.
DTYPES = {"FP32": 4, "FP16 / BF16": 2, "FP8": 1}
_RANKS = (2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 32)
_POWERS = [2**n for n in range(18)]


class _VolumeCalculator(PictureWidget):
    """The controls that both calculators have: model, ranks, L, tokens, batch, dtype, link.

    Every number of ranks can be chosen; one that the model doesn't allow is refused with those
    that it does, and the last picture stays.

    Args:
        model: a name of MODEL_SPECS or of ``specs`` to begin with. n_ranks: ranks to begin with.
        specs: further models to choose from, by name.
    """

    def __init__(
        self,
        model: str = "llama-2-7b",
        n_ranks: int = 4,
        *,
        specs: dict[str, ModelSpec] | None = None,
        extra: list | None = None,
    ):
        self.specs = {**MODEL_SPECS, **(specs or {})}
        choose, slider = ipywidgets.Dropdown, ipywidgets.SelectionSlider
        self.model = choose(description="Model", options=list(self.specs), value=model)
        self.dtype = choose(description="Numbers", options=list(DTYPES), value="FP16 / BF16")
        self.link = choose(description="Link", options=list(LINKS), value="nvlink4")
        self.n_ranks = slider(description="Ranks", options=_RANKS, value=n_ranks)
        self.seq_len = slider(description="Length L", options=_POWERS, value=1024)
        self.max_new_tokens = slider(description="New tokens", options=_POWERS[:13], value=128)
        self.batch_size = slider(description="Batch", options=_POWERS[:10], value=1)
        self.facts = ipywidgets.HTML()
        rows = [
            [self.model, self.dtype, self.link],
            [self.n_ranks, self.seq_len],
            [self.max_new_tokens, self.batch_size],
            *([extra] if extra else []),
        ]
        watch = [control for row in rows for control in row]
        super().__init__([*map(ipywidgets.HBox, rows), self.facts], watch=watch)

    @property
    def spec(self) -> ModelSpec:
        return self.specs[self.model.value]

    def sizes(self) -> dict:
        """The arguments that both volumes take."""
        return {
            "n_ranks": self.n_ranks.value,
            "seq_len": self.seq_len.value,
            "max_new_tokens": self.max_new_tokens.value,
            "batch_size": self.batch_size.value,
            "dtype_bytes": DTYPES[self.dtype.value],
        }

    def _activation(self, n_tokens: int) -> str:
        """B × L × D × bytes, with the numbers of this choice."""
        sizes = self.sizes()
        batch, n_bytes = sizes["batch_size"], sizes["dtype_bytes"]
        return f"{batch} × {n_tokens:,} × {self.spec.d_model:,} × {n_bytes} bytes"

    def _tell_request(self, volume) -> str:
        time = communication_time_s(volume, self.link.value)
        return (
            f"<b>The request</b>: 1 prefill and {volume.n_decode_passes:,} decode passes (the "
            f"first of {volume.max_new_tokens:,} tokens comes out of the prefill): payload "
            f"{format_count(volume.payload_bytes, 'B')}, "
            f"{format_count(volume.wire_bytes, 'B')} on the links, "
            f"{format_seconds(time.request_s)} on {self.link.value}."
        )


class PipelineCalculator(_VolumeCalculator):
    """What the stages of a pipeline send for a request, beside tensor parallelism's bytes."""

    def volume(self):
        """The chosen PipelineVolume."""
        return pipeline_volume(self.spec, **self.sizes())

    def draw(self) -> Picture:
        volume = self.volume()
        shown = {"pipeline": volume}
        with contextlib.suppress(ParallelDegreeError):  # stages may be many; heads are few
            shown["tensor parallel"] = tensor_parallel_volume(self.spec, **self.sizes())
        picture = volume_bars(shown)
        lines = []
        for phase, n_tokens, n_bytes in (
            ("Prefill", volume.seq_len, volume.prefill_boundary_bytes),
            ("One decode pass", 1, volume.decode_boundary_bytes),
        ):
            seconds = transfer_time_s(n_bytes, self.link.value)
            lines.append(
                f"<b>{phase}</b>, at each boundary (of {volume.n_boundaries}): "
                f"{self._activation(n_tokens)} = {n_bytes:,} bytes, "
                f"{format_seconds(seconds)} on {self.link.value}."
            )
        self.facts.value = close_lines("<br>".join([*lines, self._tell_request(volume)]))
        return picture


class TensorParallelCalculator(_VolumeCalculator):
    """What the AllReduces of tensor parallelism sum and send for a request, beside a pipeline's."""

    def __init__(self, model: str = "llama-2-7b", n_ranks: int = 4, **options):
        wide = {"description_width": "initial"}
        self.vocab_parallel_embedding = ipywidgets.Checkbox(
            description="Embedding split too (vocabulary-parallel)", value=False, style=wide
        )
        self.gather_logits = ipywidgets.Checkbox(
            description="Logits gathered", value=False, style=wide
        )
        extra = [self.vocab_parallel_embedding, self.gather_logits]
        super().__init__(model, n_ranks, extra=extra, **options)

    def volume(self):
        """The chosen TensorParallelVolume."""
        return tensor_parallel_volume(
            self.spec,
            **self.sizes(),
            vocab_parallel_embedding=self.vocab_parallel_embedding.value,
            gather_logits=self.gather_logits.value,
        )

    def draw(self) -> Picture:
        volume = self.volume()
        shown = {"tensor parallel": volume}
        with contextlib.suppress(ParallelDegreeError):
            shown["pipeline"] = pipeline_volume(self.spec, **self.sizes())
        picture = volume_bars(shown)
        n, n_layers = volume.n_ranks, self.spec.n_layers
        lines = []
        for phase, n_tokens, n_bytes in (
            ("Prefill", volume.seq_len, volume.prefill_all_reduce_bytes),
            ("One decode pass", 1, volume.decode_all_reduce_bytes),
        ):
            seconds = all_reduce_time_s(n_bytes, n, self.link.value)
            lines.append(
                f"<b>{phase}</b>: 2 AllReduces × {n_layers} layers of {self._activation(n_tokens)} "
                f"= {n_bytes:,} bytes; in a ring each rank sends 2 × {n - 1}/{n} of that, "
                f"{format_seconds(seconds)} on {self.link.value} for one."
            )
        self.facts.value = close_lines("<br>".join([*lines, self._tell_request(volume)]))
        return picture


class ScheduleView(PictureWidget):
    """The pipeline's schedule for a model that is cut into stages of equal time.

    The unit of time is one decode step of the WHOLE model, so that more stages make shorter blocks
    and one request ends no sooner.

    Args:
        n_requests, n_stages: to begin with.
    """

    def __init__(self, n_requests: int = 3, n_stages: int = 3):
        slider = ipywidgets.IntSlider
        self.n_requests = slider(description="Requests", min=1, max=8, value=n_requests)
        self.n_stages = slider(description="Stages", min=1, max=8, value=n_stages)
        self.prefill = slider(description="Prefill time", min=1, max=8, value=3)
        self.max_new_tokens = slider(description="New tokens", min=1, max=12, value=5)
        self.facts = ipywidgets.HTML()
        watch = [self.n_requests, self.n_stages, self.prefill, self.max_new_tokens]
        rows = [ipywidgets.HBox(watch[:2]), ipywidgets.HBox(watch[2:])]
        super().__init__([*rows, self.facts], watch=watch)

    def schedule(self):
        """The chosen Schedule, in units of one decode step of the whole model."""
        n_stages = self.n_stages.value
        return pipeline_schedule(
            n_requests=self.n_requests.value,
            n_stages=n_stages,
            prefill_s=self.prefill.value / n_stages,
            decode_s=1 / n_stages,
            max_new_tokens=self.max_new_tokens.value,
        )

    def draw(self) -> Picture:
        schedule = self.schedule()
        picture = schedule_chart(schedule, unit="decode steps of the whole model")
        alone = self.prefill.value + self.max_new_tokens.value - 1
        in_turn = alone * schedule.n_requests
        ends = ", ".join(f"{end:.3g}" for end in schedule.completion_s.values())
        verdict = (
            "one request gains nothing"
            if schedule.n_requests == 1
            else f"{in_turn / schedule.total_s:.3g} × as many tokens in the same time"
        )
        stages = f"{schedule.n_stages} stage{'s' * (schedule.n_stages > 1)}"
        self.facts.value = close_lines(
            f"Requests complete at {ends}. One GPU, one request after the other: {in_turn}; "
            f"{stages}: {schedule.total_s:.3g}: <b>{verdict}</b>. "
            f"{schedule.bubble_fraction:.0%} of the stages' time is bubbles."
        )
        return picture
