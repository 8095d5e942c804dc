"""Models of several files, fetched from a server on loopback that speaks the hub's endpoints."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download

from avbench import hub_weights
from avbench.errors import TransientFault, UserError, WeightsMissing
from avbench.hub_weights import HubModel, snapshot
from avbench.progress import Bar, Reporter
from tests.servers import HubServer

MODEL = HubModel("owner/name", "main", "MIT", False, ("vae/config.json", "vae/*.safetensors"))
WEIGHTS = "vae/model.safetensors"


class Listener(Reporter):
    """Counts the bytes of bars, and keeps the notes."""

    def __init__(self) -> None:
        self.seen, self.total = 0.0, 0.0
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    @contextmanager
    def bar(self, description: str, total: float | None, unit: str = "") -> Iterator[Bar]:
        listener = self
        listener.total = total or 0.0

        class Counter(Bar):
            def advance(self, amount: float = 1.0, note: str = "") -> None:
                listener.seen += amount

        yield Counter()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    for name, data in {WEIGHTS: bytes(range(256)) * 4000, "vae/config.json": b"{}", "unet/model.bin": b"x"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def server(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with HubServer({"owner/name": repo}, gated=("owner/gated",)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def unreachable() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_the_files_asked_for_come_and_no_others_and_the_folder_is_named_for_the_commit(
    repo: Path, server: HubServer
) -> None:
    listener = Listener()
    assert hub_weights.present(MODEL) is None
    size = hub_weights.missing_bytes(MODEL)
    found = snapshot(MODEL, reporter=listener)
    assert (found / WEIGHTS).read_bytes() == (repo / WEIGHTS).read_bytes()
    assert sorted(p.name for p in found.rglob("*") if p.is_file()) == ["config.json", "model.safetensors"]
    assert hub_weights.commit(found) == server.commit
    assert listener.seen == listener.total == size == 256 * 4000 + 2
    assert listener.notes == ["owner/name: 1 MB to fetch; licence MIT"]


def test_what_is_here_asks_nobody(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = snapshot(MODEL)
    asked = len(server.requests)
    assert snapshot(MODEL) == first == hub_weights.present(MODEL)
    assert len(server.requests) == asked
    monkeypatch.setenv("HF_ENDPOINT", unreachable())
    assert snapshot(MODEL) == first


def test_a_branch_is_told_with_the_commit_that_keeps_its_files_and_a_commit_is_not(server: HubServer) -> None:
    for _ in ("fetched", "found"):
        listener = Listener()
        snapshot(MODEL, reporter=listener)
        assert listener.warnings == [
            f"owner/name: main is no commit and may move on the hub; these files are {server.commit}, write that as "
            "the revision into a recipe of your own to keep them"
        ]
    listener = Listener()
    snapshot(replace(MODEL, revision=server.commit), reporter=listener)
    assert listener.warnings == []


def test_a_file_that_is_missing_from_the_cache_is_fetched_again(server: HubServer) -> None:
    found = snapshot(MODEL)
    os.unlink(found / WEIGHTS)
    assert hub_weights.present(MODEL) is None
    assert (snapshot(MODEL) / WEIGHTS).is_file()


def test_a_folder_that_another_library_filled_in_part_does_not_count_as_whole(repo: Path, server: HubServer) -> None:
    hf_hub_download(MODEL.repo, "vae/config.json", revision="main", endpoint=server.endpoint)
    assert hub_weights.present(MODEL) is None
    assert (snapshot(MODEL) / WEIGHTS).read_bytes() == (repo / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(
    repo: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 256 * 100)
    server.cut = {"model.safetensors"}
    found = snapshot(MODEL)
    assert (found / WEIGHTS).read_bytes() == (repo / WEIGHTS).read_bytes()
    (start,) = server.range_starts
    assert 0 < start <= 256 * 2000


def test_a_licence_that_forbids_commercial_use_must_be_accepted_before_anything_is_asked(server: HubServer) -> None:
    model = replace(MODEL, licence="CC-BY-NC-4.0", non_commercial=True)
    with pytest.raises(UserError, match=r"owner/name: its licence, CC-BY-NC-4\.0, forbids .* --accept-license"):
        snapshot(model)
    assert not server.requests
    assert snapshot(model, accept_licence=True).is_dir()


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"repo": "owner/gated"}, UserError, "signed-in users who accepted its terms"),
        ({"repo": "owner/absent"}, UserError, "no such repository"),
        ({"revision": "v9"}, UserError, "no revision 'v9'"),
        ({"patterns": ("vae/*", "vocoder/*")}, UserError, r"holds no vocoder/\*"),
    ],
    ids=["gated", "absent", "revision", "file"],
)
def test_what_the_hub_does_not_give_is_one_sentence(
    change: dict, kind: type[Exception], sentence: str, server: HubServer
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        snapshot(replace(MODEL, **change))
    assert "\n" not in str(caught.value)


def test_without_a_network_the_sentence_says_how_to_fetch_it_elsewhere(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", unreachable())
    with pytest.raises(WeightsMissing, match=r"\(MIT\) are not on this machine .* `hf download owner/name ") as caught:
        snapshot(MODEL)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsMissing, match="HF_HUB_OFFLINE"):
        snapshot(MODEL)


def test_a_hub_in_trouble_is_a_reason_to_try_later(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers._HubHandler.answer", lambda self, parts: self.reply(500, {}, b"{}"))
    with pytest.raises(TransientFault, match="HTTP 500; try again later"):
        snapshot(MODEL)


def test_a_full_disk_is_noticed_before_the_transfer(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_weights, "free_bytes", lambda path: 1000)
    with pytest.raises(UserError, match=r"owner/name needs 1 MB and the disk has 0 MB free"):
        snapshot(MODEL)
    assert not any("GET /cdn" in line for line in server.requests)
