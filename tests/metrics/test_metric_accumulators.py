"""Accumulators: batches, processes, checkpoints and devices do not change what the pure functions give."""

from __future__ import annotations

import functools
import io
import pickle

import numpy as np
import pytest
import torch

from avbench.errors import UserError
from avbench.metrics import (
    AVAlign,
    FrechetDistance,
    KernelDistance,
    frechet_distance,
    kernel_audio_distance,
    polynomial_mmd,
)
from avbench.metrics._base import ClipSignals
from avbench.metrics.av_align import per_clip

KINDS = {
    "frechet": (FrechetDistance, frechet_distance),
    "frechet0": (functools.partial(FrechetDistance, ddof=0), functools.partial(frechet_distance, ddof=0)),
    "kvd": (KernelDistance, polynomial_mmd),
    "kad": (functools.partial(KernelDistance, kernel_audio_distance), kernel_audio_distance),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def rows(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 7)).astype(np.float32) + np.float32(shift)


def fed(kind: str, generated, reference, batch: int = 1000):
    made = KINDS[kind][0]()
    for side, real in ((reference, True), (generated, False)):
        for at in range(0, len(side), batch):
            made.update(side[at : at + batch], real=real)
    return made


@each_kind
@pytest.mark.parametrize("batch", [1, 13, 1000])
def test_batches_give_what_the_function_gives(kind: str, batch: int) -> None:
    x, y = rows(60, 0, 0.2), rows(80, 1)
    assert fed(kind, x, y, batch).compute() == pytest.approx(KINDS[kind][1](x, y), rel=1e-10)


@each_kind
def test_it_goes_on_after_a_look_and_begins_anew_after_a_reset(kind: str) -> None:
    x, y = rows(60, 0, 0.2), rows(80, 1)
    made = fed(kind, x[:20], y)
    assert made.compute() == pytest.approx(KINDS[kind][1](x[:20], y), rel=1e-10)
    made.update(x[20:], real=False)
    assert made.compute() == pytest.approx(KINDS[kind][1](x, y), rel=1e-10)
    made.reset()
    made.update(x, real=True)
    made.update(y, real=False)
    assert made.compute() == pytest.approx(KINDS[kind][1](y, x), rel=1e-10)


@each_kind
def test_processes_merge_to_one(kind: str) -> None:
    x, y = rows(60, 0, 0.2), rows(80, 1)
    total, parts = KINDS[kind][0](), [fed(kind, x[i::3], y[i::3]) for i in range(3)]
    for part in parts:
        total.merge(pickle.loads(pickle.dumps(part)))
    total.merge(KINDS[kind][0]())
    assert total.compute() == pytest.approx(KINDS[kind][1](x, y), rel=1e-10)
    assert parts[0].compute() == pytest.approx(KINDS[kind][1](x[0::3], y[0::3]), rel=1e-10)


@each_kind
def test_a_checkpoint_keeps_what_was_seen_and_nothing_of_before(kind: str) -> None:
    x, y = rows(60, 0, 0.2), rows(80, 1)
    made = fed(kind, x[:20], y)
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    back = fed(kind, x[50:], x)  # another past, which the state replaces
    back.load_state_dict(torch.load(file, weights_only=True))
    for one in (made, back):
        one.update(x[20:], real=False)
    assert back.compute() == pytest.approx(made.compute(), rel=1e-12)
    empty = KINDS[kind][0]()
    empty.load_state_dict(KINDS[kind][0]().state_dict())
    with pytest.raises(UserError, match=r"no (generated|reference) features"):
        empty.compute()


@each_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_tensors_are_taken_in_any_precision_and_without_their_graph(kind: str, dtype: torch.dtype) -> None:
    x, y = (torch.from_numpy(side).to(dtype).requires_grad_() for side in (rows(60, 0, 0.2), rows(80, 1)))
    expected = KINDS[kind][1](*(side.detach().double().numpy() for side in (x, y)))
    assert fed(kind, x, y).compute() == pytest.approx(expected, rel=1e-9)


