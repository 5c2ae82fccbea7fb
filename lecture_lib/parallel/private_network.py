"""A network of its own for a few processes (Linux): its loopback carries their bytes only.

A network namespace needs no rights where the system allows user namespaces. This file is also a
program, and imports nothing but the standard library, because a process must join a user
namespace before it starts its first thread (torch starts some when imported):

    python private_network.py hold               makes one, says so, waits for its stdin to end
    python private_network.py join FDS command   joins the open namespaces and becomes the command
"""

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
NAMESPACES = {"user": CLONE_NEWUSER, "net": CLONE_NEWNET}


class PrivateNetwork:
    """An open network namespace: ``wrap`` a command to run it there."""

    def __init__(self, fds: dict[str, int]):
        self.fds = fds

    def wrap(self, command: list[str]) -> list[str]:
        fds = ",".join(f"{kind}={fd}" for kind, fd in self.fds.items())
        return [sys.executable, "-I", "-S", __file__, "join", fds, *command]


@contextlib.contextmanager
def private_network() -> Iterator[PrivateNetwork | None]:
    """A new network with nothing but a loopback interface; None where the system forbids it."""
    fds = _open_new_namespaces() if sys.platform == "linux" else {}
    try:
        yield PrivateNetwork(fds) if fds else None
    finally:
        for fd in fds.values():
            os.close(fd)


def _open_new_namespaces() -> dict[str, int]:
    """Open files that keep the namespaces alive; the process that made them can go."""
    command = [sys.executable, "-I", "-S", __file__, "hold"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    fds: dict[str, int] = {}
    with contextlib.suppress(OSError), subprocess.Popen(command, **pipes) as holder:
        for kind in holder.stdout.readline().decode().split():
            fds[kind] = os.open(f"/proc/{holder.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        holder.stdin.close()
    return fds


def _hold() -> None:
    uid, gid = os.getuid(), os.getgid()
    # Root keeps all its rights by changing the network alone; others need a user namespace too.
    kinds = ["net"] if uid == 0 and _unshare("net") else ["user", "net"]
    if "user" in kinds:
        if not _unshare("user", "net"):
            return
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    import fcntl  # not on Windows, where this module is imported too

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lo:
        fcntl.ioctl(lo, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    print(*kinds, flush=True)
    sys.stdin.read()


def _unshare(*kinds: str) -> bool:
    flags = sum(NAMESPACES[kind] for kind in kinds)
    return ctypes.CDLL(None, use_errno=True).unshare(flags) == 0


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _join(fds: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for each in fds.split(","):
        kind, fd = each.split("=")
        if libc.setns(int(fd), NAMESPACES[kind]) != 0:
            raise OSError(ctypes.get_errno(), f"cannot join the private network ({kind})")
        os.close(int(fd))
    os.execv(command[0], command)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        _hold()
    else:
        _join(sys.argv[2], sys.argv[3:])
