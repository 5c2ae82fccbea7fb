"""The engine on packed weights: the kernels' arithmetic, and everything that generates."""

import gc
import io
import json
from contextlib import redirect_stdout

import pytest
import torch
import torch.nn.functional as F
from tiny_models import save_tiny_model, tiny_tokenizer
from torch.nn import Parameter
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig

from lecture_lib.costs import weight_bytes
from lecture_lib.costs.measured import weight_formats
from lecture_lib.decoding import engine_beam_search
from lecture_lib.decoding.sample_generate import Sampler
from lecture_lib.engine import Engine
from lecture_lib.engine.packed import FEW_ROWS, Int4Weight, Int8Weight
from lecture_lib.inference_script.command import main
from lecture_lib.inference_script.settings import TaskInfo
from lecture_lib.loading import load_model
from lecture_lib.loading.errors import UnsupportedModelError
from lecture_lib.sampling_settings import SamplingSettings
from lecture_lib.scoring import sample_text, score_text
from lecture_lib.widgets.chat_session import ChatSession

KINDS = [Int4Weight, Int8Weight]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save_model(folder, family="llama", **sizes):
    """A random model that both kernels take."""
    sizes = {"vocab_size": 9, "num_hidden_layers": 2, "hidden_size": 64, "eos_token_id": 1} | sizes
    torch.manual_seed(0)
    if family == "llama":
        config = LlamaConfig(num_attention_heads=4, num_key_value_heads=4, intermediate_size=128,
                             max_position_embeddings=64, **sizes)  # fmt: skip
    else:
        special = {"bos_token_id": 1, "pad_token_id": 1}
        config = OPTConfig(num_attention_heads=4, ffn_dim=128, max_position_embeddings=64,
                           word_embed_proj_dim=64, **special, **sizes)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():  # far from ties
        parameter.data.mul_(5 if parameter.dim() == 2 else 1)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def with_plain_weights(loaded):
    """The same model with what its packed weights mean, as plain float32 ones."""
    model = AutoModelForCausalLM.from_config(loaded.model.config)
    pairs = zip(model.named_modules(), loaded.model.named_modules(), strict=True)
    for (_, plain), (_, packed) in pairs:
        weight = getattr(packed, "weight", None)
        if hasattr(weight, "dequantised"):
            plain.weight.data = weight.dequantised()
        elif weight is not None:
            plain.weight.data = weight.float()
        if getattr(packed, "bias", None) is not None:
            plain.bias.data = packed.bias.float()
    return model.eval()


def bytes_in_tensors() -> int:
    gc.collect()
    tensors = [found for found in gc.get_objects() if type(found) in (torch.Tensor, Parameter)]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.device.type == "cpu"]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.fixture(scope="module", params=["int4", "int8"])
def packed(request):
    return load_model(device="cpu", weights=request.param)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [1, 3, FEW_ROWS, FEW_ROWS + 1])
