"""What the recorder and the meter say, against a list made by hand and PyTorch's own counter."""

import parallel_targets
import pytest

from lecture_lib.parallel.ranks.launch import run_ranks
from lecture_lib.parallel.traffic import CommRecord, traffic_table


@pytest.fixture(scope="module")
def recorded():
    return run_ranks(parallel_targets.all_kinds, {}, 2, timeout_s=120)


def test_each_kind_is_recorded_with_its_bytes_and_label(recorded):
    common = [
        ["all_reduce", [2, 3], "float32", 24, "reduce", None],
        ["all_gather", [2, 3], "float32", 24, "gather", None],
        ["broadcast", [1], "int64", 8, "broadcast", None],
    ]
    after = [
        ["all_reduce", [2, 3], "float32", 24, "functional", None],
        ["all_reduce", [2, 3], "float32", 24, "dtensor", None],
    ]
    sent = ["send", [5], "bfloat16", 10, "message", 1]
    received = ["recv", [5], "bfloat16", 10, "message", 0]
    assert recorded[0]["records"] == [*common, sent, *after]
    assert recorded[1]["records"] == [*common, received, *after]


def test_recording_changes_no_result(recorded):
    assert all(result["same"] for result in recorded)
    # 1 + 2 in six places; 1, then 2 in six places; 8 from rank 1; the message; and twice the sum.
    assert recorded[0]["sums"] == [18.0, 6.0, 12.0, 8.0, 0.0, 18.0, 18.0]
    assert recorded[1]["sums"] == [18.0, 6.0, 12.0, 8.0, 10.0, 18.0, 18.0]


def test_pytorchs_own_counter_counts_as_many_collectives(recorded):
    collectives = [r for r in recorded[0]["records"] if r[0] not in ("send", "recv")]
    assert recorded[0]["debug_counts"] == len(collectives) == 5


def test_the_meter_sees_what_crosses_the_loopback():
    for _ in range(3):  # on a busy machine TCP sends some segments again
        results = run_ranks(parallel_targets.send_much, {}, 2, timeout_s=120)
        wire = results[0]["wire"]
        if not wire or wire["send"] < 10_500_000:
            break
    if not wire:
        pytest.skip("this system does not count its interfaces' bytes where we read them")
    assert results[1]["wire"] == {}, "each machine is read once"
    assert wire["send"] > 10_000_000
    if results[0]["private_network"]:
        assert wire["send"] < 10_500_000
        assert 0 < wire["nothing"] < 10_000


def test_equal_records_are_counted_together():
    one = CommRecord("all_reduce", (2, 3), "float32", 24, phase="prefill", part="mlp", layer=0)
    other = CommRecord("all_reduce", (2, 3), "float32", 24, phase="prefill", part="mlp", layer=1)
    last = CommRecord("send", (1,), "int64", 8, phase="decode", part="token", peer=0)
    table = traffic_table([one, other, last])
    assert table.to_dict("list") == {
        "phase": ["prefill", "decode"],
        "kind": ["all_reduce", "send"],
        "part": ["mlp", "token"],
        "shape": ["2×3", "1"],
        "dtype": ["float32", "int64"],
        "count": [2, 1],
        "payload_bytes": [24, 8],
        "total_bytes": [48, 8],
    }
