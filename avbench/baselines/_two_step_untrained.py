"""A text-to-video pipeline of a megabyte with random weights: the classes of CogVideoX, built from configurations.

It lets the whole line run without a network (``--preset tiny``). What it makes is noise, and says so.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from avbench.workspace import fsync_tree

SEED = 0
TEXT_WIDTH = 32
_LETTERS = " ▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"-()"


def build_cogvideox(folder: Path) -> Path:
    """The pipeline as files in ``folder``, made there unless it is there already; always of the same weights.

    It makes 17 frames of 64x64, or any number 1 + 4k of another size in steps of 16 pixels.
    """
    if (folder / "model_index.json").is_file():
        return folder
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vae = AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            sample_height=64,
            sample_width=64,
        )
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            time_embed_dim=16,
            text_embed_dim=TEXT_WIDTH,
            num_layers=2,
            sample_width=8,
            sample_height=8,
            sample_frames=17,
        )
        tokenizer, text_encoder = t5()
    pipeline = CogVideoXPipeline(tokenizer, text_encoder, vae, transformer, CogVideoXDDIMScheduler())
    return save(pipeline, folder)


def t5() -> tuple[object, object]:
    """A tokenizer of single letters, and a text encoder with random weights."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -4.0) for letter in _LETTERS)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    config = T5Config(vocab_size=len(pieces), d_model=TEXT_WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return tokenizer, T5EncoderModel(config)


def quiet() -> None:
    """Keep the libraries from drawing bars of their own across ours."""
    from diffusers.utils import logging
    from transformers.utils import logging as text_logging

    logging.disable_progress_bar()
    text_logging.disable_progress_bar()


def save(pipeline: object, folder: Path) -> Path:
    """Write a pipeline where nothing or a half-written one was; it is whole when it is there."""
    scratch = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    quiet()
    pipeline.save_pretrained(scratch, safe_serialization=True)  # type: ignore[attr-defined]
    fsync_tree(scratch)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    return folder
