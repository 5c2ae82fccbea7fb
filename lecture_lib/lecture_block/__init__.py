"""The lecture's transformer block: its two tables as code, and a stack of blocks to generate with.

block     naive_block, prefill_block (part 3), decode_block (part 4), readable as the tables
weights   BlockWeights, and BlockFlags for what the slide leaves out
cache     KVCache as the slide has it, PreallocatedKVCache as engines have it
model     ToyTransformer: blocks and W_lm, naive and cached generation
"""

from .block import decode_block, naive_block, prefill_block
from .cache import KVCache, PreallocatedKVCache
from .model import ToyTransformer
from .weights import BlockWeights

__all__ = [
    "BlockWeights",
    "KVCache",
    "PreallocatedKVCache",
    "ToyTransformer",
    "decode_block",
    "naive_block",
    "prefill_block",
]
