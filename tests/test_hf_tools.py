"""What lecture 08 says of Transformers, against the installed one and against plain computation."""

import copy
from types import SimpleNamespace

import pytest
import torch
from forked import Forked
from forked_targets import installed_tasks
from tiny_models import save_tiny_model
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    TextGenerationPipeline,
)

from lecture_lib.course_t5 import FOLDER
from lecture_lib.hub_tools import (
    observe_generation,
    pipeline_arguments,
    task_table,
    token_pieces,
    translate_with_attention,
)
from lecture_lib.loading import load_model
from lecture_lib.pipelines import SummarizationPipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder)
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def t5():
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(FOLDER)


# -- the twelve tasks ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_task_table_is_what_transformers_says(tmp_path):
    """In a process of its own: the course's pipelines stand in this one's registry."""
    fresh = Forked(installed_tasks, tmp_path, HF_HUB_OFFLINE="1")
    installed, refusals = fresh.ask()
    fresh.stop()
    for (_, row), found in zip(task_table().iterrows(), installed, strict=True):
        said = list(row[["pipeline class", "model class", "default model"]])
        now = [found["pipeline_class"] or "gone", ", ".join(found["model_classes"])]
        assert said == [*now, found["default_model"] or ""], f"{row['pipeline(...)']} has moved"
        # Ours begins with the identifier that Transformers itself points to.
        pointed = found["instead"].replace("`", "").removeprefix("Use the ")
        assert pointed.split(" ")[0] == row["where it is gone, use"].split(" ")[0]
    assert set(refusals) == {"summarization", "translation", "visual-question-answering"}


def test_the_task_table_has_a_way_for_every_task():
    table = task_table()
    assert list(table.index) == list(range(1, 13))
    gone = table[table["pipeline class"] == "gone"]
    assert len(gone) == 4
    assert all(gone["where it is gone, use"])
    assert all(table.loc[table["pipeline class"] != "gone", "default model"])


# -- tokenizer -----------------------------------------------------------------------------------


@pytest.mark.real_model
@pytest.mark.parametrize(
    "text", ["Hi there", "naïve 👋🏽 中文\n\tx", " two  spaces", "🏳️‍🌈", "\u0e01\u0e33"]
)
def test_pieces_of_a_byte_level_tokenizer_make_up_the_text(loaded, text):
    pieces = token_pieces(loaded.tokenizer, text)
    assert b"".join(piece.data for piece in pieces) == text.encode()
    assert [piece.token_id for piece in pieces] == loaded.tokenizer(text).input_ids
    assert {i for piece in pieces for i in range(piece.start, piece.end)} == set(range(len(text)))
    whole = [piece for piece in pieces if not piece.text.startswith("⟨")]
    assert all(piece.text.encode() == piece.data for piece in whole)


def test_pieces_of_a_vocabulary_without_bytes(t5):
    _, tokenizer = t5
    pieces = token_pieces(tokenizer, "Elle a 12 clés 中")
    assert [p.token_id for p in pieces] == tokenizer("Elle a 12 clés 中").input_ids
    assert (pieces[-1].text, pieces[-1].special, pieces[-1].data) == ("</s>", True, b"")
    assert b"".join(p.data for p in pieces).replace(b" ", b"") == "Ellea12clés中".encode()
    unknown = next(p for p in pieces if p.token_id == tokenizer.unk_token_id)
    assert unknown.data.strip() == "中".encode()
    without = token_pieces(tokenizer, "Elle", add_special_tokens=False)
    assert [p.text for p in without] == ["Elle"]
    with pytest.raises(ValueError, match="text: is empty; needs at least one character"):
        token_pieces(tokenizer, "")


@pytest.mark.parametrize(
    "use",
    [
        lambda loaded: observe_generation(loaded, "the fox", max_new_tokens=3),
        lambda loaded: SummarizationPipeline(
            model=loaded.model, tokenizer=loaded.tokenizer, task="summarization"
        )("the fox", max_new_tokens=3),
    ],
    ids=["observed", "pipeline"],
)
def test_what_a_tokenizer_returns_and_its_model_does_not_know_is_left_out(tiny, use):
    """GPT-NeoX's returns token_type_ids, which generate() refuses."""
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    plain = SimpleNamespace(model=tiny.model, tokenizer=tokenizer)
    expected = use(plain)
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert "token_type_ids" in tokenizer("the fox")
    assert use(plain) == expected


# -- generation settings -------------------------------------------------------------------------


