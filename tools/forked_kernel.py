"""Kernels that need not import torch and Transformers again: forks of a process that has.

The two imports take five seconds of a core in each of 24 notebooks. One process makes them, and
each kernel is forked from it. Jupyter starts this file in place of a kernel. It stays, passes an
interrupt on, and ends when the kernel ends; and the kernel ends when it is killed.

    python forked_kernel.py ADDRESS -f CONNECTION_FILE
"""

import json
import os
import signal
import socket
import sys
import threading

import fork_server

# What the kernel and its widgets import. Not ipykernel.kernelapp: it reads the environment then.
KERNEL = ("ipykernel.ipkernel", "ipykernel.zmqshell", "ipywidgets")
# And all that load_model() and the engine do. Not lecture_lib: a notebook imports that itself. Not
# pandas: it looks once, when it is imported, whether it is in a kernel, for the width of tables.
LECTURE = (
    *KERNEL,
    "transformers.pipelines",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llama.tokenization_llama",
)


def start_server(address: str, environment: dict[str, str], imports: tuple[str, ...] = LECTURE):
    """As `fork_server.start`: the process that forks kernels that have made these imports."""
    return fork_server.start(__file__, address, environment, ",".join(imports))


def be_the_kernel(connection: socket.socket) -> None:
    """What `python -m ipykernel_launcher` does, for the process at the other end."""
    message, descriptors, _, _ = socket.recv_fds(connection, 1_000_000, 3)
    arguments, environment, folder = json.loads(message)
    for standard, received in enumerate(descriptors):
        os.dup2(received, standard)
        os.close(received)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(folder)
    sys.argv[1:] = arguments
    sys.path.pop(0)  # the folder of this file
    threading.Thread(target=obey, args=[connection], daemon=True).start()

    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def obey(connection: socket.socket) -> None:
    """Send this kernel the signals that the process at the other end gets; end when it ends."""
    while number := connection.recv(1):
        os.kill(os.getpid(), number[0])
    os._exit(1)


def stand_for_the_kernel(address: str, arguments: list[str]) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        signal.signal(signal.SIGINT, lambda number, frame: connection.send(bytes([number])))
        message = json.dumps([arguments, dict(os.environ), os.getcwd()]).encode()
        socket.send_fds(connection, [message], [0, 1, 2])
        connection.recv(1)  # nothing comes; this returns when the kernel has ended


if __name__ == "__main__":
    if len(sys.argv) == 3:
        fork_server.serve(sys.argv[1], sys.argv[2].split(","), be_the_kernel)
    else:
        stand_for_the_kernel(sys.argv[1], sys.argv[2:])
