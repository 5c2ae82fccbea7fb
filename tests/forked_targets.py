"""What the forked processes of the tests do (tests/forked.py): data in, data out.

Each imports what it needs when it is called, so that importing this file imports nothing.
"""

import contextlib
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
