"""The sampling view: the numbers shown are the library's, each knob acts, draws are counted."""

import pytest
import torch

from lecture_lib.decoding import sampling_distribution
from lecture_lib.decoding.toy_models import toy_logits
from lecture_lib.figures.sampling import top_k_and_nucleus
from lecture_lib.widgets import SamplingView


@pytest.mark.parametrize(
    ("control", "value", "setting"),
    [
        ("temperature", 2.0, {"temperature": 2.0}),
        ("top_k", 6, {"top_k": 6}),
        ("top_p", 0.92, {"top_p": 0.92}),
        ("min_p", 0.5, {"min_p": 0.5}),
    ],
)
@pytest.mark.parametrize("source", ["flat", "peaked"])
def test_a_knob_shows_what_the_library_computes(source, control, value, setting):
    view = SamplingView(source=source)
    before = view.picture.png
    getattr(view, control).value = value
    expected = sampling_distribution(toy_logits(source)[1], **setting)
    assert torch.allclose(view.after, expected, atol=1e-6)
    assert view.picture.png != before


def test_the_button_draws_from_what_is_kept_and_a_seed_repeats_it():
    view = SamplingView(source="peaked")
    view.top_p.value = 0.92
    view.draw_button.click()
    first = view.counts.clone()
    assert int(first.sum()) == view.n_draws.value
    assert not first[view.after == 0].any()
    view.draw_button.click()
    assert torch.equal(view.counts, first) or view.seed.value != 0


def test_the_lecture_s_sums_are_in_the_picture_s_words():
    distributions = {}
    for name in ("flat", "peaked"):
        words, logits = toy_logits(name)
        distributions[name] = dict(zip(words, logits.softmax(-1).tolist(), strict=True))
    alt = top_k_and_nucleus(distributions, k=6, p=0.92).alt
    for number in ("0.68", "0.99", "0.94", "0.97"):
        assert number in alt, number


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="source"):
        SamplingView(source="round")
