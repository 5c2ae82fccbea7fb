"""The real model, opened up: our own forward pass with a KV cache, prefill and decode.

generate       Engine: prefill, decode, generate, stream
run            Run: one call of generate, and the loops that give its tokens
speculation    cheap drafts, several tokens verified in one pass: lookup, smaller models
model          the Llama family's forward pass, as a textbook writes it
opt            the same for OPT, the lecture's own family
kernels        the faster version of every part, and which one runs where
kv_cache       KVCache: keys and values of the past, preallocated; Pattern: what a query may see
streaming      tokens to text, a piece at a time
generation     Generation and Timings: what a run returns; ForwardCall, Pass: what a pass saw
architecture   which models the engine runs, and for which lengths
weights        matrices that are used together, joined without a second copy; RoPE's frequencies
inspect        queries, keys and scores of one layer, to look at
cuda_graph     the decode step as one CUDA graph (GPU only)
"""

from .generate import Engine
from .generation import ForwardCall, Generation, Timings
from .kv_cache import KVCache
from .speculation import Lookup, ModelDrafter, first_layers

__all__ = [
    "Engine", "ForwardCall", "Generation", "KVCache", "Lookup", "ModelDrafter", "Timings",
    "first_layers",
]  # fmt: skip
