"""The download stage, on real HTTP servers on loopback: what is fetched, what is refused, what a kill leaves behind."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from servers import FileServer, HubServer

from avbench import media
from avbench.curate import download as stage, web
from avbench.curate._stall import Watched
from avbench.curate.download import DownloadPlan, download, plan
from avbench.errors import EnvironmentFault, SiteFault, TransientFault, UserError
from avbench.progress import Bar, Reporter
from avbench.recipe import DownloadRecipe
from avbench.schema import Source
from avbench.workspace import Workspace, file_sha256

QUICK = DownloadRecipe(attempts=1, timeout_s=10, backoff_s=0.01, backoff_cap_s=0.05)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real, small film: half a second of noise."""
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    video = rng.integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    sound = rng.normal(0, 0.1, (1, 8000)).astype(np.float32)
    media.encode(folder / "film.mp4", video, 24, sound, 16000)
    return folder


@pytest.fixture
def server(small: Path) -> Iterator[FileServer]:
    with FileServer(small) as running:
        yield running


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "set")


def leftovers(ws: Workspace) -> list[str]:
    """Files in raw and scratch that no finished source owns."""
    owned = {r["file"] for r in ws.records("download")}
    raw = [p.name for p in ws.raw.glob("*") if p.name not in owned] if ws.raw.exists() else []
    return raw + [p.name for p in (ws.root / "work" / "scratch").rglob("*") if p.is_file()]


def reason(ws: Workspace, url: str, **fields: object) -> str:
    """Why one source failed; checks that the failure is recorded, in one sentence, with nothing published."""
    summary = download(ws, [Source("one", url, **fields)], QUICK)  # type: ignore[arg-type]
    record = ws.record("download", "one")
    assert summary.done == 0
    assert record is not None
    assert (record["status"], record["file"], record["error"]) == ("failed", "", summary.failed["one"])
    assert not list(ws.raw.glob("one.*"))
    assert "\n" not in summary.failed["one"]
    return summary.failed["one"]


def test_a_file_over_http(ws: Workspace, server: FileServer, small: Path) -> None:
    source = Source("one", server.url("film.mp4"), title="t", licence="CC0")
    summary = download(ws, [source], QUICK)
    record = ws.record("download", "one")
    assert record is not None
    assert (summary.done, summary.already, summary.failed) == (1, 0, {})
    assert (ws.raw / record["file"]).read_bytes() == (small / "film.mp4").read_bytes()
    assert record["file"] == "one.mp4"
    assert record["sha256"] == file_sha256(small / "film.mp4")
    assert record["bytes"] == (small / "film.mp4").stat().st_size
    assert record["source"]["licence"] == "CC0"
    assert record["origin"]["extractor"] == "generic"
    assert leftovers(ws) == []


def test_a_finished_source_is_not_asked_for_again(ws: Workspace, server: FileServer) -> None:
    source = Source("one", server.url("film.mp4"))
    download(ws, [source], QUICK)
    before = list(server.requests)
    again = download(ws, [source], QUICK)
    assert (again.done, again.already) == (0, 1)
    assert server.requests == before
    (ws.raw / "one.mp4").unlink()
    assert download(ws, [source], QUICK).done == 1, "a record without its file is not finished"


def test_another_url_under_the_same_id_replaces_the_file(ws: Workspace, server: FileServer, small: Path) -> None:
    shutil.copy(small / "film.mp4", ws.root.parent / "own.mkv")
    download(ws, [Source("one", server.url("film.mp4"))], QUICK)
    download(ws, [Source("one", str(ws.root.parent / "own.mkv"))], QUICK)
    assert [p.name for p in ws.raw.iterdir()] == ["one.mkv"]
    reason(ws, server.url("film.mp4", "status/404"))
    assert list(ws.raw.iterdir()) == [], "the file of another version does not outlive its record"


@pytest.mark.slow
def test_several_workers_end_with_the_same(tmp_path: Path, server: FileServer) -> None:
    sources = [Source(f"s{n}", server.url("film.mp4", "files" if n else "status/404")) for n in range(3)]
    seen = []
    for workers in (1, 2):
        ws = Workspace(tmp_path / str(workers))
        summary = download(ws, sources, QUICK, workers=workers)
        seen.append((summary.done, summary.failed, ws.records("download")))
    assert seen[0] == seen[1]
    assert seen[0][0] == 2


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("status/404", r"^127.0.0.1:\d+ has no such file \(HTTP 404\)$"),
        ("status/403", r"^127.0.0.1:\d+ refuses to send it \(HTTP 403\)$"),
        ("status/500", r"answered with an error \(HTTP 500\)"),
        ("page", "not a video or audio file but a page"),
        ("text", r"^not a video or audio file \("),
        ("truncated", "broke off in the middle"),
    ],
)
def test_what_a_server_can_do_wrong(ws: Workspace, server: FileServer, mode: str, said: str) -> None:
    message = reason(ws, server.url("film.mp4", mode))
    assert re.search(said, message), message
    assert [name for name in leftovers(ws) if not name.endswith(".part")] == []


