"""Records the README's film: the course in a real JupyterLab, with its real model.

    python tools/record_film.py      # needs Chromium and playwright; writes docs/film.gif

Four scenes: the model writes, a lecture asks for a prediction and answers it, a beam search grows
its tree, and a slider filters the distribution that a token is drawn from.
"""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tools"), str(ROOT)]

from lab_browser import CHROMIUM, live_lab  # noqa: E402

OUTPUT = ROOT / "docs" / "film.gif"
WIDTH, HEIGHT, MARGIN = 820, 470, 10  # pixels of the film
VIEWPORT = {"width": 1000, "height": 1500}  # so high that nothing has to be scrolled
STEP_MS, WRITE_MS, READ_MS = 600, 90, 2000
N_COLOURS = 128
QUESTION = "What is gravity? Answer in one sentence."

Frame = tuple[Image.Image, int]  # a picture, and for how many milliseconds it is shown


def main() -> int:
    if CHROMIUM is None:
        print("Chromium is not installed (apt install chromium).", file=sys.stderr)
        return 1
    with live_lab() as open_notebook:
        frames = [frame for scene in SCENES for frame in scene(open_notebook)]
    write(frames, OUTPUT)
    print(f"{OUTPUT.relative_to(ROOT)}: {OUTPUT.stat().st_size / 1e6:.1f} MB")
    return 0


def the_model_writes(open_notebook: Callable) -> Iterator[Frame]:
    lecture, widget = live_widget(open_notebook, "11b_stream_stop_measure", "ChatWidget(", 860)
    widget.get_by_role("textbox", name="Prompt").fill(QUESTION)
    widget.get_by_role("button", name="Send").click()
    n_tokens, tokens = 0, widget.locator(".chat-token")
    said = [widget.locator(".widget-html").nth(i) for i in range(3)]  # without the controls
    while not n_tokens or "still growing" in widget.inner_text():
        if tokens.count() > n_tokens:
            n_tokens = tokens.count()
            yield screenshot(lecture.page, *said), WRITE_MS
        lecture.page.wait_for_timeout(20)
    yield screenshot(lecture.page, *said), READ_MS


def a_prediction(open_notebook: Callable) -> Iterator[Frame]:
    """The question, the cell that answers it, and the explanation that was folded."""
    lecture = opened(open_notebook, "02_autoregressive_generation")
    first = lecture.find_cell("**Predict.** How likely is *fox*")
    cells = [lecture.cell(i) for i in range(first, first + 3)]
    cells[0].scroll_into_view_if_needed()
    yield screenshot(lecture.page, *cells[:1]), READ_MS
    lecture.run(first + 1)
    yield screenshot(lecture.page, *cells[:2]), READ_MS
    cells[2].locator("summary").click()
    yield screenshot(lecture.page, *cells[1:]), 2 * READ_MS


def a_beam_search(open_notebook: Callable) -> Iterator[Frame]:
    moves = ((2, "Home", 1), (2, "ArrowRight", 3))
    return moved(open_notebook, "09_beam_search", "BeamStepper(", moves)


def a_sampler(open_notebook: Callable) -> Iterator[Frame]:
    moves = ((0, "ArrowRight", 8), (2, "ArrowLeft", 5))
    return moved(open_notebook, "10_sampling", "SamplingView(", moves)


SCENES = (the_model_writes, a_prediction, a_beam_search, a_sampler)


def opened(open_notebook: Callable, notebook: str):
    lecture = open_notebook(f"notebooks/{notebook}.ipynb")
    lecture.page.set_viewport_size(VIEWPORT)
    lecture.run_setup()
    return lecture


def live_widget(open_notebook: Callable, notebook: str, call: str, width: int = 1000):
    lecture = opened(open_notebook, notebook)
    lecture.page.set_viewport_size({**VIEWPORT, "width": width})
    widget = lecture.show_widget(call)
    widget.scroll_into_view_if_needed()
    return lecture, widget


def moved(open_notebook: Callable, notebook: str, call: str, moves) -> Iterator[Frame]:
    """The live widget after each key press: (slider, key, times)."""
    lecture, widget = live_widget(open_notebook, notebook, call)
    for slider, key, times in moves:
        widget.get_by_role("slider").nth(slider).focus()
        for i in range(times):
            lecture.page.keyboard.press(key)
            lecture.page.wait_for_timeout(600)
            yield screenshot(lecture.page, widget), READ_MS if i == times - 1 else STEP_MS


def screenshot(page, *elements) -> Image.Image:
    """The elements, one below the other, as large as the film allows, at its top."""
    boxes = [element.bounding_box() for element in elements]
    left, top = (min(box[side] for box in boxes) for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes)
    bottom = max(box["y"] + box["height"] for box in boxes)
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    shown = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    shown = ImageOps.contain(shown, (WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN))
    paper = Image.new("RGB", (WIDTH, HEIGHT), "white")
    paper.paste(shown, ((WIDTH - shown.width) // 2, MARGIN))
    return paper


def write(frames: list[Frame], path: Path) -> None:
    """One endless animation. All frames share a palette of the colours that any of them has."""
    sheet = Image.new("RGB", (WIDTH, HEIGHT * len(frames)))
    for i, (picture, _) in enumerate(frames):
        sheet.paste(picture, (0, i * HEIGHT))
    palette = sheet.quantize(colors=N_COLOURS, method=Image.Quantize.MAXCOVERAGE)
    few = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p, _ in frames]
    times = [time for _, time in frames]
    few[0].save(path, save_all=True, append_images=few[1:], duration=times, loop=0, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
