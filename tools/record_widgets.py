"""Records the README's animation: the course's widgets, moved in a real JupyterLab.

    python tools/record_widgets.py      # needs Chromium and playwright; writes docs/widgets.gif

Each frame is a screenshot of the live widget after one key press on its slider.
"""

import io
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tools"), str(ROOT)]

from lab_server import running_lab  # noqa: E402

from conftest import CHROMIUM, FLAGS, pages  # noqa: E402

OUTPUT = ROOT / "docs" / "widgets.gif"
WIDTH, HEIGHT = 760, 600  # pixels of the animation
FRAME_MS, LAST_FRAME_MS = 700, 2200

# Notebook; what its cells are found by, the widget's own last; (slider, key, times) to press.
SCENES = (
    ("09_beam_search", ("load_model(", "BeamStepper("), ((2, "Home", 1), (2, "ArrowRight", 3))),
    ("10_sampling", ("load_model(", "SamplingView("), ((0, "ArrowRight", 8), (2, "ArrowLeft", 5))),
    ("05_compute_and_memory", ("load_model(", "CostCalculator()"), ((0, "ArrowRight", 8),)),
)


def frames_of(open_notebook, notebook: str, calls: tuple[str, ...], moves) -> list[Image.Image]:
    """The live widget before the first key press and after each."""
    lecture = open_notebook(f"notebooks/{notebook}.ipynb")
    cells = [lecture.find_cell(call) for call in calls]
    first = next(i for i, c in enumerate(lecture.nb["cells"]) if c["cell_type"] == "code")
    lecture.run(*sorted({first, *cells}))
    if lecture.errors:
        raise RuntimeError(f"{notebook}: {lecture.errors}")
    widget = lecture.cell(cells[-1]).locator(".lecture-widget")
    widget.wait_for()
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
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        print("Chromium is not installed (apt install chromium).", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lab = stack.enter_context(running_lab(folder))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False
        )
        stack.callback(browser.close)
        open_notebook = stack.enter_context(pages(lab, browser))
        write([frames_of(open_notebook, *scene) for scene in SCENES], OUTPUT)
    print(f"{OUTPUT.relative_to(ROOT)}: {OUTPUT.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
