"""What a rank's process does: ``launch.run_ranks`` starts it with ``run_rank``.

It writes into the run's folder: its output, and its result or its error.
"""

import contextlib
import faulthandler
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


def run_rank(number: int, order: dict, caller: Connection) -> None:
    folder = Path(order["folder"])
    try:
        _prepare_process(number, order, folder, caller)
        _call_target(number, order, folder)
    except BaseException:
        with contextlib.suppress(OSError):  # the caller was interrupted, and its folder is gone
            text = f"{time.time()}\n{traceback.format_exc()}"
            (folder / f"{number}.error").write_text(text)
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


def _call_target(number: int, order: dict, folder: Path) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    # They meet in a file, so that there is no port that another program could take meanwhile.
    meeting_point = (folder / "meeting_point").as_uri()
    meeting = {"init_method": meeting_point, "rank": number, "world_size": order["n_ranks"]}
    join_group(order["backend"], order["timeout_s"], **meeting)
    result = order["target"](order["arguments"]) or {}
    dist.barrier()  # a rank that is done first must not close the connections
    torch.save(result, folder / f"{number}.pt")


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
