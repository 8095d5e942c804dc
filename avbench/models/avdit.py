"""AVDiT: one transformer predicts the noise of video and audio latents that may each be noisy to another degree.

Kim et al., "A Versatile Diffusion Transformer with Mixture of Noise Levels for Audiovisual Generation", NeurIPS 2024,
arXiv 2405.13762. The network computes

    (eps_v, eps_a) = eps_theta(z_v, z_a, t),    t in {0..T}^(2 x N),

with one noise level t per modality and time slice. Any part of a clip may so be told to be clean, half noisy or pure
noise, which is what makes one network good for every task (`avbench.diffusion.noise_levels`, `token_sampling`).

    latents, previous estimate -> linear -> + position --\\
                                                           tokens -> [adaptive LN, attention; adaptive LN, MLP] x L
    levels t -> sinusoids -> MLP -> + place of the slice --/   -> adaptive LN -> linear of each modality -> noise

Written from the paper's description; there is no public code or checkpoint. What it leaves open is decided so:

- *Level 0* is a clean token. Training draws 1 ... T only, so an embedding of 0 would never be trained. Clean tokens are
  told level 1, the nearest that was: there the noise has 1% of the latents' standard deviation.
- *Gates*: the paper names scale and shift "as W.A.L.T", which has gates too, and about 420 M parameters. With gates of
  their own, 24 blocks would have 467 M; so the gates' matrix is shared by all blocks.
- *The previous estimate* (self-conditioning, arXiv 2208.04202) is that of the clean latents, cut to +-4 standard
  deviations: near t = T it is a small difference divided by alpha_T = 0.006.
- *Positions* are learnt. They begin as sinusoids of the seconds that a token lies at, on one clock for both modalities,
  and of its row and column.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from avbench.errors import UserError
from avbench.models._avdit_blocks import Block, modulated, to_tokens
from avbench.models._avdit_config import PRESETS, AVDiTConfig
from avbench.models._coupled_blocks import timestep_embedding, zeroed
from avbench.models.bfloat16 import checkpoint

__all__ = ["PRESETS", "AVDiT", "AVDiTConfig"]

LEAST_LEVEL = 1
"""The least noise level that training draws, and what the network is told of clean tokens."""

PREVIOUS_LIMIT = 4.0
"""Largest value of a previous estimate, in standard deviations of the normalised latents."""


class AVDiT(nn.Module):
    """The transformer.

    Args:
        config: Sizes.
        activation_checkpointing: Recompute each block in the backward pass instead of keeping its activations.
    """

    def __init__(self, config: AVDiTConfig, *, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = activation_checkpointing
        slices, channels, height, width = config.video_size
        tokens, audio_channels = config.audio_size
        size, hidden = config.width, config.mlp_ratio * config.width
        counted = Counter(config.audio_slices)
        self.counts = (*[height * width] * slices, *[counted[number] for number in range(slices)])
        self.video_in = nn.Linear(2 * channels, size)
        self.audio_in = nn.Linear(2 * audio_channels, size)
        self.video_time = nn.Parameter(torch.empty(slices, 1, size))
        self.video_space = nn.Parameter(torch.empty(height * width, size))
        self.audio_time = nn.Parameter(torch.empty(tokens, size))
        self.slice_place = nn.Parameter(torch.empty(2 * slices, size))
        self.level_mlp = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, size))
        self.gates = nn.Linear(size, 2 * size, bias=False)
        self.blocks = nn.ModuleList(Block(size, config.heads, hidden) for _ in range(config.layers))
        self.last_modulation = nn.Linear(size, 2 * size)
        self.video_out = nn.Linear(size, channels)
        self.audio_out = nn.Linear(size, audio_channels)
        self._initialise()

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        video_levels: Tensor,
        audio_levels: Tensor,
        previous: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict the noise in noisy latents.

        Args:
            video: (B, N, C, h, w), normalised to unit variance, plus noise.
            audio: (B, M, C), likewise.
            video_levels: Noise level of each video slice, (B, N), whole numbers 0 ... T; 0 is clean.
            audio_levels: The same of the audio tokens of each slice (`AVDiTConfig.audio_slices`), (B, N).
            previous: An estimate of the clean latents, in the shapes of ``video`` and ``audio`` (self-conditioning);
                None where there is none.

        Returns:
            Predicted noise of the video (B, N, C, h, w) and of the audio (B, M, C), in the type of the inputs. The
            computation has the type of the weights, or autocast's.

        Raises:
            UserError: A shape that is not the configuration's.
        """
        self._check(video, audio, video_levels, audio_levels)
        if previous is None:
            previous = torch.zeros_like(video), torch.zeros_like(audio)
        dtype = self.video_time.dtype
        tokens = torch.cat(
            [
                self.video_in(_paired(video, previous[0], dim=2).permute(0, 1, 3, 4, 2).flatten(1, 3).to(dtype))
                + (self.video_time + self.video_space).flatten(0, 1),
                self.audio_in(_paired(audio, previous[1], dim=2).to(dtype)) + self.audio_time,
            ],
            dim=1,
        )
        levels = self._embedded(torch.cat([video_levels, audio_levels], dim=1), dtype)
        gates = self.gates(levels)
        for block in self.blocks:
            if self.activation_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, levels, gates, self.counts)
            else:
                tokens = block(tokens, levels, gates, self.counts)
        scale, shift = to_tokens(self.last_modulation(levels), self.counts).chunk(2, dim=-1)
        tokens = modulated(tokens, scale, shift)
        slices, _, height, width = self.config.video_size
        parts = tokens.split([self.config.video_tokens, self.config.audio_size[0]], dim=1)
        picture, sound = (part.contiguous() for part in parts)  # `linear` rounds otherwise where they are not
        video_noise = self.video_out(picture).unflatten(1, (slices, height, width)).permute(0, 1, 4, 2, 3)
        return video_noise.to(video.dtype).contiguous(), self.audio_out(sound).to(audio.dtype)

    def _embedded(self, levels: Tensor, dtype: torch.dtype) -> Tensor:
        """Noise levels (B, 2N) -> rows (B, 2N, width), after their activation: one per level, not one per token."""
        told = levels.clamp(min=LEAST_LEVEL)
        waves = timestep_embedding(told.flatten(), self.config.width).unflatten(0, told.shape)
        return nn.functional.silu(self.level_mlp(waves.to(dtype)) + self.slice_place)

    def _check(self, video: Tensor, audio: Tensor, video_levels: Tensor, audio_levels: Tensor) -> None:
        """Refuse shapes that would fail deep inside, or silently broadcast."""
        batch, slices = len(video), self.config.slices
        wanted = {
            "video": (video, (batch, *self.config.video_size)),
            "audio": (audio, (batch, *self.config.audio_size)),
            "video_levels": (video_levels, (batch, slices)),
            "audio_levels": (audio_levels, (batch, slices)),
        }
        for name, (tensor, shape) in wanted.items():
            if tensor.shape != shape:
                raise UserError(f"{name} is {tuple(tensor.shape)}; this network takes {shape}")

    @torch.no_grad()
    def _initialise(self) -> None:
        """Xavier for the matrices, zero for what modulates, gates and ends: every block begins as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in (self.gates, self.last_modulation, self.video_out, self.audio_out):
            zeroed(module)
        for block in self.blocks:
            assert isinstance(block, Block)
            zeroed(block.modulation)
        nn.init.normal_(self.slice_place, std=0.02)
        config = self.config
        bounds = torch.tensor(config.slice_bounds_s)
        clock = config.audio_tokens_per_s
        middles = (bounds[:-1] + bounds[1:]) / 2 * clock
        self.video_time.copy_(timestep_embedding(middles, config.width).unsqueeze(1))
        self.audio_time.copy_(timestep_embedding(torch.arange(config.audio_size[0]) + 0.5, config.width))
        _, _, height, width = config.video_size
        rows, columns = (timestep_embedding(torch.arange(n), config.width // 2) for n in (height, width))
        grid = torch.cat([rows.unsqueeze(1).expand(-1, width, -1), columns.expand(height, -1, -1)], dim=-1)
        self.video_space.copy_(grid.flatten(0, 1))


def _paired(noisy: Tensor, previous: Tensor, dim: int) -> Tensor:
    """Latents beside the previous estimate of them."""
    return torch.cat([noisy, previous.clamp(-PREVIOUS_LIMIT, PREVIOUS_LIMIT).to(noisy.dtype)], dim=dim)
