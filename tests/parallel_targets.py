"""What the ranks of the launcher's tests do."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate
from torch.distributed.tensor.debug import CommDebugMode

from lecture_lib.parallel.meters import WireMeter
from lecture_lib.parallel.traffic import TrafficRecorder, label


def note_pid(arguments, pid=None):
    """Leave a file that says which process this is."""
    pid = os.getpid() if pid is None else pid
    Path(arguments["folder"], f"{dist.get_rank()}-{pid}").touch()


def add_up(arguments):
    note_pid(arguments)
    total = torch.tensor([dist.get_rank() + 1.0])
    dist.all_reduce(total)
    return {
        "total": float(total),
        "threads": torch.get_num_threads(),
        "cwd": os.getcwd(),
        "said_late": os.environ.get("SAID_LATE"),
        "sys_path": sys.path,
        "parent": os.getppid(),
        "network": os.readlink("/proc/self/ns/net") if sys.platform == "linux" else None,
        "interfaces": [name for _, name in socket.if_nameindex()],
        "tensors": {"row": torch.full((3,), dist.get_rank())},
    }


def break_one(arguments):
    note_pid(arguments)
    dist.barrier()  # all are there
    if dist.get_rank() == arguments["broken"]:
        raise_on_purpose(arguments["how"])
    dist.barrier()  # the others wait for the one that never comes
    time.sleep(600)


def raise_on_purpose(how):
    if how == "raise":
        raise LookupError("broken on purpose")
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


def hang_one(arguments):
    note_pid(arguments)
    dist.barrier()
    if dist.get_rank() == arguments["hung"]:
        sleep_on_purpose(arguments)
    dist.barrier()


def sleep_on_purpose(arguments):
    time.sleep(1)  # the others are in the next barrier by now
    if "asleep" in arguments:
        Path(arguments["asleep"]).touch()
    time.sleep(600)


def leave_a_child(arguments):
    start_a_child(arguments)
    raise LookupError("with a child still running")


def hang_with_a_child(arguments):
    start_a_child(arguments)
    time.sleep(600)


def start_a_child(arguments):
    note_pid(arguments)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note_pid(arguments, child.pid)


def all_kinds(arguments):
    """Every kind of communication, with and without a recorder; what was recorded and computed."""
    plain = _communicate()
    with CommDebugMode() as debug, TrafficRecorder() as traffic:
        recorded = _communicate()
    counts = {str(op): n for op, n in debug.get_comm_counts().items()}
    return {
        "records": [[r.kind, list(r.shape), r.dtype, r.payload_bytes, r.part, r.peer]
                    for r in traffic.records],
        "same": all(torch.equal(a, b) for a, b in zip(plain, recorded, strict=True)),
        "sums": [float(t.sum()) for t in recorded],
        "debug_counts": sum(counts.values()),
    }  # fmt: skip


def _communicate():
    mine = torch.full((2, 3), dist.get_rank() + 1.0)
    label(part="reduce")
    summed = mine.clone()
    dist.all_reduce(summed)
    label(part="gather")
    gathered = [torch.empty(2, 3) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, mine)
    label(part="broadcast")
    told = torch.tensor([7 + dist.get_rank()])
    dist.broadcast(told, 1)
    label(part="message")
    if dist.get_rank() == 0:
        dist.send(torch.arange(5, dtype=torch.bfloat16), 1)
        got = torch.zeros(5)
    else:
        got = torch.empty(5, dtype=torch.bfloat16)
        dist.recv(got, 0)
    label(part="functional")
    also = funcol.all_reduce(mine, "sum", dist.group.WORLD)
    label(part="dtensor")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    partial = DTensor.from_local(mine, mesh, [Partial()])
    whole = partial.redistribute(mesh, [Replicate()]).to_local()
    dist.barrier()
    label(part="")
    return [summed, *gathered, told, got.float(), also + 0, whole + 0]


def send_much(arguments):
    """Ten megabytes from rank 0 to rank 1, and what the meter says."""
    meter = WireMeter(torch.device("cpu"))
    if dist.get_rank() == 0:
        dist.send(torch.zeros(10_000_000, dtype=torch.uint8), 1)
    else:
        dist.recv(torch.empty(10_000_000, dtype=torch.uint8), 0)
    meter.lap("send")
    meter.lap("nothing")
    return {"wire": meter.by_phase}
