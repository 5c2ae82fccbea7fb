"""ServingView: what it says of a load, counted from the requests themselves."""

import numpy as np
import pytest

from lecture_lib.figures import load_chart
from lecture_lib.serving import Scheduler, simulate
from lecture_lib.widgets import ServingView
from lecture_lib.widgets.serving_view import make_load

COSTS = (0.045, 0.0022, 1e-6)


def kept_by_hand(scheduler, rate: float, limits: tuple[float, float]) -> int:
    requests, kept = make_load(rate), 0
    simulate(requests, scheduler, COSTS)
    for request in requests:
        first, *further = np.diff([request.arrived_s, *request.token_s])
        kept += first <= limits[0] and max(further) <= limits[1]
    return kept


@pytest.mark.parametrize(("share", "budget"), [(80, 32), (60, 16), (60, 512)])
def test_the_dots_are_the_requests_that_kept_both_limits(share, budget):
    view = ServingView(COSTS)
    view.share.value, view.token_budget.value = share, budget
    assert view.limits == pytest.approx((20 * 0.082248, 3 * 0.082248))  # 45 + 16 * 2.2 + 2.048 ms
    kept = kept_by_hand(Scheduler(token_budget=budget), share / 100 * view.capacity, view.limits)
    assert f"chunked: {kept} of 40 kept both" in view.picture.alt
    assert not view.error


def test_every_setting_has_a_picture():
    view, seen = ServingView(COSTS, transfer_s_per_token=1e-4), set()
    for share in (10, 50, 100, 150):
        for budget in (16, 64, 512):
            view.share.value, view.token_budget.value = share, budget
            assert not view.error
            assert view.capacity * share / 100 == pytest.approx(
                float(view.facts.value.partition(" requests")[0].rpartition(">")[2]), abs=0.006
            )
            seen.add(view.picture.live_jpeg)
    assert len(seen) == 12
    shown = view._repr_mimebundle_()
    assert "static: " in shown["text/plain"]
    assert "<img alt=" in shown["text/html"]


def test_a_chart_counts_who_kept_both_limits():
    waits = {"a": ([1, 1, 9], [1, 9, 1]), "b": ([1, 1, 1], [1, 1, 1])}
    alt = load_chart(waits, (2, 3), (0.1, 100)).alt
    assert "a: 1 of 3 kept both, medians 1 s and 1 s" in alt
    assert "b: 3 of 3" in alt


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"costs": [1.0]}, "costs"),
        ({"costs": [0.1, -1.0, 0.0]}, "costs"),
        ({"costs": [0.0, 0.0, 0.0]}, "costs"),
        ({"costs": 5}, "costs"),
        ({"costs": COSTS, "transfer_s_per_token": -1.0}, "transfer_s_per_token"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ServingView(**arguments)
