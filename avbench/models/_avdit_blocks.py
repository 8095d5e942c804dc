"""The transformer block of AVDiT (arXiv 2405.13762): full self-attention and an MLP, modulated per noise level.

Activations are tokens (B, S, width): those of the video, slice by slice, then those of the audio. What depends on the
noise level alone is computed once per modality and time slice, in rows (B, 2N, width): the N slices of the video, then
the N of the audio. Only the result is repeated for the tokens of a slice; the video's h w tokens would otherwise repeat
the same matrix products h w times.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.models._attention import attention
from avbench.models._channels_last import pointwise


def to_tokens(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Repeat each row for the tokens of its slice: (B, 2N, C) -> (B, S, C).

    Written as views and one copy, not as an indexing: its gradient is then a sum in a fixed order on every device.

    Args:
        rows: One row per modality and slice.
        counts: Tokens of each of the 2N rows; they add up to S.
    """
    pieces = [row.expand(-1, count, -1) for row, count in zip(rows.split(1, dim=1), counts, strict=True)]
    return torch.cat(pieces, dim=1)


def modulated(tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Adaptive LayerNorm: LN(x) (1 + scale) + shift, the norm in float32 and without weights of its own."""
    normed = F.layer_norm(tokens.float(), tokens.shape[-1:])
    return (normed * (1 + scale) + shift).to(tokens.dtype)


class Block(nn.Module):
    """Attention and MLP, each behind an adaptive LayerNorm and a gate, which all begin as the identity.

    Scales and shifts are the block's own function of the noise levels. The gates' matrix is shared by all blocks, and a
    block adds a bias of its own (see `avbench.models.avdit`).

    Args:
        width: Width of a token.
        heads: Attention heads.
        hidden: Width inside the MLP.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(width, 4 * width)
        self.gate_bias = nn.Parameter(torch.zeros(2 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor, levels: Tensor, gates: Tensor, counts: Sequence[int]) -> Tensor:
        """Run the block.

        Args:
            tokens: (B, S, width).
            levels: Embedded noise levels (B, 2N, width), after their activation.
            gates: What all blocks share of the gates, (B, 2N, 2 width).
            counts: Tokens of each of the 2N rows.
        """
        rows = torch.cat([self.modulation(levels), gates + self.gate_bias], dim=-1)
        before_scale, before_shift, scale, shift, attention_gate, mlp_gate = to_tokens(rows, counts).chunk(6, dim=-1)
        tokens = tokens + attention_gate * self._attended(modulated(tokens, before_scale, before_shift))
        return tokens + mlp_gate * self._widened(modulated(tokens, scale, shift))

    def _attended(self, tokens: Tensor) -> Tensor:
        """Every token attends to every token of both modalities; no matrix of scores is kept."""
        query, key, value = pointwise(self.qkv, tokens).chunk(3, dim=-1)
        return pointwise(self.proj, attention(query, key, value, self.heads))

    def _widened(self, tokens: Tensor) -> Tensor:
        """Run the MLP."""
        widen, activation, narrow = self.mlp
        assert isinstance(widen, nn.Linear)
        assert isinstance(narrow, nn.Linear)
        return pointwise(narrow, activation(pointwise(widen, tokens)))
