"""Rendered sources: contacts are seen and heard at the stated times, and the seed decides everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.curate import synthetic
from avbench.errors import UserError

SMALL = {"seed": "3", "seconds": "4", "width": "96", "height": "72", "bodies": "1"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray, list[float]]:
    path = tmp_path_factory.mktemp("source") / "a.mp4"
    synthetic.render(SMALL, path)
    return media.decode_video(path), media.decode_audio(path), synthetic.event_times_s(SMALL)


def test_length_and_size(rendered: tuple[np.ndarray, np.ndarray, list[float]]) -> None:
    video, audio, times = rendered
    assert video.shape == (120, 72, 96, 3)
    assert audio.shape == (2, 4 * synthetic.SAMPLE_RATE_HZ)
    assert 4 <= len(times) <= 12
    assert times == sorted(times)
    assert all(0 < time < 4 for time in times)


def test_times_lie_on_frames(rendered: tuple[np.ndarray, np.ndarray, list[float]]) -> None:
    frames = np.array(rendered[2]) * 30
    np.testing.assert_allclose(frames, frames.round(), atol=1e-9)


def test_sound_begins_at_the_very_sample(rendered: tuple[np.ndarray, np.ndarray, list[float]]) -> None:
    _, audio, times = rendered
    level = np.abs(audio).max(axis=0)
    for time in times:
        at = round(time * synthetic.SAMPLE_RATE_HZ)
        before, after = level[at - 12 : at].max(), level[at : at + 12].max()
        assert after > 4 * before
    # and nowhere else: every sudden rise is one of them
    steps = level[: len(level) // 240 * 240].reshape(-1, 240).max(axis=1)
    sudden = np.flatnonzero((steps[1:] > 4 * steps[:-1]) & (steps[1:] > 0.05)) + 1
    heard = {round(time * synthetic.SAMPLE_RATE_HZ) // 240 for time in times}
    assert set(sudden.tolist()) <= heard


def test_the_ball_touches_the_ground_in_that_frame(rendered: tuple[np.ndarray, np.ndarray, list[float]]) -> None:
    video, _, times = rendered
    lowest = np.array([_bottom(frame) for frame in video])
    frames = [round(time * 30) for time in times]
    for frame in frames:
        assert lowest[frame] == lowest.max()
        assert lowest[frame - 2] < lowest[frame] > lowest[min(frame + 2, len(lowest) - 1)]
    turns = [
        k for k in range(2, len(lowest) - 2) if lowest[k - 2] < lowest[k] > lowest[k + 2] and lowest[k] == lowest.max()
    ]
    assert all(min(abs(k - frame) for frame in frames) <= 1 for k in turns)


def _bottom(frame: np.ndarray) -> int:
    """Lowest row above the ground in which something strongly coloured stands."""
    ground = int(synthetic._GROUND * frame.shape[0])
    colours = frame[:ground].astype(int)
    strong = np.ptp(colours, axis=-1) > 120
    return int(np.flatnonzero(strong.any(axis=1)).max())


@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_the_same_query_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    query = {**SMALL, "kind": kind, "seconds": "1.5"}
    for name in ("a.mp4", "b.mp4"):
        synthetic.render(query, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    synthetic.render({**query, "seed": "4"}, tmp_path / "c.mp4")
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "c.mp4").read_bytes()


def test_kinds_are_what_they_say(tmp_path: Path) -> None:
    films = {}
    for kind in ("impacts", "cuts", "silent", "mute", "frozen"):
        path = tmp_path / f"{kind}.mp4"
        synthetic.render({**SMALL, "kind": kind, "seconds": "9" if kind == "cuts" else "3"}, path)
        films[kind] = (media.probe(path), media.decode_video(path).astype(int))
    assert not films["mute"][0].has_audio
    assert all(info.has_audio for kind, (info, _) in films.items() if kind != "mute")
    assert not media.decode_audio(tmp_path / "silent.mp4").any()
    assert np.sqrt((media.decode_audio(tmp_path / "frozen.mp4") ** 2).mean()) > 0.01
    # compression alone moves a frozen picture
    assert np.abs(np.diff(films["frozen"][1], axis=0)).mean() < 0.2
    jumps = {kind: np.abs(np.diff(video, axis=0)).mean(axis=(1, 2, 3)) for kind, (_, video) in films.items()}
    assert (jumps["impacts"] > 15).sum() == 0
    assert 1 <= (jumps["cuts"] > 15).sum() <= 3


def test_a_short_source_is_short_by_itself() -> None:
    assert synthetic.parse({"kind": "short"}).seconds == 3
    assert synthetic.parse({"kind": "short", "seconds": "5"}).seconds == 5


@pytest.mark.parametrize("kind", ["silent", "mute", "frozen"])
def test_what_is_not_both_seen_and_heard_is_no_event(kind: str) -> None:
    assert synthetic.event_times_s({**SMALL, "kind": kind}) == []


@pytest.mark.parametrize("fps", ["29.97", "25", "12"])
def test_events_of_other_rates_lie_on_their_frames(fps: str) -> None:
    times = synthetic.event_times_s({**SMALL, "fps": fps, "kind": "cuts", "seconds": "20"})
    frames = np.array(times) * float(fps)
    assert len(times) > 10
    np.testing.assert_allclose(frames, frames.round(), atol=1e-6)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"kind": "impact"}, "no kind of synthetic source called 'impact'; did you mean impacts"),
        ({"sed": "1"}, "no key of a synthetic source called 'sed'; did you mean seed"),
        ({"seconds": "long"}, "seconds = 'long' is not a number"),
        ({"seconds": "0"}, "out of range"),
        ({"seconds": "nan"}, "out of range"),
        ({"seed": "-1"}, "out of range"),
        ({"width": "33"}, "33 x 120 must be even"),
    ],
)
def test_a_wrong_query_is_named(query: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        synthetic.parse(query)


def test_sources_of_one_look_differ_only_in_what_moves() -> None:
    one, other = (
        synthetic._scenes(synthetic.parse({**SMALL, "seed": seed, "look": "1", "radius": "0.16"}))[0]
        for seed in ("3", "4")
    )
    assert (one.hue, one.seed) == (other.hue, other.seed)
    (ball,), (second,) = one.bodies, other.bodies
    assert (ball.colour, ball.pitch_hz, ball.radius) == (second.colour, second.pitch_hz, second.radius)
    assert ball.radius == 0.16
    assert ball.contacts != second.contacts
    drawn = [synthetic._scenes(synthetic.parse({**SMALL, "seed": seed}))[0] for seed in ("3", "4")]
    assert drawn[0].hue != drawn[1].hue
    assert drawn[0].bodies[0].radius != drawn[1].bodies[0].radius


@pytest.mark.parametrize("wrong", [{"radius": "0.3"}, {"radius": "-0.1"}, {"look": "-1"}, {"seed": "-1"}])
def test_a_value_out_of_range_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="out of range"):
        synthetic.parse({**SMALL, **wrong})