def test_a_transfer_that_broke_off_is_gone_on_with(ws: Workspace, server: FileServer, small: Path) -> None:
    server.cut.add("film.mp4")
    assert "broke off" in reason(ws, server.url("film.mp4"))
    server.cut.clear()
    assert download(ws, [Source("one", server.url("film.mp4"))], QUICK).done == 1
    assert (ws.raw / "one.mp4").read_bytes() == (small / "film.mp4").read_bytes()
    assert any(start > 0 for start in server.range_starts), "it went on where it stopped"
    assert leftovers(ws) == []


@pytest.mark.slow
def test_a_server_that_falls_silent(ws: Workspace, server: FileServer) -> None:
    quick = QUICK.model_copy(update={"timeout_s": 1.0})
    summary = download(ws, [Source("one", server.url("film.mp4", "slow"))], quick)
    assert "stopped answering" in summary.failed["one"]


def test_a_host_that_is_not_there(ws: Workspace) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert reason(ws, f"http://127.0.0.1:{port}/x.mp4") == f"127.0.0.1:{port} cannot be reached"


def test_pinned_size_and_digest(ws: Workspace, server: FileServer, small: Path) -> None:
    data = (small / "film.mp4").read_bytes()
    url, digest = server.url("film.mp4"), hashlib.sha256(data).hexdigest()
    assert "the manifest says 00000000" in reason(ws, url, sha256="0" * 64)
    assert f"has {len(data)} bytes, the manifest says 7" in reason(ws, url, size_bytes=7)
    assert leftovers(ws) == []
    assert download(ws, [Source("one", url, sha256=digest, size_bytes=len(data))], QUICK).done == 1


