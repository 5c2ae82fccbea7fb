"""Values cross the process border as plain JSON: round trips, and what is refused."""

import json
import math
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch

from grader import encoding
from grader.encoding import EncodingError, decode, dumps, encode


def through_json(value, **options):
    return decode(json.loads(dumps(encode(value))), **options)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -(2**70), 0.1, -0.0, 5e-324, "", "é\n\ud800", b"\x00\xff"),
        *(math.inf, -math.inf, [], [[]], (), (1, (2, [3])), {1, 2}, {}, {"$array": 1}),
        {(1, 2): "tuple key", 3: None, "b": 1, "a": 2},
    ],
    ids=repr,
)
def test_round_trip(value):
    back = through_json(value)
    assert back == value
    assert type(back) is type(value)
    if isinstance(value, dict):
        assert list(back) == list(value), "a dict keeps its order"
    if value == 0 and isinstance(value, float):
        assert math.copysign(1, back) == math.copysign(1, value)


def test_nan_round_trip():
    assert math.isnan(through_json([math.nan])[0])


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float32"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_keep_dtype_shape_and_library(dtype, shape):
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    back = through_json(array)
    assert isinstance(back, np.ndarray)
    np.testing.assert_array_equal(back, array, strict=True)
    tensor = torch.from_numpy(array)
    back = through_json(tensor)
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(back, tensor)
    assert isinstance(through_json(tensor, native=False), np.ndarray)


def test_bfloat16_as_float32_for_a_grader_without_torch():
    tensor = torch.randn(50).to(torch.bfloat16)
    assert torch.equal(through_json(tensor), tensor)
    np.testing.assert_array_equal(through_json(tensor, native=False), tensor.float().numpy())


def test_views_gradients_and_transposes():
    tensor = torch.arange(6.0).reshape(2, 3).requires_grad_()
    assert torch.equal(through_json(tensor.T), tensor.detach().T)
    assert torch.equal(through_json(tensor[:, 1]), tensor.detach()[:, 1])
    array = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(through_json(array.T), array.T)


def test_subclasses_become_plain():
    class Loud(int):
        def __eq__(self, other):
            return True

        __hash__ = int.__hash__

    Pair = namedtuple("Pair", "x y")
    assert type(through_json(Loud(3))) is int
    assert through_json(Pair(1, 2)) == (1, 2)
    assert type(through_json(OrderedDict(a=1))) is dict
    assert through_json([np.float32(0.5), np.int64(3), np.bool_(True)]) == [0.5, 3, True]
    assert type(through_json(np.float64(0.5))) is float


def test_sets_give_the_same_bytes_in_any_order():
    assert dumps(encode({"x", "y", "z"})) == dumps(encode({"z", "y", "x"}))


def cycle():
    items = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    "value",
    [
        *(
            object(),
            (x for x in [1]),
            lambda: 0,
            bytearray(b"x"),
            1j,
            np.zeros(2, complex),
            np.array(["a"]),
            np.array([None]),
        ),
        *(cycle(), 1 << 5000, np.zeros(3_000_000), "x" * 3_000_000, [0] * 3_000_000),
        torch.zeros(2, device="meta"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_data_or_too_much_is_refused(value):
    with pytest.raises((EncodingError, NotImplementedError)):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        *({}, {"plain": 1}, {"$pickle": "x"}, {"$float": "1"}, {"$tuple": 3}, {"$dict": [[1]]}),
        *({"$dict": [[[1], 2]]}, {"$set": [[1]]}, {"$bytes": "?"}, {"$complex": [2, 1]}),
        *({"$model": "smollm2"}, {"$toy_lm": {}}, {"$probe": "x", "name": "x", "bound": []}),
        {"$array": "", "dtype": "object", "shape": [0], "lib": "numpy"},
        {"$array": "AAAA", "dtype": "float32", "shape": [1], "lib": "numpy"},
        {"$array": "", "dtype": "int8", "shape": [-1], "lib": "numpy"},
        {"$array": "", "dtype": "int8", "shape": [0]},
        {"$array": "", "dtype": "int8", "shape": [10**30, 0], "lib": "numpy"},
        {"$array": None, "dtype": "int8", "shape": [0], "lib": "numpy"},
        json.loads("[" * 200 + "]" * 200),
    ],
    ids=lambda data: str(data)[:40],
)
def test_json_from_a_worker_that_describes_no_plain_data_is_refused(data):
    with pytest.raises(EncodingError):
        decode(data)


def test_limits_are_what_the_module_says(monkeypatch):
    monkeypatch.setattr(encoding, "MAX_DEPTH", 3)
    assert encode([[[1]]]) == [[[1]]]
    with pytest.raises(EncodingError, match="3 deep"):
        encode([[[[1]]]])
