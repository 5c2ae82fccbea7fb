"""Two "hosts" with a cable between them: network namespaces, in which ranks meet.

One test has torchrun start its ranks. Where the ranks alone matter they are forks of a process that
has imported torch, with the variables that torchrun sets.
"""

import ast
import json
import os
import runpy
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import needs
import pytest
from forked import Forked
from parallel_models import PROMPT, TIED, WITH_BIASES, greedy_with_logits, save_model
from test_lecture_code import code_by_file

from lecture_lib.engine import Engine
from lecture_lib.parallel.ranks.network import join_private_network

ADDRESSES = ("10.213.77.1", "10.213.77.2")
PORT = "29713"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.fixture
def hosts():
    """Two namespaces, each with one end of a virtual cable called "cable"."""
    if sys.platform != "linux" or not shutil.which("ip"):
        needs.missing("two hosts need Linux and the command ip", "sudo apt install iproute2")
    if os.geteuid() != 0:
        pytest.skip("needs root: connecting two network namespaces takes the system's rights")
    names = [f"lecture-{uuid.uuid4().hex[:8]}" for _ in ADDRESSES]
    if subprocess.run(["ip", "netns", "add", names[0]], capture_output=True).returncode:
        pytest.skip("this system allows no named network namespaces (ip netns add failed)")
    try:
        _ip("netns", "add", names[1])
        ends = ["type", "veth", "peer", "name", "cable", "netns", names[1]]
        _ip("link", "add", "cable", "netns", names[0], *ends)
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def run_rank(host, program, *arguments) -> str:
    """Be a rank on this host: run a script or, by its name, a package; what it said."""
    join_private_network([f"/run/netns/{host}"])
    sys.argv = [program, *arguments]
    sys.path.insert(0, str(Path(program).parent))
    run = runpy.run_path if program.endswith(".py") else runpy.run_module
    with redirect_stdout(StringIO()) as said, suppress(SystemExit):
        run(program, run_name="__main__")
    return said.getvalue()


def run_on_both(hosts, folder, *command) -> list[str]:
    """Run the ranks of one group, one on each host; returns what they said."""
    meeting = {
        "GLOO_SOCKET_IFNAME": "cable", "MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": PORT,
        "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "x",
    }  # fmt: skip
    ranks = [
        Forked(run_rank, folder / host, RANK=str(i), **meeting) for i, host in enumerate(hosts)
    ]
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda rank, host: rank.ask(host, *command), ranks, hosts))


def torchrun_on_both(hosts, *command) -> list[str]:
    """Have torchrun start a rank on each host; returns what they said."""
    started = []
    try:
        for number, host in enumerate(hosts):
            torchrun = [
                *TORCHRUN, "--nnodes=2", "--nproc-per-node=1", f"--node-rank={number}",
                f"--master-addr={ADDRESSES[0]}", f"--master-port={PORT}",
            ]  # fmt: skip
            process = subprocess.Popen(
                ["ip", "netns", "exec", host, *torchrun, *command],
                env=os.environ | {"GLOO_SOCKET_IFNAME": "cable", "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            started.append(process)
        said = [process.communicate(timeout=120)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0], said
        return said
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensor", "pipeline"])
def test_one_model_on_two_hosts(hosts, tmp_path, kind):
    model = save_model(tmp_path / "model", WITH_BIASES)
    from engine_models import byte_tokenizer

    prompt = byte_tokenizer()(bytes(PROMPT).decode()).input_ids
    expected, _ = greedy_with_logits(model, prompt, 4)
    out = tmp_path / "0.json"  # of each host, but rank 0 alone reports
    command = [
        "lecture_lib.parallel", kind, "--prompt", bytes(PROMPT).decode(), "--max-new-tokens", "4",
        "--model", str(tmp_path / "model"), "--json", str(out), "--check",
    ]  # fmt: skip
    if kind == "pipeline":
        torchrun_on_both(hosts, "-m", *command)
    else:
        run_on_both(hosts, tmp_path, *command)
    result = json.loads((tmp_path / "0.json").read_text())
    token_ids = result["token_ids"]
    assert (token_ids if kind == "tensor" else token_ids[0]) == expected
    assert result["difference"] < 1e-3
    # Of a ring over 2 ranks each sends the payload once; a pipeline's message crosses once.
    crossings = 2 if kind == "tensor" else 1
    assert result["wire_bytes"] > crossings * result["payload_bytes"] > 0


@pytest.mark.slow
@pytest.mark.real_model
def test_the_pipeline_of_lecture_06_on_two_hosts(hosts, tmp_path, loaded):
    notebook = Path(__file__).parents[1] / "notebooks/06_pipeline_parallelism.ipynb"
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    files = code_by_file(["".join(c["source"]) for c in cells if c["cell_type"] == "code"])
    for name in ("stage.py", "messages.py", "loop.py", "pipeline.py"):
        (tmp_path / name).write_text(files[name])
    prompts = ["The quick brown fox", "Once upon a time there was a little"]
    said = run_on_both(hosts, tmp_path, str(tmp_path / "pipeline.py"), "60", *prompts)
    results = [json.loads(line) for text in said for line in text.splitlines() if line[:1] == "{"]
    assert [result["stage"] for result in results] == [0, 1]
    engine = Engine(loaded)
    assert results[1]["tokens"] == [
        engine.generate(p, 6, ignore_eos=True).token_ids for p in prompts
    ]
    lengths = [len(loaded.tokenizer(prompt).input_ids) for prompt in prompts]
    row = 4 * loaded.spec.d_model
    assert [n for _, n in results[0]["sent"]] == [length * row for length in lengths] + 10 * [row]
    assert [n for _, n in results[1]["sent"]] == 10 * [8]


def script_of_lecture_07() -> str:
    """The file that its notebook writes: the header, the functions in turn, what torchrun runs."""
    path = Path(__file__).parents[1] / "notebooks/07_tensor_parallelism.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    nodes = {}
    for node in ast.parse(code).body:
        names = [target.id for target in getattr(node, "targets", []) if hasattr(target, "id")]
        nodes |= dict.fromkeys([*names, getattr(node, "name", "")], node)
    names = [name.id for name in nodes["GROUP"].value.elts]
    header, end = (ast.literal_eval(nodes[name].value) for name in ("HEADER", "TORCHRUN"))
    return "\n\n".join([header, *(ast.unparse(nodes[name]) for name in names), end])


@pytest.mark.slow
def test_the_group_of_lecture_07_on_two_hosts(hosts, tmp_path):
    model = save_model(tmp_path / "model", TIED)
    expected, _ = greedy_with_logits(model, PROMPT, 4)
    (tmp_path / "my_group.py").write_text(script_of_lecture_07(), "utf-8")
    order = {"model": str(tmp_path / "model"), "token_ids": PROMPT, "n_new": 4}
    said, nothing = run_on_both(hosts, tmp_path, str(tmp_path / "my_group.py"), json.dumps(order))
    result = json.loads(said.splitlines()[-1])
    assert result["ids"] == expected
    assert not [line for line in nothing.splitlines() if line.startswith("{")]
    sizes = [48 * 4 * tokens for tokens in (len(PROMPT), 1, 1, 1) for _ in range(2 * 6)]
    assert result["payloads"] == [["all_reduce", size] for size in sizes]
