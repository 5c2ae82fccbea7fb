"""A rank's process: ``python -m lecture_lib.parallel._rank``, started by ``launch.run_ranks``.

Its orders are one line of JSON on stdin. It writes into the run's folder: its state, its result
or its error.
"""

import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path

PR_SET_PDEATHSIG = 1


class Rank:
    """What a function that runs in a rank gets to know.

    Attributes:
        rank, n_ranks: its number, and how many there are.
    """

    def __init__(self, rank: int, n_ranks: int, folder: Path | None = None):
        self.rank, self.n_ranks, self._folder = rank, n_ranks, folder

    def report(self, state: str) -> None:
        """Say what it is doing now, in a word or two, for the progress line."""
        if self._folder is not None:
            fresh = self._folder / f"{self.rank}.state.new"
            fresh.write_text(state)
            fresh.replace(self._folder / f"{self.rank}.state")


def main() -> None:
    order = json.loads(sys.stdin.readline())
    _die_with_parent(order["parent"])
    sys.path[:] = order["sys_path"]
    folder = Path(order["folder"])
    rank = Rank(order["rank"], order["n_ranks"], folder)
    if hasattr(signal, "SIGUSR1"):
        # The file stays open as long as the process lives: a hung rank writes where it stands.
        stack = (folder / f"{rank.rank}.stack").open("w")
        faulthandler.register(signal.SIGUSR1, file=stack, all_threads=False)
    try:
        rank.report("importing torch")
        result = _run(order, rank)
        _write(folder / f"{rank.rank}.json", result)
    except BaseException as error:
        text = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        _write(folder / f"{rank.rank}.error", text | {"time": time.time()})
        # At once, without the clean-up of torch, which may wait for the other ranks.
        os._exit(1)
    rank.report("finished")
    sys.stdout.flush()
    os._exit(0)


def _run(order: dict, rank: Rank) -> dict:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device = None
    if order["backend"] == "nccl":
        device = torch.device("cuda", rank.rank)
        torch.cuda.set_device(device)
    rank.report("connecting")
    # They meet in a file, so that there is no port that another program could take meanwhile.
    meeting_point = (Path(order["folder"]) / "meeting_point").as_uri()
    dist.init_process_group(
        order["backend"],
        init_method=meeting_point,
        rank=rank.rank,
        world_size=rank.n_ranks,
        timeout=timedelta(seconds=order["timeout_s"]),
        device_id=device,
    )
    module, _, name = order["target"].partition(":")
    result = getattr(importlib.import_module(module), name)(order["arguments"], rank) or {}
    tensors = result.pop("tensors", None)
    if tensors:
        from safetensors.torch import save_file

        save_file(tensors, Path(order["folder"]) / f"{rank.rank}.safetensors")
    dist.barrier()  # whoever is done first must not take the connections away
    return result


def _die_with_parent(parent: int) -> None:
    """Make sure that this process does not outlive the one that started it, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
    # Everywhere: our end of the pipe sees when the parent's end is gone.
    threading.Thread(target=_watch_stdin, daemon=True).start()


def _watch_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _write(path: Path, content: dict) -> None:
    path.with_suffix(path.suffix + ".new").write_text(json.dumps(content))
    path.with_suffix(path.suffix + ".new").replace(path)


if __name__ == "__main__":
    main()
