"""Small servers on loopback for tests: plain files with every way a download can go wrong, and a hub.

with FileServer(folder) as server:
    server.url("clip.mp4")                  # the file, with byte ranges
    server.url("clip.mp4", "status/404")    # an error
    server.url("clip.mp4", "truncated")     # Content-Length promises more than is sent
    server.url("clip.mp4", "first/503")     # an error, and the file from the second request on

with HubServer({"owner/name": folder}) as hub:
    hub.endpoint                            # for HF_ENDPOINT or endpoint=
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from avbench.network import ALLOW_VARIABLE

mimetypes.add_type("application/dash+xml", ".mpd")


class _Server:
    """A threaded HTTP server on a free port of this machine, for the length of a ``with`` block.

    Sources may lead to no private address unless the user allows it: a program that starts a server here allows them.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler], host: str = "127.0.0.1") -> None:
        os.environ.setdefault(ALLOW_VARIABLE, "127.0.0.0/8")
        self.requests: list[str] = []
        self.host = host
        self._http = ThreadingHTTPServer((host, 0), handler)
        self._http.daemon_threads = True
        self._http.owner = self  # type: ignore[attr-defined]
        self.port = self._http.server_address[1]
        self.closing = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    """What both servers share: quiet, counts requests, sends bytes with ranges."""

    def log_message(self, *args: object) -> None:
        pass

    @property
    def owner(self):
        return self.server.owner

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.owner.requests.append(f"{self.command} {self.path}")
        try:
            self.answer(urlsplit(self.path))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, path: Path, headers: dict[str, str] | None = None) -> None:
        data = path.read_bytes()
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes", **(headers or {})}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.reply(200, headers, data)
        start, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if start >= len(data):
            return self.reply(416, {"Content-Range": f"bytes */{len(data)}"})
        return self.reply(206, {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"}, data[start : end + 1])


class _FileHandler(_Handler):
    def answer(self, parts) -> None:
        mode, _, rest = unquote(parts.path).lstrip("/").partition("/")
        if mode in ("status", "first"):
            code, _, rest = rest.partition("/")
            if mode == "status" or self.owner.requests.count(f"{self.command} {self.path}") == 1:
                after = {"Retry-After": self.owner.retry_after} if self.owner.retry_after else {}
                return self.reply(int(code), {"Content-Type": "text/plain", **after}, b"no")
        if mode in ("loop", "moved"):
            return self.reply(302, {"Location": self.path if mode == "loop" else f"/files/{quote(rest)}"})
        if mode == "away":
            return self.reply(302, {"Location": self.owner.leads_to})
        path = self.owner.folder / rest
        if not path.is_file():
            return self.reply(404, {"Content-Type": "text/html"}, b"<html>not here</html>")
        if mode == "page":
            return self.reply(200, {"Content-Type": "text/html"}, b"<html><body>hello</body></html>")
        if mode in ("text", "short"):
            data = b"this is no video\n" * 200 if mode == "text" else path.read_bytes()[: path.stat().st_size // 2]
            return self.reply(200, {"Content-Type": "video/mp4"}, data)
        return self.media(path, mode)

    def media(self, path: Path, mode: str) -> None:
        """The file itself, whole or not."""
        if mode in ("truncated", "slow", "reset", "drip"):
            return self.partial(path.read_bytes(), mode)
        if path.name in self.owner.stall_once and self.owner.requests.count(f"GET {self.path}") == 2:
            # the second request is the download proper; the first only looks what it is
            return self.partial(path.read_bytes(), "slow")
        if path.name in self.owner.cut:
            return self.partial(path.read_bytes(), "truncated")
        if match := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            self.owner.range_starts.append(int(match[1]))
        return self.send_file(path)

    def partial(self, data: bytes, mode: str) -> None:
        """Promise everything and send half; then close, say nothing more, cut the line, or send a byte now and then."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        half = 0 if mode == "drip" else len(data) // 2
        self.wfile.write(data[:half])
        self.wfile.flush()
        self.close_connection = True
        if mode == "reset":
            # closing without lingering sends a reset instead of an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        deadline = time.monotonic() + self.owner.patience_s
        while mode in ("slow", "drip") and time.monotonic() < deadline and not self.owner.closing.wait(0.02):
            if mode == "drip":
                self.wfile.write(data[half : half + 1])
                half += 1


class FileServer(_Server):
    """Serves the files of a folder; the first part of the path chooses how.

    ``retry_after`` goes with every error, ``patience_s`` is how long a silent or dripping answer is kept up. A name in
    ``stall_once`` is sent by half on its first download, then nothing more; one in ``cut`` breaks off in the
    middle. ``range_starts`` collects where the requests for a part of a file began.

    Args:
        folder: What is served.
        host: Address it listens at: any below 127.0.0.0/8.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        super().__init__(_FileHandler, host)
        self.folder = folder
        self.leads_to = ""
        self.retry_after = ""
        self.patience_s = 20.0
        self.stall_once: set[str] = set()
        self.cut: set[str] = set()
        self.range_starts: list[int] = []

    def url(self, name: str, mode: str = "files") -> str:
        """Address of a file.

        Args:
            name: Of the file.
            mode: files, moved, away (to ``leads_to``), status/<code>, first/<code> (files from then on), loop, text,
                page, truncated, short
                (Content-Length promises as little as is sent), reset, slow or drip.
        """
        return f"http://{self.host}:{self.port}/{mode}/{quote(name)}"


class _HubHandler(_Handler):
    """The listing and download endpoints of the Hugging Face hub, as its client library uses them."""

    def answer(self, parts) -> None:
        path = unquote(parts.path)
        if path.startswith("/cdn/"):
            owner, name, file = re.fullmatch(r"/cdn/([^/]+)/([^/]+)/(.+)", path).groups()
            return self.send(self.owner.repos[f"{owner}/{name}"] / file)
        kind = r"(?:(?:/api)?/datasets|/api/models|)"
        match = re.fullmatch(rf"{kind}/([^/]+/[^/]+)(?:/(revision|tree|resolve)/([^/]+)/?(.*))?", path)
        if match is None:
            return self.reply(404, {}, b"{}")
        repo, verb, revision, rest = match.groups()
        if repo in self.owner.gated:
            return self.reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}, b"{}")
        if repo not in self.owner.repos:
            return self.reply(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}")
        if revision not in (None, "main", self.commit_of(repo)):
            return self.reply(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
        if verb == "resolve":
            return self.resolve(repo, rest)
        if verb == "tree":
            return self.tree(repo, parse_qs(parts.query))
        return self.json({"_id": "1", "id": repo, "sha": self.commit_of(repo), "siblings": [], "tags": []})

    def commit_of(self, repo: str) -> str:
        return self.owner.commits.get(repo, self.owner.commit)

    def send(self, path: Path) -> None:
        """A file of the store, whole or broken off."""
        if match := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            self.owner.range_starts.append(int(match[1]))
        if path.name not in self.owner.cut or self.command == "HEAD":
            return self.send_file(path)
        self.owner.cut.remove(path.name)
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True

    def json(self, data: object, headers: dict[str, str] | None = None) -> None:
        self.reply(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(data).encode())

    def tree(self, repo: str, query: dict[str, list[str]]) -> None:
        """Files of a commit, in pages with a ``Link: rel=next`` header."""
        root, size = self.owner.repos[repo], self.owner.page_size
        files = sorted(p for p in root.rglob("*") if p.is_file())
        start = int(query.get("cursor", ["0"])[0])
        rows: list[dict[str, object]] = []
        for path in files[start : start + size]:
            data = path.read_bytes()
            row: dict[str, object] = {"type": "file", "path": path.relative_to(root).as_posix(), "size": len(data)}
            row["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if self.owner.is_lfs(path):
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            rows.append(row)
        rows += [{"type": "directory", "path": "train", "size": 0, "oid": "0" * 40}] if start == 0 else []
        headers = {}
        if start + size < len(files):
            address = f"{self.owner.endpoint}{urlsplit(self.path).path}?recursive=True&cursor={start + size}"
            headers["Link"] = f'<{address}>; rel="next"'
        self.json(rows, headers)

    def resolve(self, repo: str, file: str) -> None:
        path = self.owner.repos[repo] / file
        commit = {"X-Repo-Commit": self.commit_of(repo)}
        if not path.is_file():
            return self.reply(404, {**commit, "X-Error-Code": "EntryNotFound"})
        data = path.read_bytes()
        if not self.owner.is_lfs(path):
            return self.send_file(path, {**commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})
        linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'}
        return self.reply(302, {**commit, **linked, "Location": f"{self.owner.cdn}/cdn/{repo}/{quote(file)}"})


class HubServer(_Server):
    """Serves folders as dataset or model repositories of a hub. Media and weights are LFS objects behind a redirect.

    A file named in ``cut`` breaks off in the middle once; ``range_starts`` collects where transfers went on.

    Args:
        repos: Repository name to folder.
        gated: Names of repositories that answer with "gated".
        commit: Commit sha of every repository's main branch,
        commits: but of these.
        page_size: Files per page of a listing.
    """

    def __init__(
        self,
        repos: dict[str, Path],
        gated: tuple[str, ...] = (),
        commit: str = "c0ffee" * 6 + "beef",
        page_size: int = 3,
        commits: dict[str, str] | None = None,
    ) -> None:
        super().__init__(_HubHandler)
        self.repos, self.gated, self.commit, self.page_size = repos, gated, commit, page_size
        self.commits = commits or {}
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.cut: set[str] = set()
        self.range_starts: list[int] = []
        # the client follows a redirect to another host by itself only for the download, as on the real hub
        self.cdn = f"http://localhost:{self.port}"

    @staticmethod
    def is_lfs(path: Path) -> bool:
        """Whether the hub would keep this file as an LFS object."""
        return path.suffix in (".mp4", ".safetensors")
