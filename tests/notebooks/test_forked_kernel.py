"""A forked kernel is what a kernel is that was started afresh, but for what it has imported."""

import signal
import sys
import time

import psutil
import pytest
from nbval_checks import ForkedKernels, WatchedKernel, forked_kernel
from notebook_kernel import ThisInterpreterKernels, kernel_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only"),
]
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    address = str(tmp_path_factory.mktemp("fork") / "socket")
    with kernel_environment() as environment:
        servers = environment | {"ONLY_THE_SERVERS": "1"}
        imports = (*forked_kernel.KERNEL, "torch")
        with forked_kernel.start_server(address, servers, imports) as server:
            yield address
            server.stdin.close()
            assert server.wait(timeout=TIMEOUT_S) == 0


@pytest.fixture
def start(tmp_path):
    """Starts kernels in a folder of their own."""
    kernels = []

    def start(kind):
        with kernel_environment() as environment:
            kernels.append(WatchedKernel(kind, tmp_path, environment | {"MINE": "1"}, TIMEOUT_S))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.stop()


def shown(kernel, source: str) -> list[dict]:
    """What a cell's messages hold."""
    message = kernel.execute_cell_input(source)
    kernel.await_reply(message, timeout=TIMEOUT_S)
    contents = []
    while True:
        got = kernel.get_message("iopub", timeout=TIMEOUT_S)
        if got["parent_header"].get("msg_id") != message:
            continue
        if got["content"].get("execution_state") == "idle":
            return contents
        contents.append(got["content"])


LOOK = """
import os, sys
names = sorted(name for name in os.environ if name not in ("IPYTHONDIR", "JPY_PARENT_PID"))
modules = sys.modules.keys() & {"lecture_lib", "matplotlib", "forked_kernel", "pytest"}
print(names, os.environ["MINE"], os.getcwd(), sys.path[:2], modules, hash("a"), __name__)
print(sys.argv[0].endswith(".py"), len(sys.argv), sys.flags.utf8_mode, os.read(0, 1))
print("to the terminal", file=sys.__stderr__)
"""


def test_it_has_the_environment_and_the_paths_of_a_kernel(address, start):
    texts = []
    for kind in (ThisInterpreterKernels(), ForkedKernels(address)):
        texts.append([c["text"] for c in shown(start(kind), LOOK) if "text" in c])
    assert texts[0] == texts[1]
    assert texts[0]


def test_it_has_imported_the_libraries_and_one_does_not_see_what_another_did(address, start):
    kernels = [start(ForkedKernels(address)) for _ in range(2)]
    source = "import sys; print('torch' in sys.modules, hasattr(sys, 'mine')); sys.mine = 1"
    for kernel in kernels:
        (text,) = [c["text"] for c in shown(kernel, source) if "text" in c]
        assert text == "True False\n"


def test_an_interrupt_reaches_it(address, start):
    kernel = start(ForkedKernels(address))
    # An interrupt that comes after execute_input but before the cell's first line gets no reply: so
    # the cell says when it runs.
    message = kernel.execute_cell_input("import time; print('runs', flush=True); time.sleep(600)")
    while kernel.get_message("iopub", timeout=TIMEOUT_S)["msg_type"] != "stream":
        pass
    kernel.interrupt()
    kernel.await_reply(message, timeout=TIMEOUT_S)
    errors = [c for c in shown(kernel, "1 / 0") if "ename" in c]
    assert [error["ename"] for error in errors] == ["ZeroDivisionError"]  # it goes on


def test_its_death_is_noticed(address, start):
    kernel = start(ForkedKernels(address))
    message = kernel.execute_cell_input(f"import os; os.kill(os.getpid(), {signal.SIGKILL})")
    with pytest.raises(RuntimeError, match="the kernel died"):
        kernel.await_reply(message, timeout=TIMEOUT_S)


def test_it_ends_when_it_is_stopped_in_the_middle_of_a_cell(address, start):
    kernel = start(ForkedKernels(address))
    (pid,) = [int(c["text"]) for c in shown(kernel, "import os; print(os.getpid())") if "text" in c]
    kernel.execute_cell_input("while True: pass")
    kernel.km.shutdown_kernel(now=True)
    for _ in range(10 * TIMEOUT_S):
        if not psutil.pid_exists(pid):
            break
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)


class DiesAtFirst(ThisInterpreterKernels):
    """Kernels of which the first ends at once, as one does that finds its port taken."""

    n_started = 0

    def get_kernel_spec(self, kernel_name):
        spec = super().get_kernel_spec(kernel_name)
        self.n_started += 1
        if self.n_started == 1:
            spec.argv = ["false"]
        return spec


def test_a_kernel_that_finds_its_port_taken_is_started_again(start):
    kernels = DiesAtFirst()
    (printed,) = [c["text"] for c in shown(start(kernels), "print(1 + 1)") if "text" in c]
    assert printed == "2\n"
    assert kernels.n_started == 2
