"""Exercise 8's right answers against Transformers and Tokenizers, on its own hidden cases."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import WORDS, tiny_config, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaForCausalLM,
    StopStringCriteria,
    pipeline,
)

from grader import cells
from grader.checks import Probe, load_tasks
from grader.session import run_setup
from lecture_lib.course_t5 import FOLDER

pytestmark = pytest.mark.slow

SOLUTIONS = Path(__file__).parents[1] / "solutions"
NOTEBOOK = cells.read_notebook(SOLUTIONS / "08_hugging_face.ipynb")
TASKS = {task.grade_id: task for task in load_tasks(SOLUTIONS / "checks" / "08_hugging_face.py")}


def hidden_cases(grade_id, seeds=range(5)):
    """What the solution cell defines, and the arguments of the cases of several seeds."""
    sources = [*cells.setup_sources(NOTEBOOK, grade_id), cells.find_cell(NOTEBOOK, grade_id).source]
    drawn = [case for i in seeds for case in TASKS[grade_id].cases(np.random.default_rng(i))]
    return run_setup(sources)[TASKS[grade_id].entry], [list(map(made, c.args)) for c in drawn]


def made(argument):
    """A probe's model and tokenizer; any other argument as it is."""
    if not isinstance(argument, Probe):
        return argument
    return run_setup([argument.source])[argument.name](*argument.bound)


def test_merges_are_those_of_the_tokenizers_library():
    learn_merges, cases = hidden_cases("merges")
    for counts, n_merges in cases:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        vocab_size = len(set("".join(counts))) + n_merges
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False)
        backend.train_from_iterator([w for w, n in counts.items() for _ in range(n)], trainer)
        merges = json.loads(backend.to_str())["model"]["merges"]
        assert learn_merges(counts, n_merges) == [tuple(merge) for merge in merges]


def test_padding_is_the_tokenizers_and_positions_are_generates():
    pad_left, cases = hidden_cases("padding")
    model = LlamaForCausalLM(tiny_config()).eval()
    for prompts, pad_id in cases:
        tokenizer = tiny_tokenizer()
        tokenizer.pad_token, tokenizer.padding_side = WORDS[pad_id], "left"
        assert tokenizer.pad_token_id == pad_id
        expected = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        positions = model._prepare_position_ids_for_generation(
            expected.input_ids, {"attention_mask": expected.attention_mask}
        )
        got = pad_left(prompts, pad_id)
        assert got["input_ids"] == expected.input_ids.tolist()
        assert got["attention_mask"] == expected.attention_mask.tolist()
        assert got["position_ids"] == positions.tolist()


def test_a_batch_gets_what_each_prompt_gets_alone():
    continue_batch, cases = hidden_cases("batch")
    for (model, _), prompts, pad_id, n_new, own in cases:
        model.generation_config.update(**own)
        alone = [
            model.generate(torch.tensor([prompt]), max_new_tokens=n_new, do_sample=False,
                           attention_mask=torch.ones(1, len(prompt)))[0, len(prompt) :].tolist()
            for prompt in prompts
        ]  # fmt: skip
        assert continue_batch(model, prompts, pad_id, n_new) == alone


def test_settings_are_what_generate_works_with():
    effective_settings, cases = hidden_cases("precedence")
    library = GenerationConfig._get_default_generation_params()
    for call, config, own, default in cases:
        own_default = {n: v for n, v in default.items() if v != library.get(n)}
        model = LlamaForCausalLM(tiny_config()).eval()
        model.generation_config = GenerationConfig(**own)
        passed = None if config is None else GenerationConfig(**config)
        effective, _ = model._prepare_generation_config(passed, **call)
        got = effective_settings(call, config, own, default)
        expected = {name: getattr(effective, name) for name in got}
        for name in own_default.keys() & expected:  # the case's, where nobody set the library's
            if expected[name] == library.get(name):
                expected[name] = own_default[name]
        assert got == expected


def test_a_row_is_done_where_transformers_own_criterion_says_so():
    """Transformers' asks whether the text ENDS with the stop text: each step is asked once."""
    criterion, _ = hidden_cases("stop")
    words = AutoTokenizer.from_pretrained(FOLDER)
    ids = words("Elle a deux clés et vingt-deux chats.", return_tensors="pt").input_ids
    for stop in ("deux", "t vin", "clés", "12", "."):
        library, done = StopStringCriteria(words, stop), False
        for n in range(1, ids.shape[1]):
            done = done or library(ids[:, :n], None).item()
            assert criterion(words, 0, stop)(ids[:, :n], None).item() == done


def test_the_pipeline_answers_as_transformers_own():
    own_pipeline, cases = hidden_cases("pipeline", seeds=range(2))
    for (model, words), own, made_with, texts, called in cases:
        model.generation_config.update(**own)
        settings = {"max_new_tokens": 20, **made_with, **called}
        library = pipeline("text-generation", model=model, tokenizer=words)
        for text in [texts] if isinstance(texts, str) else texts:
            messages = [{"role": "user", "content": text}]
            if settings.get("system") is not None:  # an empty one is given, too
                messages.insert(0, {"role": "system", "content": settings["system"]})
            [answer] = library(
                messages, max_new_tokens=settings["max_new_tokens"], do_sample=False,
                return_full_text=False,
            )  # fmt: skip
            mine = own_pipeline(model=model, tokenizer=words, **made_with)
            called.pop("batch_size", None)
            assert mine(text, **called) == answer["generated_text"]
