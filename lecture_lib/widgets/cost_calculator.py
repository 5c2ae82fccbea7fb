"""CostCalculator, StepBreakdown: any model on any device: the roofline, the memory, the time."""

import ipywidgets

from ..costs import LECTURE, memory_budget, step_latency
from ..costs.units import format_count, format_seconds
from ..figures import Picture, RooflinePoint, roofline
from ..figures.costs import memory_bars, time_breakdown
from ..hardware import HARDWARE
from ..model_spec import MODEL_SPECS
from .base import PictureWidget, powers_of_two

#: Number formats by name: bytes of activations, and what is stored in another format.
PRECISIONS = {
    "FP32": (4, {}),
    "FP16 / BF16": (2, {}),
    "int8 weights": (2, {"weight_format": "int8"}),
    "int4 weights": (2, {"weight_format": "int4"}),
    "int8 weights and cache": (2, {"weight_format": "int8", "kv_format": "int8"}),
    "int8 everywhere but the cache": (2, {"weight_format": "int8", "table_format": "int8"}),
    "the GGUF file's Q4_1, int8 tables": (2, {"weight_format": "q4_1", "table_format": "int8"}),
}
#: The rows of the roofline: o_proj has q_proj's place, sv_matmul qk_matmul's, down_proj up_proj's.
_SHOWN = ("q_proj", "k_proj", "qk_matmul", "up_proj", "lm_head")


class _Calculator(PictureWidget):
    """The controls of both calculators; they begin with a batch_size and a seq_len."""

    def __init__(self, *, batch_size: int = 1, seq_len: int = 1024):
        choose = ipywidgets.Dropdown
        self.model = choose(description="Model", options=list(MODEL_SPECS), value="llama-2-7b")
        self.hardware = choose(
            description="Hardware", options=list(HARDWARE), value="a100-80gb-sxm"
        )
        self.precision = choose(
            description="Numbers", options=list(PRECISIONS), value="FP16 / BF16"
        )
        self.batch_size = powers_of_two("Batch", 0, 12, batch_size)
        self.seq_len = powers_of_two("Length L", 4, 20, seq_len)
        self.facts = ipywidgets.HTML()
        rows = [[self.model, self.hardware, self.precision], [self.batch_size, self.seq_len]]
        super().__init__([*rows, *self.extra_rows(), self.facts])

    def extra_rows(self) -> list:
        """Controls that the other calculator has not."""
        return []

    def setting(self) -> tuple[tuple, dict]:
        """What a step and a budget depend on, as positional and named arguments."""
        dtype_bytes, formats = PRECISIONS[self.precision.value]
        return (self.batch_size.value, self.seq_len.value, dtype_bytes), dict(formats)

    def step(self, phase: str):
        """The chosen step's predicted latency."""
        sizes, formats = self.setting()
        formats |= {"fused_attention": False, "conventions": type(LECTURE)(softmax_pass=False)}
        return step_latency(
            MODEL_SPECS[self.model.value], HARDWARE[self.hardware.value], phase, *sizes, **formats
        )


class CostCalculator(_Calculator):
    """The roofline of a device with the products of one step of a model on it, and the memory."""

    def extra_rows(self) -> list:
        self.phase = ipywidgets.ToggleButtons(
            description="Phase", options=["prefill", "decode"], value="decode"
        )
        return [[self.phase]]

    def draw(self) -> Picture:
        phase, device = self.phase.value, HARDWARE[self.hardware.value]
        step = self.step(phase)
        intensity = step.table.set_index("op").intensity
        points = [RooflinePoint(op, intensity[op], kind=phase) for op in _SHOWN if op in intensity]
        points.append(RooflinePoint("whole step", step.flops / step.bytes, kind="all of it"))
        dtype = device.dtype_of(PRECISIONS[self.precision.value][0])
        title = f"{self.model.value} on {device.name}, {dtype}"
        roof = roofline(device.peak(dtype), device.memory_bandwidth, points, title=title)
        sizes, formats = self.setting()
        budget = memory_budget(
            self.model.value, *sizes, **formats, memory=device, prefill=phase == "prefill"
        )
        parts = {"weights": budget.weights, "KV cache": budget.kv_cache}
        bar = memory_bars({"memory": parts | {"activations": budget.activations}}, budget.memory)
        self.facts.value = (
            f"At best {format_seconds(step.seconds)} per step, {step.tokens_per_s:,.0f} "
            f"{'prompt' if phase == 'prefill' else 'new'} tokens per second, {step.bound} bound as "
            f"a whole. {format_count(budget.total, 'B')} "
            f"{'fits' if budget.fits else '<b>does not fit</b>'}."
        )
        return Picture.stacked(roof, bar)


class StepBreakdown(_Calculator):
    """Where the time of a decode step goes: every kind of operation, all layers together."""

    def draw(self) -> Picture:
        step = self.step("decode")
        table = step.table.sort_values("seconds", ascending=False, kind="stable").head(10)
        parts = [(row.op, row.seconds, row.bound) for row in table.itertuples()]
        if (rest := step.seconds - table.seconds.sum()) > 1e-12:
            parts.append(("all others", rest, "memory"))
        weights = step.table.weight_bytes.sum() / step.bytes
        cache = step.table.kv_bytes.sum() / step.bytes
        self.facts.value = (
            f"At best {format_seconds(step.seconds)}, {step.tokens_per_s:,.0f} tokens per second. "
            f"Of the bytes moved, {weights:.0%} are weights and {cache:.0%} keys and values."
        )
        return time_breakdown(parts, title=f"{self.model.value}, one decode step")
