"""System calls that no namespace holds back, taken from student code by a seccomp filter.

Namespaces and a read-only file system leave some ways open: keys of the kernel's keyrings outlive
a task, a virtual machine's own sockets (AF_VSOCK) lead out of every network namespace, memory
behind a file descriptor belongs to no process, and where root grades, student code is the owner
of the machine's device files. Message queues and semaphores outlive the processes of a task, and
limits or priorities could be set for the process that forks the next task. Who traces another
process can make it do what it likes. There are few inotify instances, and the user outside needs
them too. Memory that processes share without a file is counted for none of them. Calls that
change rights or times do nothing and report success, since libraries make them in passing; the
others fail. Linux on x86-64 and AArch64 only.

Bubblewrap sets the filter, for its own process 1 as well.

The calls are in ``templates/system_calls.toml``; the filter's form is described in
Documentation/userspace-api/seccomp_filter.rst.
"""

import ctypes
import errno
import socket
import struct
import sys
import tomllib
from pathlib import Path

TABLE = Path(__file__).parent / "templates" / "system_calls.toml"
CALLS = tomllib.loads(TABLE.read_text("utf-8"))
MMAP = (9, 222)
SHARED_WITHOUT_FILE = 0x21  # MAP_SHARED and MAP_ANONYMOUS
SOCKET = (41, 198)
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)  # 16: netlink, for interfaces
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH
X32 = 0x40000000  # another numbering of the calls, on x86-64

LOAD, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, FLAGS_OF_MMAP = 0, 4, 16, 40  # in struct seccomp_data
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
PR_SET_DUMPABLE = 4


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may look into this one (ptrace, /proc/PID/mem)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def program(machine: str) -> bytes:
    """The filter as the kernel's instructions, 8 bytes each; empty for a machine not known here."""
    if machine not in MACHINES:
        return b""
    column, architecture = MACHINES[machine]
    lines = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, X32), (RETURN, 0, 0, ERROR | errno.ENOSYS),
    ]  # fmt: skip
    for kind, code in (("refused", errno.EPERM), ("ignored", 0)):
        for number in {pair[column] for pair in CALLS[kind].values()} - {-1}:
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERROR | code)]
    for pair in CALLS["only_for_itself"].values():
        lines += [(EQUAL, 0, 4, pair[column]), (LOAD, 0, 0, FIRST_ARGUMENT), (EQUAL, 1, 0, 0),
                  (RETURN, 0, 0, ERROR | errno.EPERM), (RETURN, 0, 0, ALLOW)]  # fmt: skip
    lines += [(EQUAL, 0, 5, MMAP[column]), (LOAD, 0, 0, FLAGS_OF_MMAP),
              (AND, 0, 0, SHARED_WITHOUT_FILE), (EQUAL, 0, 1, SHARED_WITHOUT_FILE),
              (RETURN, 0, 0, ERROR | errno.EPERM), (RETURN, 0, 0, ALLOW)]  # fmt: skip
    lines += [(EQUAL, 1, 0, SOCKET[column]), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, FIRST_ARGUMENT)]
    for family in FAMILIES:
        lines += [(EQUAL, 0, 1, int(family)), (RETURN, 0, 0, ALLOW)]
    lines.append((RETURN, 0, 0, ERROR | errno.EAFNOSUPPORT))
    return b"".join(struct.pack("HBBI", *line) for line in lines)
