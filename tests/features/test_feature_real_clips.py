"""On real clips the weight-free features tell two models' sets further apart than two halves of one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from avbench import features, media
from avbench.metrics._frechet import frechet_distance

FRAMES, FPS, RATE_HZ, SAMPLES = 16, 10, 16_000, 25_600


def windows(path: Path) -> list[SimpleNamespace]:
    video = media.decode_video(path, fps=FPS, size=(64, 64))
    audio = media.decode_audio(path, sample_rate_hz=RATE_HZ, mono=True)
    return [
        SimpleNamespace(
            video=video[k * FRAMES : (k + 1) * FRAMES],
            fps=FPS,
            audio=audio[:, k * SAMPLES : (k + 1) * SAMPLES],
            sample_rate_hz=RATE_HZ,
        )
        for k in range(min(len(video) // FRAMES, audio.shape[1] // SAMPLES))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "mel"])
def test_two_sets_lie_further_apart_than_two_halves_of_one(name: str, media_assets: Path) -> None:
    feature = features.load(name)
    first, second = (
        features.embed_clips(feature, windows(media_assets / file)).values
        for file in ("mmdiff_landscape_88s.mp4", "mmdiff_aist_51s.mp4")
    )
    floor = max(frechet_distance(rows[::2], rows[1::2]) for rows in (first, second))
    assert frechet_distance(first, second) > 3 * floor
