"""The inference script: every setting acts, as Transformers acts where it has the same setting."""

import io
import json
import subprocess
import sys
from dataclasses import fields
from string import ascii_lowercase
from types import SimpleNamespace

import pandas as pd
import pytest
import references
import torch
from engine_models import byte_tokenizer, hf_greedy, llama, loaded_model, random_model
from transformers import GenerationConfig, GPTNeoXConfig

from lecture_lib.engine import Engine
from lecture_lib.figures import logprobs_view, request_timeline
from lecture_lib.inference_script import TaskInfo, command, generate, prompt, run, sweep
from lecture_lib.inference_script.run import finish
from lecture_lib.inference_script.settings import DEFAULTS

TEXT = "The quick brown fox"


@pytest.fixture(scope="module")
def tiny():
    """A random model: what the settings do shows on it as on the real one, in no time."""
    return loaded_model(llama())


@pytest.fixture(scope="module")
def engine(tiny):
    return Engine(tiny)


def ask(loaded, **settings):
    values = {"prompt_seqs": TEXT, "output_len": 8, "logprobs": 0} | settings
    return generate(TaskInfo(**values), loaded)


def theirs(loaded, seed=None, **arguments):
    return references.generate(loaded, [TEXT], seed, **{"max_new_tokens": 8} | arguments)


