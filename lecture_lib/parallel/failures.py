"""Which rank failed first, and what to say about it."""

import contextlib
import json
import os
import signal
import time
from multiprocessing import Process
from pathlib import Path

LOG_TAIL = 2000  # characters of a dead rank's output that are shown
DUMP_WAIT_S = 1.0


class RankError(RuntimeError):
    """A rank of a parallel run failed; all others have been ended.

    Attributes:
        rank: its number. traceback: its traceback, or the end of its output where it had none.
    """

    def __init__(self, message: str, rank: int, traceback: str):
        super().__init__(f"{message}\n\n{traceback}".rstrip())
        self.rank, self.traceback = rank, traceback


class RankTimeoutError(RankError, TimeoutError):
    """A parallel run took longer than it may; ``traceback`` shows where every rank stood."""


def find_failure(folder: Path, codes: list[int | None]) -> RankError:
    """The error of the rank that failed first; the others failed because it was gone.

    Args:
        folder: of the run. codes: exit status of each rank, None while it runs.
    """
    errors = {}
    for rank in range(len(codes)):
        with contextlib.suppress(OSError, ValueError):
            errors[rank] = json.loads((folder / f"{rank}.error").read_text())
    # Ended without a word: a signal, or os._exit. Nobody but us kills ranks, and we have not yet.
    silent = [rank for rank, code in enumerate(codes) if code and rank not in errors]
    if silent:
        rank = silent[0]
        return RankError(f"rank {rank} {_how_it_died(codes[rank])}", rank, _tail(folder, rank))
    rank = min(errors, key=lambda rank: errors[rank]["time"])
    return RankError(
        f"rank {rank} failed: {errors[rank]['error']}", rank, errors[rank]["traceback"]
    )


def _how_it_died(code: int) -> str:
    if code >= 0:
        return f"ended with exit status {code}"
    name = signal.Signals(-code).name
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"


def hung_ranks(folder: Path, processes: list[Process], timeout_s: float) -> RankTimeoutError:
    """The error of a run that is over its time: asks the ranks where they stand."""
    running = [rank for rank, process in enumerate(processes) if process.is_alive()]
    stacks = {rank: _ask_stack(folder, rank, processes[rank]) for rank in running}
    waits = {rank for rank, stack in stacks.items() if _is_waiting(stack)}
    suspects = [rank for rank in running if rank not in waits] or running or [0]
    text = "\n\n".join(f"rank {rank} stood at\n{stack}" for rank, stack in stacks.items())
    return RankTimeoutError(
        f"{len(running)} of {len(processes)} ranks had not ended after {timeout_s:g} s "
        f"(timeout_s); rank {suspects[0]} is the first that was not waiting for another",
        suspects[0],
        text,
    )


def _ask_stack(folder: Path, rank: int, process: Process) -> str:
    """What a running rank's main thread is doing, innermost call first, or its output's end."""
    dump = folder / f"{rank}.stack"
    if hasattr(signal, "SIGUSR1") and dump.exists():  # it listens
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)
        until = time.monotonic() + DUMP_WAIT_S
        while time.monotonic() < until and not dump.stat().st_size:
            time.sleep(0.02)
        time.sleep(0.05)
    with contextlib.suppress(OSError):
        if text := dump.read_text().strip():
            return text
    return _tail(folder, rank) or "(it had not started)"


def _is_waiting(stack: str) -> bool:
    """Whether the innermost calls are torch.distributed's: such a rank waits for the others."""
    return any("distributed_c10d.py" in line for line in stack.splitlines()[:6])


def _tail(folder: Path, rank: int) -> str:
    with contextlib.suppress(OSError):
        return (folder / f"{rank}.log").read_text(errors="replace")[-LOG_TAIL:].strip()
    return ""
