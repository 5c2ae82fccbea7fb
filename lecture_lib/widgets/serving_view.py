"""ServingView: how long requests wait under four policies, at a rate and with a budget."""

from collections.abc import Callable, Sequence

import ipywidgets
import numpy as np

from ..checks import check_count, check_number, check_type
from ..figures import Picture, load_chart
from ..serving import LoadReport, Request, Scheduler, StaticScheduler, poisson_arrivals, simulate
from ..serving.simulator import NO_BUDGET, simulate_disaggregated
from .base import WIDE, IntSlider, PictureWidget, close_lines, powers_of_two


def make_load(rate: float, n: int = 40) -> list[Request]:
    """Requests with prompts of 16 to 256 tokens, each of which wants 8 to 32 new ones."""
    rng = np.random.default_rng(0)
    sizes = zip(rng.integers(16, 257, n), rng.integers(8, 33, n), strict=True)
    return [
        Request([0] * int(length), int(n_new), arrived_s=at)
        for (length, n_new), at in zip(sizes, poisson_arrivals(rate, n, seed=1), strict=True)
    ]


def compare_policies(
    make_load: Callable, rate: float, costs: Sequence[float], token_budget: int,
    transfer_s_per_token: float = 0.0,
) -> dict[str, LoadReport]:  # fmt: skip
    """The same load under four policies. Disaggregated are two machines, which get twice the rate.

    Args:
        make_load: from a rate to requests that nobody has run yet.
    """
    policies = {
        "static": StaticScheduler(),
        "continuous": Scheduler(token_budget=NO_BUDGET),
        "chunked": Scheduler(token_budget=token_budget),
    }
    loads = {name: make_load(rate) for name in policies}
    for name, scheduler in policies.items():
        simulate(loads[name], scheduler, costs)
    loads["disaggregated"] = make_load(2 * rate)
    simulate_disaggregated(loads["disaggregated"], costs, transfer_s_per_token)
    return {name: LoadReport(requests) for name, requests in loads.items()}


def find_capacity(costs: Sequence[float]) -> float:
    """Requests per second that leave a continuous scheduler, if all are there at once."""
    requests = make_load(rate=1e9)
    simulate(requests, Scheduler(), costs)
    return len(requests) / LoadReport(requests).seconds


class ServingView(PictureWidget):
    """Choose how many requests come and the budget of a pass, and see who waits how long.

    Limits of the service level are 20 decode passes of 16 requests for the first token, and 3 for
    each further one.

    Args:
        costs: seconds per pass, per token and per position read, as ``fit_costs`` finds them.
        transfer_s_per_token: what moving a token's keys and values takes.
    """

    def __init__(self, costs: Sequence, *, transfer_s_per_token: float = 0.0):
        check_type("costs", costs, Sequence | np.ndarray, "three numbers")
        check_count("len(costs)", len(costs), least=3, most=3)
        self.costs = [check_number("costs", float(cost), least=0) for cost in costs]
        pass_s = sum(cost * n for cost, n in zip(self.costs, (1, 16, 16 * 128), strict=True))
        check_number("costs", pass_s, above=0)
        self.transfer_s = check_number("transfer_s_per_token", transfer_s_per_token, least=0)
        self.limits, self.span = (20 * pass_s, 3 * pass_s), (pass_s / 4, 400 * pass_s)
        self.capacity = find_capacity(self.costs)
        self.share = IntSlider(description="Rate, % of capacity", min=10, max=150, value=80, step=5,
                               style=WIDE)  # fmt: skip
        self.token_budget = powers_of_two("Token budget", 4, 9, 32)
        self.facts = ipywidgets.HTML()
        super().__init__([[self.share, self.token_budget], self.facts])

    def reports(self) -> dict[str, LoadReport]:
        """The load at the chosen rate under each policy."""
        rate = self.share.value / 100 * self.capacity
        return compare_policies(
            make_load, rate, self.costs, self.token_budget.value, self.transfer_s
        )

    def draw(self) -> Picture:
        reports = self.reports()
        machines = {name: 1 + (name == "disaggregated") for name in reports}
        shares = (
            f"{name} {report.goodput(*self.limits) / machines[name]:.2f}"
            for name, report in reports.items()
        )
        rate, (first, further) = self.share.value / 100 * self.capacity, self.limits
        self.facts.value = close_lines(
            f"{rate:.2f} requests per second and machine. Goodput (first token within {first:.2g} "
            f"s, each further one within {further:.2g} s), per second and machine: "
            f"<b>{', '.join(shares)}</b>"
        )
        waits = {name: (report.ttft_s, report.gap_s) for name, report in reports.items()}
        return load_chart(waits, self.limits, self.span)
