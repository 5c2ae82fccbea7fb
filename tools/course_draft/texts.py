"""The teacher writes the texts that its pupil learns from, and notes what it thought."""

from itertools import islice

import torch
import torch.nn.functional as F

from lecture_lib.engine import Engine
from lecture_lib.scoring import chat_ids

from .prompts import prompts

TEMPERATURE = 0.7
BATCH_SIZE, N_HELD, N_NEW = 256, 64, 160  # texts of a batch, held out, new tokens at most


def encode(tokenizer, text: str, is_chat: bool) -> list[int]:
    """A prompt's token ids."""
    if is_chat:
        return chat_ids(tokenizer, [{"role": "user", "content": text}])
    return tokenizer(text).input_ids


@torch.no_grad()
def write_texts(engine: Engine, prompt_ids: list[list[int]], n_new: int, n_greedy: int) -> list:
    """Continue prompts, the first ``n_greedy`` greedily and the others by sampling.

    Returns a dict for each: "ids", prompt and continuation (L,); "start", where the continuation
    begins; "hidden", the teacher's last embedding behind its final norm that each token of the
    continuation was chosen by, (L - start, D) in bfloat16.
    """
    n_rows, longest = len(prompt_ids), max(map(len, prompt_ids))
    padded = [[0] * (longest - len(ids)) + ids for ids in prompt_ids]
    padding = torch.tensor([longest - len(ids) for ids in prompt_ids])
    cache, model = engine.new_cache(n_rows, longest + n_new), engine.model
    cache.padding = padding
    input_ids, tokens, hiddens = torch.tensor(padded), [], []
    ended = torch.zeros(n_rows, dtype=torch.bool)
    while len(tokens) < n_new and ended.float().mean() < 0.8:
        hidden = model.hidden(input_ids, cache.pattern(input_ids.shape[1]), cache)[:, -1]  # (B, D)
        cache.advance(input_ids.shape[1])
        logits = model.logits(hidden)  # (B, V)
        chosen = logits.argmax(-1)
        drawn = torch.multinomial((logits[n_greedy:] / TEMPERATURE).softmax(-1), 1)[:, 0]
        chosen[n_greedy:] = drawn
        tokens.append(chosen)
        hiddens.append(model.final_norm(hidden).bfloat16())
        ended |= chosen == engine.tokenizer.eos_token_id
        input_ids = chosen[:, None]
    rows, hidden = torch.stack(tokens, 1), torch.stack(hiddens, 1)  # (B, new), (B, new, D)
    texts = []
    for ids, row, states in zip(prompt_ids, rows, hidden, strict=True):
        ends = (row == engine.tokenizer.eos_token_id).nonzero()
        n = int(ends[0]) + 1 if len(ends) else len(row)
        joined = F.pad(row[:n], (len(ids), 0))
        joined[: len(ids)] = torch.tensor(ids)
        texts.append({"ids": joined, "start": len(ids), "hidden": states[:n].clone()})
    return texts


def batch_of_texts(engine: Engine, seed: int, number: int, held_out: bool = False) -> list[dict]:
    """One batch of texts; two in three are greedy, and all of them where held out. Each batch has
    its own random numbers, so that they can be written in any order and by several processes."""
    torch.manual_seed(1_000 * seed + number)
    source, n_rows = prompts(f"{seed} {number}", held_out), N_HELD if held_out else BATCH_SIZE
    rows = [encode(engine.tokenizer, *prompt) for prompt in islice(source, n_rows)]
    n_greedy = n_rows if held_out else 2 * n_rows // 3
    return write_texts(engine, rows, N_NEW, n_greedy)
