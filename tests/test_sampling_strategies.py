"""Which arguments select which strategy, as Transformers decides; the lecture's distributions."""

import pytest
from engine_models import CONFIGS, random_model, token_ids
from transformers import GenerationConfig

from lecture_lib.decoding import sampling_distribution, strategy_table, toy_logits
from lecture_lib.decoding.toy_models import TOY_DISTRIBUTIONS

NAMES = {
    "greedy_search": "greedy search",
    "beam_search": "beam search",
    "beam_sample": "beam-search multinomial sampling",
    "contrastive_search": "contrastive search",
    "group_beam_search": "diverse (group) beam search",
    "assisted_generation": "assisted generation",
}
ROWS = list(strategy_table().itertuples())


def arguments_of(row) -> dict:
    return {} if row.arguments == "(none)" else eval(f"dict({row.arguments})")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.arguments)
def test_a_strategy_is_what_transformers_selects(row):
    """As generate does it: first its defaults, then what was given."""
    defaults = GenerationConfig()._get_default_generation_params()
    config = GenerationConfig(**defaults | arguments_of(row))
    mode = config.get_generation_mode().value
    if mode != "sample":
        assert row.strategy == NAMES[mode]
        return
    made = random_model(CONFIGS["llama"])._get_logits_processor(config, 3)
    kinds = {"TopK": "top-k", "TopP": "top-p"}
    filters = [kinds[type(p).__name__.removesuffix("LogitsWarper")] for p in made]
    assert row.strategy == f"{' + '.join(filters) or 'multinomial'} sampling"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.arguments)
def test_what_is_ignored_is_what_transformers_warns_of(row):
    arguments, warned = arguments_of(row), []
    for name in arguments:  # validate names one or all; ask for each by itself
        kept = {k: v for k, v in arguments.items() if k in (name, "do_sample", "num_beams")}
        try:
            GenerationConfig(**kept).validate(strict=True)
        except ValueError as error:
            warned += [name] if f"`{name}` is set to" in str(error) else []
    if row.strategy == "contrastive search":
        warned.remove("top_k")  # which this strategy uses: asked without penalty_alpha it is idle
    assert row.ignored == ", ".join(warned)


@pytest.mark.parametrize("row", [row for row in ROWS if "generate refuses it" in row.note])
def test_what_is_called_removed_is_refused_by_generate(row):
    with pytest.raises(ValueError, match="trust_remote_code"):
        random_model(CONFIGS["llama"]).generate(
            token_ids(1, 4), max_new_tokens=2, **arguments_of(row)
        )


def test_the_table_has_the_lectures_list_and_says_where_top_k_acts_by_default():
    assert len(ROWS) == 13
    assert sum("generate refuses it" in row.note for row in ROWS) == 2
    for name in ("multinomial", "beam-search multinomial", "top-k", "top-p"):
        assert f"{name} sampling" in {row.strategy for row in ROWS}
    for row in ROWS:
        by_default = "top-k" in row.strategy and "top_k" not in row.arguments
        assert by_default == ("top_k = 50 acts by default" in row.note)


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
