"""Runs in the environment of MMAudio, not in that of avbench: the networks are loaded once, then each line is a clip.

`avbench.baselines._two_step_mmaudio` hands the text of this file to MMAudio's Python. So it imports nothing of avbench,
and MMAudio's modules by their names: none of them is installed where avbench is. It calls the public functions of
MMAudio at the commit of the recipe, with what its own program for one clip gives them, so the sounds are those of that
program. Each clip gets a generator of its own seed, and nothing else of one clip lives on to the next.

The first line of the input says which networks: ``variant``, ``device``, ``steps``, ``guidance``, ``full_precision``.
Every other line is a clip: ``film``, ``seconds``, ``prompt``, ``negative_prompt``, ``seed``, and the file ``sound``
that is written. Each line is answered with one. Nothing is caught: a clip that fails ends the program, its traceback is
the last that is printed, and the next clip gets a new one.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer every line; the input's end is the end."""
    # the answers have a channel of their own: what libraries print goes to the log
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    make = _loaded(json.loads(sys.stdin.readline()))
    while True:
        answers.write("{}\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            return
        make(json.loads(line))


def _loaded(told: dict[str, Any]) -> Any:
    """Load the networks; a function that makes the sound of one clip."""
    import torch
    import torchaudio

    evaluation = importlib.import_module("mmaudio.eval_utils")
    networks = importlib.import_module("mmaudio.model.networks")
    flow_matching = importlib.import_module("mmaudio.model.flow_matching")
    features = importlib.import_module("mmaudio.model.utils.features_utils")

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    device, dtype = told["device"], torch.float32 if told["full_precision"] else torch.bfloat16
    files = evaluation.all_model_cfg[told["variant"]]
    files.download_if_needed()
    lengths = files.seq_cfg
    with torch.inference_mode():
        net = networks.get_my_mmaudio(files.model_name).to(device, dtype).eval()
        net.load_weights(torch.load(files.model_path, map_location=device, weights_only=True))
        utils = features.FeaturesUtils(
            tod_vae_ckpt=files.vae_path,
            synchformer_ckpt=files.synchformer_ckpt,
            enable_conditions=True,
            mode=files.mode,
            bigvgan_vocoder_ckpt=files.bigvgan_16k_path,
            need_vae_encoder=False,
        )
        utils = utils.to(device, dtype).eval()
    solver = flow_matching.FlowMatching(min_sigma=0, inference_mode="euler", num_steps=told["steps"])

    def make(clip: dict[str, Any]) -> None:
        with torch.inference_mode():
            shown = evaluation.load_video(Path(clip["film"]), clip["seconds"], load_all_frames=False)
            lengths.duration = shown.duration_sec
            net.update_seq_lengths(lengths.latent_seq_len, lengths.clip_seq_len, lengths.sync_seq_len)
            sounds = evaluation.generate(
                shown.clip_frames.unsqueeze(0),
                shown.sync_frames.unsqueeze(0),
                [clip["prompt"]],
                negative_text=[clip["negative_prompt"]],
                feature_utils=utils,
                net=net,
                fm=solver,
                rng=torch.Generator(device=device).manual_seed(clip["seed"]),
                cfg_strength=told["guidance"],
            )
            torchaudio.save(clip["sound"], sounds.float().cpu()[0], lengths.sampling_rate)

    return make


if __name__ == "__main__":
    main()
