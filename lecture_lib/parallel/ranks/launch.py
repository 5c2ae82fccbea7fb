"""One function that starts local ranks as processes, watches them, and leaves none behind.

    results = run_ranks(function, arguments, n_ranks=3, timeout_s=60)

calls ``function(arguments)`` in each process, with torch.distributed up, and returns what each
call returned. The processes see nothing of the notebook: on Linux they are forked from a
server process, which imports torch once for all runs and ends with the caller; elsewhere each is
a new interpreter. (torch.multiprocessing.spawn starts a new interpreter for every rank, and names
any rank that failed, not the first; torchrun replaces the caller's handler of Ctrl-C.)
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from types import ModuleType
from typing import Any

from lecture_lib.checks import check_count, check_number

from .failures import find_failure, hung_ranks
from .network import hold_private_network
from .rank import run_rank

LOOK_EVERY_S = 0.25
ON_LINUX = sys.platform == "linux"
# What ranks import, and what torch and Transformers import late, in the first run of any kind.
PRELOADED = [
    "torch",
    "transformers.models.llama.modeling_llama",
    "lecture_lib.parallel.job",
    "lecture_lib.parallel.torch_backend",
]
if ON_LINUX:
    from multiprocessing import forkserver, resource_tracker


def run_ranks(
    target: Callable[[Any], dict | None],
    arguments: Any,
    n_ranks: int,
    *,
    timeout_s: float = 300,
    backend: str = "gloo",
) -> list[dict]:
    """Call a function in each of several new processes on this machine.

    Args:
        target: a function of a module (not of a notebook). arguments: what it is called with;
            anything that can be pickled.
        timeout_s: seconds that the whole run may take, starting included.
        backend: "gloo", or "nccl" for one GPU per rank.

    Returns:
        For each rank the dictionary that the function returned, with ``"private_network"``.

    Raises:
        RankError: a rank failed or died; it carries that rank's traceback. RankTimeoutError: the
            time is over; it shows what each rank was doing. In both cases, and when the cell is
            interrupted, all ranks are ended before this returns.
    """
    check_count("n_ranks", n_ranks)
    check_number("timeout_s", timeout_s, above=0)
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="ranks-", ignore_cleanup_errors=True) as folder,
        progress_line() as show,
        Processes() as processes,
    ):
        show(f"{n_ranks} ranks, 0 s")
        order = {  # what every rank gets to know
            "n_ranks": n_ranks,
            "target": target,
            "arguments": arguments,
            "folder": folder,
            "backend": backend,
            "timeout_s": timeout_s,
            "environment": local_environment(n_ranks),
            "namespaces": processes.make_network() if backend == "gloo" and ON_LINUX else [],
        }
        ranks = [processes.start(run_rank, rank, order) for rank in range(n_ranks)]
        _wait_for(ranks, Path(folder), started, timeout_s, show)
        import torch  # late, so that a script's first ranks need not wait for two imports of it

        files = [Path(folder, f"{rank}.pt") for rank in range(n_ranks)]
        results = [torch.load(file, weights_only=False) for file in files]
    return [result | {"private_network": bool(order["namespaces"])} for result in results]


class Processes:
    """Processes that end with this ``with`` block, and with the caller, however that ends."""

    def __init__(self):
        self._context = multiprocessing.get_context("forkserver" if ON_LINUX else "spawn")
        if ON_LINUX:
            self._context.set_forkserver_preload(PRELOADED)
        # Nothing is sent to the processes: each waits for the end of this pipe, which is our end.
        self._ours, self._theirs = self._context.Pipe()
        self._started: list[multiprocessing.Process] = []

    def start(self, function, *arguments) -> multiprocessing.Process:
        process = self._context.Process(target=function, args=(*arguments, self._theirs))
        # In a thread, which Ctrl-C does not interrupt: half a request would break the server.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._start, process).result()
        return process

    def _start(self, process: multiprocessing.Process) -> None:
        if ON_LINUX:  # the server inherits from this thread that Ctrl-C is blocked
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            forkserver.ensure_running()
        # multiprocessing would run the caller's script again in each process: it gets an empty one.
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            process.start()
            self._started.append(process)
        finally:
            sys.modules["__main__"] = main

    def make_network(self) -> list[str]:
        """The files by which ranks join a private network; none where the system forbids it."""
        holder = self.start(hold_private_network)
        wait([self._ours, holder.sentinel])
        return self._ours.recv() if self._ours.poll() else []

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._ours.close()
        self._theirs.close()
        for process in self._started:
            process.kill()
            if os.name == "posix":  # it leads a process group: what it started ends, too
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        for process in self._started:
            process.join()


def _wait_for(ranks: list, folder: Path, started: float, timeout_s: float, show) -> None:
    """Return when all have ended well. After an error the other ranks still run."""
    while True:
        codes = [rank.exitcode for rank in ranks]
        if any(codes):
            for rank in ranks:  # the end of the first closes the others' connections
                rank.join(timeout=0.2)
            raise find_failure(folder, [rank.exitcode for rank in ranks])
        if None not in codes:
            return
        waited_s = time.monotonic() - started
        if waited_s > timeout_s:
            raise hung_ranks(folder, ranks, timeout_s)
        show(f"{len(ranks)} ranks, {waited_s:.0f} s")
        wait([rank.sentinel for rank in ranks if rank.exitcode is None], timeout=LOOK_EVERY_S)


def local_environment(n_ranks: int) -> dict[str, str]:
    """The caller's environment, with what makes ranks on this machine work together."""
    check_count("n_ranks", n_ranks)
    cores = len(os.sched_getaffinity(0)) if ON_LINUX else os.cpu_count() or 1
    threads = max(1, cores // n_ranks)
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    environment = dict(os.environ) | {
        # More threads than cores make the ranks wait for one another, a hundred times slower.
        "OMP_NUM_THREADS": str(min(threads, int(wanted) if wanted.isdigit() else threads)),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if loopback := {"linux": "lo", "darwin": "lo0"}.get(sys.platform):
        # Otherwise they look for one another by the machine's name, on the network.
        environment |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    return environment


@contextlib.contextmanager
def progress_line():
    """A function that shows a text in place of the last one; at the end all is erased.

    In a notebook it is shown below the cell, elsewhere on stderr, if that is a terminal.
    """
    handle = None
    if "ipykernel" in sys.modules:
        from IPython import display, get_ipython

        if hasattr(get_ipython(), "kernel"):  # which IPython in a terminal has not
            handle = display.display({"text/plain": ""}, raw=True, display_id=True)

    def show(text: str) -> None:
        if handle is not None:
            handle.update({"text/plain": text}, raw=True)
        elif sys.stderr is not None and sys.stderr.isatty():
            # To the line's start, and erase what is there.
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")
