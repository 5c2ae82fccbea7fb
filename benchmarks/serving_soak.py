"""The server under load: clients that ask without a pause, errors, and the memory of its process.

Starts ``python -m lecture_lib.serving``. Each of 16 clients, OpenAI's own, asks for one text after
another, of random length; every second one streams its text. Then the server must end on Ctrl-C.

    python benchmarks/serving_soak.py [--seconds 120] [--clients 16] [--quick]
"""

import argparse
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import psutil
from results import save, show


def ask(url: str, model: str, number: int, until: float) -> list[dict]:
    """One client: a row for each of its requests, with the error if there was one."""
    rng, rows = np.random.default_rng(number), []
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=300) as client:
        while (started := time.perf_counter()) < until:
            stream, row = len(rows) % 2 == 0, {"tokens": 0, "first_s": None, "error": None}
            prompt = f"Client {number} counts: " + " ".join(map(str, range(rng.integers(1, 60))))
            try:
                answer = client.completions.create(
                    model=model, prompt=prompt, max_tokens=int(rng.integers(4, 49)), stream=stream,
                    **({"stream_options": {"include_usage": True}} if stream else {}),
                )  # fmt: skip
                for part in answer if stream else [answer]:
                    if row["first_s"] is None:
                        row["first_s"] = time.perf_counter() - started
                    if part.usage:
                        row["tokens"] = part.usage.completion_tokens
                row["stream"] = stream
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}"
                time.sleep(0.1)
            rows.append(row)
    return rows


def soak(seconds: float, n_clients: int) -> dict[str, list[dict]]:
    """Tables: what the clients got, and the server's memory, five times on the way."""
    command = [sys.executable, "-m", "lecture_lib.serving", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url, model = server.stdout.readline().split(" answers as ")
            model = model.partition(";")[0]
            ask(url, model, 0, time.perf_counter() + 0.1)  # one request alone: all is loaded
            process, memory = psutil.Process(server.pid), []
            started = time.perf_counter()

            def look() -> None:
                now = time.perf_counter() - started
                memory.append({"after_s": now, "rss_mb": process.memory_info().rss / 1e6})

            look()
            watches = [threading.Timer(seconds * part / 4, look) for part in (1, 2, 3)]
            for watch in watches:
                watch.start()
            with ThreadPoolExecutor(n_clients) as pool:
                ends = [started + seconds] * n_clients
                given = [url] * n_clients, [model] * n_clients, range(n_clients), ends
                found = pool.map(ask, *given)
                rows = [row for one in found for row in one]
            look()
        finally:
            server.send_signal(signal.SIGINT)
            status = server.wait(60)
    errors = [row["error"] for row in rows if row["error"]]
    for error in sorted(set(errors)):
        print(f"{errors.count(error)} times: {error}", file=sys.stderr)
    firsts = [row["first_s"] for row in rows if not row["error"] and row["stream"]]
    took, tokens = memory[-1]["after_s"], sum(row["tokens"] for row in rows)
    clients = {
        "clients": n_clients, "seconds": took, "requests": len(rows), "errors": len(errors),
        "tokens": tokens, "tokens_per_s": tokens / took, "median_ttft_s": statistics.median(firsts),
        "exit_status": status,
    }  # fmt: skip
    return {"clients": [clients], "memory": memory}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="5 seconds, and nothing is written")
    args = parser.parse_args()
    tables = soak(5 if args.quick else args.seconds, args.clients)
    show(tables)
    if not args.quick:
        save("serving_soak", vars(args), tables)
    clients = tables["clients"][0]
    return 1 if clients["errors"] or clients["exit_status"] else 0


if __name__ == "__main__":
    sys.exit(main())
