"""Time to first token and time per output token: measured well, and predicted by the roofline."""

import statistics

import torch

from lecture_lib.checks import check_count, checked
from lecture_lib.costs import step_latency
from lecture_lib.costs.conventions import ENGINE
from lecture_lib.engine import Timings


@checked
def measure_request(engine, prompt_len: int, n_new: int, *, rounds: int = 3) -> Timings:
    """Time a greedy continuation: warmed up, synchronised, each token's median over the rounds.

    Args:
        engine: an Engine. prompt_len, n_new: tokens of the prompt (random ones: their time does
            not depend on what they say) and of its continuation, end tokens ignored.
        rounds: how many requests to time, after one that is not counted.

    Raises:
        ValueError: sizes below 1, more positions than the model's context.
    """
    for name, value in (("prompt_len", prompt_len), ("n_new", n_new), ("rounds", rounds)):
        check_count(name, value, most=10**5)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(engine.vocab_size, (prompt_len,), generator=generator).tolist()
    # The first request also reserves memory and chooses kernels; it is left out.
    runs = [engine.generate(ids, n_new, ignore_eos=True).timings for _ in range(rounds + 1)][1:]
    rounds_by_token = zip(*(run.token_s for run in runs), strict=True)
    return Timings(list(map(statistics.median, rounds_by_token)))


@checked
def predict_request(engine, hardware, prompt_len: int, n_new: int) -> Timings:
    """The same by the roofline: one prefill, then ``n_new - 1`` decode steps, each a bit longer.

    The first token comes out of the prefill, so n tokens need n - 1 decode steps (lecture 05).

    Args:
        engine: an Engine: its model and dtype. hardware: a Hardware or the name of one.
        prompt_len, n_new: as in ``measure_request``.

    Raises:
        ValueError: sizes below 1, more positions than the model's context, unknown hardware.
    """
    positions = check_count("prompt_len", prompt_len) + check_count("n_new", n_new)
    engine.check_context(positions, "prompt_len + n_new")
    steps = [("prefill", prompt_len)]
    steps += [("decode", prompt_len + past) for past in range(n_new - 1)]
    dtype_bytes = engine.dtype.itemsize
    latencies = [
        step_latency(engine.spec, hardware, phase, 1, seq_len, dtype_bytes, conventions=ENGINE)
        for phase, seq_len in steps
    ]
    return Timings([latency.seconds for latency in latencies])
