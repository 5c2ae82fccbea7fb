"""Which arguments select which strategy, as Transformers decides; the lecture's distributions."""

import itertools
import logging

import pytest
from engine_models import CONFIGS, random_model, token_ids
from transformers import GenerationConfig

from lecture_lib.decoding import sampling_distribution, strategy_table, toy_logits
from lecture_lib.decoding.strategies import (
    GENERATE_DEFAULTS,
    LECTURE_ARGUMENTS,
    select_strategy,
)
from lecture_lib.decoding.toy_models import TOY_DISTRIBUTIONS

VALUES = {
    "do_sample": [None, False, True],
    "num_beams": [None, 1, 4],
    "top_k": [None, 0, 1, 50],
    "penalty_alpha": [None, 0.0, 0.6],
    "num_beam_groups": [None, 2],
    "prompt_lookup_num_tokens": [None, 3],
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
        pairs = zip(VALUES, values, strict=True)
        arguments = {name: value for name, value in pairs if value is not None}
        mode = select_strategy(**arguments).mode
        assert mode == transformers_mode(arguments), arguments
        seen.add(mode)
    assert len(seen) == 7


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
        ({"num_beams": 4}, "beam search"),
        ({"num_beams": 4, "do_sample": True}, "beam-search multinomial sampling"),
    ],
)
def test_names_of_strategies(arguments, name):
    assert select_strategy(**arguments).name == name


def test_the_name_tells_the_processors_that_generate_makes():
    model = random_model(CONFIGS["llama"])
    for top_k, top_p in itertools.product([None, 0, 6], [None, 1.0, 0.9]):
        arguments = {"top_k": top_k, "top_p": top_p}
        given = {k: v for k, v in arguments.items() if v is not None} | {"do_sample": True}
        defaults = GenerationConfig()._get_default_generation_params()
        made = model._get_logits_processor(GenerationConfig(**defaults | given), 3)
        classes = {"TopK": "top-k", "TopP": "top-p"}
        names = [classes[type(p).__name__.removesuffix("LogitsWarper")] for p in made]
        expected = f"{' + '.join(names) or 'multinomial'} sampling"
        assert select_strategy(**given).name == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"penalty_alpha": 0.6, "top_k": 4},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    ],
)
def test_what_is_called_removed_is_refused_by_generate(arguments):
    assert "generate refuses it" in select_strategy(**arguments).note
    ids = token_ids(1, 4)
    with pytest.raises(ValueError, match="trust_remote_code"):
        random_model(CONFIGS["llama"]).generate(ids, max_new_tokens=2, **arguments)


def test_what_is_ignored_is_what_transformers_warns_of():
    for arguments in [
        {"temperature": 0.7, "top_p": 0.9, "top_k": 10},
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


def test_another_distribution_is_refused():
    with pytest.raises(ValueError, match="name"):
        toy_logits("round")
