"""What lecture 11 adds: the lecture's own script, which settings act, times, their pictures."""

import argparse
import io
import sys
from itertools import cycle, islice
from statistics import median
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from engine_models import llama, loaded_model

from lecture_lib.costs import step_latency
from lecture_lib.costs.measured import ENGINE
from lecture_lib.engine import Engine, Timings
from lecture_lib.figures import logprobs_view, request_timeline, sweep_panels
from lecture_lib.hardware import Hardware
from lecture_lib.inference_script import TaskInfo, generate, lecture_script
from lecture_lib.inference_script.effects import WatchedSettings, setting_effects
from lecture_lib.inference_script.timing import measure_request, predict_request

TEXT = "The quick brown fox"
HERE = Hardware("a test's", peak_flops=1e11, memory_bandwidth=1e10, memory_bytes=1e10)


@pytest.fixture(scope="module")
def tiny():
    """A random model: which settings act shows on it as on the real one, in no time."""
    return loaded_model(llama())


@pytest.fixture(scope="module")
def engine(tiny):
    return Engine(tiny)


def lecture_run(loaded):
    def run(task_info):
        torch.manual_seed(task_info["seed"])
        return lecture_script.generate(task_info, loaded.device, loaded.model, loaded.tokenizer)

    return run


# --- the lecture's script ------------------------------------------------------------------------


def test_the_lecture_s_script_is_greedy_whatever_it_is_told(tiny):
    inputs = tiny.tokenizer(TEXT, return_tensors="pt")
    greedy = tiny.model.generate(**inputs, do_sample=False, max_new_tokens=6)
    expected = tiny.tokenizer.decode(greedy[0, inputs.input_ids.shape[1] :])
    task = lecture_script.SETTINGS | {"prompt_seqs": TEXT, "output_len": 6}
    for change in ({}, {"seed": 9}, {"temperature": 5.0}, {"top_k": 1000}, {"stop": [" "]}):
        assert lecture_run(tiny)(task | change) == expected


@pytest.mark.real_model
def test_the_lecture_s_script_reads_four_of_its_settings(loaded):
    watched = WatchedSettings(lecture_script.SETTINGS | {"prompt_seqs": TEXT, "output_len": 2})
    lecture_run(loaded)(watched)
    assert watched.read == {"prompt_seqs", "output_len", "top_p", "seed"}


def test_the_lecture_s_settings_are_those_of_task_info():
    task = TaskInfo("a")
    for name, value in lecture_script.SETTINGS.items():
        assert (
            list(getattr(task, name)) == value if name == "stop" else getattr(task, name) == value
        )


@pytest.mark.real_model
def test_the_lecture_s_function_prints_once_or_asks_again(loaded, monkeypatch, capsys):
    monkeypatch.setattr(lecture_script, "load_model", lambda name: loaded)
    monkeypatch.setitem(lecture_script.SETTINGS, "output_len", 2)
    args = argparse.Namespace(model="x", prompt=TEXT, interactive=False)
    lecture_script.test_model(args)
    once = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TEXT}\n{TEXT}\n"))
    args.interactive = True
    with pytest.raises(EOFError):  # it knows no way out; the course's script does
        lecture_script.test_model(args)
    assert capsys.readouterr().out.count(once.strip()) == 2


# --- which settings act --------------------------------------------------------------------------


def script(task_info):
    """A script with one setting of every kind."""
    if task_info["refused"]:
        raise ValueError("refused: no")
    read_for_nothing = task_info["idle"]  # noqa: F841
    return task_info["acts"] * (task_info["sharp"] if task_info["on"] else 1)


def test_effects_tell_settings_apart():
    settings = {"acts": 2, "idle": 0, "never": 0, "refused": 0, "on": False, "sharp": 3}
    changes = {"acts": 5, "idle": 1, "never": 1, "refused": 1, "sharp": 4}
    frame = setting_effects(script, settings, changes).set_index("setting")
    assert frame.effect.to_dict() == {
        "acts": "acts", "idle": "none", "never": "none", "refused": "refused", "sharp": "none",
    }  # fmt: skip
    assert frame.read.to_dict() == {
        "acts": True, "idle": True, "never": False, "refused": True, "sharp": False,
    }  # fmt: skip
    contexts = {"sharp": {"on": True}}
    frame = setting_effects(script, settings, changes, contexts=contexts).set_index("setting")
    assert frame.effect["sharp"] == "acts"
    assert frame["with"]["sharp"] == "on True"


def test_watched_settings_see_every_way_of_reading():
    watched = WatchedSettings({"a": 1, "b": 2, "c": 3})
    assert (watched["a"], watched.get("b"), watched.get("z", 7)) == (1, 2, 7)
    assert watched.read == {"a", "b"}
    assert dict(**watched) == {"a": 1, "b": 2, "c": 3}
    assert watched.read == {"a", "b", "c"}


def test_a_change_of_a_setting_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="beam_widht"):
        setting_effects(script, {"on": 1}, {"beam_widht": 4})


