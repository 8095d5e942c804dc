"""RS-MMA against its definition written as a loop, and the parts of a Res block that a state_dict cannot show."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from avbench.models import _coupled_blocks as blocks


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _looped(q: Tensor, k: Tensor, v: Tensor, segments: int, window: int, shift: int) -> Tensor:
    """One head, one segment after the other, key positions by modular arithmetic."""
    per_query, per_key = q.shape[1] // segments, k.shape[1] // segments
    out = []
    for i in range(segments):
        stop = (i + 1) * per_query if i < segments - 1 else q.shape[1]
        seen = [((i + shift) * per_key + j) % k.shape[1] for j in range(window * per_key)]
        scores = q[:, i * per_query : stop] @ k[:, seen].transpose(1, 2) / math.sqrt(q.shape[-1])
        out.append(scores.softmax(-1) @ v[:, seen])
    return torch.cat(out, 1)


@pytest.mark.parametrize(
    ("queries", "keys", "segments", "window", "shift"),
    [
        (12, 20, 4, 1, 0),
        (12, 20, 4, 1, 3),
        (12, 20, 4, 3, 1),
        (12, 20, 4, 4, 0),
        (12, 23, 4, 1, 3),
        (12, 23, 4, 3, 1),
        (12, 23, 4, 4, 0),
        (14, 20, 4, 2, 2),
        (15, 20, 4, 4, 0),
        (11, 9, 4, 2, 2),
    ],
)
def test_windowed_attention_is_the_loop_over_segments(
    queries: int, keys: int, segments: int, window: int, shift: int
) -> None:
    """Also where the segments divide neither stream: 23 = 4 x 5 + 3 keys wrap, 14 and 15 queries leave some over."""
    q, k, v = torch.randn(2, queries, 8), torch.randn(2, keys, 8), torch.randn(2, keys, 8)
    got = blocks.windowed_attention(q, k, v, 1, segments, window, torch.tensor(shift))
    torch.testing.assert_close(got, _looped(q, k, v, segments, window, shift))


def test_window_starts_at_the_shifted_segment_and_wraps() -> None:
    """Segment i of 4, window 2, shift 1: segments i + 1 and i + 2 modulo 4; not centred on i."""
    index, run = blocks.window_index(20, 4, 2, torch.tensor(1), torch.device("cpu"))
    assert run == 5
    assert index.tolist() == [1, 2, 2, 3, 3, 0, 0, 1]


def test_window_of_a_stream_that_segments_do_not_divide_moves_by_samples() -> None:
    """7 samples in 3 segments of 2: the last window takes the sample left over, then wraps."""
    index, run = blocks.window_index(7, 3, 2, torch.tensor(1), torch.device("cpu"))
    assert run == 1
    assert index.view(3, 4).tolist() == [[2, 3, 4, 5], [4, 5, 6, 0], [6, 0, 1, 2]]


def test_cross_attention_reads_only_the_window_of_the_other_stream() -> None:
    """Changing the sound of segment 3 changes exactly the frames whose window holds it."""
    block = blocks.CrossAttention(8, 2, 4, window=2, shifted=True)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    block.a_norm = torch.nn.Identity()  # type: ignore[assignment]  # it would spread the change over the clip
    video, audio = torch.randn(1, 6, 2, 2, 8), torch.randn(1, 24, 8)
    other = audio.clone()
    other[:, 12:16] += 1
    changed = block(video, audio, torch.tensor(1))[0] - block(video, other, torch.tensor(1))[0]
    assert [bool(frame.abs().max() > 1e-6) for frame in changed[0]] == [False, True, True, False, False, False]


@pytest.mark.parametrize("resample", ["keep", "down", "up"])
def test_a_new_res_block_changes_nothing_but_the_resolution(resample: blocks.Resample) -> None:
    res = blocks.ResBlock(
        8,
        8,
        emb_channels=6,
        audio_dilation=2,
        groups=4,
        heads=2,
        dropout=0.0,
        resample=resample,
        video_attention=True,
        audio_attention=True,
    )
    video, audio = torch.randn(2, 3, 4, 4, 8), torch.randn(2, 16, 8)
    expected = (video, audio)
    if resample != "keep":
        expected = (blocks.layers.pool if resample == "down" else blocks.layers.repeat)(video, audio)
    for got, wanted in zip(res(video, audio, torch.randn(2, 6)), expected, strict=True):
        assert torch.equal(got, wanted)


def test_timestep_embedding_is_cosines_then_sines_from_fast_to_slow() -> None:
    embedding = blocks.timestep_embedding(torch.tensor([0, 3]), 4)
    fast, slow = 3.0, 3.0 / 100
    expected = [[1, 1, 0, 0], [math.cos(fast), math.cos(slow), math.sin(fast), math.sin(slow)]]
    torch.testing.assert_close(embedding, torch.tensor(expected))
