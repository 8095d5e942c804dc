"""What baselines that train nothing share: clips are kept while they are true, and licences are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.baselines._untrained import Licence, Prompts, SamplesCard, clip_seed, require_accepted, write_film
from avbench.errors import MediaError, UserError

SETTINGS = {"model": "m", "preset": "p", "sample": {"scheduler": "s", "steps": 1, "seed": 0}, "size": (1, 2)}


def card(folder: Path, prompts: dict[str, str], seeds: dict[str, int] | None = None, **changed: object) -> SamplesCard:
    return SamplesCard(folder, {**SETTINGS, **changed}, prompts, seeds or dict.fromkeys(prompts, 7))


def made(folder: Path) -> SamplesCard:
    """Three clips that are there."""
    found = card(folder, {"sample-00000": "a", "sample-00001": "b", "sample-00002": "c"})
    for name in found.missing:
        found.film(name).write_bytes(name.encode())
        found.done(name, 1.5)
    return found


def left(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("sample-*"))


def test_clips_that_are_wanted_again_are_kept_and_more_may_be_wanted(tmp_path: Path) -> None:
    made(tmp_path)
    again = card(tmp_path, {"sample-00000": "a", "sample-00003": "d"})
    assert again.missing == ["sample-00003"]
    assert left(tmp_path) == ["sample-00000", "sample-00001", "sample-00002"]
    said = json.loads((tmp_path / "samples.json").read_text())
    assert said["prompts"] == {"sample-00000": "a", "sample-00001": "b", "sample-00002": "c", "sample-00003": "d"}
    assert said["seconds"] == 4.5


def test_a_clip_of_another_prompt_or_seed_is_made_anew_and_the_others_stay(tmp_path: Path) -> None:
    made(tmp_path)
    names = ("sample-00000", "sample-00001", "sample-00002")
    changed = card(tmp_path, dict(zip(names, "axc", strict=True)), dict(zip(names, (7, 7, 8), strict=True)))
    assert changed.missing == ["sample-00001", "sample-00002"]
    assert left(tmp_path) == ["sample-00000"]


def test_other_settings_delete_all_clips(tmp_path: Path) -> None:
    made(tmp_path)
    assert len(card(tmp_path, {"sample-00000": "a"}, size=(1, 3)).missing) == 1
    assert left(tmp_path) == []


def test_a_clip_that_the_card_does_not_know_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "sample-00000.mp4").write_bytes(b"from elsewhere")
    assert card(tmp_path, {"sample-00000": "a"}).missing == ["sample-00000"]


def test_a_failure_stands_with_its_reason_until_the_clip_is_made(tmp_path: Path) -> None:
    first = card(tmp_path, {"sample-00000": "a"})
    first.fail("sample-00000", "no luck")
    again = card(tmp_path, {"sample-00000": "a"})
    assert again.failed == {"sample-00000": "no luck"}
    assert again.missing == ["sample-00000"]
    again.film("sample-00000").write_bytes(b"x")
    again.done("sample-00000")
    assert json.loads((tmp_path / "samples.json").read_text())["failed"] == {}


def test_seeds_differ_between_clips_and_between_runs_and_fit_every_program() -> None:
    seeds = {clip_seed(seed, number) for seed in (0, 1, -1, 12345) for number in range(100)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_prompts_begin_again_after_the_last() -> None:
    prompts = Prompts("p", "", ("a", "b"))
    assert [prompts.text(number) for number in range(5)] == ["a", "b", "a", "b", "a"]


def test_a_licence_with_a_condition_is_asked_for_by_name() -> None:
    free = Licence("net", "MIT")
    asking = Licence("weights", "CC-BY-NC 4.0", "forbids commercial use", "https://example.org/nc")
    require_accepted([free], accept_licence=False)
    require_accepted([free, asking], accept_licence=True)
    with pytest.raises(UserError) as told:
        require_accepted([free, asking], accept_licence=False)
    assert str(told.value) == (
        "weights: the licence is CC-BY-NC 4.0 (https://example.org/nc), which forbids commercial use; where that suits "
        "your use, add --accept-license"
    )


@pytest.mark.parametrize(("fps", "rate", "samples"), [(8.0, 44100, 13781), (10.0, 16000, 4000), (23.976, 48000, 4900)])
def test_a_film_holds_every_frame_and_every_sample(tmp_path: Path, fps: float, rate: int, samples: int) -> None:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 255, (5, 32, 48, 3), dtype=np.uint8)
    audio = rng.uniform(-0.5, 0.5, (1, samples)).astype(np.float32)
    write_film(tmp_path / "a.mp4", video, fps, audio, rate)
    info = media.probe(tmp_path / "a.mp4")
    assert (info.n_frames, info.width, info.height, info.sample_rate_hz) == (5, 48, 32, rate)
    assert info.fps == pytest.approx(fps, rel=1e-3)
    assert info.video_start_s == info.audio_start_s == 0
    heard = media.decode_audio(tmp_path / "a.mp4")
    assert heard.shape == audio.shape
    assert np.abs(heard - audio).max() <= 1 / 32768
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_film_that_does_not_read_back_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = media.encode
    monkeypatch.setattr(media, "encode", lambda path, video, *rest, **how: whole(path, video[:-1], *rest, **how))
    with pytest.raises(MediaError, match=r"a\.mp4: reads back with 2 frames and 3200 samples instead of 3 and 3200"):
        write_film(tmp_path / "a.mp4", np.zeros((3, 16, 16, 3), np.uint8), 10.0, np.zeros((1, 3200), np.float32), 16000)
    assert list(tmp_path.iterdir()) == []


def test_a_film_of_another_rate_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = media.encode
    monkeypatch.setattr(
        media, "encode", lambda path, video, fps, *rest, **how: whole(path, video, 2 * fps, *rest, **how)
    )
    with pytest.raises(MediaError, match=r"a\.mp4: reads back with a time stamp that is 0\.1000 s off"):
        write_film(tmp_path / "a.mp4", np.zeros((3, 16, 16, 3), np.uint8), 10.0, np.zeros((1, 4800), np.float32), 16000)
    assert list(tmp_path.iterdir()) == []
