"""The course's pipelines: a model's own settings for a task, long texts, and the bundled model."""

from unittest import mock

import pytest
import torch
from test_pipelines import TEMPLATE, WORDS, chat_model, new_tokens, tiny_causal
from tiny_models import tiny_tokenizer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig, pipeline

from lecture_lib.course_t5 import FOLDER
from lecture_lib.pipelines import (
    SummarizationPipeline,
    TextClassification,
    load_pipeline,
)

# As in the config.json of google/flan-t5-small (and of T5's other sizes).
T5_PARAMS = {
    "summarization": {
        "early_stopping": True, "length_penalty": 2.0, "max_length": 200, "min_length": 30,
        "no_repeat_ngram_size": 3, "num_beams": 4, "prefix": "summarize: ",
    },
    "translation_en_to_fr": {
        "early_stopping": True, "max_length": 300, "num_beams": 4,
        "prefix": "translate English to French: ",
    },
}  # fmt: skip
REPORT = "Oslo played at home against Lima. Oslo won 3 to 1."


@pytest.fixture
def as_flan():
    """The course T5 with the settings that flan-t5's config has, for a task."""
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER, dtype=torch.float32)
    model.config.task_specific_params = T5_PARAMS
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    return lambda task, **kwargs: pipeline(
        task, model=model, tokenizer=tokenizer, device="cpu", **kwargs
    )


def generate_arguments(pipe, text, **options):
    with mock.patch.object(pipe.model, "generate", wraps=pipe.model.generate) as generate:
        pipe(text, **options)
    return generate.call_args_list[0].kwargs


def test_the_models_own_settings_for_the_task_count_as_on_version_4(as_flan):
    used = generate_arguments(as_flan("summarization"), REPORT)
    assert (used["num_beams"], used["no_repeat_ngram_size"], used["length_penalty"]) == (4, 3, 2.0)
    # The lengths of the config count the start token.
    assert (used["max_new_tokens"], used["min_new_tokens"]) == (199, 29)
    assert "max_length" not in used
    other = generate_arguments(as_flan("translation"), "translate English to French: seven")
    assert "num_beams" not in other, "the lecture's task is translation, not translation_en_to_fr"
    assert other["max_new_tokens"] == 256


def test_the_lectures_nine_tokens_win_over_the_models_thirty(as_flan, caplog):
    summarize = as_flan("summarization")
    used = generate_arguments(summarize, REPORT, max_new_tokens=9)
    assert (used["max_new_tokens"], used["num_beams"]) == (9, 4)
    assert "min_new_tokens" not in used
    assert len(new_tokens(summarize, REPORT, max_new_tokens=9)) <= 10  # and the start token
    assert "length" not in caplog.text, "no warning of lengths that contradict each other"
    used = generate_arguments(summarize, REPORT, max_new_tokens=9, min_new_tokens=5, num_beams=1)
    assert (used["min_new_tokens"], used["num_beams"]) == (5, 1)
    # The model's own generation config goes before the config's settings for a task.
    summarize.model.generation_config = GenerationConfig.from_pretrained(FOLDER, num_beams=2)
    assert generate_arguments(summarize, REPORT).get("num_beams") is None


def test_the_prefix_is_written_where_it_is_missing(as_flan):
    summarize = as_flan("summarization", min_new_tokens=0, num_beams=1, no_repeat_ngram_size=0)
    asked = summarize(f"summarize: {REPORT}")
    assert summarize(REPORT) == asked
    assert summarize.preprocess(REPORT)["input_ids"].tolist() == (
        summarize.preprocess(f"summarize: {REPORT}")["input_ids"].tolist()
    )
    plain = pipeline("summarization", model=str(FOLDER), device="cpu", dtype="float32")
    shown = plain.tokenizer.decode(plain.preprocess(REPORT)["input_ids"][0])
    assert not shown.startswith("summarize"), "a model without settings gets the text as it is"


LONG = "the quick brown fox ate " * 30


def test_a_text_that_is_too_long_is_refused():
    classify = TextClassification(
        model=tiny_causal("gpt2"), tokenizer=tiny_tokenizer(), task="text-classification",
        labels=WORDS, template=TEMPLATE,
    )  # fmt: skip
    with pytest.raises(ValueError, match="has 64 positions; shorten the text"):
        classify(LONG)
    model, tokenizer = chat_model()
    summarize = SummarizationPipeline(model=model, tokenizer=tokenizer, task="summarization")
    with pytest.raises(ValueError, match=r"tokens with the prompt .* has 64 positions"):
        summarize(LONG, max_new_tokens=1)


# -- devices and the bundled model ---------------------------------------------------------------


def test_the_model_runs_where_it_was_put(as_flan):
    assert as_flan("translation").device.type == "cpu"
    translate = as_flan("translation")
    seen = []
    original = translate.model.generate
    translate.model.generate = lambda **k: seen.append(k["input_ids"].device) or original(**k)
    translate("translate English to French: seven")
    assert seen == [translate.model.device]


@pytest.mark.real_model
def test_the_bundled_model_is_asked_through_its_template(loaded, capsys):
    translate = load_pipeline("translation", "smollm2-135m-instruct", device="cpu")
    assert capsys.readouterr().out == "translation: smollm2-135m-instruct runs, as asked.\n"
    text = "translate English to French: The cat sleeps."
    prompt = translate.tokenizer.decode(translate.preprocess(text)["input_ids"][0])
    assert prompt.endswith("The cat sleeps.<|im_end|>\n<|im_start|>assistant\n")
    answers = translate([text, text], batch_size=2, max_new_tokens=6, do_sample=False)
    messages = [{"role": "user", "content": translate.request(text)}]
    batch = loaded.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = loaded.model.generate(**batch, max_new_tokens=6, do_sample=False)
    new = output[0, batch["input_ids"].shape[1] :]
    expected = loaded.tokenizer.decode(new, skip_special_tokens=True).strip()
    assert answers == [{"translation_text": expected}] * 2
