"""Attention computes softmax(q k^T / sqrt(d)) v in each of its ways, and differentiates as it should."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from avbench.models import _attention as layers


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_attention_gives_each_head_its_run_of_channels() -> None:
    q, k, v = torch.randn(3, 7, 12), torch.randn(3, 9, 12), torch.randn(3, 9, 12)
    heads = []
    for h in range(3):
        part = slice(4 * h, 4 * h + 4)
        scores = (q[..., part] @ k[..., part].transpose(1, 2) / 2).softmax(-1)
        heads.append(scores @ v[..., part])
    torch.testing.assert_close(layers.attention(q, k, v, 3), torch.cat(heads, -1))


def test_attention_of_more_rows_than_a_grid_allows_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 7, 5, 8).unbind(0)
    whole, calls, fused = layers.attention(q, k, v, 2), [], F.scaled_dot_product_attention
    monkeypatch.setattr(layers, "_MAX_ROWS", 3)
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a: calls.append(len(a[0])) or fused(*a))
    torch.testing.assert_close(layers.attention(q, k, v, 2), whole)
    assert calls == [3, 3, 1]


@pytest.mark.parametrize("scores", [64, 2**20])
@pytest.mark.parametrize("loud", [1.0, 12.0])
def test_attention_in_half_precision_and_its_gradient_are_close_to_float32(
    monkeypatch: pytest.MonkeyPatch, scores: int, loud: float
) -> None:
    """Written out, one row at a time or all at once; autocast, under which networks train, changes nothing.

    The exponentials of loud queries and keys, whole numbers that bfloat16 multiplies exactly, would be infinite.
    """
    monkeypatch.setattr(layers, "_SCORES", scores)
    monkeypatch.setattr(layers, "has_bfloat16", lambda device: True)
    inputs = [torch.randn(2, tokens, 32).bfloat16() for tokens in (5, 9, 9)]
    if loud > 1:
        inputs[:2] = [(loud * x).round() for x in inputs[:2]]
        assert (inputs[0].float() @ inputs[1].float().transpose(1, 2)).amax() / 16**0.5 > 88
    grad = torch.randn(2, 5, 32).bfloat16()
    wide = [x.float().requires_grad_() for x in inputs]
    wanted = layers.attention(*wide, 2)
    wanted_grads = torch.autograd.grad(wanted, wide, grad.float())
    with torch.no_grad():
        plain = layers.attention(*inputs, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = layers.attention(*(x.requires_grad_() for x in inputs), 2)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, plain)
    torch.testing.assert_close(out.float(), wanted, atol=0.02, rtol=0.02)
    for got, want in zip(torch.autograd.grad(out, inputs, grad), wanted_grads, strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), want, atol=0.03 * loud, rtol=0.03)
