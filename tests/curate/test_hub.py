"""Syncing a list from a hub, against a server on loopback that speaks the hub's endpoints."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import HubServer

from avbench.curate import hub, manifest
from avbench.errors import SiteFault, UserError
from avbench.progress import Bar, Reporter

CHUNKS = (
    "train/aB3_-xyZ901_chunk1.mp4",
    "train/aB3_-xyZ901_chunk2.mp4",
    "eval/-q-_0000000_chunk1.mp4",
    "test/live_07.mp4",
)


class Listener(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    for name in CHUNKS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 50)
    ids = ["aB3_-xyZ901", "https://youtu.be/Only_inList?t=1", "", *(f"id_{n:08d}" for n in range(18)), "not an id"]
    (folder / "concerts.txt").write_text("\n".join(ids))
    (folder / "requirements.txt").write_text("performance\nnumpy>=2\ntorch\n")
    (folder / "README.md").write_text("readme")
    return folder


@pytest.fixture
def server(repo: Path) -> Iterator[HubServer]:
    with HubServer({"owner/name": repo}, gated=("owner/gated",)) as running:
        yield running


def a_card(repo_id: str = "owner/name", **hub_fields: object) -> manifest.Card:
    origin = manifest.HubOrigin(repo_id=repo_id, **hub_fields)  # type: ignore[arg-type]
    return manifest.Card(name="set", version="1", licence="unknown", description="d", source="s", hub=origin)


def as_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir(exist_ok=True)
    text = 'name = "set"\nversion = "1"\nlicence = "unknown"\ndescription = "d"\nsource = "s"\n'
    (folder / "card.toml").write_text(f'{text}[hub]\nrepo_id = "owner/name"\n')
    return folder


def test_the_hub_route_lists_every_chunk_pinned(tmp_path: Path, repo: Path, server: HubServer) -> None:
    folder = as_folder(tmp_path)
    lock = hub.sync(a_card(), folder, endpoint=server.endpoint)
    loaded = manifest.load(folder)
    assert loaded.route == "hub"
    assert loaded.lock == lock
    assert (lock.revision, lock.sources, lock.videos) == (server.commit, 4, 3)
    by_id = {s.source_id: s for s in loaded.sources}
    first = by_id["aB3_-xyZ901_chunk1"]
    data = (repo / CHUNKS[0]).read_bytes()
    assert first.url == f"hf://datasets/owner/name@{server.commit}/{CHUNKS[0]}"
    assert (first.sha256, first.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert first.group == by_id["aB3_-xyZ901_chunk2"].group == "aB3_-xyZ901", "chunks of one video stay together"
    assert by_id["q-_0000000_chunk1"].group == "-q-_0000000", "the id itself, whatever it begins with"
    assert by_id["live_07"].group == "live", "a name without an id groups by its name, no id is made up"
    assert lock.total_bytes == sum(len((repo / name).read_bytes()) for name in CHUNKS)
    assert lock.ignored == {".md": 1}


def test_the_web_route_has_the_ids_that_were_read(tmp_path: Path, server: HubServer) -> None:
    listener, folder = Listener(), as_folder(tmp_path)
    lock = hub.sync(a_card(), folder, "web", endpoint=server.endpoint, reporter=listener)
    sources = manifest.load(folder).sources
    ids = [s.source_id for s in sources]
    assert ids[:2] == ["aB3_-xyZ901", "Only_inList"]
    assert ids[-1] == "-q-_0000000", "read from a file name only"
    assert "performance" not in ids, "a text that is no list gives no ids"
    assert len(ids) == 21 == lock.sources
    assert (lock.ids_from_lists, lock.ids_from_names, lock.unread_lines) == (20, 1, 1)
    assert sources[0].url == "https://www.youtube.com/watch?v=aB3_-xyZ901"
    assert len(listener.warnings) == 1
    assert "concerts.txt: 1 lines" in listener.warnings[0]


def test_syncing_again_writes_the_same_bytes(tmp_path: Path, server: HubServer) -> None:
    seen = []
    for _ in range(2):
        hub.sync(a_card(), tmp_path, endpoint=server.endpoint)
        seen.append([(tmp_path / name).read_bytes() for name in (manifest.LIST_NAME, manifest.LOCK_NAME)])
    assert seen[0] == seen[1]


def test_the_endpoint_may_come_from_the_environment(
    tmp_path: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    assert hub.sync(a_card(), tmp_path).sources == 4
    assert any("/tree/" in line and "cursor=3" in line for line in server.requests), "the listing has pages"


def test_a_file_comes_whole_and_reports_its_bytes(tmp_path: Path, repo: Path, server: HubServer) -> None:
    class Counter(Bar):
        seen = 0.0

        def advance(self, amount: float = 1.0, note: str = "") -> None:
            self.seen += amount

    bar = Counter()
    url = f"hf://datasets/owner/name@{server.commit}/{CHUNKS[0]}"
    path = hub.fetch_file(url, tmp_path / "got", bar, endpoint=server.endpoint)
    assert path.read_bytes() == (repo / CHUNKS[0]).read_bytes()
    assert bar.seen == path.stat().st_size


@pytest.mark.parametrize(
    ("repo_id", "fields", "said"),
    [
        ("owner/absent", {}, "no such repository"),
        ("owner/gated", {}, "accept them on its page"),
        ("owner/name", {"chunks": "*.webm"}, r"no file that matches '\*.webm'"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    tmp_path: Path, server: HubServer, repo_id: str, fields: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        hub.sync(a_card(repo_id, **fields), tmp_path, endpoint=server.endpoint)
    assert repo_id in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / manifest.LIST_NAME).exists()


def test_absent_files_and_revisions(tmp_path: Path, server: HubServer) -> None:
    with pytest.raises(UserError, match="not in the repository"):
        hub.fetch_file("hf://datasets/owner/name@main/gone.mp4", tmp_path, Bar(), endpoint=server.endpoint)
    with pytest.raises(UserError, match="no longer has this revision"):
        hub.sync(a_card(), tmp_path, revision="ab" * 20, endpoint=server.endpoint)


def test_an_unreachable_hub(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SiteFault, match=f"127.0.0.1:{port} cannot be reached"):
        hub.sync(a_card(), tmp_path, endpoint=f"http://127.0.0.1:{port}")


def test_a_failed_sync_leaves_the_old_list(tmp_path: Path, server: HubServer) -> None:
    hub.sync(a_card(), tmp_path, endpoint=server.endpoint)
    before = (tmp_path / manifest.LIST_NAME).read_bytes()
    with pytest.raises(UserError):
        hub.sync(a_card("owner/absent"), tmp_path, endpoint=server.endpoint)
    assert (tmp_path / manifest.LIST_NAME).read_bytes() == before
    assert json.loads((tmp_path / manifest.LOCK_NAME).read_text())["repo_id"] == "owner/name"


def test_a_card_without_a_hub(tmp_path: Path) -> None:
    card = a_card().model_copy(update={"hub": None})
    with pytest.raises(UserError, match="no hub repository"):
        hub.sync(card, tmp_path)


def test_ids_of_a_list() -> None:
    text = "aB3_-xyZ901\n\naB3_-xyZ901\nhttps://youtu.be/-q-_0000000\n"
    assert hub.read_ids(text) == (["aB3_-xyZ901", "-q-_0000000"], 0)
    assert hub.read_ids("description\nof the thing\n") == ([], 2)
    assert hub.read_ids("") == ([], 0)
    assert hub.video_id("a/b/aB3_-xyZ901_chunk12.mp4") == "aB3_-xyZ901"
    assert hub.video_id("aB3_-xyZ901.mp4") is None
