"""The teacher writes the texts that its pupil learns from, and notes what it thought."""

from itertools import islice

import torch
import torch.nn.functional as F

from lecture_lib.engine import Engine
from lecture_lib.scoring import chat_ids

from .prompts import prompts

TEMPERATURE = 0.7


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


def batches_of_texts(engine: Engine, seed: int, held_out: bool, batch_size: int, n_new: int):
    """Endless batches of texts; of each, two in three are greedy (all, where held out)."""
    torch.manual_seed(seed)
    source = prompts(seed, held_out)
    while True:
        rows = [encode(engine.tokenizer, *prompt) for prompt in islice(source, batch_size)]
        n_greedy = batch_size if held_out else 2 * batch_size // 3
        yield write_texts(engine, rows, n_new, n_greedy)
