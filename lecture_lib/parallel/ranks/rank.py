"""What a rank's process does: ``launch.run_ranks`` starts it with ``run_rank``.

It writes into the run's folder: its output, its state, and its result or its error.
"""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from .network import join_private_network


class Rank:
    """What a function that runs in a rank gets: the rank's number, and how many there are."""

    def __init__(self, rank: int, n_ranks: int, folder: Path | None = None):
        self.rank, self.n_ranks, self._folder = rank, n_ranks, folder

    def report(self, state: str) -> None:
        """Set what it is doing now, in a word or two, for the progress line."""
        if self._folder is not None:
            (self._folder / f"{self.rank}.state").write_text(state)


def run_rank(number: int, order: dict, caller: Connection) -> None:
    folder = Path(order["folder"])
    try:
        _prepare_process(number, order, folder, caller)
        _call_target(order, Rank(number, order["n_ranks"], folder), folder)
    except BaseException as error:
        text = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        with contextlib.suppress(OSError):  # the caller was interrupted, and its folder is gone
            (folder / f"{number}.error").write_text(json.dumps(text | {"time": time.time()}))
        # At once, without the clean-up of torch, which may wait for the other ranks.
        os._exit(1)
    os._exit(0)


def _prepare_process(number: int, order: dict, folder: Path, caller: Connection) -> None:
    """Give a process that was forked from the server the caller's environment, and a log."""
    if hasattr(os, "setsid"):  # Ctrl-C goes to the notebook's process group, which this leaves
        os.setsid()
    join_private_network(order["namespaces"])  # before the first thread
    threading.Thread(target=_end_with, args=[caller], daemon=True).start()
    os.environ.clear()
    os.environ.update(order["environment"], LOCAL_RANK=str(number))
    log = (folder / f"{number}.log").open("w", buffering=1)
    for fd in (1, 2):
        os.dup2(log.fileno(), fd)
    sys.stdout = sys.stderr = log
    if hasattr(signal, "SIGUSR1"):
        # The file stays open as long as the process lives: a hung rank writes its stack there.
        stack = (folder / f"{number}.stack").open("w")
        faulthandler.register(signal.SIGUSR1, file=stack, all_threads=False)


def _end_with(caller: Connection) -> None:
    """End this process, with all that it started, when the caller has gone."""
    with contextlib.suppress(EOFError, OSError):
        caller.recv()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _call_target(order: dict, rank: Rank, folder: Path) -> None:
    rank.report("importing torch")
    import torch
    import torch.distributed as dist

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rank.report("connecting")
    # They meet in a file, so that there is no port that another program could take meanwhile.
    meeting_point = (folder / "meeting_point").as_uri()
    join_group(
        order["backend"],
        order["timeout_s"],
        init_method=meeting_point,
        rank=rank.rank,
        world_size=rank.n_ranks,
    )
    result = order["target"](order["arguments"], rank) or {}
    dist.barrier()  # a rank that is done first must not close the connections
    torch.save(result, folder / f"{rank.rank}.pt")
    rank.report("finished")


def join_group(backend: str, timeout_s: float, **meeting) -> None:
    """Join the other ranks; where they meet is said here, or by torchrun's variables."""
    import torch
    import torch.distributed as dist

    device = None
    if backend == "nccl":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    timeout = timedelta(seconds=timeout_s)
    dist.init_process_group(backend, timeout=timeout, device_id=device, **meeting)
