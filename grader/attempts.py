"""Attempts to get out of the sandbox, run inside it as if they were an answer cell.

Each function returns None where it was held back, else one line that says what it could do.
``self_test`` sends this file's source to a worker, once for each function, in their order; nothing
here may import the library.
"""

import contextlib
import ctypes
import os
import resource
import socket
import time

MB = 1 << 20
TRACES = ("/tmp/lecture-grading-trace", "/dev/shm/lecture-grading-folder/trace")
PTRACE_SEIZE = 0x4206


def leave_traces():
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
    return None


def find_traces():
    """What another task has left."""
    found = [path for path in TRACES if os.path.exists(path)]
    found += ["a changed module"] if hasattr(os, "trace") else []
    others = {"1", str(os.getppid()), str(os.getpid())}
    found += [f"process {name}" for name in os.listdir("/proc") if name.isdigit()
              and name not in others]  # fmt: skip
    return f"finds of another task: {', '.join(found)}" if found else None


def forking_process():
    """Look into the process that forks the tasks, slow it down or limit it."""
    libc, pid = ctypes.CDLL(None, use_errno=True), os.getppid()
    if libc.setpriority(os.PRIO_PROCESS, pid, 19) == 0:
        return "could slow down the process that forks"
    if libc.ptrace(PTRACE_SEIZE, pid, 0, 0) == 0:
        return "could trace the process that forks"
    with contextlib.suppress(OSError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (9, 9))
        return "could limit the process that forks"
    for name in ("mem", "environ", *(f"fd/{n}" for n in range(16))):
        with contextlib.suppress(OSError):
            os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
            return f"could open /proc/{pid}/{name}"
    return None


def inherited():
    """Open sockets and pipes of the process that forks, other than this task's own socket."""
    found = []
    for pid in ("self", "1"):
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            with contextlib.suppress(OSError):  # the folder itself, closed again
                found.append(os.readlink(f"/proc/{pid}/fd/{name}").partition(":")[0])
    return f"has {found}" if found.count("socket") > 1 or "pipe" in found else None


def network(addresses, socket_name):
    """Reach a listener on this machine, or see an interface that leads out of it."""
    for host, port in addresses:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), timeout=1).close()
            return f"connected to {host}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + socket_name)
        return "connected to a socket of another process"
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    return f"sees the network interface {names[0]}" if names else None


def other_files(paths):
    """Read one of these files or folders."""
    for path in paths:
        with contextlib.suppress(OSError):
            if os.path.isdir(path):
                if os.listdir(path):
                    return f"could list {path}"
            else:
                with open(path, "rb") as file:
                    file.read(1)
                return f"could read {path}"
    return None


def write_files(folders):
    """Make a file in a folder that others use."""
    for folder in folders:
        path = os.path.join(folder, f"lecture-grading-{os.getpid()}")
        with contextlib.suppress(OSError):
            open(path, "w").close()
            os.remove(path)
            return f"could write to {folder}"
    return None


def other_processes(pid, start_time):
    """See or signal the grader, known by its pid and the time it was started."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        if file.read().rpartition(")")[2].split()[19] == start_time:
            return "sees the grader's process"
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return f"sees {len(pids)} processes" if len(pids) > 8 else None


def user_namespace():
    """Become root in a namespace of one's own, where more of the kernel can be attacked."""
    libc = ctypes.CDLL(None, use_errno=True)
    return "made a user namespace" if libc.unshare(0x10000000) == 0 else None


def kernel_settings():
    """Change the whole machine's settings: some name programs that the kernel starts as root."""
    for folder, _, names in os.walk("/proc/sys"):
        for name in names:
            with contextlib.suppress(OSError):
                os.close(os.open(os.path.join(folder, name), os.O_WRONLY))
                return f"could open {os.path.join(folder, name)} for writing"
    return None


def keyring():
    """Put down a key, which the user's other processes could find and which outlives this one."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 248, "aarch64": 217}.get(os.uname().machine, 217)
    done = libc.syscall(number, b"user", b"lecture-grading", b"x", 1, ctypes.c_int(-4))
    return "could leave a key in a keyring" if done != -1 else None


def environment(secret):
    """Read what the grader's environment holds, such as tokens, from any process's."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if secret.encode() in file.read():
                return f"read the grader's environment from process {pid}"
    return None


def memory(limit_mb):
    """One process with more memory than is allowed."""
    block = bytearray((limit_mb + 64) * MB)
    for i in range(0, len(block), 4096):
        block[i] = 1
    return f"could use {len(block) // MB} MB"


def memory_of_many(limit_mb):
    """Several processes with more memory than is allowed, together."""
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            block = bytearray(limit_mb // 4 * MB)
            for i in range(0, len(block), 4096):
                block[i] = 1
            time.sleep(1.5)
            os._exit(0)
        children.append(pid)
    ends = [os.waitpid(pid, 0)[1] for pid in children]
    return "six processes could use half as much again" if not any(ends) else None


def processes(limit):
    """More processes at the same time than are allowed."""
    for count in range(2 * limit):
        try:
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
        except OSError:
            return None if count <= limit else f"could make {count} processes"
    return f"could make {2 * limit} processes"


def disk(limit_mb):
    """Fill every folder that can be written to."""
    folders = {"/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run", os.getcwd(), os.environ["HOME"]}
    total, paths = 0, []
    for folder in folders:
        with contextlib.suppress(OSError):
            for i in range(3 * limit_mb):
                paths.append(os.path.join(folder, f"lecture-grading-fill-{i}"))
                with open(paths[-1], "wb") as file:
                    total += file.write(bytes(MB))
    for path in paths:
        if os.path.exists(path):
            os.remove(path)
    return f"could write {total // MB} MB" if total > 2 * limit_mb * MB else None
