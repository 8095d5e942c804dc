"""Write av_align_golden.json: what the public codes find in a window of every real clip.

    python -m tests.metrics.make_av_align_golden --public TEMPOTOKENS_CLONE --javis JAVISDIT_CLONE --media FOLDER

A window is so many frames of a file and the samples of the same time, cut from the wav that ffmpeg extracts; the public
functions get the frames as they decode them and the wav of the window. Whole clips take minutes and are compared by
benchmarks/av_align_public.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import librosa
from scipy.io import wavfile

from benchmarks.av_align_public import load_public, of_public_javis, to_wav

WINDOWS = {
    "midisurf_gameplay_106s.mp4": (600, 40),
    "mmdiff_aist_51s.mp4": (0, 150),
    "mmdiff_landscape_88s.mp4": (0, 150),
    "myrkur_gameplay_33s.mp4": (0, 100),
    "nasa_13013_16s.mp4": (0, 150),
    "opencast_black_40s.mp4": (0, 40),
    "ossia_graph_vfr_15s.mp4": (115, 20),
    "popcorn_test_64s.webm": (0, 150),
    "robopianist_entertainer_29s.mp4": (0, 6),
    "timecode_42s.mp4": (0, 15),
}
"""Clip to (first frame, frames): as much as a test has time for. OpenCV gives the public code no frame of the ogv."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("public", "javis", "media"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    tempo = load_public(args.public / "av_align.py")
    javis = load_public(args.javis / "eval" / "javisbench" / "src" / "av_align.py")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (first, count) in WINDOWS.items():
            frames, fps = tempo.extract_frames(str(args.media / name))
            rate, levels = wavfile.read(to_wav(args.media / name, Path(folder) / "whole.wav"))
            wav = Path(folder) / "window.wav"
            wavfile.write(wav, rate, levels[round(first / fps * rate) : round((first + count) / fps * rate)])
            audio_s = tempo.detect_audio_peaks(str(wav))
            motion, video_s = tempo.detect_video_peaks(frames[first : first + count], fps)
            onsets, peaks, score = of_public_javis(javis, fps, motion, wav)
            found[name] = {
                "first_frame": first,
                "frames": count,
                "onsets_s": [round(float(t), 6) for t in audio_s],
                "motion_peaks_s": [round(float(t), 6) for t in video_s],
                "score": None
                if not len(audio_s) + len(video_s)
                else tempo.calc_intersection_over_union(audio_s, video_s, fps),
                "javis_onsets_s": [round(t, 6) for t in onsets],
                "javis_motion_peaks": len(peaks),
                "javis_score": score,
            }
    about = {
        "made_by": "python -m tests.metrics.make_av_align_golden",
        "tempotokens": "guyyariv/TempoTokens:av_align.py at bf0b1e3",
        "javisbench": "JavisVerse/JavisDiT:eval/javisbench/src/av_align.py at b505b37",
        "opencv": cv2.__version__,
        "librosa": librosa.__version__,
    }
    target = Path(__file__).with_name("av_align_golden.json")
    target.write_text(json.dumps({"about": about, "clips": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