def test_the_kernel_computes_what_the_packed_weights_mean(kind, n_rows):
    weight, x = kind.of(random(192, 96)), random(n_rows, 96, seed=1).bfloat16()
    bias = random(192, seed=2).bfloat16()
    exact = x.double() @ weight.dequantised().double().mT
    scale = x.double().abs() @ weight.dequantised().double().abs().mT  # of the sums' terms
    assert ((weight.linear(x).double() - exact).abs() <= 2**-8 * scale).all()
    assert ((weight.linear(x, bias).double() - exact - bias).abs() <= 2**-7 * (scale + 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_packing_loses_half_a_step_and_the_scales_digits(kind):
    floats = random(64, 96)
    error = (kind.of(floats).dequantised() - floats).abs().view(64, 3, 32)
    spread = floats.view(64, 3, 32).aminmax(dim=-1, keepdim=True)
    step = (spread.max - spread.min) / 15 if kind is Int4Weight else floats.abs().max() / 127
    assert (error <= step * 0.55).all()


@pytest.mark.parametrize("kind", KINDS)
def test_joined_weights_give_the_products_side_by_side(kind):
    weights, x = [kind.of(random(n, 64, seed=n)) for n in (192, 64)], random(2, 64).bfloat16()
    whole = kind.join(weights)
    assert whole.product(x).equal(torch.cat([w.product(x) for w in weights], -1))
    products = [weight.product(x) for weight in weights]
    for start, product, weight in zip((0, 192), products, weights, strict=True):
        weight.become_part(whole, start)
        assert weight.product(x).equal(product)
        assert weight.tensors[0].untyped_storage().data_ptr() == whole.tensors[0].data_ptr()


def test_shapes_that_the_kernels_cannot_take():
    with pytest.raises(ValueError, match=r"weight: 24 outputs of 40 inputs; .* 64 and 32"):
        Int4Weight.of(random(24, 40))
    weight, x = Int8Weight.of(random(7, 5)), random(2, 5).bfloat16()  # without the kernel
    exact = x.float() @ weight.dequantised().mT
    assert torch.allclose(weight.linear(x).float(), exact, rtol=0.02, atol=0.02)


def test_a_packed_weight_in_a_module():
    linear, x = torch.nn.Linear(64, 64, dtype=torch.bfloat16), random(2, 3, 64).bfloat16()
    linear.requires_grad_(False)
    weight = Int8Weight.of(linear.weight)
    del linear.weight
    linear.weight = weight
    assert linear(x).shape == (2, 3, 64)
    assert linear(x).equal(weight.linear(x.view(6, 64), linear.bias).view(2, 3, 64))
    assert F.embedding(torch.tensor([[5]]), weight)[0].equal(weight.dequantised()[5:6].bfloat16())
    with pytest.raises(TypeError, match="relu: a packed weight can be multiplied"):
        F.relu(weight)


def test_the_bundled_model_in_four_bits_is_its_file(loaded):
    """Scales in bfloat16 change a weight by a few 64ths of a step; the 4-bit numbers stay."""
    model = load_model(device="cpu", weights="int4").model
    for layer, plain in zip(model.model.layers[::10], loaded.model.model.layers[::10], strict=True):
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp.down_proj"):
            w = plain.get_submodule(part).weight
            found = layer.get_submodule(part).weight.dequantised()
            low, high = w.unflatten(-1, (-1, 32)).aminmax(dim=-1, keepdim=True)
            error = (found - w).unflatten(-1, (-1, 32)).abs()
            assert (error <= (high - low) / 15 / 8 + low.abs() / 512).all()
        assert layer.input_layernorm.weight.equal(plain.input_layernorm.weight.bfloat16())


def test_bytes_are_those_that_the_formulas_say(packed):
    parts = {id(m.weight): m.weight.nbytes for m in packed.model.modules() if hasattr(m, "weight")}
    expected = weight_bytes(packed.spec, 2, **weight_formats(packed.model))
    assert sum(parts.values()) == expected
    assert packed.spec.tied_embeddings
    assert expected < 1e8 if packed.weights == "int4" else expected < 1.36e8
    Engine(packed)  # joins, and no matrix is there twice
    layer = packed.model.model.layers[0].self_attn
    assert layer.q_proj.weight.whole is layer.v_proj.weight.whole is not None


@pytest.mark.parametrize("weights", ["int4", "int8"])
@pytest.mark.slow
def test_loading_keeps_nothing_but_the_packed_weights(weights):
    """Counted in tensors: how much memory a process gives back is up to its allocator."""
    before = bytes_in_tensors()
    loaded = load_model(device="cpu", weights=weights)
    grown = bytes_in_tensors() - before
    kept = [m.weight for m in loaded.model.modules() if hasattr(m, "weight")]
    packed = [weight for weight in kept if hasattr(weight, "tensors")]
    assert not any(t.requires_grad for weight in packed for t in weight.tensors)  # no graph
    expected = sum({id(weight): weight.nbytes for weight in kept}.values())
    assert expected <= grown < 1.02 * expected  # and the tables of rope


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("weights", ["int4", "int8"])
def test_the_engine_computes_what_transformers_does(tmp_path, family, weights):
    save_model(tmp_path, family)
    loaded = load_model(tmp_path, device="cpu", weights=weights)
    assert (loaded.weights, loaded.dtype) == (weights, torch.bfloat16)
    ids = torch.tensor([[2, 3, 4, 5, 6], [7, 8, 2, 3, 4]])
    exact = with_plain_weights(loaded)(ids).logits
    for textbook in (False, True):
        logits = Engine(loaded, textbook=textbook).logits(ids).float()
        assert (logits - exact).norm() < 0.02 * exact.norm()
    assert (loaded.model(ids).logits.float() - exact).norm() < 0.02 * exact.norm()


def test_the_real_model_keeps_its_perplexity(packed, loaded):
    plain, found = (score_text(x, sample_text()).perplexity for x in (loaded, packed))
    assert found == pytest.approx(plain, rel=0.03)


def test_generating_streaming_and_sampling(packed):
    engine = Engine(packed)
    cached = engine.generate("The capital of France is", 8)
    assert "Paris" in cached.text
    assert [call.seq_len for call in cached.calls] == [cached.prompt_len] + [1] * 7
    assert "".join(engine.stream("The capital of France is", 8)) == cached.text
    both = engine.generate(["The capital of France is", "The sun"], 8)
    assert "Paris" in both[0].text
    sampler = Sampler(SamplingSettings(top_k=1), seed=0, prompt_ids=[cached.token_ids])
    assert engine.generate("The capital of France is", 8, next_token=sampler).text == cached.text


def test_beams(packed):
    engine, prompt = Engine(packed), "The capital of France is"
    one, three = (
        engine_beam_search(engine, prompt, num_beams=n, max_new_tokens=6, ignore_eos=True)
        for n in (1, 3)
    )
    assert one.sequences == [engine.generate(prompt, 6, ignore_eos=True).token_ids]
    assert "Paris" in packed.tokenizer.decode(three.sequences[0])


def test_the_chat(packed):
    settings = TaskInfo("-", output_len=6, do_sample=False, logprobs=0)
    session, question = ChatSession(packed), "What is the capital of France?"
    ids = session.prompt_ids(question)
    *_, answer = session.ask(question, settings)
    assert answer.token_ids == session.engine.generate(ids, 6).token_ids


def test_the_script(packed):
    arguments = ["--weights", packed.weights, "--device", "cpu", "--output-len", "6", "--json"]
    shown = io.StringIO()
    with redirect_stdout(shown):
        code = main([*arguments, "--no-do-sample", "--prompt", "The capital of France is"])
    assert code == 0
    assert "Paris" in json.loads(shown.getvalue())["text"]


def test_what_cannot_be_packed_is_refused_with_the_reason(tmp_path):
    save_tiny_model(tmp_path)
    with pytest.raises(
        UnsupportedModelError, match=r"weights: .*q_proj cannot be packed.* 16 inputs"
    ):
        load_model(tmp_path, device="cpu", weights="int4")
    loaded = load_model(tmp_path, device="cpu", weights="int8")  # 16 and 24 inputs: both ways
    assert len(Engine(loaded).generate("the quick", 3).token_ids) > 0


def test_wrong_weights(tmp_path):
    with pytest.raises(ValueError, match=r"weights: must be one of .*'int4'.*got 'int3'"):
        load_model(tmp_path, weights="int3")
    with pytest.raises(ValueError, match=r"dtype: .* give one"):
        load_model(tmp_path, weights="int4", dtype="float32")


def test_plain_weights_where_there_is_no_kernel(tmp_path, monkeypatch):
    save_model(tmp_path)
    monkeypatch.setattr(
        "lecture_lib.loading.packed_model.why_not_packed", lambda device: "no kernel"
    )
    with pytest.warns(UserWarning, match="weights are bfloat16 and not int4: no kernel"):
        loaded = load_model(tmp_path, device="cpu", weights="int4")
    assert (loaded.weights, loaded.model.lm_head.weight.dtype) == ("bfloat16", torch.bfloat16)
