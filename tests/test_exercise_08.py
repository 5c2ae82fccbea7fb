"""Exercise 8's right answers against Transformers itself, on the exercise's own hidden cases."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import split_state_dict_into_shards_factory
from tiny_models import WORDS, tiny_config, tiny_tokenizer
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    TextClassificationPipeline,
)

from grader import cells
from grader.checks import load_tasks
from grader.session import run_setup
from lecture_lib.pipelines import LabelWordsPipeline

SOLUTIONS = Path(__file__).parents[1] / "solutions"
NOTEBOOK = cells.read_notebook(SOLUTIONS / "08_hugging_face.ipynb")
TASKS = {task.grade_id: task for task in load_tasks(SOLUTIONS / "checks" / "08_hugging_face.py")}
SEEDS = range(5)


def solution(grade_id):
    """The function of a solution cell."""
    sources = [*cells.setup_sources(NOTEBOOK, grade_id), cells.find_cell(NOTEBOOK, grade_id).source]
    return run_setup(sources)[TASKS[grade_id].entry]


def hidden_cases(grade_id):
    """The solution, and the cases of several seeds."""
    cases = [case for seed in SEEDS for case in TASKS[grade_id].cases(np.random.default_rng(seed))]
    return solution(grade_id), cases


def tiny_causal():
    torch.manual_seed(0)
    return LlamaForCausalLM(tiny_config()).eval()


def llama(vocab_size, hidden_size, **changes):
    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=hidden_size, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, intermediate_size=4, pad_token_id=None, bos_token_id=None,
        eos_token_id=None, **changes,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_postprocess_is_the_text_classification_pipelines():
    reference, cases = hidden_cases("postprocess")
    for case in cases:
        logits, id2label = case.args
        config = tiny_config()
        config.id2label = id2label
        pipe = TextClassificationPipeline(
            model=LlamaForSequenceClassification(config), tokenizer=tiny_tokenizer()
        )
        got = reference(*case.args, **case.kwargs)
        for row, answers in zip(logits, got, strict=True):
            outputs = {"logits": torch.tensor([row])}
            expected = pipe.postprocess(
                outputs, top_k=case.kwargs.get("top_k"), function_to_apply=None, _legacy=False
            )
            assert [a["label"] for a in answers] == [a["label"] for a in expected]
            scores = [a["score"] for a in expected]
            assert [a["score"] for a in answers] == pytest.approx(scores, rel=1e-5)


def test_padding_is_the_tokenizers_and_positions_are_generates():
    reference, cases = hidden_cases("padding")
    model = tiny_causal()
    for case in cases:
        prompts, pad_id = case.args
        tokenizer = tiny_tokenizer()
        tokenizer.pad_token, tokenizer.padding_side = WORDS[pad_id], "left"
        assert tokenizer.pad_token_id == pad_id
        expected = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        positions = model._prepare_position_ids_for_generation(
            expected.input_ids, {"attention_mask": expected.attention_mask}
        )
        got = reference(prompts, pad_id)
        assert got["input_ids"] == expected.input_ids.tolist()
        assert got["attention_mask"] == expected.attention_mask.tolist()
        assert got["position_ids"] == positions.tolist()


@pytest.mark.parity
def test_label_scores_are_the_label_words_pipelines():
    model, tokenizer = tiny_causal(), tiny_tokenizer()
    labels, template = {"A": "fox", "B": "mouse ate cheese"}, "quick {text} the"
    with torch.no_grad():  # a random model says almost the same whatever the text; make it differ
        model.get_output_embeddings().weight.mul_(30)
    pipe = LabelWordsPipeline(model=model, tokenizer=tokenizer, labels=labels, template=template)

    @torch.inference_mode()
    def measure(text):
        return {name: word_log_probs(text, word) for name, word in labels.items()}

    def word_log_probs(text, word):
        prompt = tokenizer(template.format(text=text)).input_ids
        ids = prompt + tokenizer(word, add_special_tokens=False).input_ids
        log_probs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return [log_probs[i - 1, ids[i]].item() for i in range(len(prompt), len(ids))]

    got = solution("label-words")(measure("brown cheese"), [measure("N/A")])
    expected = {a["label"]: a["score"] for a in pipe("brown cheese", top_k=None)}
    assert got == pytest.approx(expected, rel=1e-5)
    assert abs(got["A"] - 0.5) > 1e-3


def test_settings_are_what_generate_works_with():
    reference, cases = hidden_cases("precedence")
    library = GenerationConfig._get_default_generation_params()
    for case in cases:
        call, config, own, default = case.args
        assert default == {name: library.get(name) for name in default}
        model = tiny_causal()
        model.generation_config = GenerationConfig(**own)
        passed = None if config is None else GenerationConfig(**config)
        effective, _ = model._prepare_generation_config(passed, **call)
        got = reference(*case.args)
        assert got == {name: getattr(effective, name) for name in got}, case.label


def test_resized_matrices_are_the_models():
    reference, cases = hidden_cases("resize")
    for case in cases:
        embedding, output, n_tokens = case.args
        model = llama(*embedding.shape, tie_word_embeddings=output is None)
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(torch.tensor(embedding))
            if output is not None:
                model.get_output_embeddings().weight.copy_(torch.tensor(output))
        model.resize_token_embeddings(n_tokens)
        new = model.get_input_embeddings().weight
        new_output = model.get_output_embeddings().weight
        got, got_output = reference(embedding, embedding if output is None else output, n_tokens)
        assert (got is got_output) == (new is new_output) == (output is None)
        # The library adds noise of 3e-5 of the rows' spread, which is 2 here.
        np.testing.assert_allclose(got, new.detach().numpy(), atol=1e-3)
        np.testing.assert_allclose(got_output, new_output.detach().numpy(), atol=1e-3)


@pytest.mark.parametrize("max_shard_size", ["1.5KB", "2KB", "4KB", 700, "1MB"])
def test_index_is_the_one_that_save_pretrained_writes(max_shard_size, tmp_path):
    model = tiny_causal()
    sizes = {name: tensor.nbytes for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    got = solution("shards")(sizes, max_shard_size)
    path = tmp_path / "model.safetensors.index.json"
    if max_shard_size == "1MB":
        assert not path.exists()
        assert set(got["weight_map"].values()) == {"model.safetensors"}
        return
    index = json.loads(path.read_text(encoding="utf-8"))
    assert len(set(index["weight_map"].values())) > 2
    assert got["weight_map"] == index["weight_map"]
    assert got["metadata"]["total_size"] == index["metadata"]["total_size"]


def test_index_is_the_one_of_the_hub_library_on_the_hidden_cases():
    reference, cases = hidden_cases("shards")
    for case in cases:
        sizes, max_shard_size = case.args
        split = split_state_dict_into_shards_factory(
            sizes,
            get_storage_size=lambda size: size,
            filename_pattern="model{suffix}.safetensors",
            max_shard_size=max_shard_size,
        )
        expected = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        assert reference(sizes, max_shard_size) == expected, case.label