@pytest.mark.parametrize(
    ("ours", "same"),
    [
        ({"temperature": 0}, {"do_sample": False}),
        ({"top_k": 1}, {"do_sample": False}),
        ({"do_sample": False, "repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
        ({"seed": 3}, {"do_sample": True, "top_k": 50, "seed": 3}),
        (
            {"seed": 4, "top_k": 0, "top_p": 0.8, "temperature": 1.5, "repetition_penalty": 1.2},
            {
                "seed": 4, "do_sample": True, "top_k": 0, "top_p": 0.8, "temperature": 1.5,
                "repetition_penalty": 1.2,
            },
        ),
        ({"beam_width": 3, "temperature": 0}, {"num_beams": 3, "length_penalty": 0.0}),
        (
            {"beam_width": 3, "do_sample": False, "len_penalty": 2.0},
            {"num_beams": 3, "length_penalty": 2.0},
        ),
        (
            {"beam_width": 2, "seed": 5, "top_k": 1},
            {"num_beams": 2, "length_penalty": 0.0, "do_sample": True, "seed": 5, "top_k": 1},
        ),
        (
            {"beam_width": 2, "do_sample": False, "repetition_penalty": 1.3},
            {"num_beams": 2, "length_penalty": 0.0, "repetition_penalty": 1.3},
        ),
    ],
)  # fmt: skip
def test_a_setting_does_what_it_does_in_transformers(tiny, ours, same):
    (answer,) = ask(tiny, **ours)
    assert answer.token_ids == theirs(tiny, **{"do_sample": False} | same)[0]


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("ours", "arguments"),
    [
        ({"temperature": 0, "repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
        ({"seed": 3}, {"do_sample": True, "top_k": 50, "seed": 3}),
        (
            {"beam_width": 3, "temperature": 0, "len_penalty": 2.0},
            {"num_beams": 3, "length_penalty": 2.0},
        ),
    ],
)
def test_real_texts_are_those_of_transformers(loaded, ours, arguments):
    (answer,) = ask(loaded, **ours)
    arguments = {"do_sample": False, "max_new_tokens": 8} | arguments
    assert answer.token_ids == references.stored(loaded, [TEXT], **arguments)[0]


def test_settings_change_the_text(tiny):
    """No two of these may be the same: then one of the settings would be ignored."""
    variants = [
        {"temperature": 0},
        {"seed": 1},
        {"seed": 2},
        {"seed": 1, "temperature": 3.0, "top_k": 0},
        {"temperature": 0, "repetition_penalty": 2.0},
        {"temperature": 0, "output_len": 4},
    ]
    texts = [ask(tiny, **variant)[0].text for variant in variants]
    assert len(set(texts)) == len(texts)


def test_a_batch_gives_what_each_prompt_gives_alone(tiny):
    texts = [TEXT, "Paris is the capital of"]
    together = ask(tiny, prompt_seqs=texts, temperature=0)
    alone = [ask(tiny, prompt_seqs=text, temperature=0)[0] for text in texts]
    assert [a.token_ids for a in together] == [a.token_ids for a in alone]
    assert [a.prompt_len for a in together] == [len(tiny.tokenizer(t).input_ids) for t in texts]


@pytest.mark.real_model
def test_a_stop_string_across_tokens_ends_the_text_before_it(loaded):
    (whole,) = ask(loaded, temperature=0)
    middle = len(whole.text) // 2
    stop = whole.text[middle - 2 : middle + 2]
    (cut,) = ask(loaded, temperature=0, stop=[stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert len(cut.token_ids) < len(whole.token_ids)
    (beams,) = ask(loaded, beam_width=2, stop=" ")
    assert " " not in beams.text


@pytest.mark.real_model
def test_a_finished_text_keeps_no_token_behind_its_end(loaded):
    ids = loaded.tokenizer(" one two three four").input_ids
    eos = loaded.tokenizer.eos_token_id
    stopped = finish(loaded.tokenizer, ids, {eos}, "wo t")
    assert (stopped.text, stopped.finish_reason) == (" one t", "stop")
    assert stopped.token_ids == ids[:3]
    padded = [*ids[:2], eos, eos, eos]
    ended = finish(loaded.tokenizer, padded, {eos}, ())
    assert (ended.text, ended.token_ids, ended.finish_reason) == (" one two", padded[:3], "eos")
    whole = finish(loaded.tokenizer, ids, {eos}, ())
    assert (whole.token_ids, whole.finish_reason) == (ids, "length")


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"seed": 5}, {"beam_width": 2}])
def test_logprobs_are_the_model_s_own(tiny, settings):
    (answer,) = ask(tiny, logprobs=3, **settings)
    ids = tiny.tokenizer(TEXT).input_ids
    with torch.inference_mode():
        logits = tiny.model(torch.tensor([ids + answer.token_ids])).logits[0]
    expected = logits[len(ids) - 1 : -1].log_softmax(-1)
    assert len(answer.logprobs) == len(answer.token_ids)
    for row, token, position in zip(expected, answer.token_ids, answer.logprobs, strict=True):
        assert position.token_id == token
        assert position.log_prob == pytest.approx(float(row[token]), abs=1e-3)
        assert [i for i, _ in position.top] == row.topk(3).indices.tolist()


@pytest.mark.parametrize("prompts", [TEXT, [TEXT, "The fox"]])
def test_a_model_gets_only_the_inputs_that_it_knows(prompts):
    """GPT-NeoX's tokenizer returns token_type_ids, which its model refuses."""
    config = GPTNeoXConfig(
        vocab_size=260, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64, eos_token_id=256,
    )  # fmt: skip
    tokenizer = byte_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert "token_type_ids" in tokenizer("a")
    loaded = SimpleNamespace(
        model=random_model(config), tokenizer=tokenizer, spec=None, device=torch.device("cpu")
    )
    answers = generate(TaskInfo(prompts, output_len=4, temperature=0), loaded)
    assert run.engine_or_none(loaded) is None
    ids = torch.tensor([tokenizer(TEXT).input_ids])
    assert answers[0].token_ids == hf_greedy(loaded.model, ids, max_new_tokens=4)[0]


def test_one_prompt_needs_no_padding():
    loaded = loaded_model(llama())
    task = TaskInfo(TEXT, output_len=4, temperature=0)
    expected = generate(task, loaded)[0].token_ids
    loaded.tokenizer.pad_token = loaded.tokenizer.eos_token = None
    assert generate(task, loaded)[0].token_ids == expected


@pytest.mark.filterwarnings("ignore:the model's generation_config")
@pytest.mark.parametrize(
    "settings", [{"temperature": 0}, {"seed": 3}, {"beam_width": 2, "temperature": 0}]
)
def test_what_only_the_models_file_asks_for_does_not_act(tiny, settings):
    task = TaskInfo(TEXT, output_len=12, **settings)
    expected = generate(task, tiny)[0].token_ids
    file = GenerationConfig(
        repetition_penalty=3.0, no_repeat_ngram_size=2, min_p=0.5, min_new_tokens=12,
        eos_token_id=tiny.model.generation_config.eos_token_id, do_sample=True, top_k=3,
    )  # fmt: skip
    other = loaded_model(llama())
    other.model.generation_config = file
    assert generate(task, other)[0].token_ids == expected
    if task.beam_width == 1:
        assert "".join(run.stream(task, Engine(other))) == generate(task, tiny)[0].text
    assert other.model.generation_config is file
    assert references.generate(other, [TEXT], 3, max_new_tokens=12)[0] != expected, "it would act"


def test_the_random_numbers_of_others_are_left_alone(tiny):
    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    (one,) = ask(tiny, seed=1)
    assert torch.rand(3).tolist() == expected
    assert ask(tiny, seed=1)[0].token_ids == one.token_ids


def test_a_text_that_does_not_fit_the_context_is_refused(tiny):
    with pytest.raises(ValueError, match="prompt_seqs: 19 tokens and output_len=110 are more"):
        ask(tiny, prompt_seqs=["a", TEXT], output_len=110)


def test_the_engine_says_which_settings_of_the_file_it_does_not_use():
    other = loaded_model(llama())
    other.model.generation_config.repetition_penalty = 1.3
    with pytest.warns(UserWarning, match=r"sets \{'repetition_penalty': 1.3\}.* does not use"):
        Engine(other)


def test_a_stream_is_the_text_in_pieces(tiny, engine):
    task = TaskInfo(TEXT, output_len=8, seed=7)
    pieces = list(run.stream(task, engine))
    assert len(pieces) > 3
    assert "".join(pieces) == generate(task, tiny)[0].text


@pytest.mark.parametrize("name", ["lookup", "layers"])
def test_a_speculative_stream_is_the_same_text(tiny, engine, name):
    drafter = run.make_drafter(name, tiny, engine)
    for settings in ({"temperature": 0}, {"temperature": 0, "repetition_penalty": 1.5}):
        task = TaskInfo("abcabcabc", output_len=12, stop="zz", **settings)
        plain = "".join(run.stream(task, engine))
        assert "".join(run.stream(task, engine, drafter)) == plain
    task = TaskInfo("abcabc", output_len=12, seed=3)
    assert len({"".join(run.stream(task, engine, drafter)) for _ in range(2)}) == 1


def test_drafters_that_do_not_fit_are_refused(tiny, engine, capsys):
    with pytest.raises(ValueError, match="the draft model has the embeddings of the bundled"):
        run.make_drafter("draft", tiny, engine)
    with pytest.raises(ValueError, match="needs the course's engine"):
        run.make_drafter("lookup", tiny, None)
    drafter = run.make_drafter("lookup", tiny, engine)
    for settings in ({"beam_width": 2}, {"prompt_seqs": ["a", "b"]}):
        task = TaskInfo(**{"prompt_seqs": TEXT, "output_len": 3} | settings)
        with pytest.raises(ValueError, match="speculate: takes one"):
            prompt.show_text(task, tiny, engine, drafter)
    prompt.show_text(TaskInfo(TEXT, output_len=3, temperature=0), tiny, engine, drafter)
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"prompt_seqs": ""}, "prompt_seqs"),
        ({"prompt_seqs": ["a", ""]}, "prompt_seqs"),
        ({"output_len": 0}, "output_len"),
        ({"beam_width": 0}, "beam_width"),
        ({"temperature": -1}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"beam_search_diversity_rate": 0.5}, "Transformers 5 has no diverse beam search"),
        ({"beam_search_diversity_rate": "x"}, "beam_search_diversity_rate: needs a finite number"),
        ({"do_sample": None}, "do_sample"),
        ({"len_penalty": 1.0}, "len_penalty: acts in beam search only"),
        ({"logprobs": -1}, "logprobs"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_a_bad_setting_is_named(settings, word):
    with pytest.raises(ValueError, match=word):
        TaskInfo(**{"prompt_seqs": "a"} | settings)


@pytest.mark.parametrize(
    ("settings", "refused", "because"),
    [
        ({"temperature": 0, "top_p": 0.3}, "top_p", "temperature is 0"),
        ({"temperature": 0, "seed": 1}, "seed", "temperature is 0"),
        ({"top_k": 1, "temperature": 5.0}, "temperature", "top_k is 1"),
        ({"do_sample": False, "temperature": 5.0}, "temperature", "do_sample is off"),
        ({"do_sample": False, "top_k": 2, "beam_width": 4}, "top_k", "do_sample is off"),
        ({"top_k": 2, "top_p": 0.5}, "top_p", "it keeps one"),
        ({"top_k": 2, "top_p": 0.9, "beam_width": 4}, "top_p", "two tokens at least"),
        ({"top_k": 2, "top_p": 0.3, "beam_width": 4, "temperature": 5.0}, "top_p", "top_k=2"),
        ({"top_k": 1, "top_p": 0.9}, "top_p", "top_k is 1"),
        # These act.
        ({"temperature": 0, "beam_width": 4, "len_penalty": 1.0}, None, ""),
        ({"temperature": 5.0, "beam_width": 4, "top_p": 0.3, "top_k": 3}, None, ""),
        ({"top_k": 1, "beam_width": 4, "seed": 2}, None, ""),
        ({"top_k": 2, "top_p": 0.6}, None, ""),
        ({"top_k": 0, "top_p": 0.3}, None, ""),
        ({"do_sample": False, "top_k": 50, "temperature": 1, "seed": 0}, None, ""),
    ],
)
def test_what_was_changed_and_cannot_act_is_refused(settings, refused, because):
    if refused is None:
        TaskInfo("a", **settings)
        return
    with pytest.raises(ValueError, match=f"^{refused}: .*{because}"):
        TaskInfo("a", **settings)


CHANGES = {
    "prompt_seqs": ["Paris is", "2, 4, 6", "Blue"], "seed": 1, "output_len": 10, "beam_width": 4,
    "do_sample": False, "top_k": 3, "top_p": 0.5, "temperature": 3.0, "len_penalty": 5.0,
    "repetition_penalty": 2.0, "stop": list(ascii_lowercase), "logprobs": 2,
}  # fmt: skip


@pytest.mark.slow
def test_each_pair_of_settings_acts_or_is_refused():
    """On a model whose next token is open, and whose end token is likely enough."""
    model = loaded_model(llama())
    model.model.lm_head.weight.mul_(0.3)
    results = {}

    def result(*names):
        key = frozenset(names)
        if key not in results:
            base = {"prompt_seqs": [TEXT, "abc", "The"], "output_len": 24}
            try:
                answers = generate(TaskInfo(**base | {n: CHANGES[n] for n in key}), model)
                results[key] = [(a.text, len(p.top)) for a in answers for p in a.logprobs]
            except ValueError:
                results[key] = "refused"
        return results[key]

    silent = [
        (first, second)
        for first in CHANGES
        for second in CHANGES
        if first != second and result(first) != "refused"
        if result(first, second) == result(first)
    ]
    assert silent == []
    refused = {tuple(sorted(key)) for key, value in results.items() if value == "refused"}
    assert ("do_sample", "seed") in refused
    assert ("do_sample", "output_len") not in refused


@pytest.mark.slow
def test_the_command_line_prints_text_to_stdout_and_the_rest_to_stderr():
    arguments = ["--prompt", TEXT, "--top-k", "1", "--output-len", "4", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "lecture_lib.inference_script", *arguments, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["prompt"] == TEXT
    assert len(answer["token_ids"]) == 4
    assert "loading smollm2" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--prompt"),
        (["--prompt", "a", "--top-p", "2"], "--top-p"),
        (["--prompt", "a", "--beam-search-diversity-rate", "1"], "no diverse beam"),
        (["--prompt", "a", "--output-len", "x"], "invalid int"),
        # What would do nothing, or would fail when all the work is done, is told before it.
        (["--prompt", "a", "--table", "x.csv"], "--table: is the table of a --sweep"),
        (["--prompt", "a", "--sweep", "top_k=1", "--json"], "--json: not allowed with"),
        (
            ["--prompt", "a", "--sweep", "top_k=1", "--interactive"],
            "--interactive: not allowed with",
        ),
        (["--prompt", "a", "--speculate", "x"], "--speculate: invalid choice"),
        (
            ["--prompt", "a", "--speculate", "lookup", "--json"],
            "--speculate: does nothing together",
        ),
        (["--prompt", "a", "--speculate", "draft", "--logprobs", "2"], "--speculate: does nothing"),
        (["--prompt", "a", "--speculate", "lookup", "--beam-width", "2"], "beam_width is 2"),
        (["--prompt", "a", "--prompt", "b", "--speculate", "lookup"], "and there are 2"),
        (["--interactive", "--json"], "--json: not allowed with"),
        (["--interactive", "--logprobs", "3"], "--logprobs: does nothing together with"),
        (["--prompt", "a", "--sweep", "top_k=1", "--table", "x.png"], "--table: needs FILE.csv"),
        (["--prompt", "a", "--sweep", "top_k=1", "--table", "no/folder/x.csv"], "is there"),
        (["--prompt", "a", "--sweep", "top_k"], "--top-k: needs a number, got ''"),
        (["--prompt", "a", "--sweep", "top_k=1,x"], "--top-k: needs a number, got 'x'"),
        (["--prompt", "a", "--sweep", "no_such=1"], "--no-such: write setting=value"),
        (["--prompt", "a", "--sweep", "top_p=0.5,2"], "--top-p: needs a number"),
    ],
)
def test_a_wrong_argument_exits_with_2_and_a_sentence(arguments, word, capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(arguments)
    assert exit_.value.code == 2
    assert word in capsys.readouterr().err


def test_a_wrong_argument_is_told_without_waiting_for_torch():
    code = """
import contextlib, sys
from lecture_lib.inference_script.command import main
with contextlib.suppress(SystemExit):
    main(["--prompt", "a", "--top-p", "2"])
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--top-p: needs a number" in done.stderr


def test_a_model_that_is_not_there_exits_with_1(capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert command.main(["--prompt", "a", "--model", "./no-such-folder"]) == 1
    assert "no-such-folder" in capsys.readouterr().err


def test_the_prompt_loop_changes_settings_and_survives_mistakes(tiny, engine, monkeypatch, capsys):
    lines = "/settings top_k=1 output_len=4\n/settings top_k=x\n/nonsense\n\n" + TEXT + "\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert prompt.loop(tiny, engine) == 0
    out, err = capsys.readouterr()
    expected = tiny.tokenizer.decode(theirs(tiny, max_new_tokens=4, do_sample=False)[0])
    assert expected in out
    assert "top_k = 1" in err
    assert "top_k: needs a number" in err
    assert "/nonsense: unknown" in err


def test_ctrl_c_stops_a_text_and_not_the_loop(tiny, engine, monkeypatch, capsys):
    def interrupted(task, engine, drafter):
        yield "one"
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "stream", interrupted)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n/quit\n"))
    assert prompt.loop(tiny, engine) == 0
    assert "(stopped)" in capsys.readouterr().err


def test_a_sweep_has_a_row_for_each_value_and_writes_a_table(tiny, tmp_path):
    task = TaskInfo(TEXT, output_len=6, temperature=0)
    frame = sweep.sweep_setting("output_len", [2, 4], task, tiny)
    assert frame.n_tokens.tolist() == [2, 4]
    assert frame.text[1].startswith(frame.text[0])
    assert (frame.mean_log_prob < 0).all()
    table = tmp_path / "sweep.csv"
    for swept in ("output_len=2,4", "stop=a,the"):
        assert sweep.run(swept, str(table), task, tiny) == 0
        name, _, values = swept.partition("=")
        assert table.read_text().startswith(f"{name},seconds")
        assert pd.read_csv(table, dtype=str)[name].tolist() == values.split(",")
    with pytest.raises(ValueError, match="no_such"):
        sweep.sweep_setting("no_such", [1], task, tiny)


def test_settings_are_changed_together():
    """One after the other they would be refused: at temperature 0 no seed acts."""
    task = TaskInfo("x", temperature=0)
    changed = prompt.changed(task, "seed=3", "temperature=0.5", "do_sample=on")
    assert (changed.seed, changed.temperature, changed.do_sample) == (3, 0.5, True)
    with pytest.raises(ValueError, match="seed: does nothing"):
        prompt.changed(task, "seed=3")
    assert set(DEFAULTS) == {field.name for field in fields(TaskInfo)}


@pytest.mark.parametrize(
    ("typed", "stop"),
    [("é", "é"), ("。", "。"), (r"\n\n", "\n\n"), (r"a\\n", r"a\n"), (r"\té", "\té")],
)
def test_a_stop_string_is_read_as_it_is_typed(typed, stop):
    assert prompt.changed(TaskInfo("x"), f"stop={typed}").stop == (stop,)


def test_an_unknown_escape_is_refused():
    with pytest.raises(ValueError, match=r"Stop strings: \\q is unknown"):
        prompt.changed(TaskInfo("x"), r"stop=\q")


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
