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

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux;
the filter's form: Documentation/userspace-api/seccomp_filter.rst.
"""

import ctypes
import errno
import socket
import struct
import sys

# Name: number on x86-64 and on AArch64; None where there is no such call.
REFUSED = {
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "msgget": (68, 186), "io_uring_setup": (425, 425), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "semget": (64, 190),
    "mq_open": (240, 180), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
}  # fmt: skip
IGNORED = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "file_setattr": (469, 469),
}  # fmt: skip
ONLY_FOR_ITSELF = {  # the first argument is a process, 0 for the one that calls
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
}  # fmt: skip
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
    for calls, code in ((REFUSED, errno.EPERM), (IGNORED, 0)):
        for number in filter(None, (pair[column] for pair in calls.values())):
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERROR | code)]
    for pair in ONLY_FOR_ITSELF.values():
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
