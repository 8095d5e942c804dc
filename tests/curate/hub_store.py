"""A hub on loopback that can be written to, as far as the real client writes: repositories, LFS objects, commits."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import unquote

from tests.servers import _Handler, _Server

COMMIT = "c0ffee" * 6 + "beef"


class HubStore(_Server):
    """Dataset repositories in memory.

    Args:
        token: The one token that may write.
        fail_puts: So many uploads after the first are refused.
    """

    def __init__(self, token: str = "good", fail_puts: int = 0) -> None:
        super().__init__(_StoreHandler)
        self.token, self.fail_puts = token, fail_puts
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.endpoint = f"http://127.0.0.1:{self.port}"


class _StoreHandler(_Handler):
    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def json(self, value: object, status: int = 200) -> None:
        self.reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def answer(self, parts) -> None:
        path = unquote(parts.path)
        body = self.body()
        if self.command == "PUT":
            return self.put(path.rpartition("/")[2], body)
        if self.headers.get("Authorization") != f"Bearer {self.owner.token}":
            return self.json({"error": "Invalid credentials"}, 401)
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            return self.batch(json.loads(body))
        if path == "/lfs-verify":
            told = json.loads(body)
            known = self.owner.objects.get(told["oid"])
            return self.json({}, 200 if known is not None and len(known) == told["size"] else 400)
        return self.repository(path.removeprefix("/api/datasets/").split("/"), body)

    def repository(self, words: list[str], body: bytes) -> None:
        name, verb = "/".join(words[:2]), words[2] if len(words) > 2 else ""
        repo = self.owner.repos.get(name)
        if repo is None:
            return self.reply(404, {"X-Error-Code": "RepoNotFound"})
        if verb == "preupload":
            paths = [entry["path"] for entry in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith((".tar", ".parquet")) else "regular" for path in paths}
            files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
            return self.json({"files": files})
        if verb == "commit":
            return self.commit(name, repo, body)
        siblings = [{"rfilename": path} for path in sorted(repo)]
        if verb == "tree":
            entries = [{"type": "file", "path": p, "size": len(d), "oid": "0" * 40} for p, d in sorted(repo.items())]
            return self.json(entries)
        return self.json({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})

    def create(self, told: dict) -> None:
        name = f"{told['organization']}/{told['name']}" if told.get("organization") else told["name"]
        known = name in self.owner.repos
        if not known:
            self.owner.repos[name] = {}
            if told.get("private") or told.get("visibility") == "private":
                self.owner.private.add(name)
        self.json({"url": f"{self.owner.endpoint}/datasets/{name}", "id": name}, 409 if known else 200)

    def batch(self, told: dict) -> None:
        objects = []
        for item in told["objects"]:
            entry: dict[str, object] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.owner.objects:
                entry["actions"] = {
                    "upload": {"href": f"{self.owner.endpoint}/lfs/{item['oid']}"},
                    "verify": {"href": f"{self.owner.endpoint}/lfs-verify"},
                }
            objects.append(entry)
        self.json({"transfer": "basic", "objects": objects})

    def put(self, oid: str, body: bytes) -> None:
        if self.owner.fail_puts and self.owner.objects:  # the first one arrives
            self.owner.fail_puts -= 1
            return self.json({"error": "broken off"}, 400)
        if hashlib.sha256(body).hexdigest() != oid:
            return self.json({"error": "another digest"}, 400)
        self.owner.objects[oid] = body
        return self.reply(200, {})

    def commit(self, name: str, repo: dict[str, bytes], body: bytes) -> None:
        summary = ""
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                summary = value["summary"]
            elif item["key"] == "file":
                repo[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                repo[value["path"]] = self.owner.objects[value["oid"]]
            elif item["key"] == "deletedFile":
                del repo[value["path"]]
        self.owner.commits.append(summary)
        self.json({"commitUrl": f"{self.owner.endpoint}/datasets/{name}/commit/{COMMIT}", "commitOid": COMMIT})
