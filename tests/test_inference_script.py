"""The inference script: every setting acts, as Transformers acts where it has the same setting."""

import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import references
import torch
from engine_models import byte_tokenizer, hf_greedy, llama, loaded_model, random_model
from transformers import GenerationConfig, GPTNeoXConfig

from lecture_lib.engine import Engine
from lecture_lib.figures import sweep_panels
from lecture_lib.inference_script import TaskInfo, command, generate, prompt, run, sweep
from lecture_lib.inference_script.answer import finish

TEXT = "The quick brown fox"


@pytest.fixture(scope="module")
def tiny():
    """A random model: what the settings do shows on it as on the real one, in no time."""
    return loaded_model(llama())


@pytest.fixture(scope="module")
def engine(tiny):
    return Engine(tiny)


def ask(loaded, engine, **settings):
    values = {"prompt_seqs": TEXT, "output_len": 8, "logprobs": 0} | settings
    return generate(TaskInfo(**values), loaded, engine=engine)


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
        ({"beam_width": 3}, {"num_beams": 3, "length_penalty": 0.0}),
        ({"beam_width": 3, "len_penalty": 2.0}, {"num_beams": 3, "length_penalty": 2.0}),
        (
            {"beam_width": 2, "do_sample": True, "seed": 5, "top_k": 1},
            {"num_beams": 2, "length_penalty": 0.0, "do_sample": True, "seed": 5, "top_k": 1},
        ),
        (
            {"beam_width": 2, "repetition_penalty": 1.3},
            {"num_beams": 2, "length_penalty": 0.0, "repetition_penalty": 1.3},
        ),
    ],
)  # fmt: skip
def test_a_setting_does_what_it_does_in_transformers(tiny, engine, ours, same):
    (answer,) = ask(tiny, engine, **ours)
    assert answer.token_ids == theirs(tiny, **{"do_sample": False} | same)[0]


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("ours", "arguments"),
    [
        ({"temperature": 0, "repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
        ({"seed": 3}, {"do_sample": True, "top_k": 50, "seed": 3}),
        ({"beam_width": 3, "len_penalty": 2.0}, {"num_beams": 3, "length_penalty": 2.0}),
    ],
)
def test_real_texts_are_those_of_transformers(loaded, ours, arguments):
    (answer,) = ask(loaded, Engine(loaded), **ours)
    arguments = {"do_sample": False, "max_new_tokens": 8} | arguments
    assert answer.token_ids == references.stored(loaded, [TEXT], **arguments)[0]


def test_settings_change_the_text(tiny, engine):
    """No two of these may be the same: then one of the settings would be ignored."""
    variants = [
        {"temperature": 0},
        {"seed": 1},
        {"seed": 2},
        {"seed": 1, "temperature": 3.0, "top_k": 0},
        {"temperature": 0, "repetition_penalty": 2.0},
        {"temperature": 0, "output_len": 4},
    ]
    texts = [ask(tiny, engine, **variant)[0].text for variant in variants]
    assert len(set(texts)) == len(texts)


def test_a_batch_gives_what_each_prompt_gives_alone(tiny, engine):
    texts = [TEXT, "Paris is the capital of"]
    together = ask(tiny, engine, prompt_seqs=texts, temperature=0)
    alone = [ask(tiny, engine, prompt_seqs=text, temperature=0)[0] for text in texts]
    assert [a.token_ids for a in together] == [a.token_ids for a in alone]
    assert [a.prompt for a in together] == texts


@pytest.mark.real_model
def test_a_stop_string_across_tokens_ends_the_text_before_it(loaded):
    engine = Engine(loaded)
    (whole,) = ask(loaded, engine, temperature=0)
    middle = len(whole.text) // 2
    stop = whole.text[middle - 2 : middle + 2]
    (cut,) = ask(loaded, engine, temperature=0, stop=[stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert len(cut.token_ids) < len(whole.token_ids)
    (beams,) = ask(loaded, engine, beam_width=2, stop=" ")
    assert " " not in beams.text.lstrip() or beams.finish_reason == "stop"


@pytest.mark.real_model
def test_a_finished_text_keeps_no_token_behind_its_end(loaded):
    ids = loaded.tokenizer(" one two three four").input_ids
    eos = loaded.tokenizer.eos_token_id
    text, kept, reason = finish(loaded.tokenizer, ids, {eos}, "wo t")
    assert (text, reason) == (" one t", "stop")
    assert kept == ids[: len(kept)]
    assert len(kept) < len(ids)
    padded = [*ids[:2], eos, eos, eos]
    assert finish(loaded.tokenizer, padded, {eos}, ()) == (" one two", padded[:3], "eos")
    assert finish(loaded.tokenizer, ids, {eos}, ())[1:] == (ids, "length")


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"seed": 5}, {"beam_width": 2}])
def test_logprobs_are_the_model_s_own(tiny, engine, settings):
    (answer,) = ask(tiny, engine, logprobs=3, **settings)
    ids = tiny.tokenizer(TEXT).input_ids
    with torch.inference_mode():
        logits = tiny.model(torch.tensor([ids + answer.token_ids])).logits[0]
    expected = logits[len(ids) - 1 : -1].log_softmax(-1)
    assert len(answer.logprobs) == len(answer.token_ids)
    for row, token, position in zip(expected, answer.token_ids, answer.logprobs, strict=True):
        assert position.token_id == token
        assert position.log_prob == pytest.approx(float(row[token]), abs=1e-3)
        assert [i for i, _ in position.top] == row.topk(3).indices.tolist()


