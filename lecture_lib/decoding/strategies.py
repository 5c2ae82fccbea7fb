"""Which arguments of ``generate`` select which decoding strategy, and which do nothing."""

from typing import NamedTuple

import pandas as pd

# What generate fills in for an argument that is not given (Transformers 5).
GENERATE_DEFAULTS = {
    "do_sample": False, "num_beams": 1, "temperature": 1.0, "top_k": 50, "top_p": 1.0,
    "length_penalty": 1.0, "early_stopping": False, "num_beam_groups": 1, "diversity_penalty": 0.0,
    "penalty_alpha": None, "prompt_lookup_num_tokens": None,
}  # fmt: skip
LECTURE_ARGUMENTS = [
    {},
    {"do_sample": True, "top_k": 0},
    {"do_sample": True},
    {"do_sample": True, "top_k": 6},
    {"do_sample": True, "top_p": 0.92, "top_k": 0},
    {"do_sample": True, "top_p": 0.92},
    {"do_sample": True, "top_k": 1},
    {"num_beams": 4},
    {"num_beams": 4, "do_sample": True},
    {"temperature": 0.7, "top_p": 0.9},
    {"penalty_alpha": 0.6, "top_k": 4},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    {"prompt_lookup_num_tokens": 3},
]
_HUB_CODE = "moved out of Transformers 5: generate refuses it unless it may run code from the Hub"
# Names and notes of the modes, as Transformers' GenerationMode calls them.
_MODES = {
    "greedy_search": ("greedy search", ""),
    "beam_search": ("beam search", ""),
    "beam_sample": ("beam-search multinomial sampling", ""),
    "contrastive_search": ("contrastive search", _HUB_CODE),
    "group_beam_search": ("diverse (group) beam search", _HUB_CODE),
    "assisted_generation": (
        "assisted generation",
        "in Transformers, not in this course: a second, faster guesser proposes",
    ),
}


class Strategy(NamedTuple):
    """What a set of arguments of ``generate`` does."""

    name: str  # in words, such as "top-k sampling"
    mode: str  # Transformers' name of the code that runs (``GenerationMode``)
    ignored: tuple[str, ...]  # arguments that were given and have no effect
    note: str  # what a reader should know, or ""


def strategy_table() -> pd.DataFrame:
    """The lecture's list of strategies and those that are gone, a row for each set of arguments:
    the arguments, the strategy, what does nothing, a note."""
    rows = []
    for arguments in LECTURE_ARGUMENTS:
        strategy = select_strategy(**arguments)
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        ignored = ", ".join(strategy.ignored)
        rows.append((shown or "(none)", strategy.name, ignored, strategy.note))
    return pd.DataFrame(rows, columns=["arguments", "strategy", "ignored", "note"])


def select_strategy(**arguments) -> Strategy:
    """What ``generate`` does with these arguments and its defaults for the rest (top_k = 50!)."""
    args = GENERATE_DEFAULTS | arguments
    mode = _mode(args)
    name, note = _sampling_name(arguments, args) if mode == "sample" else _MODES[mode]
    return Strategy(name, mode, _ignored(mode, arguments, args), note)


def _mode(args: dict) -> str:
    """The decision itself: the same questions in the same order as Transformers asks them."""
    if args["num_beams"] > 1:
        if args["num_beam_groups"] > 1:
            return "group_beam_search"
        return "beam_sample" if args["do_sample"] else "beam_search"
    if not args["do_sample"] and (args["penalty_alpha"] or 0) > 0 and args["top_k"] > 1:
        return "contrastive_search"
    if args["prompt_lookup_num_tokens"] is not None:
        return "assisted_generation"
    return "sample" if args["do_sample"] else "greedy_search"


def _ignored(mode: str, given: dict, args: dict) -> tuple[str, ...]:
    idle = []
    if not args["do_sample"]:
        idle += ["temperature", "top_p"] + ["top_k"] * (mode != "contrastive_search")
    if args["num_beams"] == 1:
        idle += ["length_penalty", "early_stopping"]
    return tuple(name for name in given if name in idle and given[name] != GENERATE_DEFAULTS[name])


def _sampling_name(given: dict, args: dict) -> tuple[str, str]:
    filters = ["top-k"] * (args["top_k"] > 0) + ["top-p"] * (args["top_p"] < 1)
    name = f"{' + '.join(filters)} sampling" if filters else "multinomial sampling"
    if args["top_k"] == 1:
        return name, "one token is left to draw: greedy search, up to ties"
    if "top_k" not in given:
        return name, "top_k = 50 acts by default; top_k = 0 turns it off"
    return name, ""
