"""A sweep: the same task with one setting at several values, as a table."""

import sys
import time
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from tqdm import tqdm

from lecture_lib.checks import checked
from lecture_lib.decoding.text_statistics import distinct_n, repeated_ngrams

from .prompt import changed
from .run import generate
from .settings import TaskInfo


def run(sweep: str, table: str | None, task_info: TaskInfo, loaded) -> int:
    """The command line's ``--sweep``: prints the table, writes it where asked."""
    name, _, values = sweep.partition("=")
    frame = sweep_setting(name, values.split(","), task_info, loaded)
    print(frame.to_string(index=False, max_colwidth=60))
    if table:
        frame.to_csv(table, index=False)
        print(f"wrote {table}", file=sys.stderr)
    return 0


@checked
def sweep_setting(name: str, values: Iterable, task_info: TaskInfo, loaded) -> pd.DataFrame:
    """Run the task once for each value of one setting.

    Args:
        name: a setting of TaskInfo, such as "top_k", "output_len", "beam_width".
        values: its values, as numbers or as they are typed.

    Returns:
        DataFrame, a row for each value and prompt: the setting, seconds, n_tokens, mean_log_prob
        (nats per token, by the model itself), distinct_2 (different pairs of tokens, as a share),
        repeated_4 (share of 4-grams that were there before), text.

    Raises:
        ValueError: an unknown setting, no values, or one out of range.
    """
    tasks = [(value, changed(task_info, f"{name}={value}")) for value in values]
    if not tasks:
        raise ValueError("values: needs at least one")
    rows = []
    for value, task in tqdm(tasks, desc=name, file=sys.stderr, leave=False):
        started = time.perf_counter()
        answers = generate(replace(task, logprobs=max(task.logprobs, 1)), loaded)
        seconds = time.perf_counter() - started
        for answer in answers:
            log_probs = [p.log_prob for p in answer.logprobs]
            rows.append({
                name: value,
                "seconds": round(seconds, 3),
                "n_tokens": len(log_probs),
                "mean_log_prob": sum(log_probs) / len(log_probs),
                "distinct_2": distinct_n([answer.token_ids], 2),
                "repeated_4": repeated_ngrams(answer.token_ids, 4),
                "text": answer.text,
            })  # fmt: skip
    return pd.DataFrame(rows)
