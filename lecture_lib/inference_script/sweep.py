"""A sweep: the same task with one setting at several values, as a table and a picture."""

import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lecture_lib.checks import checked
from lecture_lib.decoding.text_statistics import distinct_n, repeated_ngrams

from .prompt import changed
from .settings import TaskInfo


def run(sweep: str, table: str | None, task_info: TaskInfo, loaded, engine) -> int:
    """The command line's ``--sweep``: prints the table, writes it where asked."""
    name, _, values = sweep.partition("=")
    frame = sweep_setting(name, values.split(","), task_info, loaded, engine=engine)
    print(frame.to_string(index=False, max_colwidth=60))
    if table:
        from lecture_lib.figures import sweep_panels

        frame.to_csv(table, index=False)
        picture = Path(table).with_suffix(".png")
        picture.write_bytes(sweep_panels({name: frame}).png)
        print(f"wrote {table} and {picture}", file=sys.stderr)
    return 0


@checked
def sweep_setting(
    name: str, values: Iterable, task_info: TaskInfo, loaded, *, engine=None, progress: bool = True
) -> pd.DataFrame:
    """Run the task once for each value of one setting.

    Args:
        name: a setting of TaskInfo, such as "top_k", "output_len", "beam_width".
        values: its values, as numbers or as they are typed.
        progress: show a progress bar, on stderr.

    Returns:
        DataFrame, a row for each value and prompt: the setting, seconds, n_tokens, mean_log_prob
        (nats per token, by the model itself), distinct_2 (different pairs of tokens, as a share),
        repeated_4 (share of 4-grams that were there before), text.

    Raises:
        ValueError: an unknown setting, no values, or one out of range.
    """
    from .run import generate

    tasks = [(value, changed(task_info, f"{name}={value}")) for value in values]
    if not tasks:
        raise ValueError("values: needs at least one")
    rows = []
    bar = tqdm(tasks, desc=name, file=sys.stderr, leave=False, disable=not progress)
    for value, task in bar:
        started = time.perf_counter()
        answers = generate(replace(task, logprobs=max(task.logprobs, 1)), loaded, engine=engine)
        seconds = time.perf_counter() - started
        for answer in answers:
            ids = answer.token_ids
            log_probs = [p.log_prob for p in answer.logprobs]
            rows.append({
                name: value,
                "seconds": round(seconds, 3),
                "n_tokens": len(ids),
                "mean_log_prob": sum(log_probs) / len(log_probs) if log_probs else None,
                "distinct_2": distinct_n([ids], 2),
                "repeated_4": repeated_ngrams(ids, 4),
                "text": answer.text,
            })  # fmt: skip
    return pd.DataFrame(rows)
