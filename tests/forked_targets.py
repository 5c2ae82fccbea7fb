"""What the forked processes of the tests do (tests/forked.py): data in, data out.

Each imports what it needs when it is called, so that importing this file imports nothing.
"""

import contextlib
import importlib
import io


def wait_at_most(deadline_s: float) -> None:
    """A Hub that stays silent is given up after so many seconds."""
    from lecture_lib.loading import hub

    hub.REQUEST_TIMEOUT_S = hub.DEADLINE_S = deadline_s


def load_and_look(name: str, deadline_s: float = 5.0) -> dict:
    """load_model's logits after "the quick", or the error."""
    from lecture_lib.loading import load_model

    wait_at_most(deadline_s)
    try:
        loaded = load_model(name, device="cpu")
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}
    logits = loaded.model(**loaded.tokenizer("the quick", return_tensors="pt")).logits
    return {
        "logits": logits[0, -1].tolist(),
        "source": loaded.source,
        "origin": loaded.model.config._name_or_path,
    }


def load_pipeline_and_run(
    task: str, text, model: str | None = None, deadline_s: float = 5.0, **options
) -> dict:
    """What load_pipeline printed, what runs, and what that answers; or the error."""
    from lecture_lib.pipelines import load_pipeline

    wait_at_most(deadline_s)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            pipe = load_pipeline(task, model, device="cpu")
        said = {
            "answer": pipe(text, **options),
            "runs": type(pipe.model).__name__,
            "pipeline": type(pipe).__name__,
        }
    except Exception as error:
        said = {"error": type(error).__name__, "message": str(error)}
    return said | {"printed": printed.getvalue()}


def push(folder: str, pushes: dict[str, dict]) -> None:
    """Push model and tokenizer of the folder to each repository with its arguments."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for repo_id, arguments in pushes.items():
        model.push_to_hub(repo_id, **arguments)
        tokenizer.push_to_hub(repo_id, **arguments)


def installed_task(identifier: str) -> dict:
    """What the installed Transformers says of an identifier.

    Reads the registry as it is: where ``lecture_lib.pipelines`` was imported, the course's own
    pipelines stand in it too.

    Raises:
        ValueError: an identifier that it doesn't know, and didn't remove either.
    """
    from transformers import pipelines

    gone = {"pipeline_class": "", "model_classes": [], "default_model": ""}
    if identifier in pipelines.REMOVED_TASKS:
        return gone | {"instead": pipelines.REMOVED_TASKS[identifier]}
    try:
        renamed = pipelines._resolve_deprecated_task(identifier)
        _, entry, _ = pipelines.PIPELINE_REGISTRY.check_task(renamed)
    except KeyError:
        raise ValueError(f"identifier: the installed Transformers has no {identifier!r}") from None
    if renamed != identifier:
        return gone | {"instead": renamed}
    path = entry["impl"]
    if isinstance(path, str):
        module, _, name = path.rpartition(".")
        path = getattr(importlib.import_module(module), name)
    return {
        "pipeline_class": path.__name__,
        "model_classes": [model_class.__name__ for model_class in entry["pt"]],
        "default_model": entry["default"]["model"][0],
        "instead": "",
    }


def installed_tasks() -> tuple[list[dict], dict[str, str]]:
    """What Transformers says of the lecture's tasks, and how it refuses those that are gone."""
    from transformers import pipelines

    from lecture_lib.hub_tools import task_table

    identifiers = [name.strip("()") for name in task_table()["pipeline(...)"]]
    found = [installed_task(identifier) for identifier in identifiers]
    refusals = {}
    for identifier in identifiers:
        if identifier in pipelines.REMOVED_TASKS:
            try:
                pipelines.pipeline(identifier, model="no-such-model")
            except Exception as error:
                refusals[identifier] = type(error).__name__
    return found, refusals


def register_the_removed_tasks(folder: str) -> tuple[list[bool], list[str]]:
    """Whether the tasks are refused as removed, and what they are when the package is imported."""
    from transformers import pipeline

    tasks, refused = ("translation", "summarization"), []
    for task in tasks:
        try:
            pipeline(task, model=folder)
        except KeyError as error:
            refused.append("removed" in str(error))
    import lecture_lib.pipelines as again

    again.register_pipelines()
    return refused, [type(pipeline(task, model=folder)).__name__ for task in tasks]
