"""Models whose weights stay packed: 4 or 8 bits per weight, for ``load_model(weights=...)``."""

import torch
from torch import nn

from ..engine.packed import GROUP_SIZE, ROWS_TOGETHER, Int4Weight, Int8Weight
from ..quantisation import read_q4_1, read_q8_0
from .errors import UnsupportedModelError

# What the GGUF file calls the parts of a Llama block.
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def why_not_packed(device: torch.device) -> str:
    """Why this machine cannot multiply by packed weights; an empty text where it can."""
    if device.type != "cpu":
        return f"the kernels that the engine uses for packed weights run on a CPU, not on {device}"
    try:
        for kind in (Int4Weight, Int8Weight):
            weight = kind.of(torch.ones(ROWS_TOGETHER, GROUP_SIZE))
            weight.product(torch.ones(1, GROUP_SIZE, dtype=weight.dtype))
    except (RuntimeError, AttributeError) as error:
        return f"this PyTorch has no kernel for packed weights here ({error})"
    return ""


def pack_model(model: nn.Module, weights: str) -> None:
    """Replace the matrices of a loaded model, in place: those of the layers by ``weights`` ("int4"
    or "int8"), embeddings and lm_head by 8 bits per weight; the rest becomes bfloat16.

    Each plain matrix is given up before the next is packed. Where the file is mapped into memory
    the model takes little more of it than the packed weights.

    Raises:
        UnsupportedModelError: a matrix that the kernel cannot take.
    """
    tables = {model.get_input_embeddings(), model.get_output_embeddings()}
    packed = {}  # those of tables: a tied one is packed once
    for name, module in model.named_modules():
        in_layer = isinstance(module, nn.Linear) and ".layers." in name
        if not in_layer and module not in tables:
            continue
        kind = Int4Weight if weights == "int4" and module not in tables else Int8Weight
        plain = module.weight
        try:
            weight = packed[plain] if plain in packed else kind.of(plain.detach())
        except ValueError as error:
            raise UnsupportedModelError(f"weights: {name} cannot be packed. {error}") from None
        packed |= {plain: weight} if module in tables else {}
        put(module, weight)
    for parameter in model.parameters():  # norms and biases
        parameter.data = parameter.data.bfloat16()
    model.config.dtype = torch.bfloat16


def put(module: nn.Module, weight) -> None:
    """Give a module a packed weight in place of its parameter."""
    del module.weight
    module.weight = weight


def read_bundled(gguf, folder, config):
    """The bundled model over its file's own 4-bit blocks; no plain copy of them is ever made.

    The blocks are 5 bits per weight, as Int4Weight has them: scale and minimum lose three of
    float16's eleven digits in bfloat16, the 4-bit numbers stay. The embeddings have 8 bits in
    blocks of 32 there, and get one scale for each token here.
    """
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, GenerationConfig

    with torch.device("meta"):  # the modules without memory for weights
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    base = model.model
    base.rotary_emb = type(base.rotary_emb)(config)
    model.generation_config = GenerationConfig.from_pretrained(folder)
    tensors = {t.name: t.data for t in GGUFReader(gguf).tensors}  # in the file as yet
    q, scale = read_q8_0(torch.tensor(tensors["token_embd.weight"]))
    table = Int8Weight.of((q * scale.float()).flatten(1))
    put(base.embed_tokens, table)
    put(model.lm_head, table)
    _put_norm(base.norm, torch.tensor(tensors["output_norm.weight"]))
    for i, layer in enumerate(base.layers):
        for name, gguf_name in GGUF_NAMES.items():
            tensor = torch.tensor(tensors[f"blk.{i}.{gguf_name}.weight"])
            module = layer.get_submodule(name)
            if not isinstance(module, nn.Linear):
                _put_norm(module, tensor)
                continue
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
            blocks = halves_of_heads(tensor, heads.get(gguf_name))
            put(module, Int4Weight.pack(*read_q4_1(blocks)))
    return model


def _put_norm(module: nn.Module, weight: torch.Tensor) -> None:
    module.weight = nn.Parameter(weight.bfloat16())


def halves_of_heads(rows: torch.Tensor, n_heads: int | None) -> torch.Tensor:
    """The rows of W^Q or W^K as Transformers orders them: RoPE turns rows i and i + H / 2 of a head
    together, which are neighbours in a GGUF file. Other matrices (None) stay as they are."""
    if n_heads is None:
        return rows
    pairs = rows.view(n_heads, -1, 2, rows.shape[-1])  # (n_heads, H / 2, 2, bytes)
    return pairs.transpose(1, 2).reshape(rows.shape)
