"""Text-to-video pipelines of diffusers with random weights: the libraries' real classes at toy size, as files."""

from __future__ import annotations

from pathlib import Path

import torch

from avbench.baselines._two_step_untrained import TEXT_WIDTH, build_cogvideox, save, t5


def cogvideox(folder: Path) -> Path:
    return build_cogvideox(folder)


def wan(folder: Path) -> Path:
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        tokenizer, _ = t5()
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                
            )
        )  # fmt: skip
        vae = AutoencoderKLWan(
            base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
        )
        transformer = WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=TEXT_WIDTH,
            freq_dim=32, ffn_dim=32, num_layers=2, rope_max_seq_len=32,
        )  # fmt: skip
        scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
        pipeline = WanPipeline(tokenizer, text_encoder, vae, scheduler, transformer)
    return save(pipeline, folder)
