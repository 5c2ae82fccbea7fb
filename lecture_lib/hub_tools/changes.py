"""What changed in Transformers since the lecture's 4.39.

Source of changes.csv: Transformers' MIGRATION_GUIDE_V5.md and its release notes. A test asks the
installed version whether what a row says of today is true.
"""

from pathlib import Path

import pandas as pd


def written_table(name: str) -> pd.DataFrame:
    """A table that is written down in a file beside this one; its rows are numbered from 1."""
    table = pd.read_csv(Path(__file__).with_name(f"{name}.csv"), keep_default_na=False)
    return table.set_index(pd.RangeIndex(1, len(table) + 1))


def changes_table() -> pd.DataFrame:
    """What changed since the lecture, one topic per row: topic, in 4.39, today."""
    return written_table("changes")
