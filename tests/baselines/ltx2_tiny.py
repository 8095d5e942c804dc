"""LTX-2's pipeline in miniature: every class of the real one, built from a configuration, weights drawn by a seed."""

from __future__ import annotations

from pathlib import Path

import torch

FRAMES, FPS, SIZE, RATE_HZ = 17, 10.0, 32, 16000
WIDTH, LAYERS, MEL_BINS = 32, 2, 8
ARGUMENTS = {
    "num_frames": FRAMES,
    "frame_rate": FPS,
    "height": SIZE,
    "width": SIZE,
    "num_inference_steps": 2,
    "guidance_scale": 2.0,
    "audio_guidance_scale": 3.0,
    "spatio_temporal_guidance_blocks": [0],
    "max_sequence_length": 16,
}


def save_ltx2(folder: Path, seed: int = 0) -> Path:
    """Write the pipeline as ``save_pretrained`` does; ``folder`` again."""
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        FlowMatchEulerDiscreteScheduler,
        LTX2Pipeline,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=WIDTH,
            vae_scale_factors=(2, 2, 2),
            audio_in_channels=2 * MEL_BINS // 4,
            audio_out_channels=2 * MEL_BINS // 4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=8,
            audio_cross_attention_dim=16,
            num_layers=LAYERS,
            caption_channels=WIDTH,
            rope_type="split",
        )
        connectors = LTX2TextConnectors(
            caption_channels=WIDTH,
            text_proj_in_factor=LAYERS + 1,
            video_connector_num_attention_heads=2,
            video_connector_attention_head_dim=WIDTH // 2,
            video_connector_num_layers=1,
            video_connector_num_learnable_registers=None,
            audio_connector_num_attention_heads=2,
            audio_connector_attention_head_dim=WIDTH // 2,
            audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=None,
            connector_rope_base_seq_len=16,
            rope_type="split",
        )
        vae = AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(8,),
            decoder_block_out_channels=(8,),
            layers_per_block=(1,),
            decoder_layers_per_block=(1, 1),
            spatio_temporal_scaling=(True,),
            decoder_spatio_temporal_scaling=(True,),
            decoder_inject_noise=(False, False),
            downsample_type=("spatial",),
            upsample_residual=(False,),
            upsample_factor=(1,),
            patch_size=1,
            decoder_causal=False,
        )
        audio_vae = AutoencoderKLLTX2Audio(
            base_channels=4,
            ch_mult=(1,),
            num_res_blocks=1,
            resolution=32,
            latent_channels=2,
            sample_rate=RATE_HZ,
            mel_hop_length=160,
            mel_bins=MEL_BINS,
        )
        vocoder = LTX2Vocoder(
            in_channels=2 * MEL_BINS,
            hidden_channels=16,
            upsample_kernel_sizes=[32, 20],
            upsample_factors=[16, 10],  # 160 samples for each column of the spectrogram
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
            output_sampling_rate=RATE_HZ,
        )
        text_encoder, tokenizer = _gemma()
    pipeline = LTX2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        audio_vae=audio_vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        connectors=connectors,
        transformer=transformer,
        vocoder=vocoder,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _gemma() -> tuple[object, object]:
    """A Gemma 3 of two thin layers, and a tokenizer of single letters."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, GemmaTokenizer

    letters = "▁abcdefghijklmnopqrstuvwxyz"
    vocabulary = {word: n for n, word in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters])}
    config = Gemma3Config(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 16,
            "patch_size": 4,
        },
        mm_tokens_per_image=4,
        image_token_index=3,
        boi_token_index=3,
        eoi_token_index=3,
    )
    return Gemma3ForConditionalGeneration(config), GemmaTokenizer(vocab=vocabulary)
