"""Many requests at once: continuous batching, a KV cache in blocks, chunked prefill (lecture 14).

pages       BlockPool, PagedCache: who has which block; attention through a page table
scheduler   Request, Scheduler: what the next pass runs; serve()
engine      PagedEngine: a real model behind the scheduler
simulator   measured costs of a pass, and what a load does to a server
server      the routes that OpenAI's client speaks (python -m lecture_lib.serving)
"""

from .engine import PagedEngine
from .pages import BlockPool, PagedCache, paged_attend, paged_forward
from .scheduler import Request, Scheduler, serve
from .simulator import (
    LoadReport,
    PassTimer,
    WallClock,
    fit_costs,
    poisson_arrivals,
    simulate,
    simulate_disaggregated,
)

__all__ = [
    "BlockPool",
    "LoadReport",
    "PagedCache",
    "PagedEngine",
    "PassTimer",
    "Request",
    "Scheduler",
    "WallClock",
    "fit_costs",
    "paged_attend",
    "paged_forward",
    "poisson_arrivals",
    "serve",
    "simulate",
    "simulate_disaggregated",
]
