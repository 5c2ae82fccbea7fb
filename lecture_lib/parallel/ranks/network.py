"""A private network for a few processes (Linux): its loopback carries only their bytes.

A network namespace needs no rights where the system allows user namespaces. A process must make
or join a user namespace before it starts its first thread.
"""

import contextlib
import ctypes
import os
import socket
import struct
from multiprocessing.connection import Connection
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


def hold_private_network(caller: Connection) -> None:
    """Make a network with nothing but a loopback, send the files to join it by, and keep it.

    Where the system forbids it, this process ends without having sent anything.
    """
    os.setsid()  # out of the notebook's process group, to which Ctrl-C goes
    with contextlib.suppress(OSError, EOFError):
        caller.send([f"/proc/{os.getpid()}/ns/{kind}" for kind in _make_network()])
        caller.recv()  # nothing is sent: this waits for the caller's end
    os._exit(0)


def join_private_network(files: list[str]) -> None:
    """Move this process into the network that was made."""
    for file in files:
        with open(file) as namespace:
            _call("setns", namespace.fileno(), 0)


def _make_network() -> list[str]:
    """Move this process into a new network, and say which kinds of namespaces that took."""
    uid, gid = os.getuid(), os.getgid()
    kinds = ["net"]
    try:
        # Root keeps all its rights by changing the network alone; others need a user namespace.
        _call("unshare", CLONE_NEWNET)
    except PermissionError:
        kinds = ["user", "net"]
        _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    import fcntl  # not on Windows, where this module is imported too

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lo:
        fcntl.ioctl(lo, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    return kinds


def _call(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{function} failed")
