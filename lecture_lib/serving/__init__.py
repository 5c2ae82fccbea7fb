"""Many requests at once: continuous batching, a KV cache in blocks, chunked prefill.

pages       BlockPool, PagedCache: who has which block; attention through a page table
scheduler   Request, Scheduler: what the next pass runs; serve()
engine      PagedEngine: a real model behind the scheduler
simulator   measured costs of a pass, and what a load does to a server
server      the routes that OpenAI's client speaks (python -m lecture_lib.serving), with api
"""

from .engine import PagedEngine
from .pages import BlockPool
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

__all__ = ["BlockPool", "LoadReport", "PagedEngine", "PassTimer", "Request", "Scheduler"]
__all__ += ["WallClock", "fit_costs", "poisson_arrivals", "serve", "simulate"]
__all__ += ["simulate_disaggregated"]
