"""Codecs of the libraries' real classes, tiny and with seeded random weights, saved as their repositories hold them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from avbench import codecs

VIDEO, AUDIO = tuple(codecs.models("video")), tuple(codecs.models("audio"))

_FOUR = (8, 8, 8, 8)


def network(name: str) -> Any:
    """A network of the class that codec ``name`` loads."""
    torch.manual_seed(sum(map(ord, name)))
    if name == "sd-vae-ft-mse":
        return diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=_FOUR,
            norm_num_groups=4,
            sample_size=256,
        )
    if name == "cogvideox":
        return diffusers.AutoencoderKLCogVideoX(
            block_out_channels=_FOUR,
            norm_num_groups=2,
            layers_per_block=1,
            latent_channels=4,
            sample_height=96,  # tiles of half of this; the library's overlaps fit only into multiples of 6 and 5 cells
            sample_width=80,
        )
    if name == "wan2.1":
        return diffusers.AutoencoderKLWan(
            base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        )
    if name == "encodec":
        sizes = {"num_filters": 4, "hidden_size": 16, "num_lstm_layers": 1, "codebook_size": 16}
        return transformers.EncodecModel(transformers.EncodecConfig(**sizes))
    if name.startswith("dac"):
        ratios, rate = {"dac-44khz": ((2, 4, 8, 8), 44100)}.get(name, ((2, 4, 5, 8), 16000))
        sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 32, "n_codebooks": 2, "codebook_size": 16}
        return transformers.DacModel(transformers.DacConfig(downsampling_ratios=ratios, sampling_rate=rate, **sizes))
    return diffusers.AutoencoderOobleck(
        encoder_hidden_size=8, channel_multiples=[1] * 5, decoder_channels=8, decoder_input_channels=4
    )


def save(name: str, repo: Path) -> Path:
    """Save one as the repository of codec ``name``; returns the folder with its ``config.json``."""
    patterns = next(
        model.patterns for kind in ("video", "audio") for n, model in codecs.models(kind).items() if n == name
    )
    folder = repo / Path(patterns[0]).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network(name).save_pretrained(folder, safe_serialization=True)
    return folder
