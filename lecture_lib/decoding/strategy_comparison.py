"""Strategies side by side: the same prompts continued by each, and what comes out in numbers."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from lecture_lib.checks import check_count
from lecture_lib.engine import Engine
from lecture_lib.tokens import encode_prompts as encode

from .beam_engine import engine_beam_search
from .beam_sampling import beam_sampling
from .sample_generate import sample_generate
from .sampling_settings import SamplingSettings
from .strategies import GENERATE_DEFAULTS, select_strategy
from .text_statistics import distinct_n, mean_log_prob, repeated_ngrams, token_log_probs

_SETTINGS = ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty")
_BEAM = ("num_beams", "length_penalty", "early_stopping")
# The strategies that are run here, and the arguments that each takes.
_RUN = {
    "greedy_search": (),
    "sample": _SETTINGS,
    "beam_search": _BEAM,
    "beam_sample": (*_BEAM, *_SETTINGS[:-1]),
}


def compare_strategies(
    engine: Engine,
    prompts: str | Sequence,
    strategies: Mapping[str, Mapping],
    *,
    max_new_tokens: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """Continue every prompt by every strategy and measure the texts.

    Args:
        engine: an Engine.
        prompts: one or several, text or token ids.
        strategies: a label and the arguments of ``generate`` for each, such as
            ``{"nucleus": {"do_sample": True, "top_k": 0, "top_p": 0.92}}``; what is not given has
            ``generate``'s default. Greedy, sampling, beam search and beam-search sampling.
        max_new_tokens: of each text.
        seed: of each sampling strategy.

    Returns:
        One row a strategy, indexed by its label: ``strategy`` (its name), ``n_tokens`` (mean
        length), ``distinct_1`` and ``distinct_2`` (over all texts), ``repeated_4grams`` (mean over
        texts, nan where all are too short), ``mean_log_prob`` (by the model itself, in nats, mean
        over all tokens) and ``texts`` (a list, in the order of the prompts).

    Raises:
        ValueError: a strategy that the course does not build, bad arguments or prompts.
    """
    prompt_ids, _ = encode(prompts, engine.tokenizer)
    check_count("max_new_tokens", max_new_tokens)
    if not strategies:
        raise ValueError("strategies: is empty; needs at least one")
    chosen = {label: _checked(label, arguments) for label, arguments in strategies.items()}
    rows = []
    for label, arguments in strategies.items():
        new_ids = _continue(engine, prompt_ids, chosen[label].mode, arguments, max_new_tokens, seed)
        rows.append({"strategy": chosen[label].name, **_measure(engine, prompt_ids, new_ids)})
    return pd.DataFrame(rows, index=pd.Index(strategies, name="label"))


def _checked(label: str, arguments: Mapping):
    strategy = select_strategy(**arguments)
    if strategy.mode not in _RUN:
        raise ValueError(f"strategies[{label!r}]: {strategy.name} can't be compared here")
    idle = [name for name in arguments if name not in ("do_sample", *_RUN[strategy.mode])]
    neutral = [name for name in idle if arguments[name] in (None, GENERATE_DEFAULTS[name])]
    if wrong := [name for name in idle if name not in neutral]:
        raise ValueError(f"strategies[{label!r}]: {wrong[0]} is not taken with {strategy.name}")
    return strategy


def _continue(engine, prompt_ids, mode, arguments, max_new_tokens, seed) -> list[list[int]]:
    """The new tokens of every prompt."""
    given = {name: value for name, value in arguments.items() if value is not None}
    settings = {name: (GENERATE_DEFAULTS | given)[name] for name in _RUN[mode]}
    if mode == "greedy_search":
        return [g.token_ids for g in engine.generate(prompt_ids, max_new_tokens)]
    if mode == "sample":
        texts = sample_generate(engine, prompt_ids, max_new_tokens, seed=seed, **settings)
        return [text.token_ids for text in texts]
    beam = {name: settings[name] for name in _BEAM} | {"max_new_tokens": max_new_tokens}
    if mode == "beam_sample":
        shape = SamplingSettings(**{name: settings[name] for name in _SETTINGS[:-1]})
        beam |= beam_sampling(engine, shape, seed)
    return [engine_beam_search(engine, ids, **beam).sequences[0] for ids in prompt_ids]


def _measure(engine, prompt_ids: list[list[int]], new_ids: list[list[int]]) -> dict:
    log_probs = [
        p
        for prompt, new in zip(prompt_ids, new_ids, strict=True)
        for p in token_log_probs(engine, prompt, new)
    ]
    repeated = [repeated_ngrams(ids, 4) for ids in new_ids if len(ids) >= 4]
    return {
        "n_tokens": fmean(map(len, new_ids)),
        "distinct_1": distinct_n(new_ids, 1),
        "distinct_2": distinct_n(new_ids, 2),
        "repeated_4grams": fmean(repeated) if repeated else float("nan"),
        "mean_log_prob": mean_log_prob(log_probs),
        "texts": [engine.tokenizer.decode(ids, skip_special_tokens=True) for ids in new_ids],
    }