def test_every_setting_of_the_course_s_script_acts(tiny, engine):
    def run(task_info):
        answers = generate(TaskInfo(**task_info), tiny, engine=engine)
        return [(answer.text, len(answer.logprobs)) for answer in answers]

    settings = lecture_script.SETTINGS | {"prompt_seqs": TEXT, "output_len": 40}
    settings |= {"do_sample": None, "top_k": 0}
    letter = next(letter for letter in run(settings)[0][0] if letter.isalpha())
    changes = {
        "prompt_seqs": [TEXT, "Paris is"], "seed": 1, "output_len": 4, "beam_width": 3,
        "top_k": 2, "top_p": 0.3, "temperature": 0.3, "do_sample": False,
        "repetition_penalty": 5.0, "stop": [letter], "logprobs": 0,
        "beam_search_diversity_rate": 1.0,
    }  # fmt: skip
    effects = setting_effects(run, settings, changes).set_index("setting").effect
    assert effects.pop("beam_search_diversity_rate") == "refused"
    assert set(effects) == {"acts"}, effects


# --- times ---------------------------------------------------------------------------------------


class FakeEngine:
    """Its requests take the times that it is told."""

    vocab_size, hf_model = 10, SimpleNamespace(config=None)

    def __init__(self, prefills, steps):
        self.prefills, self.steps, self.prompts = iter(prefills), steps, []

    def generate(self, ids, n_new, *, ignore_eos):
        assert ignore_eos
        self.prompts.append(ids)
        timings = Timings([next(self.prefills), *islice(cycle(self.steps), n_new - 1)])
        return SimpleNamespace(timings=timings)


def test_a_request_is_warmed_up_and_its_median_taken():
    prefills = [100.0, 4.0, 2.0, 9.0]  # the first is cold, and does not count
    fake = FakeEngine(prefills, steps=[1.0, 2.0])
    timed = measure_request(fake, 5, 3, rounds=3)
    assert timed.ttft_s == median(prefills[1:])
    assert timed.step_s == [1.0, 2.0]
    assert timed.tpot_s == 1.5
    assert [len(ids) for ids in fake.prompts] == [5] * 4


def test_a_request_of_one_token_has_no_time_per_further_token():
    assert str(Timings([2.0]).tpot_s) == "nan"


@pytest.mark.real_model
def test_a_prediction_is_one_prefill_and_one_decode_step_fewer_than_tokens(loaded):
    engine = Engine(loaded)
    predicted = predict_request(engine, HERE, 32, 4)

    def step(phase, seq_len):
        return step_latency(engine.spec, HERE, phase, 1, seq_len, 4, conventions=ENGINE).seconds

    expected = [step("prefill", 32), *(step("decode", 32 + past) for past in range(3))]
    assert predicted.token_s == pytest.approx(expected)
    # By hand: a decode step reads the weights, and 10 GB/s is what it waits for.
    weights_s = engine.spec.n_params * 4 / HERE.memory_bandwidth
    assert weights_s < predicted.tpot_s < 1.1 * weights_s


def test_a_measured_request_ran_one_prefill_and_used_the_cache(engine):
    timed = measure_request(engine, 7, 3, rounds=1)
    assert len(timed.token_s) == 3
    assert min(timed.token_s) > 0
    assert engine.calls[-1].seq_len == 1
    assert engine.calls[-1].past_len == 7 + 1


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (3, 2.5)])
def test_sizes_of_a_request_are_checked(sizes):
    with pytest.raises(ValueError, match=r"prompt_len|n_new"):
        measure_request(FakeEngine([1], [1]), *sizes)


# --- pictures ------------------------------------------------------------------------------------


def test_the_logprobs_picture_says_whether_the_chosen_token_was_among_the_best():
    top = [(" a", -0.1), (" b", -3.0)]
    alt = logprobs_view([(" b", -3.0, top), (" z", -9.0, top)]).alt
    assert "1: chosen ␣b 0.050, among them" in alt
    assert "2: chosen ␣z 0.000, not among them" in alt
    with pytest.raises(ValueError, match="same number"):
        logprobs_view([(" b", -3.0, top), (" z", -9.0, top[:1])])
    with pytest.raises(ValueError, match="at least one"):
        logprobs_view([])


def test_the_timeline_tells_the_first_token_from_the_others():
    alt = request_timeline({"measured": [0.5, 0.02, 0.04], "one": [0.1]}).alt
    assert "measured: 3 tokens, the first after 500 ms, then 30 ms each" in alt
    assert "one: 1 tokens, the first after 100 ms" in alt
    with pytest.raises(ValueError, match="requests"):
        request_timeline({"none": []})


def test_the_sweep_picture_has_the_means_over_prompts():
    frame = pd.DataFrame({"top_k": ["1", "1", "50"], "distinct_2": [0.2, 0.4, 1.0]})
    frame["repeated_4"], frame["mean_log_prob"] = [0.5, 0.7, 0.0], [-1.0, -2.0, -3.0]
    alt = sweep_panels({"top_k": frame}).alt
    assert "different pairs by top_k 1: 0.30, 50: 1.00" in alt
    assert "repeated 4-grams by top_k 1: 0.60, 50: 0.00" in alt
    assert "mean log p by top_k 1: -1.50, 50: -3.00" in alt
    with pytest.raises(ValueError, match="distinct_2"):
        sweep_panels({"top_k": frame.drop(columns="distinct_2")})
    with pytest.raises(ValueError, match="at least one"):
        sweep_panels({})
