"""CostCalculator, StepBreakdown: any model on any device: the roofline, the memory, the time."""

import ipywidgets

from ..costs import LECTURE, memory_budget, step_latency
from ..costs.units import format_bytes, format_seconds
from ..figures import Picture, RooflinePoint, memory_bars, roofline, time_breakdown
from ..hardware import HARDWARE, Hardware
from ..model_spec import MODEL_SPECS, ModelSpec
from .base import PictureWidget

#: Number formats by name: bytes of activations, format of the layers' weights, format of the cache.
PRECISIONS = {
    "FP32": (4, None, None),
    "FP16 / BF16": (2, None, None),
    "int8 weights": (2, "int8", None),
    "int4 weights": (2, "int4", None),
    "int8 weights and cache": (2, "int8", "int8"),
}
_SHOWN = ("q_proj", "k_proj", "o_proj", "qk_matmul", "sv_matmul", "up_proj", "down_proj", "lm_head")


class _Calculator(PictureWidget):
    """The controls that both calculators have: model, hardware, batch, length, numbers."""

    def __init__(
        self,
        model: str = "llama-2-7b",
        hardware: str = "a100-80gb-sxm",
        *,
        specs: dict[str, ModelSpec] | None = None,
        devices: dict[str, Hardware] | None = None,
        batch_size: int = 1,
        seq_len: int = 1024,
        extra: list | None = None,
    ):
        self.specs = {**MODEL_SPECS, **(specs or {})}
        self.devices = {**HARDWARE, **(devices or {})}
        choose = ipywidgets.Dropdown
        self.model = choose(description="Model", options=list(self.specs), value=model)
        self.hardware = choose(description="Hardware", options=list(self.devices), value=hardware)
        self.precision = choose(
            description="Numbers", options=list(PRECISIONS), value="FP16 / BF16"
        )
        powers = [2**n for n in range(21)]
        slider = ipywidgets.SelectionSlider
        self.batch_size = slider(description="Batch", options=powers[:13], value=batch_size)
        self.seq_len = slider(description="Length L", options=powers[4:], value=seq_len)
        self.facts = ipywidgets.HTML()
        watch = [self.model, self.hardware, self.precision, self.batch_size, self.seq_len]
        rows = [watch[:3], watch[3:], *([extra] if extra else [])]
        watch += extra or []
        super().__init__([*map(ipywidgets.HBox, rows), self.facts], watch=watch)

    def step(self, phase: str):
        """The chosen step's predicted latency."""
        dtype_bytes, weight_format, kv_format = PRECISIONS[self.precision.value]
        return step_latency(
            self.specs[self.model.value],
            self.devices[self.hardware.value],
            phase,
            self.batch_size.value,
            self.seq_len.value,
            dtype_bytes,
            weight_format=weight_format,
            kv_format=kv_format,
            fused_attention=False,
            conventions=type(LECTURE)(softmax_pass=False),
        )


class CostCalculator(_Calculator):
    """The roofline of a device with the products of one step of a model on it, and the memory.

    Args:
        model, hardware: names to begin with, of MODEL_SPECS and HARDWARE or of the next two.
        specs, devices: further models and devices to choose from, by name.
        batch_size, seq_len: powers of two to begin with.
    """

    def __init__(self, model: str = "llama-2-7b", hardware: str = "a100-80gb-sxm", **options):
        self.phase = ipywidgets.ToggleButtons(
            description="Phase", options=["prefill", "decode"], value="decode"
        )
        super().__init__(model, hardware, extra=[self.phase], **options)

    def budget(self):
        """The bytes that have to fit, as a MemoryBudget."""
        dtype_bytes, weight_format, kv_format = PRECISIONS[self.precision.value]
        return memory_budget(
            self.specs[self.model.value],
            self.batch_size.value,
            self.seq_len.value,
            dtype_bytes,
            weight_format=weight_format,
            kv_format=kv_format,
            memory=self.devices[self.hardware.value],
            prefill=self.phase.value == "prefill",
        )

    def draw(self) -> Picture:
        step, budget = self.step(self.phase.value), self.budget()
        device = self.devices[self.hardware.value]
        dtype = device.dtype_of(PRECISIONS[self.precision.value][0])
        costs = step.table.set_index("op")
        points = [
            RooflinePoint(op, costs.intensity[op], kind=self.phase.value)
            for op in _SHOWN
            if op in costs.index
        ]
        points.append(RooflinePoint("whole step", step.flops / step.bytes, kind="all of it"))
        title = f"{self.model.value} on {device.name}, {dtype}"
        roof = roofline(device.peak(dtype), device.memory_bandwidth, points, title=title)
        parts = {"weights": budget.weights, "KV cache": budget.kv_cache}
        bar = memory_bars({"memory": parts | {"activations": budget.activations}}, budget.memory)
        self._tell(step, budget)
        return Picture.stacked(roof, bar)

    def _tell(self, step, budget) -> None:
        kind = "prompt" if self.phase.value == "prefill" else "new"
        fits = "fits" if budget.fits else "<b>does not fit</b>"
        self.facts.value = (
            f"At best {format_seconds(step.seconds)} a step, {step.tokens_per_s:,.0f} {kind} "
            f"tokens per second, {step.bound} bound as a whole. "
            f"{format_bytes(budget.total)} {fits}."
        )


class StepBreakdown(_Calculator):
    """Where the time of a decode step goes: every kind of operation, all layers together."""

    def draw(self) -> Picture:
        step = self.step("decode")
        table = step.table.sort_values("seconds", ascending=False, kind="stable").head(10)
        parts = [(row.op, row.seconds, row.bound) for row in table.itertuples()]
        if (rest := step.seconds - sum(seconds for _, seconds, _ in parts)) > 1e-12:
            parts.append(("all others", rest, "memory"))
        weights = step.table.weight_bytes.sum() / step.bytes
        cache = step.table.kv_bytes.sum() / step.bytes
        self.facts.value = (
            f"At best {format_seconds(step.seconds)}, {step.tokens_per_s:,.0f} tokens per second. "
            f"Of the bytes moved, {weights:.0%} are weights and {cache:.0%} keys and values."
        )
        return time_breakdown(parts, title=f"{self.model.value}, one decode step")
