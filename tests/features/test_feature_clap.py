"""CLAP: the library's own numbers, one row per 10 s, its tower picked out of the file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from avbench import features
from avbench.errors import EnvironmentFault
from avbench.features._base import Feature

Seeded = Callable[[str], Feature]
State = Callable[[str], dict[str, Tensor]]


def noise(samples: int, clips: int = 1) -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (clips, samples)).astype(np.float32)


@pytest.mark.slow
def test_rows_are_the_librarys(seeded: Seeded, seeded_state: State) -> None:
    model = transformers.ClapAudioModelWithProjection(transformers.ClapAudioConfig())
    kept = {key: value for key, value in model.state_dict().items() if key.endswith("relative_position_index")}
    model.load_state_dict({**seeded_state("clap"), **kept}, strict=True)
    extractor = transformers.ClapFeatureExtractor(truncation="rand_trunc")
    sound = noise(100_000)
    with torch.inference_mode():
        rows = model.eval()(**extractor(sound[0], sampling_rate=48_000, return_tensors="pt")).audio_embeds.numpy()
    values = seeded("clap").embed(sound).values
    np.testing.assert_allclose(values, rows / np.linalg.norm(rows), rtol=0, atol=1e-6)
    assert np.linalg.norm(values) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_every_10_seconds_have_a_row(seeded: Seeded) -> None:
    sound = noise(2 * 480_000 + 4_799)
    values, owner = seeded("clap").embed(sound)
    np.testing.assert_array_equal(owner, [0, 0])
    for row in range(2):
        alone = seeded("clap").embed(sound[:, row * 480_000 : (row + 1) * 480_000]).values
        np.testing.assert_allclose(values[row], alone[0], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_tower_is_read_from_the_whole_networks_file(seeded: Seeded, seeded_state: State, tmp_path: Path) -> None:
    other = {
        "text_model.embeddings.word_embeddings.weight": torch.ones(2, 2),
        "logit_scale_a": torch.tensor(1.0),
        "audio_model.audio_encoder.layers.0.blocks.0.attention.self.relative_position_index": torch.zeros(
            64, 64
        ).long(),
    }
    torch.save({**seeded_state("clap"), **other}, tmp_path / "clap.bin")
    read = features.load("clap", tmp_path / "clap.bin")
    sound = noise(4_800)
    np.testing.assert_array_equal(read.embed(sound).values, seeded("clap").embed(sound).values)


@pytest.mark.slow
def test_without_the_library_one_sentence_says_so(seeded_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    state = seeded_state("clap")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EnvironmentFault, match=r"not installed; install it with `pip install 'avbench\[clap\]'`"):
        features.load("clap", state)
