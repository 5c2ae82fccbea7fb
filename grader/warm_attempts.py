"""Attempts that only make sense from a forked worker: on the zygote, and on the next task.

As in attempts.py each function returns None where it was held back, else one line that says what
it could do; ``self_test`` sends this source to workers, one after the other, in this order.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

NAMES = ("leave_traces", "find_traces", "capabilities", "zygote", "inherited")
TRACES = ("/tmp/lecture-grading-trace", "/dev/shm/lecture-grading-trace")
IPC_KEY, IPC_CREAT, PTRACE_SEIZE = 0x1EC7, 0o1000, 0x4206
libc = ctypes.CDLL(None, use_errno=True)


def leave_traces():
    """Files, a semaphore, a process and changed modules, for the next task to find."""
    for path in TRACES:
        with open(path, "w") as file:
            file.write("trace")
    libc.semget(IPC_KEY, 1, IPC_CREAT | 0o666)
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
    if libc.semget(IPC_KEY, 1, 0) != -1:
        found.append("a semaphore")
    if hasattr(os, "trace"):
        found.append("a changed module")
    try:
        os.kill(-1, 0)
        found.append("a process")
    except ProcessLookupError:
        pass
    return f"finds of another task: {', '.join(found)}" if found else None


def capabilities():
    """What the zygote may do: namespaces, mounts, interfaces; also through another program."""
    if libc.unshare(0x20000) == 0:
        return "made a mount namespace"
    if libc.unshare(0x20000000) == 0:
        return "made a process namespace"
    if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, b"") == 0:
        return "could mount"
    for folder in (b"/tmp", b"/dev/shm", b"/proc"):
        if libc.umount2(folder, 2) == 0:
            return f"could unmount {folder.decode()}"
    code = "import ctypes; print(ctypes.CDLL(None).unshare(0x20000))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    return "made a mount namespace in a program" if done.stdout.strip() == "0" else None


def zygote():
    """Signal, slow down, trace or look into any process but one's own and its init."""
    for pid in range(3, 400):
        if libc.kill(pid, 0) == 0:
            return f"could signal process {pid}"
        if libc.setpriority(os.PRIO_PROCESS, pid, 19) == 0:
            return f"could slow down process {pid}"
        if libc.ptrace(PTRACE_SEIZE, pid, 0, 0) == 0:
            return f"could trace process {pid}"
    with open("/proc/self/status") as file:
        parent = next(line.split()[1] for line in file if line.startswith("PPid:"))
    for pid in set(os.listdir("/proc")) - {os.readlink("/proc/self"), parent}:
        for name in ("mem", "environ", "cwd", "root", "fd", "oom_score_adj", "comm"):
            if pid.isdigit() and _opens(f"/proc/{pid}/{name}"):
                return f"could open /proc/{pid}/{name}"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(0, signal.SIGTERM)  # the process group: if it is the zygote's, the next task fails
    return None


def _opens(path):
    try:
        if path.endswith(("cwd", "root", "fd")):
            os.listdir(path)
        else:
            os.close(os.open(path, os.O_RDWR if path.endswith("mem") else os.O_RDONLY))
            return not path.endswith(("comm", "oom_score_adj")) or _opens_to_write(path)
        return True
    except OSError:
        return False


def _opens_to_write(path):
    os.close(os.open(path, os.O_WRONLY))
    return True


def inherited():
    """Open files of the zygote, other than this worker's two pipes."""
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the folder itself, closed again
        if target.startswith("socket:"):
            return f"has an open socket, {name}"
    pipes = [name for name in os.listdir("/proc/self/fd") if _is_pipe(name)]
    return f"has {len(pipes)} pipes" if len(pipes) > 2 else None


def _is_pipe(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith("pipe:")
    except OSError:
        return False
