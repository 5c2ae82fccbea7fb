"""Attempts to get out of the sandbox, run inside it as if they were an answer cell.

Each function is given the dictionary of ``self_test.targets`` and returns None where it was held
back, else one line that says what it could do. ``self_test`` sends this file's source to a worker,
once for each function, in their order; nothing here may import the library.
"""

import contextlib
import ctypes
import glob
import mmap
import os
import resource
import socket
import time

MB = 1 << 20
TRACES = ("/tmp/lecture-grading-trace", "/dev/shm/lecture-grading-folder/trace")
PTRACE_SEIZE = 0x4206
LIBC = ctypes.CDLL(None, use_errno=True)


def leave_traces(known):
    """Files, a process and a changed module, for the next task to find."""
    for path in TRACES:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "w").close()
    os.trace = "trace"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)


def find_traces(known):
    """What another task has left."""
    found = [path for path in TRACES if os.path.exists(path)]
    found += ["a changed module"] if hasattr(os, "trace") else []
    others = set(filter(str.isdigit, os.listdir("/proc")))
    found += [f"process {pid}" for pid in others - {"1", str(os.getppid()), str(os.getpid())}]
    return f"finds of another task: {', '.join(found)}" if found else None


def forking_process(known):
    """Look into the process that forks the tasks, or slow down, trace or limit it or the first."""
    for pid in (os.getppid(), 1):
        if LIBC.setpriority(os.PRIO_PROCESS, pid, 19) == 0:
            return f"could slow down process {pid}"
        if LIBC.ptrace(PTRACE_SEIZE, pid, 0, 0) == 0:
            return f"could trace process {pid}"
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (9, 9))
            return f"could limit process {pid}"
    names = ("mem", "environ", *(f"fd/{n}" for n in range(16)))
    return _opened(f"/proc/{os.getppid()}/{name}" for name in names) or _opened(
        ["/proc/1/mem"], os.O_WRONLY
    )


def inherited(known):
    """Open sockets and pipes of the process that forks, other than this task's own socket."""
    found = []
    for link in glob.glob("/proc/self/fd/*") + glob.glob("/proc/1/fd/*"):
        with contextlib.suppress(OSError):  # the folder itself, closed again
            found.append(os.readlink(link).partition(":")[0])
    return f"has {found}" if found.count("socket") > 1 or "pipe" in found else None


def network(known):
    """Reach a listener on this machine, or see an interface that leads out of it."""
    with contextlib.suppress(OSError):
        socket.create_connection(known["listener"], timeout=1).close()
        return f"connected to {known['listener'][0]}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(known["socket"])
        return "connected to a socket of another process"
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    return f"sees the network interface {names[0]}" if names else None


def other_files(known):
    """Read a file, or list a folder that has something in it."""
    return _opened(path for path in known["files"] if not os.path.isdir(path)
                   or glob.glob(f"{path}/*", include_hidden=True))  # fmt: skip


def write_files(known):
    """Make a file in a folder that others use."""
    for folder in known["folders"]:
        path = os.path.join(folder, f"lecture-grading-{os.getpid()}")
        with contextlib.suppress(OSError):
            open(path, "w").close()
            os.remove(path)
            return f"could write to {folder}"
    return None


def other_processes(known):
    """See the grader, known by its pid and the time it was started."""
    with contextlib.suppress(OSError), open(f"/proc/{known['pid']}/stat") as file:
        if file.read().rpartition(")")[2].split()[19] == known["start_time"]:
            return "sees the grader's process"
    return None


def user_namespace(known):
    """Become root in a namespace of one's own, where more of the kernel can be attacked."""
    return "made a user namespace" if LIBC.unshare(0x10000000) == 0 else None


def kernel_settings(known):
    """Change the whole machine's settings: some name programs that the kernel starts as root."""
    return _opened(glob.iglob("/proc/sys/**", recursive=True), os.O_WRONLY)


def keyring(known):
    """Put down a key, which the user's other processes could find and which outlives this one."""
    number = {"x86_64": 248, "aarch64": 217}.get(os.uname().machine, 217)
    done = LIBC.syscall(number, b"user", b"lecture-grading", b"x", 1, ctypes.c_int(-4))
    return "could leave a key in a keyring" if done != -1 else None


def environment(known):
    """Read what the grader's environment holds, such as tokens, from any process's."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if known["secret"].encode() in file.read():
                return f"read the grader's environment from process {pid}"
    return None


def memory(known):
    """One process with more memory than is allowed."""
    _use_memory(known["memory_mb"] + 64)
    return f"could use {known['memory_mb'] + 64} MB"


def memory_of_many(known):
    """Several processes with more memory than is allowed, together."""
    children = []
    for _ in range(6):
        if (pid := os.fork()) == 0:
            kept = _use_memory(known["memory_mb"] // 4)
            time.sleep(1.5)
            os._exit(len(kept) == 0)
        children.append(pid)
    ends = [os.waitpid(pid, 0)[1] for pid in children]
    return "six processes could use half as much again" if not any(ends) else None


def shared_memory(known):
    """Memory shared without a file: once its maker has ended it is in no process's count."""
    with contextlib.suppress(PermissionError):
        for block in [mmap.mmap(-1, known["memory_mb"] * MB // 4) for _ in range(5)]:
            if os.fork() == 0:
                block[::4096] = bytes(len(block) // 4096)
                os._exit(0)
            os.wait()
        return "could use a quarter more than is allowed"
    return _opened(["/dev/zero"])  # another way to get such memory


def processes(known):
    """More processes at the same time than are allowed."""
    for count in range(2 * known["processes"]):
        try:
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
        except OSError:
            return None if count <= known["processes"] else f"could make {count} processes"
    return f"could make {2 * known['processes']} processes"


def disk(known):
    """Fill every folder that can be written to."""
    folders = {"/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run", os.getcwd(), os.environ["HOME"]}
    total = 0
    for folder in folders:
        paths = [os.path.join(folder, f"lecture-grading-{i}") for i in range(3 * known["disk_mb"])]
        with contextlib.suppress(OSError):
            for path in paths:
                with open(path, "wb") as file:
                    total += file.write(bytes(MB))
        for path in filter(os.path.exists, paths):
            os.remove(path)
    return f"could write {total // MB} MB" if total > 2 * known["disk_mb"] * MB else None


def _opened(paths, mode=os.O_RDONLY):
    for path in paths:
        with contextlib.suppress(OSError):
            os.close(os.open(path, mode))
            return f"could {'read' if mode == os.O_RDONLY else 'write to'} {path}"
    return None


def _use_memory(n_mb):
    block = bytearray(n_mb * MB)
    for i in range(0, len(block), 4096):
        block[i] = 1
    return block