def test_a_local_file_is_linked_and_followed_when_it_changes(ws: Workspace, small: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.mp4"
    shutil.copy(small / "film.mp4", own)
    source = Source("one", str(own))
    download(ws, [source], QUICK)
    assert (ws.raw / "one.mp4").samefile(own)
    assert download(ws, [source], QUICK).already == 1
    os.utime(own, ns=(1, 1))
    assert download(ws, [source], QUICK).done == 1, "a changed file counts as another"


def test_a_local_file_on_another_disk_is_copied(ws: Workspace, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*args: object) -> None:
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    assert download(ws, [Source("one", str(small / "film.mp4"))], QUICK).done == 1
    assert (ws.raw / "one.mp4").stat().st_nlink == 1


def test_local_paths_that_are_no_film(ws: Workspace, tmp_path: Path) -> None:
    assert reason(ws, str(tmp_path / "absent.mp4")).endswith("absent.mp4: there is no such file")
    assert reason(ws, str(tmp_path)).endswith("not a file")
    (tmp_path / "notes.txt").write_text("hello")
    assert reason(ws, str(tmp_path / "notes.txt")).startswith("not a video or audio file")
    assert (tmp_path / "notes.txt").exists()


def test_a_rendered_source(ws: Workspace) -> None:
    url = "synthetic:kind=impacts&seed=3&seconds=1&width=32&height=32&fps=12"
    assert download(ws, [Source("one", url)], QUICK).done == 1
    assert media.probe(ws.raw / "one.mp4").n_frames == 12
    assert leftovers(ws) == []
    assert "impact" in reason(ws, "synthetic:kind=impact")


def test_schemes_that_are_not_taken(ws: Workspace) -> None:
    with pytest.raises(UserError, match="'file:'"):
        download(ws, [Source("one", "file:///etc/passwd")], QUICK)


def test_a_chunk_from_a_hub(ws: Workspace, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = file_sha256(small / "film.mp4")
    with HubServer({"owner/name": small}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        base = f"hf://datasets/owner/name@{hub.commit}"
        sources = [
            Source("good", f"{base}/film.mp4", sha256=digest),
            Source("gone", f"{base}/gone.mp4"),
            Source("other", f"{base}/film.mp4", sha256="0" * 64),
        ]
        summary = download(ws, sources, QUICK)
    assert summary.done == 1
    assert file_sha256(ws.raw / "good.mp4") == digest
    assert "not in the repository" in summary.failed["gone"]
    assert "the manifest says" in summary.failed["other"]
    assert leftovers(ws) == []


@pytest.mark.slow
def test_separate_picture_and_sound_are_merged(ws: Workspace, small: Path, tmp_path: Path) -> None:
    shutil.copy(small / "film.mp4", tmp_path / "film.mp4")
    tool = [
        media.ffmpeg_path(),
        "-v",
        "error",
        "-i",
        "film.mp4",
        "-map",
        "0:v",
        "-map",
        "0:v",
        "-map",
        "0:a",
        "-s:v:1",
        "32x24",
    ]
    sets = [
        "-c:v",
        "libx264",
        "-c:a",
        "aac",
        "-adaptation_sets",
        "id=0,streams=v id=1,streams=a",
        "-f",
        "dash",
        "film.mpd",
    ]
    subprocess.run([*tool, *sets], cwd=tmp_path, check=True)
    with FileServer(tmp_path) as server:
        sources = [Source("one", server.url("film.mpd"))]
        download(ws, sources, QUICK)
        full = media.probe(ws.raw / "one.mp4")
        download(ws, sources, DownloadRecipe(max_height=30, attempts=1))
        low = media.probe(ws.raw / "one.mp4")
        assert (full.width, full.height, full.has_audio, full.n_frames) == (64, 48, True, 12)
        assert (low.width, low.height, low.has_audio) == (32, 24, True)
        # a fragment that is gone must not be left out in silence
        for fragment in tmp_path.glob("chunk-stream0-*"):
            fragment.unlink()
        assert "HTTP 404" in reason(ws, server.url("film.mpd"))


def test_progress_shows_the_bytes_of_a_file(ws: Workspace, server: FileServer) -> None:
    class Listener(Reporter, Bar):
        notes: tuple[str, ...] = ()
        steps = 0.0

        def bar(self, description: str, total: float | None, unit: str = ""):  # type: ignore[no-untyped-def]
            return nullcontext(self)

        def advance(self, amount: float = 1.0, note: str = "") -> None:
            self.notes, self.steps = (*self.notes, note), self.steps + amount

    listener = Listener()
    download(ws, [Source("one", server.url("film.mp4"))], QUICK, reporter=listener)
    assert any("one 0.0 of 0.0 MB" in note for note in listener.notes)
    assert listener.steps == 1


KILL = """
import sys
from pathlib import Path
from avbench.curate.download import download
from avbench.recipe import DownloadRecipe
from avbench.schema import Source
from avbench.workspace import Workspace
if __name__ == "__main__":
    patient = DownloadRecipe(timeout_s=600, stall_window_s=600)
    download(Workspace(Path(sys.argv[1])), [Source("one", sys.argv[2])], patient)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_is_gone_on_with(tmp_path: Path, small: Path, how: signal.Signals) -> None:
    folder, ws = tmp_path / "served", Workspace(tmp_path / "set")
    folder.mkdir()
    shutil.copy(small / "film.mp4", folder / "film.mp4")
    with FileServer(folder) as server:
        url = server.url("film.mp4")
        server.patience_s = 600  # the transfer stands still until the signal, however slow this machine is
        server.stall_once.add("film.mp4")
        child = subprocess.Popen([sys.executable, "-c", KILL, str(ws.root), url], stderr=subprocess.DEVNULL)
        try:
            while not any(p.stat().st_size for p in ws.root.rglob("*.part")):
                assert child.poll() is None, "it ended before a byte was written"
                time.sleep(0.02)
            child.send_signal(how)
            assert child.wait() != 0
        finally:
            child.kill()
        assert ws.record("download", "one") is None
        assert not ws.raw.exists() or not list(ws.raw.iterdir())
        assert download(ws, [Source("one", url)], QUICK).done == 1
        assert (ws.raw / "one.mp4").read_bytes() == (small / "film.mp4").read_bytes()
        assert any(start > 0 for start in server.range_starts), "it went on where it stopped"
    assert leftovers(ws) == []


def test_the_plan_counts_what_is_to_come(ws: Workspace, server: FileServer, small: Path) -> None:
    size = (small / "film.mp4").stat().st_size
    sources = [
        Source("a", server.url("film.mp4"), size_bytes=size),
        Source("b", server.url("film.mp4", "status/404")),
        Source("c", "hf://datasets/o/n@main/x.mp4", size_bytes=1000),
        Source("d", str(small / "film.mp4"), size_bytes=size),
    ]
    first = plan(ws, sources, QUICK)
    assert (first.pending, first.known_bytes, first.unknown_count) == (4, size + 1000, 1)
    assert first.free_bytes > 0
    download(ws, sources[:1], QUICK)
    assert plan(ws, sources, QUICK).known_bytes == 1000


def test_a_disk_that_is_too_small_is_said_before_the_first_request(ws: Workspace, server: FileServer) -> None:
    with pytest.raises(EnvironmentFault, match=r"GB are to come and only .* free.*--limit"):
        download(ws, [Source("one", server.url("film.mp4"), size_bytes=10**18)], QUICK)
    assert server.requests == []
    DownloadPlan(pending=1, known_bytes=5, unknown_count=0, free_bytes=5).check(ws.root)


def test_a_full_disk_stops_the_run(ws: Workspace, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stage, "place", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        download(ws, [Source("one", server.url("film.mp4"))], QUICK)
    assert ws.record("download", "one") is None
    monkeypatch.undo()
    assert download(ws, [Source("one", server.url("film.mp4"))], QUICK).done == 1


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access", UserError, "private on"),
        ("ERROR: [youtube] abc: Sign in to confirm you’re not a bot. Use --cookies", SiteFault, "no robot calls"),
        (
            "ERROR: [youtube] abc: Sign in to confirm your age. This video may be inappropriate",
            UserError,
            "age-restricted",
        ),
        (
            "ERROR: [youtube] abc: Video unavailable. The uploader has not made this video available in your country",
            UserError,
            "in this country",
        ),
        (
            "ERROR: [youtube] abc: Video unavailable. This video has been removed by the uploader",
            UserError,
            "no longer on",
        ),
        (
            "ERROR: [youtube] abc: The current session has been rate-limited by YouTube for up to an hour",
            SiteFault,
            "no more requests",
        ),
        ("ERROR: [youtube] abc: Join this channel to get access to members-only content", UserError, "paying members"),
        (
            "ERROR: [youtube] abc: Requested format is not available. Use --list-formats",
            UserError,
            "no picture or sound",
        ),
        ("ERROR: [youtube] abc: HTTP Error 429: Too Many Requests", SiteFault, "no more requests"),
        ("ERROR: [youtube] abc: HTTP Error 403: Forbidden", TransientFault, "refuses to send"),
        ("ERROR: [x] y: HTTP Error 502: Bad Gateway", TransientFault, "HTTP 502"),
        ("ERROR: [x] y: [Errno 104] Connection reset by peer", TransientFault, "broke off"),
        ("ERROR: [generic] private: HTTP Error 404: Not Found", UserError, "no such file (HTTP 404)"),
        ("ERROR: unable to write data: [Errno 28] No space left on device", EnvironmentFault, "disk is full"),
        (
            "ERROR: [x] y: Failed to resolve 'h' ([Errno -2] Name or service not known)",
            TransientFault,
            "no host is called",
        ),
        ("ERROR: [x] y: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", UserError, "certificate"),
        (
            "ERROR: [x] y: Something new; please report this issue on  https://example.org",
            TransientFault,
            "youtube.com: Something new",
        ),
    ],
)
def test_what_yt_dlp_says_becomes_one_phrase(message: str, kind: type[UserError], said: str) -> None:
    error = web.reason(message, "https://user@youtube.com/watch?v=aB3_-xyZ901")
    assert type(error) is kind
    assert said in str(error)
    assert "user" not in str(error).replace("user to", "").replace("signed-in user", "")


def test_youtube_is_asked_slowly(tmp_path: Path) -> None:
    polite = web._options("https://youtu.be/aB3_-xyZ901", QUICK, tmp_path, Watched(Bar()))
    other = web._options("https://example.org/x.mp4", QUICK, tmp_path, Watched(Bar()))
    assert polite["sleep_interval"] >= 10
    assert "sleep_interval" not in other


def test_lists_and_live_streams_are_refused() -> None:
    with pytest.raises(UserError, match="give each video its own row"):
        web._check({"_type": "playlist", "title": "All"})
    with pytest.raises(UserError, match="live stream"):
        web._check({"live_status": "is_live"})
    web._check({"live_status": "was_live"})


def test_real_films_through_yt_dlp(ws: Workspace, media_assets: Path) -> None:
    names = ("nasa_13013_16s.mp4", "popcorn_test_64s.ogv")
    with FileServer(media_assets) as server:
        summary = download(ws, [Source(Path(n).stem, server.url(n)) for n in names], QUICK)
    assert (summary.done, summary.failed) == (2, {})
    for name in names:
        assert file_sha256(ws.raw / name) == file_sha256(media_assets / name)
