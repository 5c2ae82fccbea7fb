"""Which rank failed first, and what to say about it."""

import contextlib
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
    """A parallel run took longer than it may; ``traceback`` shows what every rank was doing."""


def find_failure(folder: Path, codes: list[int | None]) -> RankError:
    """The error of the rank that failed first; the others failed because it was gone."""
    errors = []
    for rank, code in enumerate(codes):
        file = folder / f"{rank}.error"
        if file.exists():
            failed_at, _, traceback = file.read_text().partition("\n")
            errors.append((float(failed_at or "inf"), rank, traceback))
        elif code:  # a signal or os._exit; we have not killed any yet
            how = f"ended with exit status {code}"
            if code < 0:
                hint = " (out of memory?)" if -code == signal.SIGKILL else ""
                how = f"was ended by {signal.Signals(-code).name}{hint}"
            return RankError(f"rank {rank} {how}", rank, _end_of_output(folder, rank))
    _, rank, traceback = min(errors)
    last_line = traceback.rstrip().rpartition("\n")[2]
    return RankError(f"rank {rank} failed: {last_line}", rank, traceback)


def hung_ranks(folder: Path, processes: list[Process], timeout_s: float) -> RankTimeoutError:
    """The error of a run that is over its time: asks every rank what it is doing."""
    stacks = {
        rank: _stack_of(folder, rank, process)
        for rank, process in enumerate(processes)
        if process.is_alive()
    }
    # A rank whose innermost calls are torch.distributed's waits for the others.
    innermost = {rank: "".join(stack.splitlines()[:6]) for rank, stack in stacks.items()}
    suspects = [rank for rank, calls in innermost.items() if "distributed_c10d.py" not in calls]
    first = [*suspects, *stacks, 0][0]
    return RankTimeoutError(
        f"{len(stacks)} of {len(processes)} ranks had not ended after {timeout_s:g} s "
        f"(timeout_s); rank {first} is the first that was not waiting for another",
        first,
        "\n\n".join(f"rank {rank} was at\n{stack}" for rank, stack in stacks.items()),
    )


def _stack_of(folder: Path, rank: int, process: Process) -> str:
    """What a running rank's main thread is doing, innermost call first, or its output's end."""
    dump = folder / f"{rank}.stack"
    if hasattr(signal, "SIGUSR1") and dump.exists():  # it listens
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)
        until = time.monotonic() + DUMP_WAIT_S
        while time.monotonic() < until and not dump.stat().st_size:
            time.sleep(0.02)
        time.sleep(0.05)
        if text := dump.read_text().strip():
            return text
    return _end_of_output(folder, rank) or "(it had not started)"


def _end_of_output(folder: Path, rank: int) -> str:
    with contextlib.suppress(OSError):
        return (folder / f"{rank}.log").read_text(errors="replace")[-LOG_TAIL:].strip()
    return ""
