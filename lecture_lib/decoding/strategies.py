"""Which arguments of ``generate`` select which decoding strategy, and which do nothing."""

from dataclasses import dataclass

import pandas as pd

from .sampling_settings import SamplingSettings, check_k

# What generate fills in for an argument that is not given (Transformers 5).
GENERATE_DEFAULTS = {
    "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "temperature": 1.0, "top_k": 50,
    "top_p": 1.0, "min_p": None, "typical_p": 1.0, "repetition_penalty": 1.0, "length_penalty": 1.0,
    "early_stopping": False, "num_beam_groups": 1, "diversity_penalty": 0.0, "penalty_alpha": None,
    "dola_layers": None, "constraints": None, "force_words_ids": None, "assistant_model": None,
    "prompt_lookup_num_tokens": None, "assistant_early_exit": None, "max_new_tokens": None,
}  # fmt: skip
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
_BEAM = ("length_penalty", "early_stopping")
_HUB_CODE = "moved out of Transformers 5: generate refuses it unless it may run code from the Hub"
_NAMES = {
    "greedy_search": "greedy search",
    "beam_search": "beam search",
    "beam_sample": "beam-search multinomial sampling",
    "contrastive_search": "contrastive search",
    "group_beam_search": "diverse (group) beam search",
    "constrained_beam_search": "constrained beam search",
    "dola_generation": "DoLa",
    "assisted_generation": "assisted generation",
}
_NOTES = {
    "contrastive_search": _HUB_CODE,
    "group_beam_search": _HUB_CODE,
    "constrained_beam_search": _HUB_CODE,
    "dola_generation": _HUB_CODE,
    "assisted_generation": "in Transformers, not in this course: a second, faster guesser proposes",
}


@dataclass(frozen=True)
class Strategy:
    """What a set of arguments of ``generate`` does.

    Attributes:
        name: in words, such as "top-k sampling".
        mode: Transformers' name of the code that runs (``GenerationMode``), such as "sample".
        ignored: arguments that were given and have no effect.
        removed: True where Transformers 5 refuses it.
        note: what a reader should know, or "".
    """

    name: str
    mode: str
    ignored: tuple[str, ...] = ()
    removed: bool = False
    note: str = ""

    def __str__(self) -> str:
        return self.name


def select_strategy(**arguments) -> Strategy:
    """The strategy that ``generate(**arguments)`` follows, with its defaults (top_k = 50!).

    Args:
        arguments: those of ``generate`` that matter here (``GENERATE_DEFAULTS``). None means "not
            given".

    Returns:
        A Strategy; its ``mode`` is what ``GenerationConfig.get_generation_mode`` answers.

    Raises:
        ValueError: an unknown argument, a setting outside its range, num_beams below 1, more
            return sequences than there can be.
    """
    unknown = sorted(set(arguments) - set(GENERATE_DEFAULTS))
    if unknown:
        raise ValueError(f"{unknown[0]}: is not among the arguments {list(GENERATE_DEFAULTS)}")
    given = {name: value for name, value in arguments.items() if value is not None}
    args = GENERATE_DEFAULTS | given
    _check(args)
    mode = _mode(args)
    ignored = _ignored(mode, given, args)
    name, note = _NAMES.get(mode), _NOTES.get(mode, "")
    if mode == "sample":
        name, note = _sampling_name(given, args)
    return Strategy(name, mode, ignored, removed=note == _HUB_CODE, note=note)


def strategy_table(argument_sets: list[dict] | None = None) -> pd.DataFrame:
    """One row for each set of arguments: the arguments, the strategy, what does nothing, a note.

    Args:
        argument_sets: dicts of arguments; default: the lecture's list and those that are gone.
    """
    rows = []
    for arguments in LECTURE_ARGUMENTS if argument_sets is None else argument_sets:
        strategy = select_strategy(**arguments)
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        ignored = ", ".join(strategy.ignored)
        rows.append((shown or "(none)", strategy.name, strategy.mode, ignored, strategy.note))
    return pd.DataFrame(rows, columns=["arguments", "strategy", "mode", "ignored", "note"])


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


def _mode(args: dict) -> str:
    """The decision itself: the same questions in the same order as Transformers asks them."""
    if args["constraints"] is not None or args["force_words_ids"] is not None:
        return "constrained_beam_search"
    if args["num_beams"] > 1:
        if args["num_beam_groups"] > 1:
            return "group_beam_search"
        return "beam_sample" if args["do_sample"] else "beam_search"
    alpha, k = args["penalty_alpha"] or 0, args["top_k"]
    if not args["do_sample"] and alpha > 0 and k > 1:
        return "contrastive_search"
    if args["dola_layers"] is not None and not _is_assisted(args):
        return "dola_generation"
    if _is_assisted(args):
        return "assisted_generation"
    return "sample" if args["do_sample"] else "greedy_search"


def _is_assisted(args: dict) -> bool:
    names = ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit")
    return any(args[name] is not None for name in names)


def _ignored(mode: str, given: dict, args: dict) -> tuple[str, ...]:
    idle = []
    if not args["do_sample"]:
        idle += [name for name in _SAMPLING if (name, mode) != ("top_k", "contrastive_search")]
    if args["num_beams"] == 1:
        idle += _BEAM
    return tuple(name for name in given if name in idle and given[name] != GENERATE_DEFAULTS[name])


def _sampling_name(given: dict, args: dict) -> tuple[str, str]:
    filters = [
        name
        for name, acts in {
            "top-k": args["top_k"] > 0,
            "top-p": args["top_p"] < 1,
            "min-p": bool(args["min_p"]),
            "typical-p": args["typical_p"] < 1,
        }.items()
        if acts
    ]
    name = f"{' + '.join(filters)} sampling" if filters else "multinomial sampling"
    if args["top_k"] == 1:
        return name, "one token is left to draw: greedy search, up to ties"
    if "top_k" not in given:
        return name, "top_k = 50 acts by default; top_k = 0 turns it off"
    return name, ""


def _check(args: dict) -> None:
    for name in ("num_beams", "num_return_sequences", "num_beam_groups"):
        check_k(args[name], name)
    if not isinstance(args["do_sample"], bool):
        raise ValueError(f"do_sample: needs True or False, got {args['do_sample']!r}")
    settings = ("repetition_penalty", *(_SAMPLING if args["do_sample"] else ()))
    SamplingSettings(**{name: args[name] for name in settings})
    n, beams = args["num_return_sequences"], args["num_beams"]
    if n > beams and (beams > 1 or not args["do_sample"]):
        raise ValueError(
            f"num_return_sequences: {n} texts, but {beams} beam{'s' * (beams > 1)} without drawing "
            f"from more give at most {beams}"
        )
