"""The real model, opened up: a forward pass that is ours, a KV cache, prefill and decode.

generate       Engine: prefill, decode, generate, stream
generation     Generation and Timings: what a run returns; ForwardCall: what a call saw
kv_cache       KVCache: keys and values of the past, preallocated
attention      who may look at whom, and the attention itself
llama, opt     the two forward passes, read from a loaded Transformers model
rope           rotary positions
linear         x W^T, for a single row by another kernel
weights        matrices that are used together, joined without a second copy
prompts        texts, lists and tensors to token ids, left padding; the checks of bad input
streaming      tokens to text, a piece at a time
cuda_graph     the decode step as one CUDA graph (GPU only)
"""

from .generate import Engine
from .generation import ForwardCall, Generation, Timings
from .kv_cache import KVCache

__all__ = ["Engine", "ForwardCall", "Generation", "KVCache", "Timings"]
