"""Calculators and views of lectures 05 to 12: every control moved by hand, every number compared.

They are the lectures' own cells, put together in one notebook (lab_server.WIDGETS).

The page is compared with the same widget in this process, whose numbers other tests compare with
the library and with published tables; one number a widget is compared with the library here too.
"""

import pytest
from lab_page import keep_screenshot
from lab_server import WIDGETS_SETUP
from playwright.sync_api import expect
from widget_replica import REDRAW_MS, Replica

from lecture_lib import widgets
from lecture_lib.costs.units import format_seconds
from lecture_lib.decoding import beam_finds_what_greedy_misses, beam_search
from lecture_lib.engine import Engine
from lecture_lib.hardware import HARDWARE
from lecture_lib.model_spec import MODEL_SPECS
from lecture_lib.parallel import pipeline_schedule, pipeline_volume, tensor_parallel_volume

pytestmark = [pytest.mark.real_model, pytest.mark.slow]


# Each with the number of the slider that is moved quickly.
SHOWN = {
    "CostCalculator": 0,
    "StepBreakdown": 0,
    "ScheduleView": 3,
    "PipelineCalculator": 1,  # of the number of ranks some values are refused
    "TensorParallelCalculator": 1,
    "BeamStepper": 2,
    "SamplingView": 0,
    "QuantisationView": 0,
    "ServingView": 0,
}


@pytest.fixture(scope="module")
def show(widgets_page, loaded):
    """Shows the widget of a class, live as in its lecture, beside a new one here."""
    names = {name: getattr(widgets, name) for name in widgets.__all__}
    known = {"spec": loaded.spec, "loaded": loaded, "engine": Engine(loaded)}
    exec("\n".join(WIDGETS_SETUP.splitlines()[-3:]), known)  # the numbers and texts

    def show_one(name):
        call = f"{name}("
        widget = widgets_page.show_widget(call)
        source = widgets_page.nb["cells"][widgets_page.find_cell(call)]["source"]
        replica = Replica(widget, eval("".join(source), {**names, **known}))
        replica.expect_the_same(expect)
        return replica

    return show_one


@pytest.fixture(scope="module")
def replica(show, request):
    """One widget for the tests below that don't ask how it begins."""
    return show(request.param)


@pytest.mark.parametrize("replica", SHOWN, indirect=True)
def test_quick_moves_end_where_the_hand_ended(replica):
    slider = replica.sliders[SHOWN[type(replica.here).__name__]]
    # Where there is room, the last value is one that was not passed on the way: the picture of it
    # is that of the end.
    up = 1 if replica.room_above(slider) >= 6 else -1
    for by in (4, -3, 4, -3, 4):
        replica.press_arrow(slider, up * by)
    replica.expect_the_same(expect)
    settled = replica.shown.get_by_role("img").first.get_attribute("src")
    # A backlog would go on drawing states that the hand has left.
    replica.shown.page.wait_for_timeout(500)
    assert replica.shown.get_by_role("img").first.get_attribute("src") == settled


@pytest.mark.parametrize("replica", SHOWN, indirect=True)
def test_each_control_moves_the_picture(replica):
    for slider in reversed(replica.sliders):  # top-k, moved first, would hide what min-p does
        before = replica.here.picture.live_jpeg
        step = -1 if slider.value == getattr(slider, "max", None) else 1
        for _ in range(3):  # 5 and 6 ranks are refused
            if replica.here.picture.live_jpeg == before:
                replica.press_arrow(slider, step)
                replica.expect_the_same(expect)
        assert replica.here.picture.live_jpeg != before, slider.description
    for dropdown in replica.lists:
        replica.choose(dropdown, (dropdown.index + 1) % len(dropdown.options))
        replica.expect_the_same(expect)
    for box in replica.boxes:
        replica.tick(box)
        replica.expect_the_same(expect)
    for buttons in replica.toggles:
        replica.toggle(buttons, (buttons.index + 1) % len(buttons.options))
        replica.expect_the_same(expect)

    keep_screenshot(replica.shown, f"widget_{type(replica.here).__name__}")


