"""Resident memory of loading and generating, each contender in a process of its own.

decode_speed.py calls this; ``python benchmarks/decode_memory.py engine bfloat16`` is one process.
"""

import json
import subprocess
import sys
import time

import torch
from results import PeakMemory

from lecture_lib.engine import Engine
from lecture_lib.loading import load_model

CONTENDERS = ("engine", "dynamic", "static")
BATCH_SIZE, PROMPT_LEN, NEW_TOKENS = 4, 512, 16
COLUMNS = ("contender", "dtype", "loaded_mb", "joining_mb", "generating_mb", "kv_cache_mb")


def memory_of(contender: str, dtype: str) -> list[float]:
    """MB: after loading, peak while the matrices are joined, peak while generating, KV cache."""
    loaded = load_model(device="cpu", dtype=dtype)
    model, spec = loaded.model, loaded.spec
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        model(torch.zeros(1, 1, dtype=torch.long))  # touches every weight
    with PeakMemory() as after_load:
        time.sleep(0.05)
    with PeakMemory() as joining:
        engine = Engine(loaded) if contender == "engine" else None
    prompts = torch.randint(3, spec.vocab_size, (BATCH_SIZE, PROMPT_LEN))
    with PeakMemory() as running:
        if engine is not None:
            engine.generate(prompts.tolist(), NEW_TOKENS, ignore_eos=True)
        else:
            mask = torch.ones_like(prompts)
            model.generate(
                prompts, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False,
                cache_implementation=contender,
            )  # fmt: skip
    kv_bytes = spec.kv_bytes_per_token(loaded.dtype.itemsize) * BATCH_SIZE
    kv_mb = kv_bytes * (PROMPT_LEN + NEW_TOKENS) / 1e6
    return [after_load.mb, joining.mb, running.mb, kv_mb]


def memory_rows(dtype: str, progress) -> list[dict]:
    """A row of COLUMNS for each contender."""
    rows = []
    for contender in CONTENDERS:
        command = [sys.executable, __file__, contender, dtype]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        values = (contender, dtype, *json.loads(out.splitlines()[-1]))
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        progress.update()
    return rows


if __name__ == "__main__":
    print(json.dumps(memory_of(*sys.argv[1:])))
