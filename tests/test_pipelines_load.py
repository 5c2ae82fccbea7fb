"""load_pipeline: the lecture's model from a Hub on the loopback interface, or the stand-in."""

import re
import shutil
import socket
from types import SimpleNamespace

import pytest
from forked import Forked
from forked_targets import load_pipeline_and_run
from local_hub import LocalHub
from test_pipelines import save_tiny_classifier
from tiny_models import save_tiny_model

from lecture_lib.course_t5 import FOLDER
from lecture_lib.loading.errors import CorruptModelError
from lecture_lib.pipelines import load as load_module
from lecture_lib.pipelines import load_pipeline
from lecture_lib.pipelines.tasks import TASKS

SEVEN = "translate English to French: seven"


def start(home, **environment):
    return Forked(load_pipeline_and_run, home, **environment)


def load(worker, task, text, model=None, **options):
    return SimpleNamespace(**worker.ask(task, text, model, **options))


@pytest.mark.slow
def test_the_lectures_models_run_from_the_hub_and_then_from_its_cache(tmp_path):
    save_tiny_classifier(tmp_path / "bert")
    save_tiny_model(tmp_path / "opt", "opt", as_bin=True)  # as opt-350m: no safetensors
    with LocalHub() as hub:
        # The repository that flan-t5 is in: what runs it is what is tested, with our own T5.
        hub.add_repo("google/flan-t5-small", FOLDER)
        hub.add_repo(TASKS["text-classification"].lectures, tmp_path / "bert")
        hub.add_repo("facebook/opt-350m", tmp_path / "opt")
        worker = start(tmp_path / "home", HF_ENDPOINT=hub.url)
        answers = [
            load(worker, "translation", [SEVEN, SEVEN], batch_size=2),
            load(worker, "summarization", "summarize: It rains.", max_new_tokens=9),
            load(worker, "text-classification", "the mouse"),
            load(worker, "text-generation", "the mouse", max_new_tokens=3, do_sample=False),
        ]
        asked = len(hub.requests)
    assert answers[0].answer == [{"translation_text": "sept"}] * 2
    assert [a.runs for a in answers] == [
        "T5ForConditionalGeneration", "T5ForConditionalGeneration",
        "BertForSequenceClassification", "OPTForCausalLM",
    ]  # fmt: skip
    for task, said in zip(("translation", "summarization"), answers, strict=False):
        assert said.printed == f"{task}: google/flan-t5-small runs, the lecture's own model.\n"
    assert asked > 4
    # The Hub is gone: the same processes' cache answers.
    again = load(worker, "translation", SEVEN)
    assert again.printed == answers[0].printed
    assert again.answer == [{"translation_text": "sept"}]
    assert "Traceback" not in worker.stop()
    offline = start(tmp_path / "home", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert load(offline, "translation", SEVEN).printed == answers[0].printed
    snapshot = next((tmp_path / "home").glob("hub/models--google*/snapshots/*"))
    for name in ("tokenizer.json", "model.safetensors"):
        said, named = load_from_damaged(offline, snapshot / name)
        assert "because one of its files in the Hub's cache here is damaged" in said.printed, name
        assert said.answer == [{"translation_text": "sept"}]
        # One that was asked for by name gets no stand-in.
        assert (named.error, named.printed) == ("CorruptModelError", "")
    offline.stop()


def load_from_damaged(worker, link):
    """What is said when the cache holds only the beginning of the file; afterwards it is whole."""
    whole = link.resolve()
    damaged = whole.with_name("damaged")
    damaged.write_bytes(whole.read_bytes()[:1000])
    # Another file, not this one cut: a model that runs has its weights mapped into memory.
    link.unlink()
    link.symlink_to(damaged)
    answers = (
        load(worker, "translation", SEVEN),
        load(worker, "translation", SEVEN, model="google/flan-t5-small"),
    )
    link.unlink()
    link.symlink_to(whole)
    return answers


NOBODY = "http://127.0.0.1:9"  # nobody listens there


@pytest.mark.slow
def test_the_stand_in_runs_and_it_is_said_why(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        port = silent.getsockname()[1]
        environments = {
            "HF_HUB_OFFLINE is set": {"HF_HUB_OFFLINE": "1"},
            "nobody at the Hub's address": {"HF_ENDPOINT": NOBODY},
            # That it says so at all is the deadline: by itself huggingface_hub waits for minutes.
            "a Hub that doesn't answer": {"HF_ENDPOINT": f"http://127.0.0.1:{port}"},
            "a dead proxy": {
                "HF_ENDPOINT": "http://hub.invalid", "http_proxy": NOBODY, "https_proxy": NOBODY,
                "no_proxy": "",
            },
        }  # fmt: skip
        for i, (name, environment) in enumerate(environments.items()):
            worker = start(tmp_path / str(i), **environment)
            said = load(worker, "translation", SEVEN, deadline_s=0.5)
            why = name if name.startswith("HF_") else "the Hub can't be reached"
            assert said.printed == (
                "translation: course-t5 runs in place of google/flan-t5-small,\n"
                f"    because {why} and its cache here doesn't hold that model.\n"
            ), name
            assert said.answer == [{"translation_text": "sept"}]
            assert said.pipeline == "TranslationPipeline"
            errors = worker.stop()
            assert "Traceback" not in errors
            assert "%|" not in errors, "no progress bars"


def test_trouble_of_the_hub_and_refusals_are_told_apart(tmp_path):
    with LocalHub() as hub:
        worker = start(tmp_path, HF_ENDPOINT=hub.url)
        gone = load(worker, "translation", SEVEN)
        hub.add_repo("google/flan-t5-small", FOLDER, gated=True)
        gated = load(worker, "translation", SEVEN)
        named = load(worker, "translation", SEVEN, model="google/flan-t5-small")
        worker.stop()
    assert "because the Hub shows no such repository" in gone.printed
    assert "because the Hub refused access to it" in gated.printed
    # One that was asked for by name gets no stand-in.
    assert (named.error, named.printed) == ("GatedModelError", "")


def test_a_model_can_be_named(tmp_path, capsys):
    save_tiny_model(tmp_path)
    pipe = load_pipeline("text-generation", tmp_path, device="cpu", max_new_tokens=2)
    assert capsys.readouterr().out == f"text-generation: {tmp_path} runs, as asked.\n"
    assert type(pipe.model).__name__ == "LlamaForCausalLM"
    assert load_pipeline("translation", "course-t5", device="cpu")(SEVEN) == [
        {"translation_text": "sept"}
    ]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("kept", [1000, None])
def test_a_damaged_model_of_the_course_is_one_error_and_no_other_task_is_lost(
    tmp_path, monkeypatch, name, kept
):
    folder = tmp_path / "course_t5"
    shutil.copytree(FOLDER, folder)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if kept:
        (folder / name).write_bytes(content[: min(kept, len(content) - 9)])
    with monkeypatch.context() as here:
        here.setattr(load_module, "BUNDLED", tmp_path)
        with pytest.raises(CorruptModelError, match=r"course-t5 .*restore its folder .*course_t5"):
            load_pipeline("translation", "course-t5", device="cpu")
    assert load_pipeline("summarization", "course-t5", device="cpu")


@pytest.mark.real_model
def test_the_bundled_model_stands_in_on_the_cpu(monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    classify = load_pipeline("sentiment-analysis", device="cpu")
    assert re.match(
        r"sentiment-analysis: smollm2-135m-instruct runs in place of distilbert/",
        capsys.readouterr().out,
    )
    assert [a["label"] for a in classify(["A wonderful evening", "I would not come again"])] == [
        "POSITIVE", "NEGATIVE",
    ]  # fmt: skip


def test_wrong_arguments():
    with pytest.raises(ValueError, match="task: must be one of 'text-classification', 'text-"):
        load_pipeline("translate")
    with pytest.raises(ValueError, match="device: 'tpu' is not on this machine"):
        load_pipeline("translation", device="tpu")
    with pytest.raises(ValueError, match="dtype: must be one of"):
        load_pipeline("translation", device="cpu", dtype="int8")


def test_an_argument_that_is_wrong_is_no_damaged_file(tmp_path):
    save_tiny_model(tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        load_pipeline("translation", tmp_path, device="cpu")
    with pytest.raises(ValueError, match="labels: needs two or more"):
        load_pipeline("text-classification", tmp_path, device="cpu", labels=["one"])
