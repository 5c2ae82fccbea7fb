"""The interactive loop: type a prompt, see the text come; /settings shows and changes settings."""

import contextlib
import dataclasses
import re
import sys

from .settings import DEFAULTS, TaskInfo, not_speculated_because

HELP = """Type a text and see it continued. Commands:
  /settings                 show the settings
  /settings top_k=5 seed=1  change some
  /help   /quit             (or Ctrl-D). Ctrl-C stops a text, and at the prompt the program."""


def loop(loaded, engine, task_info: TaskInfo | None = None, drafter=None) -> int:
    """Prompt after prompt until the end of the input; returns the exit code."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # makes input() keep a history, with the arrow keys

    with contextlib.suppress(AttributeError, ValueError):  # a stdin that is no terminal or file
        sys.stdin.reconfigure(errors="surrogateescape")  # a bad byte is refused as part of its text
    settings = task_info or TaskInfo("-", logprobs=0)
    print(HELP, file=sys.stderr)
    while True:
        try:
            line = input("> ")
        except EOFError:
            print("", file=sys.stderr)
            return 0
        if not line.strip():
            continue
        if line.strip() in ("/quit", "/exit"):
            return 0
        try:
            if line.startswith("/"):
                settings = command(line.strip(), settings)
                continue
            show_text(dataclasses.replace(settings, prompt_seqs=line), loaded, engine, drafter)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print("\n(stopped)", file=sys.stderr)


def show_text(task: TaskInfo, loaded, engine, drafter=None) -> None:
    """Print the continuation of the one prompt of a task, piece by piece where that is possible."""
    from . import run

    if drafter and (because := not_speculated_because(vars(task))):
        raise ValueError(f"speculate: {because}")
    if engine and task.beam_width == 1:
        for piece in run.stream(task, engine, drafter):
            print(piece, end="", flush=True)
        print()
    else:
        print(run.generate(task, loaded)[0].text)


def command(line: str, settings: TaskInfo) -> TaskInfo:
    """The settings after a command such as ``/settings top_k=5``; ValueError for an unknown one."""
    name, *changes = line.split()
    if name == "/help":
        print(HELP, file=sys.stderr)
        return settings
    if name != "/settings":
        raise ValueError(f"{name}: unknown; there are /settings, /help and /quit")
    settings = changed(settings, *changes)
    for name in list(DEFAULTS)[1:]:  # all but the prompt
        print(f"  {name} = {getattr(settings, name)!r}", file=sys.stderr)
    return settings


def changed(settings: TaskInfo, *changes: str) -> TaskInfo:
    """Settings changed by texts ``name=value``, all at once; ValueError where that can't be."""
    new = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or name == "prompt_seqs" or name not in DEFAULTS:
            known = sorted(DEFAULTS.keys() - {"prompt_seqs"})
            raise ValueError(f"{name}: write setting=value, with one of {', '.join(known)}")
        new[name] = read_value(name, text)
    return dataclasses.replace(settings, **new)


def read_value(name: str, text: str):
    """A setting's value as it is typed: a number, on or off for do_sample, text for stop."""
    if name == "stop":
        return (unescape(text),) if text else ()
    if name == "do_sample":
        words = {"true": True, "on": True, "false": False, "off": False}
        if text.lower() not in words:
            raise ValueError(f"do_sample: needs on or off, got {text!r}")
        return words[text.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    raise ValueError(f"{name}: needs a number, got {text!r}")


def unescape(text: str) -> str:
    r"""A stop string as it is typed, with \n, \t and \\ for what can't be typed."""
    meaning = {"n": "\n", "t": "\t", "\\": "\\"}

    def read(found: re.Match) -> str:
        if found[1] not in meaning:
            raise ValueError(
                f"Stop strings: \\{found[1]} is unknown; there are \\n (line break), \\t (tab) and "
                "\\\\ (a backslash)"
            )
        return meaning[found[1]]

    return re.sub(r"\\(.?)", read, text)
