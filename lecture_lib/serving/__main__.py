"""python -m lecture_lib.serving --help"""

import argparse
import asyncio
import sys


def main() -> int:
    """Serve a model until Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lecture_lib.serving",
        description="Answer OpenAI's completions and chat completions on this machine.",
    )
    add = parser.add_argument
    add("--model", default="smollm2-135m-instruct", help="a folder or a Hub name (%(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda, mps (%(default)s)")
    add("--port", type=int, default=8000, help="0 takes any free one (%(default)s)")
    add("--n-blocks", type=int, default=512, help="of 16 positions, for all texts (%(default)s)")
    add("--max-running", type=int, default=16, help="texts at the same time (%(default)s)")
    add("--token-budget", type=int, default=128, help="tokens in one pass (%(default)s)")
    add("--most-open", type=int, default=64, help="texts that wait or run (%(default)s)")
    args = parser.parse_args()
    print(f"loading {args.model} ...", file=sys.stderr, flush=True)
    try:
        asyncio.run(_serve(args))
    except KeyboardInterrupt:
        return 0
    except (ValueError, RuntimeError, OSError, OverflowError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def _serve(args: argparse.Namespace) -> None:
    from lecture_lib.engine import Engine
    from lecture_lib.loading import load_model

    from .engine import PagedEngine
    from .server import Server

    limits = {"max_running": args.max_running, "token_budget": args.token_budget}
    engine = Engine(load_model(args.model, device=args.device))
    server = Server(PagedEngine(engine, args.n_blocks, **limits), args.model, args.most_open)
    port = server.listen(args.port)
    print(f"http://127.0.0.1:{port}/v1 answers as {args.model}; Ctrl-C ends it", flush=True)
    try:
        await asyncio.Event().wait()  # until Ctrl-C cancels it
    finally:
        print("stopping ...", file=sys.stderr, flush=True)
        await server.close()


sys.exit(main())
