"""Namespaces, mounts and capabilities of a forked task, by system calls. Linux only.

Bubblewrap gives a fresh sandbox to what it starts; it cannot give one to a process that exists.
These few calls, taken from what it does itself, give a task that is forked inside its sandbox
namespaces of its own, and then take away the right to do so.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x8000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 1, 2, 4, 8, 4096
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
PR_SET_DUMPABLE = 4
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
CAPABILITIES_V3 = 0x20080522
WRITABLE = ("/dev/shm", "/tmp")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def new_namespaces() -> None:
    """Mounts, network and IPC of its own at once; process ids of its own from the next fork on."""
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC))


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may look into this one (ptrace, /proc/PID/mem)."""
    _check(_libc.prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0))


def fresh_folders(kept: list[str], disk_bytes: int) -> None:
    """Empty writable folders, and a /proc of the own processes only, in this mount namespace.

    Args:
        kept: folders below /tmp that stay visible in the new one.
        disk_bytes: room in each.
    """
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    _fresh_proc()
    handles = {folder: os.open(folder, os.O_PATH) for folder in kept}
    for folder in WRITABLE:
        _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"size={disk_bytes},mode=755")
    for folder, handle in handles.items():
        os.makedirs(folder, exist_ok=True)
        _mount(f"/proc/self/fd/{handle}", folder, None, MS_BIND | MS_REC)
        os.close(handle)
    os.chdir("/tmp")  # the old one would still lead to the folder below


def _fresh_proc() -> None:
    """The kernel refuses one where root's bubblewrap covered parts of the old; that hides others.

    What then still shows is that the zygote's processes exist. Process ids in the old /proc are
    not those that the task's calls take, and the zygote's processes cannot be opened.
    """
    try:
        _mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
        return
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    own = os.readlink("/proc/self")
    for pid in os.listdir("/proc"):
        if pid.isdigit() and pid != own:
            _mount("tmpfs", f"/proc/{pid}", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "mode=0")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    source, target, kind = (text and text.encode() for text in (source, target, kind))
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), data.encode()))


def loopback_up() -> None:
    """127.0.0.1 works, as in a sandbox of bubblewrap."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def drop_capabilities() -> None:
    """Give up every capability; none can be got back, since no_new_privs is set."""
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def check_harmless() -> None:
    """What student code may be run in.

    Raises:
        PermissionError: this process still has a capability, or could get one.
    """
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    left = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status[name], 16)]
    if left or status["NoNewPrivs"] != "1" or os.getpid() != 2:
        raise PermissionError(f"a task that is not held: {left}, pid {os.getpid()}")