def test_an_architecture_that_the_engine_does_not_know_runs_on_transformers(tiny, engine):
    expected = ask(tiny, engine, temperature=0, logprobs=2)[0]
    from lecture_lib.inference_script import with_transformers

    task = TaskInfo(TEXT, output_len=8, temperature=0, logprobs=2)
    (answer,) = with_transformers.generate(task, tiny)
    assert answer.backend == "transformers"
    assert expected.backend == "engine"
    assert answer.token_ids == expected.token_ids
    assert answer.text == expected.text
    chosen = [p.log_prob for p in answer.logprobs]
    assert chosen == pytest.approx([p.log_prob for p in expected.logprobs], abs=1e-3)


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
    assert {answer.backend for answer in answers} == {"transformers"}
    ids = torch.tensor([tokenizer(TEXT).input_ids])
    assert answers[0].token_ids == hf_greedy(loaded.model, ids, max_new_tokens=4)[0]


def test_one_prompt_needs_no_padding():
    from lecture_lib.inference_script import with_transformers

    loaded = loaded_model(llama())
    task = TaskInfo(TEXT, output_len=4, temperature=0)
    expected = with_transformers.generate(task, loaded)[0].token_ids
    loaded.tokenizer.pad_token = loaded.tokenizer.eos_token = None
    assert with_transformers.generate(task, loaded)[0].token_ids == expected


@pytest.mark.filterwarnings("ignore:the model's generation_config")
@pytest.mark.parametrize("settings", [{"temperature": 0}, {"seed": 3}, {"beam_width": 2}])
def test_what_only_the_models_file_asks_for_acts_in_neither_back_end(tiny, engine, settings):
    from lecture_lib.inference_script import with_transformers

    task = TaskInfo(TEXT, output_len=12, **settings)
    expected = with_transformers.generate(task, tiny)[0].token_ids
    file = GenerationConfig(
        repetition_penalty=3.0, no_repeat_ngram_size=2, min_p=0.5, min_new_tokens=12,
        eos_token_id=tiny.model.generation_config.eos_token_id, do_sample=True, top_k=3,
    )  # fmt: skip
    other = loaded_model(llama())
    other.model.generation_config = file
    assert with_transformers.generate(task, other)[0].token_ids == expected
    assert generate(task, other)[0].token_ids == expected
    assert other.model.generation_config is file
    assert references.generate(other, [TEXT], 3, max_new_tokens=12)[0] != expected, "it would act"