@each_kind
def test_rows_are_copied(kind: str) -> None:
    x, y = torch.from_numpy(rows(60, 0, 0.2)), rows(80, 1)
    made = fed(kind, x, y)
    before = made.compute()
    x += 5
    y += 9
    assert made.compute() == before


@pytest.mark.gpu
@each_kind
def test_tensors_on_a_gpu_give_the_same(kind: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    x, y = rows(60, 0, 0.2), rows(80, 1)
    on_gpu = fed(kind, torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda())
    assert on_gpu.compute() == pytest.approx(fed(kind, x, y).compute(), rel=1e-12)


def test_the_state_of_a_frechet_distance_is_bounded_by_the_dimension() -> None:
    made = fed("frechet", rows(3000, 0), rows(3000, 1))
    assert sum(tensor.numel() for tensor in made.state_dict().values()) == 2 * (1 + 7 + 49)


@each_kind
def test_a_batch_that_does_not_fit_changes_nothing(kind: str) -> None:
    x, y = rows(60, 0, 0.2), rows(80, 1)
    made = fed(kind, x, y)
    before = made.compute()
    with pytest.raises(UserError, match="7 dimensions and further generated features"):
        made.update(x[:, :3], real=False)
    with pytest.raises(UserError, match="NaN"):
        made.update(x * np.nan, real=True)
    assert made.compute() == before


def test_what_does_not_belong_together_is_not_merged() -> None:
    with pytest.raises(UserError, match="ddof 1 cannot take up one with ddof 0"):
        FrechetDistance().merge(FrechetDistance(ddof=0))
    one, other = FrechetDistance(), FrechetDistance()
    one.update(rows(9, 0), real=True)
    other.update(rows(9, 0)[:, :3], real=True)
    with pytest.raises(UserError, match="dimensions"):
        one.merge(other)
    state = fed("frechet", rows(9, 0), rows(9, 1)).state_dict()
    del state["reference.mean"]
    with pytest.raises(UserError, match=r"no tensor 'reference\.mean'"):
        FrechetDistance().load_state_dict(state)


def clips(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 256, (n, 12, 24, 24, 3), dtype=np.uint8)
    return video, rng.uniform(-0.5, 0.5, (n, 2, 19_200)).astype(np.float32)


@pytest.fixture(scope="module")
def _compiled() -> None:
    """The first onsets of a process compile librosa's peak picking, which takes seconds."""
    video, audio = clips(1, 0)
    AVAlign().update(video, audio, fps=10, sample_rate_hz=16_000)


@pytest.mark.usefixtures("_compiled")
def test_av_align_is_the_mean_over_the_clips_that_have_a_score() -> None:
    video, audio = clips(4, 0)
    video[3], audio[3] = 0, 0  # nothing moves or sounds
    expected = [per_clip(ClipSignals(video[i], 10, audio[i], 16_000)) for i in range(3)]
    one, other = AVAlign(), AVAlign()
    one.update(torch.from_numpy(video[:2]), torch.from_numpy(audio[:2]), fps=10, sample_rate_hz=16_000)
    other.update(video[2:], audio[2:], fps=10, sample_rate_hz=16_000)
    one.merge(pickle.loads(pickle.dumps(other)))
    assert one.compute() == pytest.approx(np.mean(expected))
    assert one.n_undefined == 1
    back = AVAlign()
    back.load_state_dict(one.state_dict())
    assert (back.compute(), back.n_undefined) == (one.compute(), 1)
    one.reset()
    with pytest.raises(UserError, match="undefined on all 0 clips"):
        one.compute()


def test_av_align_refuses_what_is_no_batch_of_clips() -> None:
    video, audio = clips(2, 0)
    made = AVAlign()
    for pictures, sound in ((video[0], audio), (video / 255, audio), (video, audio[:1]), (video, audio[:, 0])):
        with pytest.raises(UserError, match=r"takes (video uint8 \(B, T, H, W, 3\)|audio float \(B, C, L\))"):
            made.update(pictures, sound, fps=10, sample_rate_hz=16_000)
    with pytest.raises(UserError, match="NaN"):
        made.update(video, audio * np.nan, fps=10, sample_rate_hz=16_000)
    assert made.state_dict()["values"].numel() == 0
