"""The lecture's fifteen tasks, and the model that the course runs for each: tasks.csv."""

import csv
from pathlib import Path
from typing import NamedTuple

import pandas as pd

TABLE = Path(__file__).with_name("tasks.csv")
BUNDLED = Path(__file__).parent.parent / "models"  # the models that the course trained


class Task(NamedTuple):
    """A row of tasks.csv, without its first column.

    Attributes:
        name: what pipeline() took for it when the lecture was given.
        runs_as: what it takes today.
        model: which model runs; a hyphen is an underscore in the name of its folder.
        origin, licence, megabytes: of that model.
        lectures: the lecture's own model on the Hub, "" if it named none.
    """

    name: str
    runs_as: str
    model: str
    origin: str
    licence: str
    megabytes: str
    lectures: str


def _read() -> dict[str, Task]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [Task(*row[1:]) for row in csv.reader(file)]
    return {task.name: task for task in rows[1:]}


TASKS = _read()


def task_table() -> pd.DataFrame:
    """The lecture's fifteen tasks with the model of each, its origin, licence and size."""
    table = pd.read_csv(TABLE, keep_default_na=False)
    return table.set_index(pd.RangeIndex(1, len(table) + 1))
