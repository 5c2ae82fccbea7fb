"""What lecture 08b says of push_to_hub, against a real push to a Hub on the loopback interface."""

import pytest
from forked import Forked
from forked_targets import push
from tiny_models import save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from upload_hub import UploadHub

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
def test_what_is_sent_is_what_is_saved_and_a_model_card(pushed, repo_id, tmp_path):
    folder, hub = pushed
    arguments = PUSHES[repo_id]
    commits = [commit for commit in hub.commits if commit.repo_id == repo_id]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Transformers saves this setting, too; the pushing process wasn't offline.
    tokenizer.init_kwargs["local_files_only"] = False
    sizes = {k: v for k, v in arguments.items() if k == "max_shard_size"}
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path, **sizes)
    tokenizer.save_pretrained(tmp_path)
    sent = {}
    for commit in commits:
        sent |= commit.files
    saved = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert {name: size for name, (_, size) in sent.items() if name != "README.md"} == saved
    shards = {name for name in sent if name.endswith(".safetensors")}
    assert {name for name, (stored, _) in sent.items() if stored != "git"} == shards
    assert (len(shards) > 1) == ("max_shard_size" in arguments)
    # What the table says of each parameter.
    created = next(c for c in hub.created if f"{c['organization']}/{c['name']}" == repo_id)
    assert created.get("visibility") == ("private" if arguments else None)
    assert {commit.branch for commit in commits} == {arguments.get("revision", "main")}
    assert {commit.pull_request for commit in commits} == {bool(arguments)}
    title = arguments.get("commit_message", "Upload LlamaForCausalLM")
    assert commits[0].title == title
    assert {commit.token for commit in commits} == {arguments.get("token", OF_THE_ENVIRONMENT)}
