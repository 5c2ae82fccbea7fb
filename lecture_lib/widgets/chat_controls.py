"""ChatWidget's controls."""

import dataclasses

import ipywidgets

from ..inference_script.settings import TaskInfo

_WIDE = {"description_width": "initial"}
_DEFAULTS = {"output_len": 64, "temperature": 0.0}
_NAMES = (
    "output_len", "temperature", "top_k", "top_p", "repetition_penalty", "seed", "stop"
)  # fmt: skip


def make_controls(widget, prompt: str, settings: dict) -> list[ipywidgets.Widget]:
    """Put the controls onto the widget, as its attributes; returns them in rows.

    Raises:
        ValueError: an unknown setting, or one out of range.
    """
    task = checked(settings)
    # Sent as a whole when the focus leaves it: key by key, the last letters can come after the
    # click on Send where the kernel is slow.
    widget.prompt = ipywidgets.Textarea(
        value=prompt, description="Prompt", rows=3, continuous_update=False, style=_WIDE,
        layout={"width": "auto"},
    )  # fmt: skip
    widget.send_button = _button("Send", "answer the prompt", "primary")
    widget.stop_button = _button("Stop", "end the answer before its next token", "danger")
    widget.stop_button.disabled = True
    widget.clear_button = _button("Clear", "forget the conversation", "")
    widget.output_len = _whole("Max new tokens", task.output_len, 1, 100_000, "190px")
    widget.seed = _whole("Seed", task.seed, 0, 2**31 - 1, "150px")
    widget.top_k = _whole("Top-k (0: off)", task.top_k, 0, 1_000_000, "190px")
    widget.temperature = _slider("Temperature (0: greedy)", task.temperature, 0.0, 3.0)
    widget.top_p = _slider("Top-p", task.top_p, 0.01, 1.0, 0.01)
    widget.repetition_penalty = _slider("Repetition penalty", task.repetition_penalty, 0.5, 3.0)
    widget.stop_strings = ipywidgets.Textarea(
        value="\n".join(map(_typed, task.stop)), description="Stop strings, one a line", rows=2,
        continuous_update=False, placeholder="\\n is a line break", style=_WIDE,
        layout={"width": "400px"},
    )  # fmt: skip
    widget.token = ipywidgets.IntSlider(
        value=1, min=1, max=1, description="Candidates for token", style=_WIDE,
        layout={"width": "500px"},
    )  # fmt: skip
    row = {"flex_flow": "row wrap", "grid_gap": "4px 16px"}
    return [
        widget.prompt,
        ipywidgets.HBox([widget.send_button, widget.stop_button, widget.clear_button]),
        ipywidgets.HBox([widget.output_len, widget.top_k, widget.seed], layout=row),
        ipywidgets.HBox([widget.temperature, widget.top_p, widget.repetition_penalty], layout=row),
        widget.stop_strings,
        ipywidgets.HTML(
            "<small>No beams here: until the end every step of a beam search may replace the whole "
            "text, so there is nothing to stream. StrategiesSideBySide shows them.</small>"
        ),
    ]


def checked(settings: dict) -> TaskInfo:
    """The settings with the chat's defaults, or ValueError."""
    unknown = sorted(set(settings) - set(_NAMES))
    if unknown:
        raise ValueError(f"settings: no {', '.join(unknown)} here; there are {', '.join(_NAMES)}")
    task = TaskInfo("-", **_DEFAULTS | settings)
    stop = (task.stop,) if isinstance(task.stop, str) else tuple(task.stop)
    return dataclasses.replace(task, stop=stop)


def _typed(stop: str) -> str:
    return stop.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def _button(name: str, tooltip: str, style: str) -> ipywidgets.Button:
    return ipywidgets.Button(description=name, tooltip=tooltip, button_style=style)


def _whole(name: str, value: int, low: int, high: int, width: str) -> ipywidgets.BoundedIntText:
    return ipywidgets.BoundedIntText(
        description=name, value=value, min=low, max=high, style=_WIDE, layout={"width": width}
    )


def _slider(name: str, value: float, low: float, high: float, step: float = 0.05):
    return ipywidgets.FloatSlider(
        description=name, value=value, min=low, max=high, step=step, readout_format=".2f",
        style=_WIDE, layout={"width": "370px"},
    )  # fmt: skip
