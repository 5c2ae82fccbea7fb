"""Many requests at once: continuous batching, a KV cache in blocks, chunked prefill.

scheduler         what the next pass runs, and the loop that runs it
pages             who has which block, and attention that reads through page tables
paged_scheduler   the scheduler with a memory in blocks: preemption, prefixes, copy on write
engine            a real model behind the scheduler
simulator         measured costs of a pass, and what a load does to a server
server, api       the routes that OpenAI's client speaks (python -m lecture_lib.serving)
"""

from .engine import PagedEngine
from .pages import forward_many
from .scheduler import Request, Scheduler, StaticScheduler, serve, step
from .simulator import LoadReport, poisson_arrivals, simulate

__all__ = [
    "LoadReport", "PagedEngine", "Request", "Scheduler", "StaticScheduler", "forward_many",
    "poisson_arrivals", "serve", "simulate", "step",
]  # fmt: skip