@pytest.mark.real_model
def test_the_defaults_that_surprise(loaded):
    plain = observe_generation(loaded, "The quick brown fox")
    assert (plain.n_prompt, plain.n_new, plain.sampled) == (4, 20, False)
    # 20 new tokens where nobody says anything; the same number said means the whole length.
    assert observe_generation(loaded, "The quick brown fox", max_length=20).n_new == 16
    sampled = observe_generation(loaded, "The quick brown fox", do_sample=True, max_new_tokens=1)
    assert (sampled.n_candidates, sampled.sampled) == (50, True)
    everything = observe_generation(
        loaded, "The quick brown fox", do_sample=True, top_k=0, max_new_tokens=1
    )
    # All but the end token, which the probe forbids.
    assert everything.n_candidates == loaded.spec.vocab_size - 1


def test_a_calls_setting_goes_before_the_models_before_the_default(tiny, monkeypatch):
    def candidates(**call):
        return observe_generation(tiny, "the quick", do_sample=True, max_new_tokens=1, **call)

    assert candidates().n_candidates == 8  # 50, of the 9 tokens without the end token
    monkeypatch.setattr(tiny.model, "generation_config", GenerationConfig(top_k=4, eos_token_id=1))
    assert candidates().n_candidates == 4
    assert candidates(top_k=2).n_candidates == 2
    given = GenerationConfig(top_k=3, do_sample=True, max_new_tokens=1)
    assert observe_generation(tiny, "the quick", generation_config=given).n_candidates == 3


def test_the_probe_looks_at_an_encoder_decoder_too(t5):
    from types import SimpleNamespace

    pair = SimpleNamespace(model=t5[0], tokenizer=t5[1])
    seen = observe_generation(pair, "translate English to French: seven")
    assert (seen.n_prompt, seen.n_new, seen.sampled) == (1, 20, False)


def test_the_probe_refuses(tiny):
    with pytest.raises(ValueError, match="num_beams: the probe looks at one sequence, got 2"):
        observe_generation(tiny, "the fox", num_beams=2)
    with pytest.raises(ValueError, match="prompt: is empty; needs at least one character"):
        observe_generation(tiny, "")


def test_what_the_text_generation_pipeline_adds(tiny):
    pipe = TextGenerationPipeline(model=tiny.model, tokenizer=tiny.tokenizer, device="cpu")
    with pipeline_arguments() as calls:
        pipe("the fox", max_new_tokens=2)
        pipe("the fox", do_sample=False, max_new_tokens=2)
    pipe("the fox", max_new_tokens=1)  # no longer watched
    assert len(calls) == 2
    # What the model's generation config says nothing of: it samples, at temperature 0.7.
    assert (calls[0]["do_sample"], calls[0]["temperature"]) == (True, 0.7)
    assert calls[1]["do_sample"] is False
    assert "temperature" not in calls[1]
    assert TextGenerationPipeline._default_generation_config.max_new_tokens == 256


def test_models_come_in_the_dtype_they_were_saved_in():
    assert AutoModelForSeq2SeqLM.from_pretrained(FOLDER).dtype is torch.float16
    asked = AutoModelForSeq2SeqLM.from_pretrained(FOLDER, dtype=torch.float32)
    assert asked.dtype is torch.float32


# -- cross-attention -----------------------------------------------------------------------------


def test_cross_attention_is_that_of_the_decoding_steps(t5):
    model, tokenizer = t5
    text = "translate English to French: She sees the small cat."
    found = translate_with_attention(model, tokenizer, text)
    batch = tokenizer(text, return_tensors="pt")
    model.set_attn_implementation("eager")
    output = model.generate(
        **batch, max_new_tokens=64, do_sample=False, output_attentions=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    model.set_attn_implementation("sdpa")
    steps = [torch.stack(step)[:, 0, :, 0] for step in output.cross_attentions]
    torch.testing.assert_close(found.scores, torch.stack(steps, dim=2), rtol=1e-4, atol=1e-5)
    assert found.text == tokenizer.decode(output.sequences[0], skip_special_tokens=True)
    assert found.scores.shape[2:] == (len(found.target), len(found.source))
    assert found.source[-1] == found.target[-1] == "</s>"


def test_cross_attention_needs_an_encoder(tiny, t5):
    with pytest.raises(ValueError, match="is no encoder-decoder"):
        translate_with_attention(tiny.model, tiny.tokenizer, "the fox")
    with pytest.raises(ValueError, match="text: is empty; needs at least one word"):
        translate_with_attention(*t5, " ")
