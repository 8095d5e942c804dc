"""Building blocks of MM-Diffusion's coupled U-Net (Ruan et al., arXiv 2212.09478).

Activations are channels-last: video (B, F, H, W, C) and audio (B, L, C). Parameter names and shapes are those of the
published checkpoints (researchmm/MM-Diffusion), which is why some modules hold a convolution they never call.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.models import _channels_last as layers
from avbench.models._attention import attention
from avbench.models._group_norm import group_norm

M = TypeVar("M", bound=nn.Module)
Resample = Literal["keep", "down", "up"]


class GroupNorm(nn.Module):
    """GroupNorm over all frames, pixels or samples, optionally followed by a per-sample scale and shift."""

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__()
        self.GroupNorm = nn.GroupNorm(groups, channels)

    def forward(
        self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, *, silu: bool = False
    ) -> Tensor:
        """See `_group_norm.group_norm`."""
        return group_norm(x, self.GroupNorm, scale, shift, silu=silu)


class Activated(nn.Sequential):
    """GroupNorm, SiLU, then the rest; the first two are computed as one."""

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """``scale`` and ``shift`` go to the GroupNorm."""
        return self.rest(self.activated(x, scale, shift))

    def activated(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Run the GroupNorm and SiLU."""
        return self[0](x, scale, shift, silu=True)

    def rest(self, x: Tensor) -> Tensor:
        """Run what follows them."""
        for layer in list(self)[2:]:
            x = layer(x)
        return x


class VideoConv(nn.Module):
    """2D + 1D convolution: 3x3 inside each frame, then 3 along time, nothing between."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.video_conv_spatial = nn.Conv2d(in_channels, out_channels, 3)
        self.video_conv_temporal = nn.Conv1d(out_channels, out_channels, 3)

    def forward(self, video: Tensor) -> Tensor:
        """(B, F, H, W, C_in) -> (B, F, H, W, C_out)."""
        return layers.conv_temporal(self.video_conv_temporal, layers.conv_spatial(self.video_conv_spatial, video))


class AudioConv(nn.Module):
    """Dilated 1D convolution, kernel 3, on the waveform."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.audio_conv = nn.Conv1d(in_channels, out_channels, 3, dilation=dilation)

    def forward(self, audio: Tensor) -> Tensor:
        """(B, L, C_in) -> (B, L, C_out)."""
        return layers.conv_audio(self.audio_conv, audio)


class VideoPointwise(nn.Module):
    """1x1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.video_conv = nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, video: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out)."""
        return layers.pointwise(self.video_conv, video)


class AudioPointwise(nn.Module):
    """1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.audio_conv = nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, audio: Tensor) -> Tensor:
        """(..., C_in) -> (..., C_out)."""
        return layers.pointwise(self.audio_conv, audio)


class VideoHead(nn.Module):
    """3x3x3 convolution that ends the video stream."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.video_conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)

    def forward(self, video: Tensor) -> Tensor:
        """(B, F, H, W, C_in) -> (B, F, H, W, C_out)."""
        return layers.conv_frames(self.video_conv, video)


class Stem(nn.Module):
    """First convolution of each stream."""

    def __init__(self, video_channels: int, audio_channels: int, out_channels: int) -> None:
        super().__init__()
        self.video_conv = VideoConv(video_channels, out_channels)
        self.audio_conv = AudioConv(audio_channels, out_channels)

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Lift both streams to ``out_channels``."""
        return self.video_conv(video), self.audio_conv(audio)


class SelfAttention(nn.Module):
    """Multi-head self-attention inside one stream, with its own GroupNorm and a residual."""

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend among the tokens of each row: (N, T, C) -> (N, T, C)."""
        q, k, v = layers.pointwise(self.qkv, self.norm(x)).chunk(3, -1)
        return layers.plus(x, layers.pointwise(self.proj_out, attention(q, k, v, self.heads)))


