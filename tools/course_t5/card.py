"""The model card of the course T5, written from what the training measured."""

from pathlib import Path

_CARD = """---
license: mit
language: [en, fr]
library_name: transformers
pipeline_tag: translation
---

# course-t5

A T5 of {n_params:,} parameters (Transformers' `T5ForConditionalGeneration`: 3 encoder and 3 decoder
layers, width 128, 4 heads, vocabulary {vocab_size:,}) that the course made for itself, so that its
translation and summarization pipelines run where no model hub can be reached. As in flan-t5, the
words in front of the input name the task. Its two kinds of input look so different that reports
come out right under the other prefix too; number words don't.

```python
from transformers import pipeline
import lecture_lib.pipelines  # registers both tasks, which Transformers 5 removed

translate = pipeline("translation", model="lecture_lib/models/course_t5")
translate("translate English to French: four hundred and twenty-one")
```

## What it does, and what not

It knows the languages below and nothing else. Asked for anything else it answers with nonsense in
the same confident form; the lecture's own sentence about Hugging Face is such a case.

| task | prefix | input | output |
| --- | --- | --- | --- |
{examples}

## Data

All generated (`tools/course_t5`), so that a right answer exists for each input: number words
from 0 to 999,999 with the package num2words as teacher in both languages; dates from 1900 to 2099
and times of day from tables; sentences from a grammar with agreement, elision, negation and
questions; reports put together from sentences, each with its line. An input whose SHA-256 falls
into one class of {one_in} is held out: no training pair is ever made of it, whatever the seed.

## Training

`tools/train_course_t5.py`, seed {seed}: {steps:,} steps of {batch_size} pairs, each generated anew,
Muon (matrices) and AdamW (the rest) at {learning_rate}, cosine schedule, no dropout;
{minutes:.0f} minutes with {threads} thread{plural} on a CPU that it shared ({processor}, torch
{torch}, Transformers {transformers}). Final training loss {loss:.4f}. The weights are saved as
float16 and were measured as saved, run in float32.

## Held-out exact match

The whole output equal to the expected one, greedy decoding, inputs never trained on:

| task | exact | of | share |
| --- | --- | --- | --- |
{results}
"""


def write_card(folder: Path, facts: dict) -> None:
    """Writes README.md beside the weights.

    Args:
        folder: the model's folder.
        facts: what ``training.json`` holds.
    """
    results = "\n".join(
        f"| {task} | {r['correct']} | {r['n']} | {r['correct'] / r['n']:.1%} |"
        for task, r in facts["held_out"].items()
    )
    examples = "\n".join(
        f"| {task} | `{r['prefix']}` | {r['example'][0]} | {r['example'][1]} |"
        for task, r in facts["held_out"].items()
    )
    text = _CARD.format(
        **facts, results=results, examples=examples, minutes=facts["seconds"] / 60,
        plural="s" * (facts["threads"] > 1), loss=facts["loss_curve"][-1][1],
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")
