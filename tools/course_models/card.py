"""The model card of a small model, written from what the training and the scoring measured."""

from pathlib import Path

_CARD = """---
license: mit
library_name: transformers
pipeline_tag: {task}
---

# {name}

{about}

{n_params:,} parameters (Transformers' `{architecture}`), stored as float16 and run in float32.

```python
from transformers import pipeline

pipe = pipeline("{task}", model="lecture_lib/models/{name}")
```

## Data

{data}

## What it does not know

{limits}

## Training

`python tools/train_course_model.py {module}`, seed {seed}: {steps:,} steps of {batch_size} examples,
{optimizer} at {learning_rate}, cosine schedule; {minutes:.0f} minutes on one core of a CPU that it shared
({processor}, torch {torch}, Transformers {transformers}). Final training loss {loss:.4f}.

## Held-out score

`python tools/train_course_model.py {module} --evaluate` computes this again from the stored
weights, on data that no training step saw:

| measure | value | examples |
| --- | --- | --- |
{results}
"""  # noqa: E501


def write_card(folder: Path, facts: dict) -> None:
    """Writes README.md beside the weights.

    Args:
        folder: the model's folder.
        facts: what ``training.json`` holds.
    """
    rows = [f"| {s['measure']} | {s['value']:.3f} | {s['n']:,} |" for s in facts["scores"]]
    text = _CARD.format(
        **facts, results="\n".join(rows), minutes=facts["seconds"] / 60,
        loss=facts["loss_curve"][-1][1],
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")
