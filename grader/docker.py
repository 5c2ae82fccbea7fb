"""The sandbox of other systems: a container for each worker, in front of ``worker.py``.

The image holds Python and the packages, nothing of the course; ``DOCKERFILE`` builds it (never run
where it was written):

    python -c "from grader.docker import *; print(DOCKERFILE)" |
        docker build -t lecture-lib-grading -
"""

from pathlib import Path

from .launcher import Launcher
from .limits import Limits

IMAGE = "lecture-lib-grading"
DOCKERFILE = """\
FROM python:3.11-slim
RUN pip install --no-cache-dir uv \\
 && uv pip install --system --no-cache --torch-backend cpu torch numpy transformers safetensors \\
    matplotlib pandas ipywidgets platformdirs filelock psutil tqdm
"""


def launcher(limits: Limits, image: str, library: Path, models: Path | None) -> Launcher:
    """How a worker is started in a container of its own.

    Killing the ``docker`` command leaves its container running, so that is killed by its name.

    Args:
        library: the folder lecture_lib. models: the bundled model's folder, if it is needed.
    """
    memory, disk = f"{limits.memory_mb}m", f"rw,size={limits.disk_mb}m"
    command = [
        "docker", "run", "--rm", "--interactive", "--name", "lecture-grading-{name}",
        "--network", "none", "--read-only", "--cap-drop", "ALL", "--user", "65534:65534",
        "--security-opt", "no-new-privileges", "--ipc", "private", "--log-driver", "none",
        "--pids-limit", str(limits.processes), "--memory", memory, "--memory-swap", memory,
        "--tmpfs", f"/tmp:{disk}", "--shm-size", f"{limits.disk_mb}m", "--workdir", "/tmp",
        "--ulimit", f"fsize={limits.file_mb << 20}", "--ulimit", f"nofile={limits.open_files}",
        "--ulimit", f"cpu={limits.cpu_s}", "--ulimit", "core=0",
        "--env", "HOME=/tmp", "--env", "OMP_NUM_THREADS=1", "--env", "MPLBACKEND=Agg",
        "--env", "HF_HUB_OFFLINE=1", "--volume", f"{library}:{library}:ro",
    ]  # fmt: skip
    if models is not None:
        command += ["--volume", f"{models}:{models}:ro", "--env"]
        command += [f"LECTURE_LIB_CACHE={models.parent}"]
    return Launcher(
        prefix=(*command, image),
        stop=("docker", "kill", "lecture-grading-{name}"),
        python="python",
        load_s=limits.load_s,
        answer_s=limits.answer_s,
        time_factor=limits.time_factor,
        max_line=limits.output_mb << 20,
    )
