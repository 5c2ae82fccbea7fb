"""The command line: one task, an interactive loop, or a sweep over settings.

The text goes to stdout and nothing else does: progress and remarks go to stderr.
Exit codes: 0 done, 1 the model could not be loaded or run, 2 a wrong argument, 130 interrupted.
"""

import argparse
import dataclasses
import functools
import json
import sys
from pathlib import Path

from lecture_lib.checks import check_text

from . import prompt
from .settings import DEFAULTS, DRAFTERS, TaskInfo, not_speculated_because

EXAMPLES = """examples:
  %(prog)s --prompt "The quick brown fox"
  %(prog)s --prompt "Once upon a time" --temperature 0.7 --top-p 0.9 --stop "\\n"
  %(prog)s --prompt A --prompt B --beam-width 4 --no-do-sample --json
  %(prog)s --interactive
  %(prog)s --prompt "1, 2, 3, 1, 2, 3," --temperature 0 --speculate lookup
  %(prog)s --prompt "Once upon a time" --sweep top_k=1,5,50 --table sweep.csv
"""


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        check_text("model", args.model, "word")
        task_info = None if args.interactive and not args.prompt_seqs else _read_task(args)
        _check_output(args, task_info)
    except ValueError as error:  # in the words of the command line: top_k becomes --top-k
        name, colon, rest = str(error).partition(":")
        name = name.removesuffix("_seqs").replace("_", "-")
        parser.error(f"--{name}{colon}{rest}")
    try:
        return _run(args, task_info)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    """The arguments; those of the task have TaskInfo's names, and its defaults where not given."""
    parser = argparse.ArgumentParser(
        prog="python -m lecture_lib.inference_script",
        description="Continue texts with a language model; every setting acts.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    setting = functools.partial(add, default=argparse.SUPPRESS)
    add("--model", default="smollm2-135m-instruct", help="a folder or a Hub name (%(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda, mps (%(default)s)")
    formats = ("int4", "int8", "bfloat16", "float16", "float32")
    add("--weights", choices=formats, default="float32", help="their format (%(default)s)")
    add("--prompt", dest="prompt_seqs", action="append", help="a text; repeat it for a batch")
    setting("--output-len", type=int, help="new tokens at most")
    setting("--temperature", type=float, help="0 is greedy; below 1 safer, above 1 more varied")
    setting("--top-k", type=int, help="keep the k likeliest tokens; 0 keeps all, 1 is greedy")
    setting("--top-p", type=float, help="keep the smallest set of tokens with this probability")
    setting("--beam-width", type=int, help="more than 1: beam search (mind --no-do-sample)")
    setting("--do-sample", action=argparse.BooleanOptionalAction, help="draw tokens (the default)")
    setting("--len-penalty", type=float, help="of beam search; above 0 favours long texts")
    setting("--beam-search-diversity-rate", type=float, help="refused unless 0, with the reason")
    setting("--repetition-penalty", type=float, help="above 1: fewer repetitions")
    setting("--stop", action="append", help="a string that ends a text; repeat it for several")
    setting("--logprobs", type=int, help="print so many likely tokens for each position")
    setting("--seed", type=int, help="the same seed gives the same text")
    speculate = "verify several drafted tokens in one pass: drafts from the prompt itself, from "
    speculate += "the course's draft model, from the model's first layers"
    add("--speculate", choices=DRAFTERS, help=speculate)
    one_of = parser.add_mutually_exclusive_group().add_argument
    one_of("--interactive", action="store_true", help="a prompt loop; /settings shows and changes")
    one_of("--json", action="store_true", help="one JSON object per prompt, for machines")
    one_of("--sweep", metavar="SETTING=A,B,C", help="run once for each value and print a table")
    add("--table", metavar="FILE.csv", help="write the sweep's table")
    return parser


def _read_task(args: argparse.Namespace) -> TaskInfo:
    """The TaskInfo that the arguments describe; a ValueError without a prompt."""
    if not args.prompt_seqs:
        raise ValueError("prompt_seqs: needs a text: --prompt TEXT, or --interactive")
    given = {name: getattr(args, name) for name in DEFAULTS if hasattr(args, name)}
    return TaskInfo(**{"logprobs": 0} | given)


def _check_output(args: argparse.Namespace, task_info: TaskInfo | None) -> None:
    """Refuse, before a model is loaded, what would do nothing, or fail when the work is done."""
    if getattr(args, "logprobs", 0) and (args.sweep or args.interactive):
        raise ValueError("logprobs: does nothing together with --sweep or --interactive")
    if args.speculate and (args.json or args.sweep or getattr(args, "logprobs", 0)):
        others = "--json, --logprobs or --sweep, whose texts Transformers writes"
        raise ValueError(f"speculate: does nothing together with {others}")
    if args.speculate and task_info and (because := not_speculated_because(vars(task_info))):
        raise ValueError(f"speculate: {because}")
    if args.table and not args.sweep:
        raise ValueError("table: is the table of a --sweep, and there is none")
    if args.table and (not args.table.endswith(".csv") or not Path(args.table).parent.is_dir()):
        raise ValueError(f"table: needs FILE.csv in a folder that is there, got {args.table!r}")
    name, _, values = (args.sweep or "").partition("=")
    for value in values.split(",") if args.sweep else ():
        prompt.changed(task_info, f"{name}={value}")


def _run(args: argparse.Namespace, task_info) -> int:
    print(f"loading {args.model} ...", file=sys.stderr)
    from lecture_lib.loading import load_model

    from .run import engine_or_none, make_drafter

    loaded = load_model(args.model, device=args.device, weights=args.weights)
    engine = engine_or_none(loaded)
    drafter = make_drafter(args.speculate, loaded, engine) if args.speculate else None
    print(f"{loaded.source}, {loaded.weights}, on {loaded.device}", file=sys.stderr)
    if args.interactive:
        return prompt.loop(loaded, engine, task_info, drafter)
    if args.sweep:
        from . import sweep  # it needs pandas

        return sweep.run(args.sweep, args.table, task_info, loaded)
    return _answer(args, task_info, loaded, engine, drafter)


def _answer(args, task_info, loaded, engine, drafter) -> int:
    from .run import generate

    if len(task_info.prompts) == 1 and not args.json and not task_info.logprobs:
        prompt.show_text(task_info, loaded, engine, drafter)
        return 0
    for text, answer in zip(task_info.prompts, generate(task_info, loaded), strict=True):
        if args.json:
            names = ("text", "token_ids", "finish_reason")
            shown = {"prompt": text} | {name: getattr(answer, name) for name in names}
            shown["logprobs"] = list(map(dataclasses.asdict, answer.logprobs))
            print(json.dumps(shown, ensure_ascii=False))
            continue
        print(answer.text)
        decode = loaded.tokenizer.decode
        for position in answer.logprobs:
            top = "  ".join(f"{decode(i)!r} {p:.2f}" for i, p in position.top)
            print(f"  {decode(position.token_id)!r:14} {position.log_prob:6.2f} | {top}")
    return 0
