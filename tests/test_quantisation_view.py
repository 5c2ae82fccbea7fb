"""QuantisationView: what it says of bits and bytes, counted in another way."""

import itertools
import math

import pytest

from lecture_lib.costs import weight_bytes
from lecture_lib.model_spec import MODEL_SPECS
from lecture_lib.widgets import QuantisationView
from lecture_lib.widgets.quantisation_view import bits_per_weight, measured_errors

SPEC = MODEL_SPECS["smollm2-135m"]
# Outputs and inputs of the matrices of a block, as the model's config has them.
MATRICES = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)]
N_BLOCKS = 30 * sum(rows * columns for rows, columns in MATRICES)


@pytest.mark.parametrize(("method", "numbers"), [("absmax", 1), ("zero point", 2)])
@pytest.mark.parametrize("group_size", [32, 64, 0])
def test_bits_per_weight_are_counted_matrix_by_matrix(method, numbers, group_size):
    n_bits = 0
    for rows, columns in MATRICES:
        n_bits += rows * columns * 4 + rows * (columns // (group_size or columns)) * numbers * 16
    expected = 30 * n_bits / N_BLOCKS
    assert bits_per_weight(method, 4, group_size) == pytest.approx(expected)


def test_the_law_divides_the_bandwidth_by_the_bytes_of_a_step():
    view = QuantisationView(bandwidth=1e9)
    float32 = weight_bytes(SPEC, 4)
    assert f"float32 {1e9 / float32:.0f}" in view.picture.alt
    # The packed file: Q4_1 blocks of 20 bytes, and a byte for each number of the embeddings.
    int4 = N_BLOCKS / 32 * 20 + 49152 * 576
    assert f"int4 {1e9 / int4:.0f}" in view.picture.alt
    assert "measured" not in view.picture.alt


def test_every_setting_has_a_picture_and_its_numbers():
    view = QuantisationView(measured={"float32": 20.0, "int4": 61.4})
    assert "measured: float32 20, int4 61" in view.picture.alt
    seen = set()
    for method, group, bits in itertools.product(
        view.method.options, view.group.options, view.bits.options
    ):
        view.method.value, view.group.value, view.bits.value = method, group, bits
        assert not view.error
        seen.add((view.picture.alt, view.facts.value))
    assert len(seen) == 2 * 3 * 5


def test_what_was_measured_is_plausible():
    errors = measured_errors()
    for method, size in itertools.product(("absmax", "zero point"), (32, 64, 0)):
        column = [errors[method, bits, size] for bits in (3, 4, 5, 6, 8)]
        assert [e for e, _ in column] == sorted((e for e, _ in column), reverse=True) or (
            (method, size) == ("zero point", 32)  # 4 bits find the file's own values again
        )
        assert column[-1][1] == pytest.approx(errors[None], rel=0.02)
    error, perplexity = errors["zero point", 4, 32]
    assert error < 1e-4
    assert math.isclose(perplexity, errors[None], rel_tol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bandwidth": 0}, "bandwidth"),
        ({"measured": {"int3": 1.0}}, "measured: must be one of"),
        ({"measured": {"int4": -1.0}}, r"measured\['int4'\]"),
        ({"measured": [1, 2]}, "measured"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantisationView(**arguments)
