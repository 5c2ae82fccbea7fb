"""Which arguments select which strategy, as Transformers decides; the lecture's distributions."""

import itertools
import logging

import pytest
import torch
from engine_models import CONFIGS, random_model, token_ids
from transformers import GenerationConfig

from lecture_lib.decoding import (
    TOY_DISTRIBUTIONS,
    sampling_distribution,
    select_strategy,
    strategy_table,
    the_car,
    toy_logits,
)
from lecture_lib.decoding.strategies import GENERATE_DEFAULTS, LECTURE_ARGUMENTS

VALUES = {
    "do_sample": [None, False, True],
    "num_beams": [None, 1, 4],
    "top_k": [None, 0, 1, 50],
    "penalty_alpha": [None, 0.0, 0.6],
    "num_beam_groups": [None, 2],
    "prompt_lookup_num_tokens": [None, 3],
    "dola_layers": [None, "low"],
    "force_words_ids": [None, [[5]]],
}


def transformers_mode(arguments: dict) -> str:
    """As generate does it: first its defaults, then what was given."""
    defaults = GenerationConfig()._get_default_generation_params()
    given = {name: value for name, value in arguments.items() if value is not None}
    return GenerationConfig(**defaults | given).get_generation_mode().value


def test_the_mode_is_transformers_for_every_combination(caplog):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    seen = set()
    for values in itertools.product(*VALUES.values()):
        arguments = dict(zip(VALUES, values, strict=True))
        mode = select_strategy(**arguments).mode
        assert mode == transformers_mode(arguments), arguments
        seen.add(mode)
    assert len(seen) == 9


def test_the_defaults_are_generate_s():
    defaults = GenerationConfig()._get_default_generation_params()
    for name, value in GENERATE_DEFAULTS.items():
        assert value == defaults.get(name), name


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "greedy search"),
        ({"do_sample": True, "top_k": 0}, "multinomial sampling"),
        ({"do_sample": True}, "top-k sampling"),
        ({"do_sample": True, "top_k": 6}, "top-k sampling"),
        ({"do_sample": True, "top_k": 0, "top_p": 0.92}, "top-p sampling"),
        ({"do_sample": True, "top_p": 0.92}, "top-k + top-p sampling"),
        ({"do_sample": True, "top_k": 0, "min_p": 0.1}, "min-p sampling"),
        ({"do_sample": True, "top_k": 0, "typical_p": 0.5}, "typical-p sampling"),
        ({"num_beams": 4}, "beam search"),
        ({"num_beams": 4, "do_sample": True}, "beam-search multinomial sampling"),
        ({"do_sample": None, "num_beams": None}, "greedy search"),
    ],
)
def test_names_of_strategies(arguments, name):
    strategy = select_strategy(**arguments)
    assert strategy.name == str(strategy) == name
    assert not strategy.removed


def test_the_name_tells_the_processors_that_generate_makes():
    model = random_model(CONFIGS["llama"])
    for top_k, top_p, min_p, typical_p in itertools.product(
        [None, 0, 6], [None, 1.0, 0.9], [None, 0.1], [None, 1.0, 0.5]
    ):
        arguments = {"top_k": top_k, "top_p": top_p, "min_p": min_p, "typical_p": typical_p}
        given = {k: v for k, v in arguments.items() if v is not None} | {"do_sample": True}
        defaults = GenerationConfig()._get_default_generation_params()
        made = model._get_logits_processor(GenerationConfig(**defaults | given), 3)
        classes = {"TopK": "top-k", "TopP": "top-p", "MinP": "min-p", "Typical": "typical-p"}
        names = [classes[type(p).__name__.removesuffix("LogitsWarper")] for p in made]
        expected = f"{' + '.join(names) or 'multinomial'} sampling"
        assert select_strategy(**given).name == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"penalty_alpha": 0.6, "top_k": 4},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
        {"force_words_ids": [[5]], "num_beams": 2},
        {"dola_layers": "low"},
    ],
)
def test_what_is_called_removed_is_refused_by_generate(arguments):
    assert select_strategy(**arguments).removed
    ids = token_ids(1, 4)
    with pytest.raises(ValueError, match="trust_remote_code"):
        random_model(CONFIGS["llama"]).generate(ids, max_new_tokens=2, **arguments)


