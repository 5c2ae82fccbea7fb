"""A small Hugging Face Hub on the loopback interface, as much of it as huggingface_hub asks.

It answers what the real one does for reading models: the description of a repository, the list of
its files, and the files (large ones by a redirect, with the headers that the client's cache goes
by), and refuses as it does: a repository that is not there or can't be seen (401), a gated one, a
bad token, trouble of its own.

    with LocalHub() as hub:
        hub.add_repo("course/tiny", folder)
        ...  # a process whose environment has HF_ENDPOINT=hub.url

huggingface_hub reads HF_ENDPOINT when it is imported, so it needs a process of its own.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopback_server import LoopbackServer, QuietHandler

LARGE_SUFFIXES = (".safetensors", ".bin")


@dataclass
class HubFile:
    """A file of a repository: git's id of it, and for a large one the id of its contents."""

    content: bytes
    large: bool

    @property
    def git_id(self) -> str:
        header = f"blob {len(self.content)}\0".encode()
        return hashlib.sha1(header + self.content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_id


@dataclass
class HubRepo:
    """A repository with one branch, main, and one commit: what its files are now."""

    repo_id: str
    files: dict[str, HubFile] = field(default_factory=dict)
    gated: bool = False

    @property
    def commit(self) -> str:
        ids = "".join(f"{name}{file.git_id}" for name, file in sorted(self.files.items()))
        return hashlib.sha1(ids.encode()).hexdigest()

    def add(self, name: str, content: bytes) -> None:
        self.files[name] = HubFile(content, large=name.endswith(LARGE_SUFFIXES))


class LocalHub(LoopbackServer):
    """The server; a context manager. What it was asked stands in ``requests``.

    Attributes:
        url: for HF_ENDPOINT.
        storage_url: where large files are redirected to.
        repos: by name.
        tokens: those that are valid and may read gated repositories.
        requests: (method, path) of each request, in order.
        trouble: a status such as 503 to answer everything with, or None.
    """

    def __init__(self) -> None:
        self.repos: dict[str, HubRepo] = {}
        self.tokens: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.trouble: int | None = None
        super().__init__(_Handler)
        # Another origin, as the real one's storage is: the client must not follow it to the file
        # when it only asks for its description.
        self.storage_url = f"http://localhost:{self.port}/storage"

    def add_repo(self, repo_id: str, folder: Path | None = None, *, gated: bool = False) -> HubRepo:
        """A repository with the files of the folder."""
        repo = self.repos[repo_id] = HubRepo(repo_id, gated=gated)
        for path in sorted(Path(folder).rglob("*")) if folder else []:
            if path.is_file():
                repo.add(path.relative_to(folder).as_posix(), path.read_bytes())
        return repo


class _Handler(QuietHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path))
        if hub.trouble is not None:
            return self._refuse(hub.trouble, None, "The Hub is in trouble")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in hub.tokens:
            return self._refuse(401, None, "Invalid credentials in Authorization header")
        for pattern, answer in _ROUTES:
            if match := re.fullmatch(pattern, path):
                repo = hub.repos.get(match["repo"])
                if repo is None:
                    # So the real one answers those it doesn't know: private or not there.
                    return self._refuse(401, "RepoNotFound", "Repository not found")
                return answer(
                    self, repo, **{k: v for k, v in match.groupdict().items() if k != "repo"}
                )
        return self._refuse(404, None, "No such page")

    def _info(self, repo: HubRepo, rev: str | None) -> None:
        if rev not in (None, "main", repo.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        self._send_json({
            "id": repo.repo_id,
            "modelId": repo.repo_id,
            "sha": repo.commit,
            "private": False,
            "gated": "auto" if repo.gated else False,
            "tags": [],
            "siblings": [
                {"rfilename": name, "size": len(file.content), "blobId": file.git_id}
                for name, file in repo.files.items()
            ],
        })  # fmt: skip

    def _tree(self, repo: HubRepo, rev: str) -> None:
        if rev not in ("main", repo.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        entries = []
        for name, file in repo.files.items():
            entry = {"type": "file", "path": name, "size": len(file.content), "oid": file.git_id}
            if file.large:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 130}
            entries.append(entry)
        self._send_json(entries)

    def _resolve(self, repo: HubRepo, rev: str, name: str) -> None:
        if repo.gated and not self.headers.get("Authorization"):
            return self._refuse(401, "GatedRepo", f"Access to model {repo.repo_id} is restricted")
        if rev not in ("main", repo.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        file = repo.files.get(name)
        if file is None:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{file.etag}"'}
        if not file.large:
            return self.send(200, file.content, headers)
        headers |= {
            "X-Linked-Size": str(len(file.content)),
            "X-Linked-ETag": f'"{file.sha256}"',
            "Location": f"{self.server.hub.storage_url}/{repo.repo_id}/{file.sha256}",
        }
        self.send(302, b"", headers)

    def _storage(self, repo: HubRepo, sha256: str) -> None:
        contents = [file.content for file in repo.files.values() if file.sha256 == sha256]
        if not contents:
            return self._refuse(404, None, "No such object")
        self.send(200, contents[0], {"ETag": f'"{sha256}"'})

    def _refuse(self, status: int, code: str | None, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.send(status, json.dumps({"error": message}).encode(), headers)

    def _send_json(self, content: object) -> None:
        self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


_REPO = r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)"
_ROUTES = [
    (rf"/api/models/{_REPO}(?:/revision/(?P<rev>[^/]+))?", _Handler._info),
    (rf"/api/models/{_REPO}/tree/(?P<rev>[^/]+)/?", _Handler._tree),
    (rf"/{_REPO}/resolve/(?P<rev>[^/]+)/(?P<name>.+)", _Handler._resolve),
    (rf"/storage/{_REPO}/(?P<sha256>[0-9a-f]+)", _Handler._storage),
]
