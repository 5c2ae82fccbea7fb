"""The draft model: small, without embeddings of its own, made as its card says, and often right."""

import json
from itertools import islice

import pytest
import torch
from course_draft import prompts, pupil, texts
from course_draft.card import write_card
from engine_models import llama, loaded_model
from safetensors import safe_open

from lecture_lib.engine import Engine, ModelDrafter
from lecture_lib.loading import ModelLoadError, draft_model, load_draft_model
from lecture_lib.loading.complete_folder import sha256_of

FOLDER = draft_model.FOLDER
WEIGHTS = FOLDER / "model.safetensors"
FACTS = json.loads((FOLDER / "training.json").read_text("utf-8"))


def test_the_file_is_small_and_is_the_one_that_was_measured():
    assert WEIGHTS.stat().st_size < 16_000_000
    assert sha256_of(WEIGHTS) == draft_model.SHA256 == FACTS["sha256"]
    with safe_open(WEIGHTS, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert sum(tensor.numel() for tensor in tensors.values()) == FACTS["n_params"]
    assert not [name for name in tensors if "embed" in name or "lm_head" in name]


def test_the_card_says_what_was_measured(tmp_path):
    write_card(tmp_path, FACTS)
    assert (tmp_path / "README.md").read_text("utf-8") == (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.real_model
def test_it_shares_the_embeddings_and_drafts(loaded):
    draft = load_draft_model(loaded)
    table = loaded.model.model.embed_tokens.weight
    assert draft.model.model.embed_tokens.weight is table
    assert (draft.spec.n_layers, len(draft.model.model.layers)) == (2, 2)
    names = {name for name, _ in draft.model.named_parameters()}
    with safe_open(WEIGHTS, "pt") as file:
        assert set(file.keys()) == names - {"model.embed_tokens.weight", "lm_head.weight"} | {
            "lens"
        }
        lens = file.get_tensor("lens").float()
    torch.testing.assert_close(draft.model.lm_head.weight, table @ lens.T)
    # Transformers runs it too, with the same logits as the engine.
    ids = torch.tensor([loaded.tokenizer("Once upon a time, there was").input_ids])
    with torch.inference_mode():
        expected = draft.model(ids).logits[:, -1]
    torch.testing.assert_close(Engine(draft).prefill(ids), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.real_model
def test_held_out_acceptance(loaded):
    """Four greedy answers about topics that no training text is about, in place of the card's."""
    engine, draft = Engine(loaded), load_draft_model(loaded)
    rows = [texts.encode(engine.tokenizer, *p) for p in islice(prompts.prompts("test", True), 4)]
    held_out = texts.write_texts(engine, rows, 48, n_greedy=4)
    (first, *_) = FACTS["acceptance"].values()
    assert pupil.agreement(draft.model, held_out) > first - 0.15


@pytest.mark.real_model
def test_transformers_own_assisted_generation_gives_the_same_tokens(loaded):
    """With the same draft model as its assistant."""
    engine, draft = Engine(loaded), load_draft_model(loaded)
    prompt = "1, 2, 3, 4, 1, 2, 3, 4, 1, 2,"
    mine = engine.generate(prompt, 24, speculate=ModelDrafter(Engine(draft)))
    ids = torch.tensor([loaded.tokenizer(prompt).input_ids])
    with torch.inference_mode():
        out = loaded.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24,
            assistant_model=draft.model, pad_token_id=loaded.tokenizer.pad_token_id,
        )  # fmt: skip
    assert mine.token_ids == out[0, ids.shape[1] :].tolist()


@pytest.mark.real_model
def test_another_model_and_a_damaged_file_are_refused(loaded, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="loaded: the draft model has the embeddings of the bund"):
        load_draft_model(loaded_model(llama()))
    monkeypatch.setattr(draft_model, "FOLDER", tmp_path)
    with pytest.raises(ModelLoadError, match="damaged or missing"):
        load_draft_model(loaded)
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS.read_bytes()[:-1])
    with pytest.raises(ModelLoadError, match="damaged or missing"):
        load_draft_model(loaded)


# -- how it is made -------------------------------------------------------------------------------


def test_prompts_are_the_same_each_time_and_of_one_side():
    for held_out in (True, False):
        found = list(islice(prompts.prompts("0 1", held_out), 200))
        assert found == list(islice(prompts.prompts("0 1", held_out), 200))
        assert len({text for text, _ in found}) > 60
        assert all(text.strip() for text, _ in found)
    held = {t for t in prompts.pieces(prompts.TOPICS) if prompts.is_held_out(t)}
    trained = " ".join(text for text, _ in islice(prompts.prompts("0 1", False), 500))
    assert 5 <= len(held) <= 25
    assert not [topic for topic in held if f"about {topic}." in trained]


@pytest.fixture(scope="module")
def tiny():
    return loaded_model(llama(num_hidden_layers=4, tie_word_embeddings=True))


def test_texts_are_the_teachers_with_what_it_thought(tiny):
    engine = Engine(tiny)
    rows = [[65, 66, 67], [70], [71, 72]]
    torch.manual_seed(0)
    found = texts.write_texts(engine, rows, 12, n_greedy=2)
    for ids, text in list(zip(rows, found, strict=True))[:2]:
        assert text["ids"].tolist() == ids + engine.generate(ids, 12).token_ids
    for text in found:
        ids, start = text["ids"], text["start"]
        states = tiny.model.model(ids[None]).last_hidden_state[0, start - 1 : -1]
        torch.testing.assert_close(text["hidden"].float(), states, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_a_pupil_learns_and_its_teacher_does_not(tiny):
    engine, before = Engine(tiny), tiny.model.model.embed_tokens.weight.clone()
    torch.manual_seed(0)
    found = texts.write_texts(engine, [[n] for n in range(65, 81)], 24, n_greedy=16)
    student = pupil.make_pupil(tiny.model)
    first = pupil.agreement(student.eval(), found)
    parts = [lambda: found[:8], lambda: found[8:]]
    curve, _ = pupil.train(student, parts, found, seed=0, steps=100, go_on=False)
    assert [step for step, *_ in curve] == [80, 100]
    assert pupil.agreement(student, found) > first + 0.1
    assert torch.equal(tiny.model.model.embed_tokens.weight, before)
    assert not tiny.model.model.embed_tokens.weight.requires_grad


def test_agreement_of_all_layers_is_the_models_own(tiny):
    found = texts.write_texts(Engine(tiny), [[65, 66], [70]], 10, n_greedy=2)
    shares = pupil.agreement_of_layers(tiny.model, found, (1, 4))
    assert shares[4] == 1.0 > shares[1]
