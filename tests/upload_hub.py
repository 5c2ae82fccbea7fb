"""A Hub on the loopback interface that takes uploads: as much as push_to_hub asks of one.

It keeps what it is sent, so that a test can compare it with what a preview said. Which files go to
large-file storage is decided as the real one does, by .gitattributes' endings and by size.

    with UploadHub() as hub:
        ...  # a process with HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET=1 and any HF_TOKEN
"""

import base64
import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_server import LoopbackServer, QuietHandler

# From the .gitattributes with which the Hub starts a model repository.
LARGE = re.compile(r".*\.(safetensors|bin|model|msgpack|h5|onnx|pt|pth)$")
LARGE_BYTES = 10 * 1024**2


@dataclass
class Commit:
    """One commit: title, branch, whether it opens a pull request, token, file -> (how, bytes)."""

    repo_id: str
    branch: str
    title: str
    pull_request: bool
    token: str
    files: dict[str, tuple[str, int]]


@dataclass
class UploadHub(LoopbackServer):
    """The server; a context manager.

    Attributes:
        created: the repositories it was asked to make: what was asked.
        branches: (repository, branch) that it was asked to make.
        commits: what was pushed, in order.
    """

    created: list[dict] = field(default_factory=list)
    branches: list[tuple[str, str]] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    stored: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(_Handler)


class _Handler(QuietHandler):
    def do_HEAD(self) -> None:
        self._refuse()

    def do_GET(self) -> None:
        self._refuse()  # a new repository holds nothing

    def do_PUT(self) -> None:
        self.server.hub.stored[urlsplit(self.path).path.split("/")[-1]] = len(self._body())
        self._answer({})

    def do_POST(self) -> None:
        hub, url = self.server.hub, urlsplit(self.path)
        body, path = self._body(), unquote(url.path)
        if path == "/api/repos/create":
            asked = json.loads(body)
            hub.created.append(asked)
            repo_id = f"{asked['organization']}/{asked['name']}"
            return self._answer({"url": f"{hub.url}/{repo_id}", "id": repo_id})
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return self._answer(self._batch(json.loads(body)))
        if match := re.fullmatch(r"/api/models/(.+)/preupload/[^/]+", path):
            return self._answer({"files": [_mode(file) for file in json.loads(body)["files"]]})
        if match := re.fullmatch(r"/api/models/(.+)/branch/([^/]+)", path):
            hub.branches.append(match.groups())
            return self._answer({})
        if match := re.fullmatch(r"/api/models/(.+)/commit/([^/]+)", path):
            return self._commit(*match.groups(), "create_pr" in parse_qs(url.query), body)
        return self._refuse()

    def _batch(self, asked: dict) -> dict:
        upload = f"{self.server.hub.url}/upload/"
        objects = [
            {
                "oid": item["oid"], "size": item["size"],
                "actions": {"upload": {"href": upload + item["oid"], "header": {}}},
            }
            for item in asked["objects"]
        ]  # fmt: skip
        return {"transfer": "basic", "objects": objects}

    def _commit(self, repo_id: str, branch: str, pull_request: bool, body: bytes) -> None:
        hub, title, files = self.server.hub, "", {}
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = ("git", len(base64.b64decode(value["content"])))
            elif item["key"] == "lfsFile":
                files[value["path"]] = ("large-file storage", hub.stored[value["oid"]])
        hub.commits.append(Commit(repo_id, branch, title, pull_request, token, files))
        answer = {"commitUrl": f"{hub.url}/{repo_id}/commit/0123", "commitOid": "0123"}
        self._answer(answer | {"pullRequestUrl": f"{hub.url}/{repo_id}/discussions/1"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _refuse(self) -> None:
        self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})

    def _answer(self, content: dict, status: int = 200, headers: dict | None = None) -> None:
        headers = {**(headers or {}), "Content-Type": "application/json"}
        self.send(status, json.dumps(content).encode(), headers)


def _mode(file: dict) -> dict:
    large = LARGE.match(file["path"]) or file["size"] > LARGE_BYTES
    return {
        "path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False
    }  # fmt: skip