@pytest.mark.parametrize("replica", SHOWN, indirect=True)
def test_tab_alone_reaches_every_control(replica):
    page = replica.shown.page
    n_controls = len(replica.sliders) + len(replica.lists) + len(replica.boxes)
    replica.shown.evaluate("element => { element.dataset.replica = 'this'; }")
    first = replica.shown.locator("select, [role=slider], input").first
    first.focus()
    reached = set()
    for _ in range(4 * n_controls + 8):
        inside = page.evaluate(
            """() => { const e = document.activeElement, root = e.closest('[data-replica]');
                return root && [e.tagName, e.getAttribute('role'), e.type].join() +
                    [...root.querySelectorAll('*')].indexOf(e); }"""
        )
        if not inside:
            break
        reached.add(inside)
        page.keyboard.press("Tab")
    replica.shown.evaluate("element => { delete element.dataset.replica; }")
    sliders = [where for where in reached if "slider" in where]
    assert len(sliders) == len(replica.sliders)
    assert len([where for where in reached if where.startswith("SELECT")]) == len(replica.lists)


def test_pipeline_bytes_are_the_librarys(show):
    replica = show("PipelineCalculator")
    replica.press_arrow(replica.here.seq_len, 2)
    volume = pipeline_volume(
        MODEL_SPECS["llama-2-7b"], n_ranks=4, seq_len=4096, max_new_tokens=128, dtype_bytes=2
    )
    expect(replica.shown).to_contain_text(f"= {volume.prefill_tensor_bytes:,} bytes")


def test_all_reduce_bytes_are_the_librarys(show):
    replica = show("TensorParallelCalculator")
    replica.press_arrow(replica.here.seq_len, -1)
    volume = tensor_parallel_volume(
        MODEL_SPECS["llama-2-7b"], n_ranks=4, seq_len=512, max_new_tokens=128, dtype_bytes=2
    )
    expect(replica.shown).to_contain_text(f"= {volume.prefill_tensor_bytes:,} bytes")


def test_schedule_ends_when_the_library_says(show):
    replica = show("ScheduleView")
    replica.press_arrow(replica.here.n_requests, 2)
    schedule = pipeline_schedule(
        n_requests=6, n_stages=4, prefill_s=3 / 4, decode_s=1 / 4, max_new_tokens=5
    )
    expect(replica.shown).to_contain_text(f"4 stages: {schedule.total_s:.3g}")


def test_decode_time_is_bytes_over_bandwidth(show):
    replica = show("CostCalculator")
    # Decode at batch 1 is memory bound: a step can't be faster than reading all weights once.
    step = replica.here.step("decode")
    expect(replica.shown).to_contain_text(f"At best {format_seconds(step.seconds)} per step")
    spec, device = MODEL_SPECS["llama-2-7b"], HARDWARE["a100-80gb-sxm"]
    assert step.seconds >= 2 * (spec.n_params - spec.vocab_size * spec.d_model) / (
        device.memory_bandwidth
    )


def test_beam_scores_are_the_librarys(show):
    replica = show("BeamStepper")
    replica.press_arrow(replica.here.beams, 1)
    trace = beam_search(beam_finds_what_greedy_misses(), num_beams=3, max_new_tokens=3)
    expect(replica.shown).to_contain_text(f"score {trace.scores[0]:.3f}")


def test_speculation_view_shows_the_passes_of_each_setting(show):
    """Its words and tiles are compared; a live one has no picture."""
    replica = show("SpeculationView")
    view = replica.here
    for text in (1, 0):
        replica.choose(view.text, text)
        for by in (5, -8, 3):
            replica.press_arrow(view.k, by)
            replica.expect_the_same(expect)
    passes = replica.shown.get_by_text("passes for 24 tokens")
    expect(passes).to_contain_text(f"{len(view.passes)} passes for 24 tokens")
    replica.shown.get_by_role("button", name="Measure").click()
    expect(replica.shown).to_contain_text("measured: plain", timeout=REDRAW_MS)
    keep_screenshot(replica.shown, "widget_SpeculationView")
    replica.press_arrow(view.k, 1)  # what was measured was measured with another k
    expect(replica.shown).not_to_contain_text("measured: plain")
    replica.expect_the_same(expect)


def test_typed_text_is_cut_as_the_tokenizer_cuts_it(widgets_page, loaded):
    widget = widgets_page.show_widget("TokenizerView(")
    text = "Zwölf 中文 👍🏽 <b>"
    widget.get_by_role("textbox", name="Text").fill(text)
    ids = loaded.tokenizer(text).input_ids
    expect(widget).to_contain_text(f"{len(ids)} tokens")
    expect(widget).to_contain_text(f"{len(text)} characters, {len(text.encode())} bytes")
    for token_id in ids:
        expect(widget).to_contain_text(str(token_id))
    keep_screenshot(widget, "widget_TokenizerView")
    widget.get_by_role("textbox", name="Text").fill("")
    expect(widget.get_by_role("alert")).to_contain_text("is empty")
