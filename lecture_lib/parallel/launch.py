"""One function that starts local ranks as processes, watches them, and leaves none behind.

    results = run_ranks("package.module:function", {"any": "JSON"}, n_ranks=3, timeout_s=60)

calls ``function(arguments, rank)`` in each process, with torch.distributed up, and returns what
each call returned. The processes are new interpreters: they see nothing of the notebook.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from .checks import check_amount, check_count
from .failures import find_failure, hung_ranks
from .private_network import PrivateNetwork, private_network
from .progress import ProgressLine

POLL_EVERY_S = 0.02
PACKAGE_ROOT = Path(__file__).parents[2]


class Ranks:
    """The processes of one run."""

    def __init__(self, folder: Path, backend: str, network: PrivateNetwork | None):
        self.folder, self.backend, self.network = folder, backend, network
        self.processes: list[subprocess.Popen] = []

    def start(self, n_ranks: int, target: str, arguments: dict, timeout_s: float) -> None:
        environment = _environment(n_ranks, self.backend)
        for rank in range(n_ranks):
            order = {
                "rank": rank,
                "n_ranks": n_ranks,
                "target": target,
                "arguments": arguments,
                "folder": str(self.folder),
                "backend": self.backend,
                "timeout_s": timeout_s,
                "parent": os.getpid(),
                "sys_path": sys.path,
            }
            process = self._start_one(rank, environment | {"LOCAL_RANK": str(rank)})
            self.processes.append(process)
            # The rank reads one line, and then waits for the end of this pipe: for our end.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order).encode() + b"\n")
                process.stdin.flush()

    def _start_one(self, rank: int, environment: dict) -> subprocess.Popen:
        command = [sys.executable, "-m", "lecture_lib.parallel._rank"]
        pass_fds = ()
        if self.network is not None:
            command, pass_fds = self.network.wrap(command), tuple(self.network.fds.values())
        with (self.folder / f"{rank}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=pass_fds,
                # Ctrl-C goes to the notebook's process group; what follows for the ranks is ours.
                start_new_session=True,
            )

    def wait(self, timeout_s: float, progress: ProgressLine) -> None:
        """Return when all have ended well.

        Raises:
            RankError: one has not; the others still run.
        """
        started = time.monotonic()
        while True:
            codes = [process.poll() for process in self.processes]
            if any(codes):
                # Whoever died first took the others' connections along: look at all of them.
                raise find_failure(self.folder, [process.poll() for process in self.processes])
            if all(code == 0 for code in codes):
                return
            waited = time.monotonic() - started
            if waited > timeout_s:
                raise hung_ranks(self.folder, self.processes, timeout_s)
            progress.show(self._describe(waited))
            time.sleep(POLL_EVERY_S)

    def _describe(self, waited: float) -> str:
        states = []
        for rank in range(len(self.processes)):
            try:
                states.append((self.folder / f"{rank}.state").read_text())
            except OSError:
                states.append("starting")
        parts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
        return f"{len(states)} ranks, {waited:.0f} s: {', '.join(parts)}"

    def kill(self) -> None:
        """End what still runs, whatever it is doing; nothing of it is left afterwards."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # A rank leads a process group: whatever it started goes with it, also if it is
                # gone itself.
                os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
        for process in self.processes:
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def run_ranks(
    target: str,
    arguments: dict,
    n_ranks: int,
    *,
    timeout_s: float = 300,
    backend: str = "gloo",
) -> list[dict]:
    """Call a function in each of several new processes that can talk to one another.

    Args:
        target: "module:function". It is called with ``arguments`` and a ``Rank``.
        arguments: what JSON can say.
        n_ranks: how many processes, all on this machine.
        timeout_s: seconds that the whole run may take, starting included.
        backend: "gloo", or "nccl" for one GPU a rank.

    Returns:
        For each rank what the function returned (what JSON can say), with ``"tensors"``: the
        tensors that it saved, and ``"private_network"``.

    Raises:
        RankError: a rank failed or died; it carries that rank's traceback. RankTimeoutError: the
            time is over; it shows where each rank stood. In both cases, and when the cell is
            interrupted, all ranks are ended before this returns.
        ValueError: ``n_ranks`` or ``timeout_s`` is no positive number.
    """
    check_count("n_ranks", n_ranks)
    check_amount("timeout_s", timeout_s)
    isolate = private_network() if backend == "gloo" else contextlib.nullcontext()
    with (
        tempfile.TemporaryDirectory(prefix="ranks-", ignore_cleanup_errors=True) as folder,
        isolate as network,
        ProgressLine() as progress,
    ):
        ranks = Ranks(Path(folder), backend, network)
        try:
            ranks.start(n_ranks, target, arguments, timeout_s)
            ranks.wait(timeout_s, progress)
        finally:
            ranks.kill()
        results = [_read_result(Path(folder), rank) for rank in range(n_ranks)]
    return [result | {"private_network": network is not None} for result in results]


def _environment(n_ranks: int, backend: str) -> dict[str, str]:
    """The caller's environment, with what makes local ranks work together."""
    cores = len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else psutil.cpu_count()
    threads = max(1, (cores or 1) // n_ranks)
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ) | {
        "PYTHONPATH": os.pathsep.join(paths),
        # More threads than cores make the ranks wait for one another, a hundred times slower.
        "OMP_NUM_THREADS": str(min(threads, int(wanted) if wanted.isdigit() else threads)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback:  # by the machine's name, they would look for one another on the network
        environment |= {"GLOO_SOCKET_IFNAME": loopback}
        environment |= {"NCCL_SOCKET_IFNAME": loopback} if backend == "nccl" else {}
    return environment


def _read_result(folder: Path, rank: int) -> dict:
    result = json.loads((folder / f"{rank}.json").read_text())
    saved = folder / f"{rank}.safetensors"
    result["tensors"] = {}
    if saved.is_file():
        from safetensors.torch import load

        result["tensors"] = load(saved.read_bytes())
    return result
