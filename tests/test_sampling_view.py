"""The sampling view: the numbers shown are the library's, each knob acts, draws are counted."""

import pytest
import torch

from lecture_lib.decoding import sampling_distribution
from lecture_lib.decoding.toy_models import toy_logits
from lecture_lib.widgets import SamplingView


@pytest.mark.parametrize(
    ("control", "value", "setting"),
    [
        ("temperature", 2.0, {"temperature": 2.0}),
        ("top_k", 2, {"top_k": 2}),
        ("top_p", 0.6, {"top_p": 0.6}),
        ("min_p", 0.9, {"min_p": 0.9}),
    ],
)
@pytest.mark.parametrize("source", ["flat", "peaked"])
def test_a_knob_shows_what_the_library_computes(source, control, value, setting):
    view = SamplingView(source=source)
    before = view.picture.png
    getattr(view, control).value = value
    expected = sampling_distribution(toy_logits(source)[1], **{"top_k": 6} | setting)
    assert torch.allclose(view.after, expected, atol=1e-6)
    assert view.picture.png != before


def test_the_lecture_s_sums_are_in_the_picture_s_words():
    for source, words in (("flat", "6 of 10 tokens are kept, with 0.680"),
                          ("peaked", "6 of 10 tokens are kept, with 0.990")):  # fmt: skip
        assert words in SamplingView(source=source).picture.alt


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="source"):
        SamplingView(source="round")