def test_what_is_ignored_is_what_transformers_warns_of():
    for arguments in [
        {"temperature": 0.7, "top_p": 0.9, "top_k": 10, "min_p": 0.1, "typical_p": 0.5},
        {"length_penalty": 2.0, "early_stopping": True},
        {"do_sample": True, "temperature": 0.7, "length_penalty": 2.0},
        {"num_beams": 2, "temperature": 0.7, "length_penalty": 2.0},
        {"num_beams": 2, "do_sample": True, "temperature": 0.7, "early_stopping": True},
        {"temperature": 1.0, "top_p": 1.0, "top_k": 50},
    ]:
        ignored = set(select_strategy(**arguments).ignored)
        warned = set()
        for name in arguments:  # validate names one or all; ask for each by itself
            kept = {k: v for k, v in arguments.items() if k in (name, "do_sample", "num_beams")}
            try:
                GenerationConfig(**kept).validate(strict=True)
            except ValueError as error:
                warned |= {name} if f"`{name}` is set to" in str(error) else set()
        assert ignored == warned, arguments


def test_top_k_1_and_the_default_of_50_are_noted():
    assert "greedy" in select_strategy(do_sample=True, top_k=1).note
    assert "50" in select_strategy(do_sample=True).note
    assert select_strategy(do_sample=True, top_k=6).note == ""


def test_the_table_has_the_lectures_list():
    table = strategy_table()
    assert len(table) == len(LECTURE_ARGUMENTS)
    for name in ("multinomial", "beam-search multinomial", "top-k", "top-p"):
        assert f"{name} sampling" in set(table.strategy)
    assert table.arguments[0] == "(none)"
    assert table.ignored[9] == "temperature, top_p"
    assert list(strategy_table([{"num_beams": 2}]).strategy) == ["beam search"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beams": 4}, "beams: is not among"),
        ({"num_beams": 0}, "num_beams"),
        ({"num_return_sequences": 2}, "num_return_sequences: 2 texts"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences: 3 texts"),
        ({"do_sample": True, "top_p": 1.2}, "top_p"),
        ({"do_sample": True, "temperature": 0.0}, "temperature"),
        ({"do_sample": "yes"}, "do_sample"),
    ],
)
def test_impossible_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        select_strategy(**arguments)


def test_what_num_return_sequences_transformers_allows():
    select_strategy(do_sample=True, num_return_sequences=5)
    select_strategy(num_beams=3, num_return_sequences=3)


# The lecture's two distributions


@pytest.mark.parametrize(
    ("name", "top_6", "n_nucleus", "nucleus"), [("flat", 0.68, 9, 0.94), ("peaked", 0.99, 3, 0.97)]
)
def test_the_lectures_sums(name, top_6, n_nucleus, nucleus):
    words, logits = toy_logits(name)
    probs = logits.softmax(-1)
    assert words == list(TOY_DISTRIBUTIONS[name])
    assert float(probs.sum()) == pytest.approx(1)
    assert (probs.diff() < 0).all()
    for arguments, n, mass in [({"top_k": 6}, 6, top_6), ({"top_p": 0.92}, n_nucleus, nucleus)]:
        kept = sampling_distribution(logits, **arguments) > 0
        assert int(kept.sum()) == n
        assert float(probs[kept].sum()) == pytest.approx(mass, abs=1e-6)


def test_the_toy_model_has_both_distributions():
    model = the_car()
    for prefix, name in [("The", "flat"), ("The car", "peaked")]:
        dist = {w: p for w, p in model.next_distribution(prefix).items() if p}
        assert dist == TOY_DISTRIBUTIONS[name]
    assert torch.isfinite(model.next_log_probs([model.encode("The dog")])).all()
    with pytest.raises(ValueError, match="name"):
        toy_logits("round")