class ResBlock(nn.Module):
    """Residual block of both streams side by side, under one time-dependent scale and shift.

    Re-sampling comes after the first convolution, and on the skip path.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        emb_channels: int,
        audio_dilation: int,
        groups: int,
        heads: int,
        dropout: float,
        resample: Resample = "keep",
        video_attention: bool = False,
        audio_attention: bool = False,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.video_in_layers = Activated(
            GroupNorm(groups, in_channels), nn.SiLU(), VideoConv(in_channels, out_channels)
        )
        self.audio_in_layers = Activated(
            GroupNorm(groups, in_channels), nn.SiLU(), AudioConv(in_channels, out_channels, audio_dilation)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, 2 * out_channels))
        self.video_out_layers = Activated(
            GroupNorm(groups, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(VideoPointwise(out_channels, out_channels)),
        )
        self.audio_out_layers = Activated(
            GroupNorm(groups, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(AudioPointwise(out_channels, out_channels)),
        )
        same = in_channels == out_channels
        self.video_skip_connection = nn.Identity() if same else VideoPointwise(in_channels, out_channels)
        self.audio_skip_connection = nn.Identity() if same else AudioPointwise(in_channels, out_channels)
        self.spatial_attention_block = SelfAttention(out_channels, heads, groups) if video_attention else None
        self.temporal_attention_block = SelfAttention(out_channels, heads, groups) if video_attention else None
        self.audio_attention_block = SelfAttention(out_channels, heads, groups) if audio_attention else None

    def forward(self, video: Tensor, audio: Tensor, emb: Tensor) -> tuple[Tensor, Tensor]:
        """Transform both streams given the time embedding ``emb`` (B, E)."""
        inner_video, inner_audio = self.video_in_layers(video), self.audio_in_layers(audio)
        if self.resample == "down":
            inner_video, inner_audio = layers.pool(inner_video, inner_audio)
            video, audio = layers.pool(video, audio)
        scale, shift = self.emb_layers(emb).chunk(2, -1)
        inner_video = self.video_out_layers.activated(inner_video, scale, shift)
        inner_audio = self.audio_out_layers.activated(inner_audio, scale, shift)
        if self.resample == "up" and self.training:
            # The paper repeats before the norm, which changes no statistic; only dropout tells the copies apart.
            inner_video, inner_audio = layers.repeat(inner_video, inner_audio)
            video, audio = layers.repeat(video, audio)
        video = layers.plus(self.video_skip_connection(video), self.video_out_layers.rest(inner_video))
        audio = layers.plus(self.audio_skip_connection(audio), self.audio_out_layers.rest(inner_audio))
        if self.resample == "up" and not self.training:
            video, audio = layers.repeat(video, audio)
        if self.audio_attention_block is not None:
            audio = self.audio_attention_block(audio)
        return self._attend_video(video), audio

    def _attend_video(self, video: Tensor) -> Tensor:
        """Attend over the pixels of each frame, then over the frames of each pixel."""
        if self.spatial_attention_block is None or self.temporal_attention_block is None:
            return video
        batch, frames, height, width, _ = video.shape
        tokens = self.spatial_attention_block(video.flatten(0, 1).flatten(1, 2))
        tokens = tokens.unflatten(0, (batch, frames)).transpose(1, 2).contiguous().flatten(0, 1)
        tokens = self.temporal_attention_block(tokens)
        return tokens.unflatten(0, (batch, -1)).transpose(1, 2).unflatten(2, (height, width)).contiguous()


class CrossAttention(nn.Module):
    """Random-shift multi-modal attention, RS-MMA: each stream queries a window of the other.

    The clip is F segments: frame i of the video, and the p = floor(L / F) samples under it. Segment i sees the segments
    i + R, ..., i + R + S - 1 (modulo F) of the other stream, with window S and one shift R for the whole batch and
    both directions:

        video_i += W_v softmax(q(video_i) k(audio_{i+R .. i+R+S-1})^T / sqrt(d)) v(audio_{i+R .. i+R+S-1})
        audio_i += W_a softmax(q(audio_i) k(video_{i+R .. i+R+S-1})^T / sqrt(d)) v(video_{i+R .. i+R+S-1})

    The published code loops over the segments; here each direction is one attention with the segments as its batch.
    """

    def __init__(self, channels: int, heads: int, groups: int, window: int | None, shifted: bool) -> None:
        """Make the block; ``window`` None means the whole clip, ``shifted`` False means R = 0."""
        super().__init__()
        self.heads = heads
        self.window = window
        self.shifted = shifted
        self.v_norm = GroupNorm(groups, channels)
        self.a_norm = GroupNorm(groups, channels)
        self.v_qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.a_qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.video_proj_out = zeroed(VideoPointwise(channels, channels))
        self.audio_proj_out = zeroed(AudioPointwise(channels, channels))

    def forward(self, video: Tensor, audio: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        """Add to each stream what it reads from the other; ``shift`` is R, an integer tensor of no dimension."""
        frames = video.shape[1]
        window = frames if self.window is None else self.window
        video_q, video_k, video_v = layers.pointwise(self.v_qkv, self.v_norm(video)).flatten(1, 3).chunk(3, -1)
        audio_q, audio_k, audio_v = layers.pointwise(self.a_qkv, self.a_norm(audio)).chunk(3, -1)
        seen = windowed_attention(video_q, audio_k, audio_v, self.heads, frames, window, shift)
        heard = windowed_attention(audio_q, video_k, video_v, self.heads, frames, window, shift)
        seen, heard = self.video_proj_out(seen.view_as(video)), self.audio_proj_out(heard)
        return layers.plus(video, seen), layers.plus(audio, heard)


def windowed_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, segments: int, window: int, shift: Tensor | None
) -> Tensor:
    """Attention from every segment of one stream to a window of segments of the other.

    Where the segments do not divide a stream evenly, its last queries belong to the last segment and its key positions
    wrap modulo its length, as in the published code.

    Args:
        q: Queries (B, T, C) of one stream.
        k: Keys (B, S, C) of the other.
        v: Values (B, S, C) of the other.
        heads: Attention heads.
        segments: F.
        window: Segments seen by each.
        shift: R, an integer tensor of no dimension; None is 0.

    Returns:
        (B, T, C).
    """
    length = k.shape[1]
    per_segment = length // segments
    if per_segment * window == length:
        return attention(q, k, v, heads)
    index, run = window_index(length, segments, window, shift, k.device)
    k, v = (_take(x, index, run).unflatten(1, (segments, -1)) for x in (k, v))
    whole = q.shape[1] // segments * segments
    rows = q[:, :whole].unflatten(1, (segments, -1)).flatten(0, 1)
    out = attention(rows, k.flatten(0, 1), v.flatten(0, 1), heads).reshape(q.shape[0], whole, -1)
    if whole == q.shape[1]:
        return out
    return torch.cat([out, attention(q[:, whole:], k[:, -1], v[:, -1], heads)], 1)


def window_index(
    length: int, segments: int, window: int, shift: Tensor | None, device: torch.device
) -> tuple[Tensor, int]:
    """Which runs of key positions each segment sees.

    Returns:
        index: Run numbers (F x runs per window), flat, segment after segment.
        run: Positions per run: a whole segment, or one position where the segments do not divide ``length``.
    """
    per_segment = length // segments
    run = per_segment if length % segments == 0 else 1
    runs = per_segment // run
    start = torch.arange(segments, device=device) * runs
    if shift is not None:
        start = start + shift * runs
    index = (start.unsqueeze(1) + torch.arange(window * runs, device=device)) % (length // run)
    return index.flatten(), run


def _take(x: Tensor, index: Tensor, run: int) -> Tensor:
    """Gather runs of ``run`` tokens of (B, T, C) -> (B, len(index) * run, C)."""
    return x.unflatten(1, (-1, run)).index_select(1, index).flatten(1, 2)


def timestep_embedding(timesteps: Tensor, channels: int) -> Tensor:
    """Sinusoids [cos, sin] with periods 2 pi ... 2 pi 10^4: (B,) -> (B, channels), float32."""
    half = channels // 2
    exponent = torch.arange(half, device=timesteps.device, dtype=torch.float32) / half
    angle = timesteps.float().unsqueeze(1) * torch.pow(1e4, -exponent)
    return F.pad(torch.cat([angle.cos(), angle.sin()], 1), (0, channels % 2))


def zeroed(module: M) -> M:
    """Set every parameter to zero, so that the block begins as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
