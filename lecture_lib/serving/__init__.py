"""Many requests at once: continuous batching, a KV cache in blocks, chunked prefill.

scheduler         Request, StaticScheduler, Scheduler: what the next pass runs; step(), serve()
pages             BlockPool, PrefixPool, PagedCache: who has which block; attention through a table
paged_scheduler   the scheduler with a memory in blocks: preemption, prefixes, copy on write
engine            PagedEngine: a real model behind the scheduler
simulator         measured costs of a pass, and what a load does to a server
server            the routes that OpenAI's client speaks (python -m lecture_lib.serving), with api
"""

from .engine import PagedEngine
from .paged_scheduler import (
    ForkingScheduler,
    PagedScheduler,
    PreemptingScheduler,
    PrefixScheduler,
    fork,
    give_back,
)
from .pages import BlockPool, PagedCache, PrefixPool, find_reads, forward_many, paged_attend
from .scheduler import Request, Scheduler, StaticScheduler, serve, step
from .simulator import (
    LoadReport,
    PassTimer,
    WallClock,
    compare_policies,
    fit_costs,
    poisson_arrivals,
    simulate,
    simulate_disaggregated,
)

__all__ = [
    "BlockPool", "ForkingScheduler", "LoadReport", "PagedCache", "PagedEngine", "PagedScheduler",
    "PassTimer", "PreemptingScheduler", "PrefixPool", "PrefixScheduler", "Request", "Scheduler",
    "StaticScheduler", "WallClock", "compare_policies", "find_reads", "fit_costs", "fork",
    "forward_many", "give_back", "paged_attend", "poisson_arrivals", "serve", "simulate",
    "simulate_disaggregated", "step",
]  # fmt: skip
