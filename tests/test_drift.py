"""The drift of long clips: metrics by stretches of time, which see clips that get worse and do not see others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from avbench import drift
from avbench.errors import UserError
from avbench.protocol import Protocol
from tests.clips import RATE, clip

RULES = Protocol(
    name="toy", metrics=("av_align", "mel_fd", "flow_fd"), frames=8, fps=10, size=32, n=12, min_n=2, windows="tile",
    interval_draws=8,
)  # fmt: skip


def write(folder: Path, *, clips: int, frames: int = 48, spoilt_from_s: float | None = None, first: int = 0) -> Path:
    """Clips whose sound is drowned in noise from a time on."""
    folder.mkdir()
    for seed in range(first, first + clips):
        video, audio = clip(seed, frames=frames)
        if spoilt_from_s is not None:
            begin = round(spoilt_from_s * RATE)
            noise = np.random.default_rng(seed).normal(size=audio.shape[1] - begin)
            audio[:, begin:] = (0.3 * noise).astype(np.float32)
        np.savez(folder / f"c{seed}.npz", video=video, audio=audio, fps=10.0, sample_rate_hz=RATE)
    return folder


def test_sound_that_gets_worse_is_seen_and_a_picture_that_does_not_is_not(tmp_path: Path) -> None:
    made = write(tmp_path / "made", clips=5, spoilt_from_s=2.4)
    picture = drift.write_drift(made, write(tmp_path / "real", clips=5, first=10), RULES)
    rows = pd.read_csv(tmp_path / "made" / drift.ROWS_NAME).set_index("metric")
    assert rows.loc["mel_fd", "start_s"].tolist() == pytest.approx([0, 0.8, 1.6, 2.4, 3.2, 4.0])
    sound, motion = rows.loc["mel_fd", "value"].to_numpy(), rows.loc["flow_fd", "value"].to_numpy()
    assert sound[3:].min() > 2 * sound[:3].max()
    assert motion[3:].mean() < 2 * motion[:3].mean()
    assert (rows.loc["mel_fd", "windows"] == 5).all()
    with Image.open(picture) as shown:
        assert shown.size[0] > 600


def test_many_windows_are_gathered_into_few_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "STRETCHES", 3)
    made = write(tmp_path / "made", clips=3)
    drift.write_drift(made, write(tmp_path / "real", clips=3, first=10), RULES)
    rows = pd.read_csv(made / drift.ROWS_NAME).set_index("metric")
    assert rows.loc["mel_fd", "windows"].tolist() == [6, 6, 6]
    assert rows.loc["mel_fd", "end_s"].tolist() == pytest.approx([1.6, 3.2, 4.8])


def test_clips_of_one_window_show_no_drift(tmp_path: Path) -> None:
    made = write(tmp_path / "made", clips=3, frames=8)
    with pytest.raises(UserError, match="shorter than two windows of toy; they cannot show a drift"):
        drift.write_drift(made, write(tmp_path / "real", clips=3, first=10), RULES)
