"""How fast a widget follows the hand: key press on a slider to new picture, in a real browser.

    python benchmarks/widget_redraw.py            # stores its results
    python benchmarks/widget_redraw.py --quick    # a look: fewer presses, writes nothing

The lectures' own cells show the widgets live in JupyterLab, in Chromium. The clock runs in the
page, from the key event to the moment when the new picture is decoded, or other tiles are there.
Widgets take turns, round after round.
"""

import argparse
import sys
from pathlib import Path
from statistics import median

from results import save, show
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tools")]

from lab_browser import CHROMIUM, live_lab  # noqa: E402

# What the widget's cell is found by, and the number of the slider that is moved.
WIDGETS = {
    "CostCalculator": 0,
    "StepBreakdown": 0,
    "ScheduleView": 0,
    "PipelineCalculator": 1,
    "TensorParallelCalculator": 1,
    "BeamStepper": 2,
    "SamplingView": 0,
    "QuantisationView": 0,
    "SpeculationView": 0,
    "ServingView": 0,
}
# From the event to a picture with another source whose pixels are there, or to other tiles.
_TIME_A_MOVE = """(root) => new Promise((done, fail) => {
    const tiles = () => [...root.querySelectorAll('span:has(> br)')].map(t => t.innerText).join();
    const shown = () => root.querySelector('img')?.src ?? tiles(), before = shown();
    const timer = setTimeout(() => fail(new Error('the picture did not change')), 10000);
    let began = null;
    document.addEventListener('keydown', e => { began = e.timeStamp; },
                              {capture: true, once: true});
    const watch = new MutationObserver(async () => {
        if (began === null || ['', before].includes(shown())) return;
        watch.disconnect();
        clearTimeout(timer);
        await root.querySelector('img')?.decode();
        done(performance.now() - began);
    });
    watch.observe(root, {childList: true, subtree: true, attributes: true});
})"""


def open_widgets(open_notebook) -> dict:
    """Each widget's output area, live."""
    from lab_server import WIDGETS as NOTEBOOK

    lectures = open_notebook(NOTEBOOK)
    lectures.run_setup()
    return {name: lectures.show_widget(f"{name}(") for name in tqdm(WIDGETS, desc="Opening")}


def time_a_move(widget, slider: int, key: str) -> float:
    """Milliseconds from the key press to the new picture."""
    page = widget.page
    page.bring_to_front()
    widget.get_by_role("slider").nth(slider).focus()
    page.evaluate("() => { window.moved = null; }")
    widget.evaluate(f"root => {{ ({_TIME_A_MOVE})(root).then(ms => {{ window.moved = ms; }}); }}")
    page.keyboard.press(key)
    page.wait_for_function("window.moved !== null", timeout=15_000)
    page.wait_for_timeout(150)
    return page.evaluate("window.moved")


# Their slider stands at its smallest value to begin with.
_BEGIN_AT_THE_LEFT_END = {"CostCalculator"}


def measure(shown: dict, n_rounds: int) -> dict[str, list[float]]:
    times = {name: [] for name in shown}
    for n in tqdm(range(2 * n_rounds + 2), desc="Moving", unit="round"):
        for name, widget in shown.items():
            # There and back, so that no slider comes to its end.
            there = "ArrowRight" if name in _BEGIN_AT_THE_LEFT_END else "ArrowLeft"
            back = "ArrowLeft" if there == "ArrowRight" else "ArrowRight"
            ms = time_a_move(widget, WIDGETS[name], (there, back)[n % 2])
            if n >= 2:  # the first two warm up
                times[name].append(ms)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="moves there and back a widget")
    parser.add_argument("--quick", action="store_true", help="few moves, nothing written")
    args = parser.parse_args()
    if CHROMIUM is None:
        print("Chromium is not installed (apt install chromium).", file=sys.stderr)
        return 1
    with live_lab() as open_notebook:
        times = measure(open_widgets(open_notebook), 2 if args.quick else args.rounds)
    rows = [
        {"widget": name, "median_ms": median(ms), "fastest_ms": min(ms), "slowest_ms": max(ms)}
        for name, ms in times.items()
    ]
    show({"moves": rows})
    if not args.quick:
        save("widget_redraw", {"moves": 2 * args.rounds, "browser": "Chromium"}, {"moves": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
