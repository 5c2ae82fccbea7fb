"""Records the README's animation: the course's widgets, moved in a real JupyterLab.

    python tools/record_widgets.py      # needs Chromium and playwright; writes docs/widgets.gif

Each frame is a screenshot of the live widget after one key press on its slider.
"""

import io
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tools"), str(ROOT)]

from lab_browser import CHROMIUM, live_lab  # noqa: E402

OUTPUT = ROOT / "docs" / "widgets.gif"
WIDTH, HEIGHT = 760, 600  # pixels of the animation
FRAME_MS, LAST_FRAME_MS = 700, 2200

# Notebook; what the widget's cell is found by; (slider, key, times) to press.
SCENES = (
    ("09_beam_search", "BeamStepper(", ((2, "Home", 1), (2, "ArrowRight", 3))),
    ("10_sampling", "SamplingView(", ((0, "ArrowRight", 8), (2, "ArrowLeft", 5))),
    ("05_compute_and_memory", "CostCalculator(", ((0, "ArrowRight", 8),)),
)


def frames_of(open_notebook, notebook: str, call: str, moves) -> list[Image.Image]:
    """The live widget before the first key press and after each."""
    lecture = open_notebook(f"notebooks/{notebook}.ipynb")
    lecture.run_setup()
    widget = lecture.show_widget(call)
    widget.scroll_into_view_if_needed()
    frames = [screenshot(widget)]
    for slider, key, times in moves:
        widget.get_by_role("slider").nth(slider).focus()
        for _ in range(times):
            lecture.page.keyboard.press(key)
            lecture.page.wait_for_timeout(600)
            frames.append(screenshot(widget))
    return frames


def screenshot(widget) -> Image.Image:
    """The widget on white paper of the animation's size."""
    shown = Image.open(io.BytesIO(widget.screenshot())).convert("RGB")
    shown.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    paper = Image.new("RGB", (WIDTH, HEIGHT), "white")
    paper.paste(shown, ((WIDTH - shown.width) // 2, 0))
    return paper


def write(scenes: list[list[Image.Image]], path: Path) -> None:
    """One endless animation; the last frame of a scene stays longer."""
    frames = [frame for scene in scenes for frame in scene]
    times = [
        LAST_FRAME_MS if i == len(scene) - 1 else FRAME_MS
        for scene in scenes
        for i in range(len(scene))
    ]
    few = [frame.quantize(colors=64, dither=Image.Dither.NONE) for frame in frames]
    few[0].save(path, save_all=True, append_images=few[1:], duration=times, loop=0, optimize=True)


def main() -> int:
    if CHROMIUM is None:
        print("Chromium is not installed (apt install chromium).", file=sys.stderr)
        return 1
    with live_lab() as open_notebook:
        write([frames_of(open_notebook, *scene) for scene in SCENES], OUTPUT)
    print(f"{OUTPUT.relative_to(ROOT)}: {OUTPUT.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
