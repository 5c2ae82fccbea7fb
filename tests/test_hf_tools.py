"""What lecture 08 says of Transformers, against the installed one and against plain computation."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_models import save_tiny_model
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from lecture_lib.course_t5 import FOLDER
from lecture_lib.hub_tools import (
    ablate_heads,
    attribute_table,
    compare_padding_sides,
    file_table,
    mean_loss,
    read_index,
    token_pieces,
    without_head,
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


# -- tokenizer -----------------------------------------------------------------------------------


def test_the_lectures_class_attributes_as_installed():
    table = attribute_table(PreTrainedTokenizerBase).set_index("attribute")
    gone = [name for name in table.index if not hasattr(PreTrainedTokenizerBase, name)]
    assert gone == ["max_model_input_sizes", "pretrained_init_configuration"]
    assert all(table.now[gone])  # it says what to use
    assert table.loc["padding_side", "value"] == PreTrainedTokenizerBase.padding_side == "right"
    assert table.loc["max_model_input_sizes", "exists"] == "no"
    # "empty now", says the table; model_max_length is where the other went.
    assert PreTrainedTokenizerBase.pretrained_vocab_files_map == {}


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


@pytest.mark.real_model
def test_padding_on_the_right_changes_the_continuation(loaded):
    prompts = [
        "The capital of France is",
        "Once upon a time there was a little girl who lived in a",
    ]
    table = compare_padding_sides(loaded, prompts)
    assert list(table["left"]) == list(table["alone"])
    assert table["padding"].gt(0).tolist() == [True, False]
    assert table["right"][0] != table["alone"][0]
    assert table["right"][1] == table["alone"][1], "the longest prompt has no padding"
    assert loaded.tokenizer.padding_side == "left"


def test_padding_needs_prompts_of_different_lengths(tiny):
    with pytest.raises(ValueError, match="all have 2 tokens"):
        compare_padding_sides(tiny, ["the fox", "the mouse"])
    with pytest.raises(ValueError, match="needs a list of two or more"):
        compare_padding_sides(tiny, "the fox")


@pytest.mark.parametrize(
    "use",
    [
        lambda loaded: compare_padding_sides(loaded, ["the fox", "the quick mouse"]).to_dict(),
        lambda loaded: SummarizationPipeline(
            model=loaded.model, tokenizer=loaded.tokenizer, task="summarization"
        )("the fox", max_new_tokens=3),
    ],
    ids=["padding", "pipeline"],
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


# -- model: shards, head ablation ----------------------------------------------------------------


@pytest.mark.parametrize("max_shard_size", ["5GB", "4KB"])
def test_the_files_of_a_saved_model(tiny, tmp_path, max_shard_size):
    tiny.model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    table = file_table(tmp_path)
    assert dict(zip(table["file"], table["bytes"], strict=True)) == {
        path.name: path.stat().st_size for path in tmp_path.iterdir()
    }
    index, tensors = read_index(tmp_path), {}
    for path in tmp_path.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            tensors |= dict.fromkeys(file.keys(), path.name)
    assert index == tensors
    counts = table.set_index("file")["tensors"]
    assert counts.sum() == len(tensors)
    assert len(set(index.values())) == (1 if max_shard_size == "5GB" else counts.gt(0).sum())
    with pytest.raises(ValueError, match="is not there"):
        file_table(tmp_path / "nowhere")


def test_an_empty_folder_has_no_index(tmp_path):
    with pytest.raises(ValueError, match="holds neither"):
        read_index(tmp_path)


TEXTS = ["the quick brown fox ate the cheese", "the mouse ate the fox"]


@pytest.mark.parity
def test_ablation_is_what_a_hook_on_the_heads_output_does(tiny):
    """Independent: the head's slice of what goes into W^O set to zero while the model runs."""
    found = ablate_heads(tiny, TEXTS, layers=[0, 1])
    n_heads, head_dim = 4, 4
    assert found.shape == (2, n_heads)
    for layer in range(2):
        for head in range(n_heads):

            def zero(module, arguments, head=head):
                context = arguments[0].clone()  # (B, L, n_H × H)
                context[..., head * head_dim : (head + 1) * head_dim] = 0
                return (context,)

            projection = tiny.model.model.layers[layer].self_attn.o_proj
            hook = projection.register_forward_pre_hook(zero)
            loss = mean_loss(tiny, TEXTS)
            hook.remove()
            # Two losses of 2.2 in float32 are subtracted, and each is good to 1e-5 of itself.
            rise = loss - mean_loss(tiny, TEXTS)
            assert found[layer, head] == pytest.approx(rise, abs=1e-5 * loss)
    assert np.abs(found).max() > 1e-3, "nothing was taken away"
    np.testing.assert_array_equal(ablate_heads(tiny, TEXTS, layers=[1]), found[1:])


def test_the_loss_is_transformers(tiny):
    losses, counts = [], []
    for text in TEXTS:
        ids = tiny.tokenizer(text, return_tensors="pt").input_ids
        losses.append(tiny.model(ids, labels=ids).loss.item())
        counts.append(ids.shape[1] - 1)
    assert mean_loss(tiny, TEXTS) == pytest.approx(np.average(losses, weights=counts), rel=1e-5)


def test_the_model_is_left_as_it_was(tiny):
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    with without_head(tiny.model, 0, 1):
        assert not tiny.model.model.layers[0].self_attn.o_proj.weight[:, 4:8].any()
    with pytest.raises(RuntimeError), without_head(tiny.model, 0, 1):
        raise RuntimeError
    ablate_heads(tiny, TEXTS, layers=[0, 1])
    for name, tensor in tiny.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_ablation_refuses_what_is_not_there(tiny, tmp_path):
    with (
        pytest.raises(ValueError, match="head: needs an integer from 0 to 3, got 4"),
        without_head(tiny.model, 0, 4),
    ):
        pass
    with pytest.raises(ValueError, match="layer: needs an integer from 0 to 1, got 2"):
        ablate_heads(tiny, TEXTS, layers=[2])
    with pytest.raises(ValueError, match="texts: needs a list of texts, got str"):
        ablate_heads(tiny, "the fox", layers=[0])
    with pytest.raises(ValueError, match="at least two tokens"):
        mean_loss(tiny, ["fox"])
    save_tiny_model(tmp_path, "gpt2")
    with pytest.raises(ValueError, match="not of the Llama family"):
        ablate_heads(load_model(tmp_path, device="cpu"), TEXTS, layers=[0])
