"""The preview of push_to_hub against a real push to a Hub on the loopback interface."""

import inspect

import pytest
from forked import Forked
from forked_targets import push
from tiny_models import save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from upload_hub import UploadHub

from lecture_lib.hub_tools import parameter_table, preview_push

PUSHES = {
    "class/plain": {},
    "class/all": {
        "max_shard_size": "4KB", "private": True, "create_pr": True, "revision": "trial",
        "commit_message": "First try", "token": "hf_of_the_call",
    },
}  # fmt: skip
OF_THE_ENVIRONMENT = "hf_of_the_environment"


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """The folder of a model, and what a Hub got when it was pushed in each way of PUSHES."""
    folder = tmp_path_factory.mktemp("pushed")
    save_tiny_model(folder)
    with UploadHub() as hub:
        environment = {
            "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": OF_THE_ENVIRONMENT,
        }  # fmt: skip
        pushing = Forked(push, tmp_path_factory.mktemp("home"), **environment)
        pushing.ask(str(folder), PUSHES)
        pushing.stop()
    return folder, hub


@pytest.mark.parametrize("repo_id", PUSHES)
def test_the_preview_is_what_is_sent(pushed, repo_id):
    folder, hub = pushed
    arguments = PUSHES[repo_id]
    commits = [commit for commit in hub.commits if commit.repo_id == repo_id]
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Transformers saves this setting, too; the pushing process wasn't offline.
    tokenizer.init_kwargs["local_files_only"] = False
    sizes = {k: v for k, v in arguments.items() if k == "max_shard_size"}
    preview = preview_push(model, tokenizer, **sizes)
    sent = {}
    for commit in commits:
        sent |= commit.files
    assert set(preview["file"]) == set(sent)
    for row in preview.itertuples():
        stored, size = sent[row.file]
        assert row[3] == stored, row.file
        if row.file != "README.md":  # made from the repository's name when it is pushed
            assert row.bytes == size, row.file
    shards = [name for name in sent if name.endswith(".safetensors")]
    assert (len(shards) > 1) == ("max_shard_size" in arguments)
    # What the table says of each parameter.
    created = next(c for c in hub.created if f"{c['organization']}/{c['name']}" == repo_id)
    assert created.get("visibility") == ("private" if arguments else None)
    assert {commit.branch for commit in commits} == {arguments.get("revision", "main")}
    assert {commit.pull_request for commit in commits} == {bool(arguments)}
    title = arguments.get("commit_message", "Upload LlamaForCausalLM")
    assert commits[0].title == title
    assert {commit.token for commit in commits} == {arguments.get("token", OF_THE_ENVIRONMENT)}


def test_the_lectures_parameters_as_installed():
    installed = inspect.signature(PreTrainedModel.push_to_hub).parameters
    table = parameter_table().set_index("parameter")
    assert [name for name in table.index if name not in installed] == ["safe_serialization"]
    assert table.loc["max_shard_size", "default"] == installed["max_shard_size"].default
    assert table.loc["safe_serialization", "exists"] == "no"
    assert table.loc["repo_id", "default"] == "needed"


def test_a_preview_leaves_nothing_behind(tmp_path, monkeypatch):
    save_tiny_model(tmp_path / "model")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    preview_push(AutoModelForCausalLM.from_pretrained(tmp_path / "model"))
    assert not list((tmp_path / "temporary").iterdir())
