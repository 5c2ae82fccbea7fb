"""The model card of the draft model, written from what the training and the scoring measured."""

from pathlib import Path

_CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
language: [en]
library_name: transformers
---

# course_draft

A draft model for speculative decoding with SmolLM2-135M-Instruct, the model that the course comes
with: two layers and a lens, {n_params:,} parameters, stored in bfloat16 ({megabytes:.1f} MB). The
token embeddings E are those of the large model and are not in the file, so it is of no use alone.
Behind the two layers and a norm, the lens (a matrix of D × D) maps an embedding to what all thirty
layers would make of it, and E turns that into logits: its LM head is E times the lens transposed.

```python
from lecture_lib.engine import Engine, ModelDrafter
from lecture_lib.loading import load_draft_model, load_model

loaded = load_model()
drafter = ModelDrafter(Engine(load_draft_model(loaded)), k=4)
Engine(loaded).generate("Once upon a time", 64, speculate=drafter)
```

## What it learned from

{n_texts:,} texts with {n_tokens:,} tokens that the large model wrote itself, two in three greedily
and the others at temperature {temperature}: answers to questions, stories, lists and code
(`tools/course_draft/prompts.py`). No text of anybody else is among them. It begins as the first
two layers of the large model and the lens that fits best to {n_fitted} texts, by least squares. It
first learns the large model's last embedding (mean squared error), and then its distribution over
the next token (Kullback-Leibler divergence) and its likeliest one, over the tokens of the batch and
{n_others:,} others, drawn anew for each batch.{went_on}

`python tools/train_course_draft.py`, seed {seed}: {steps:,} steps of {batch_size} texts, AdamW
at {learning_rate}, cosine schedule; {minutes:.0f} minutes of training on a CPU that it shared
({processor}, threads: {threads}, torch {torch}, Transformers {transformers}).

## Held-out acceptance

`python tools/train_course_draft.py --evaluate` computes this again from the stored weights, on
greedy answers to {n_held} prompts about topics that no training text is about. Acceptance is how
often the draft's likeliest token is the large model's, after the large model's own text.

| drafter | acceptance | expected tokens per pass, k = 4 |
| --- | --- | --- |
{results}

## What was tried, and what is missing

The model's own first layers, with its final norm and LM head (the "logit lens"), hardly ever agree
with all of its layers: the table's last rows. A lens fitted by least squares, without any training,
brings two layers to an acceptance of about 0.24. The first and the last layer without a lens began
at 0. The loss still fell when the training ended: more texts and more steps give more. And a draft
costs more than two layers of thirty suggest, because the LM head is a fifth of the model's weights.
"""


def write_card(folder: Path, facts: dict) -> None:
    """Writes README.md beside the weights.

    Args:
        folder: the model's folder.
        facts: what ``training.json`` holds.
    """
    rows = [
        f"| {name} | {a:.3f} | {(1 - a**5) / (1 - a):.2f} |"
        for name, a in facts["acceptance"].items()
    ]
    went_on = ""
    if first := facts.get("first"):  # the training.json of the weights that it went on from
        went_on = (
            f" This was done twice: at first with {first['n_texts']:,} texts, {first['steps']:,} "
            f"steps and an acceptance of {first['acceptance']['this draft model']:.3f} then."
        )
    text = _CARD.format(
        **facts, went_on=went_on, minutes=facts["seconds"] / 60, results="\n".join(rows)
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