def test_the_engine_says_which_settings_of_the_file_it_does_not_use():
    other = loaded_model(llama())
    other.model.generation_config.repetition_penalty = 1.3
    with pytest.warns(UserWarning, match=r"sets \{'repetition_penalty': 1.3\}.* does not use"):
        Engine(other)


def test_a_stream_is_the_text_in_pieces(tiny, engine):
    task = TaskInfo(TEXT, output_len=8, seed=7)
    pieces = list(run.stream(task, engine))
    assert len(pieces) > 3
    assert "".join(pieces) == generate(task, tiny, engine=engine)[0].text


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
        ({"beam_search_diversity_rate": 0.5}, "taken out of Transformers 5"),
        ({"do_sample": True, "temperature": 0}, "do_sample"),
        ({"len_penalty": 1.0}, "len_penalty: acts in beam search only"),
        ({"logprobs": -1}, "logprobs"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_a_bad_setting_is_named(settings, word):
    with pytest.raises(ValueError, match=word):
        TaskInfo(**{"prompt_seqs": "a"} | settings)


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
    assert "course's engine" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--prompt"),
        (["--prompt", "a", "--top-p", "2"], "--top-p"),
        (["--prompt", "a", "--beam-search-diversity-rate", "1"], "taken out"),
        (["--prompt", "a", "--output-len", "x"], "invalid int"),
        # What would do nothing, or would fail when all the work is done, is told before it.
        (["--prompt", "a", "--table", "x.csv"], "--table: is the table of a --sweep"),
        (["--prompt", "a", "--sweep", "top_k=1", "--json"], "--json: not allowed with"),
        (
            ["--prompt", "a", "--sweep", "top_k=1", "--interactive"],
            "--interactive: not allowed with",
        ),
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
    def interrupted(task, engine):
        yield "one"
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "stream", interrupted)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n/quit\n"))
    assert prompt.loop(tiny, engine) == 0
    assert "(stopped)" in capsys.readouterr().err


def test_a_sweep_has_a_row_for_each_value_and_writes_table_and_picture(tiny, engine, tmp_path):
    task = TaskInfo(TEXT, output_len=6, temperature=0)
    frame = sweep.sweep_setting("output_len", [2, 4], task, tiny, engine=engine)
    assert frame.n_tokens.tolist() == [2, 4]
    assert frame.text[1].startswith(frame.text[0])
    assert (frame.mean_log_prob < 0).all()
    table = tmp_path / "sweep.csv"
    assert sweep.run("output_len=2,4", str(table), task, tiny, engine) == 0
    assert table.read_text().startswith("output_len,seconds")
    assert table.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no_such"):
        sweep.sweep_setting("no_such", [1], task, tiny, engine=engine)


@pytest.mark.parametrize("swept", ["do_sample=on,off", "stop=a,the", "do_sample=auto,off"])
def test_a_setting_that_is_no_number_can_be_swept(tiny, engine, tmp_path, swept):
    table = tmp_path / "sweep.csv"
    task = TaskInfo(TEXT, output_len=6)
    assert sweep.run(swept, str(table), task, tiny, engine) == 0
    name, _, values = swept.partition("=")
    assert pd.read_csv(table)[name].tolist() == values.split(",")
    frame = sweep.sweep_setting(name, values.split(","), task, tiny, engine=engine)
    first, second = values.split(",")
    alt = sweep_panels({name: frame}).alt
    told = re.search(rf"mean log p by {name} {first}: (\S+), {second}: ", alt)
    assert float(told[1]) == pytest.approx(frame.mean_log_prob[0], abs=0.006)


@pytest.mark.parametrize(
    ("typed", "stop"),
    [("é", "é"), ("。", "。"), (r"\n\n", "\n\n"), (r"a\\n", r"a\n"), (r"\té", "\té")],
)
def test_a_stop_string_is_read_as_it_is_typed(typed, stop):
    assert prompt.changed(TaskInfo("x"), f"stop={typed}").stop == (stop,)


def test_an_unknown_escape_is_refused():
    with pytest.raises(ValueError, match=r"Stop strings: \\q is unknown"):
        prompt.changed(TaskInfo("x"), r"stop=\q")
