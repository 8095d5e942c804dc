"""How exact are clips: every real file, and hundreds of rendered sources of random make.

    python benchmarks/curate_exact.py --media FOLDER --out FOLDER
    python benchmarks/curate_exact.py --count 500 --seed 0 --workers 2 --out FOLDER

Each source goes through the segment stage as in a build. A row per source is kept in ``OUT/*.jsonl``; a second run goes
on where the first stopped. A source and its clips are removed once their row is written, so the disk holds as many as
there are workers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from avbench import media
from avbench.curate.segment import segment
from avbench.recipe import SegmentRecipe
from avbench.workspace import Workspace, file_sha256

# Codecs that each container takes, as arguments of ffmpeg: (container, picture, sound).
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
_PICTURE = {
    "h264": _H264,
    "h264-b": ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-pix_fmt", "yuv420p"),
    "h264-444": ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p"),
    "h264-10": ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"),
    "h265": ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-x265-params", "log-level=error"),
    "mpeg4": ("-c:v", "mpeg4", "-q:v", "4", "-bf", "2", "-pix_fmt", "yuv420p"),
    "mpeg2": ("-c:v", "mpeg2video", "-q:v", "4", "-pix_fmt", "yuv420p"),
    "vp8": ("-c:v", "libvpx", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p"),
    "vp9": ("-c:v", "libvpx-vp9", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p"),
    "theora": ("-c:v", "libtheora", "-q:v", "7", "-pix_fmt", "yuv420p"),
    "mjpeg": ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p"),
}
_SOUND = {
    "aac": ("-c:a", "aac", "-b:a", "128k"),
    "mp3": ("-c:a", "libmp3lame", "-b:a", "128k"),
    "opus": ("-c:a", "libopus", "-b:a", "96k"),
    "vorbis": ("-c:a", "libvorbis", "-q:a", "4"),
    "flac": ("-c:a", "flac", "-strict", "-2"),
    "ac3": ("-c:a", "ac3", "-b:a", "192k"),
    "pcm": ("-c:a", "pcm_s16le"),
}
_CONTAINERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mp4": (("h264", "h264-b", "h264-444", "h264-10", "h265", "mpeg4"), ("aac", "mp3", "opus", "flac", "ac3")),
    "mov": (("h264", "h264-b", "mjpeg", "mpeg4"), ("aac", "pcm", "mp3")),
    "mkv": (
        ("h264", "h264-b", "h265", "mpeg4", "vp8", "vp9", "mpeg2", "mjpeg"),
        ("aac", "mp3", "opus", "vorbis", "flac", "ac3", "pcm"),
    ),
    "webm": (("vp8", "vp9"), ("opus", "vorbis")),
    "ts": (("h264", "h264-b", "h265", "mpeg2"), ("aac", "mp3", "ac3")),
    "avi": (("mpeg4", "mjpeg", "h264"), ("mp3", "ac3", "pcm")),
    "flv": (("h264", "h264-b"), ("aac",)),
    "ogv": (("theora",), ("vorbis", "flac")),
}
_RATES = ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60", "15", "10", "12.5", "47/2")
_SIZES = ((160, 120), (120, 160), (176, 100), (192, 108), (160, 90), (320, 180), (162, 122), (128, 96))
_SAMPLE_RATES = {"opus": (48000,), "mp3": (32000, 44100, 48000), "ac3": (32000, 44100, 48000)}
_LAYOUTS = ("mono", "stereo", "5.1")


def random_source(number: int, seed: int) -> dict[str, Any]:
    """What source ``number`` is made of; depends on the seed and its number alone."""
    draw = np.random.default_rng([seed, number])
    container = str(draw.choice(sorted(_CONTAINERS)))
    picture = str(draw.choice(_CONTAINERS[container][0]))
    sound = str(draw.choice(_CONTAINERS[container][1]))
    layouts = _LAYOUTS[:2] if sound == "mp3" or container == "flv" else _LAYOUTS
    rates = (22050, 44100) if container == "flv" else _SAMPLE_RATES.get(sound, (16000, 22050, 32000, 44100, 48000))
    fps = str(draw.choice(_RATES[:9] if picture == "mpeg2" or container == "avi" else _RATES))
    if picture == "mpeg2" and fps == "15":
        fps = "25"
    width, height = _SIZES[draw.integers(len(_SIZES))]
    return {
        "number": number,
        "container": container,
        "picture": picture,
        "sound": sound,
        "fps": fps,
        "vfr": bool(draw.random() < 0.2) and container in ("mp4", "mov", "mkv", "webm"),
        "interlaced": bool(draw.random() < 0.1) and picture in ("mpeg2", "h264") and container != "avi",
        "rotated": bool(draw.random() < 0.1) and container in ("mp4", "mov"),
        "width": int(width),
        "height": int(height),
        "odd": bool(draw.random() < 0.15) and picture in ("vp8", "vp9", "mjpeg"),
        "sample_rate_hz": int(draw.choice(rates)),
        "layout": str(draw.choice(layouts)),
        "seconds": round(float(draw.uniform(4.5, 7.5)), 2),
        "sound_seconds": round(float(draw.uniform(4.5, 7.5)), 2),
        "gop": int(draw.choice([1, 12, 50, 250])),
        "late_s": round(float(draw.choice([0, 0, 0, 0.021, 0.5, -0.013, -0.4])), 3),
        "lead_s": round(float(draw.uniform(0, 1.5)), 3),
        "clip_fps": float(draw.choice([10, 15, 24, 25, 30])),
        "clip_rate_hz": int(draw.choice([16000, 44100, 48000])),
        "channels": int(draw.choice([1, 2])),
        "tail": str(draw.choice(["drop", "shift"])),
        "noise_seed": int(draw.integers(1 << 30)),
    }


def render(spec: dict[str, Any], folder: Path) -> Path:
    """Make the source with the ffmpeg command line: a moving test picture and noise that swells and fades."""
    path = folder / f"s{spec['number']:04d}.{spec['container']}"
    width, height = spec["width"] - spec["odd"], spec["height"] - spec["odd"]
    if spec["interlaced"]:
        height -= height % 4  # x264 takes fields of an even height only
    filters = [f"scale={width}:{height}"]
    if spec["vfr"]:
        filters.append("select='not(eq(mod(n*7,11),3))*not(eq(mod(n,5),2))'")
    if spec["interlaced"]:
        filters.append("interlace")
    layout = spec["layout"]
    noise = f"anoisesrc=r={spec['sample_rate_hz']}:d={spec['sound_seconds']}:a=0.3:color=pink:seed={spec['noise_seed']}"
    late = max(0.0, -spec["late_s"]), max(0.0, spec["late_s"])
    command = ["-itsoffset", str(late[0]), "-f", "lavfi", "-i"]
    command += [f"testsrc2=size=192x144:rate={spec['fps']}:duration={spec['seconds']}"]
    command += ["-itsoffset", str(late[1]), "-f", "lavfi", "-i", f"{noise},tremolo=f=1.3:d=0.8"]
    command += ["-map", "0:v", "-map", "1:a", "-vf", ",".join(filters), "-fps_mode", "vfr" if spec["vfr"] else "auto"]
    command += ["-g", str(spec["gop"]), *_PICTURE[spec["picture"]], "-threads", "1"]
    if spec["interlaced"]:
        command += ["-flags", "+ilme+ildct"]
    command += [*_SOUND[spec["sound"]], "-ar", str(spec["sample_rate_hz"]), "-af", f"aformat=channel_layouts={layout}"]
    target = path if not spec["rotated"] else path.with_name(f"flat-{path.name}")
    _ffmpeg(*command, str(target))
    if spec["rotated"]:
        _ffmpeg("-display_rotation", "90", "-i", str(target), "-c", "copy", "-strict", "-2", str(path))
        target.unlink()
    return path


def _ffmpeg(*arguments: str) -> None:
    command = [media.ffmpeg_path(), "-y", "-nostdin", "-loglevel", "error", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ffmpeg: {done.stderr.strip().splitlines()[-1:]} in {' '.join(arguments)}")


def cut_all(path: Path, recipe: SegmentRecipe, folder: Path) -> dict[str, Any]:
    """Send one file through the segment stage and say what came of it."""
    ws = Workspace(folder)
    ws.raw.mkdir(parents=True, exist_ok=True)
    raw = ws.raw / f"a{path.suffix}"
    shutil.copyfile(path, raw)
    source = {
        "source_id": "a",
        "url": str(path),
        "group": "",
        "title": "",
        "licence": "",
        "sha256": "",
        "size_bytes": 0,
    }
    record = {"status": "done", "source": source, "file": raw.name, "sha256": file_sha256(raw), "error": ""}
    ws.write_record("download", "a", record)
    segment(ws, ["a"], recipe)
    told = ws.record("segment", "a")
    assert told is not None
    keys = ("verdict", "lag_s", "picture_psnr_db", "av_offset_s", "raw_av_offset_s")
    clips = [{key: clip[key] for key in keys} for clip in told["clips"]]
    failed = told["failed_clips"] or ({"a": told["reason"]} if told["status"] == "failed" else {})
    dropped = told["reason"] if told["status"] == "dropped" else ""
    return {"clips": clips, "failed": failed, "dropped": dropped}


def one_random(number: int, seed: int, out: Path) -> dict[str, Any]:
    """Render, cut, clean up."""
    spec = random_source(number, seed)
    folder = out / f"work-{number:04d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        path = render(spec, folder)
        recipe = SegmentRecipe(
            clip_s=2.0,
            lead_s=spec["lead_s"],
            tail=spec["tail"],
            fps=spec["clip_fps"],
            width=160,
            height=120,
            sample_rate_hz=spec["clip_rate_hz"],
            channels=spec["channels"],
        )
        found = cut_all(path, recipe, folder)
    except Exception as error:  # noqa: BLE001 - how many there are is measured
        found = {"clips": [], "failed": {}, "dropped": "", "exception": f"{type(error).__name__}: {error}"}
    shutil.rmtree(folder)
    return {**spec, **found}


def one_real(path: Path, clip_s: float, out: Path) -> dict[str, Any]:
    """Cut every clip of a real file."""
    folder = out / f"work-{path.name}"
    shutil.rmtree(folder, ignore_errors=True)
    recipe = SegmentRecipe(clip_s=clip_s, lead_s=0.0, tail="shift")
    try:
        found = cut_all(path, recipe, folder)
    except Exception as error:  # noqa: BLE001 - as above
        found = {"clips": [], "failed": {}, "dropped": "", "exception": f"{type(error).__name__}: {error}"}
    shutil.rmtree(folder, ignore_errors=True)
    return {"name": path.name, "clip_s": clip_s, **found}


def summary(rows: list[dict[str, Any]]) -> str:
    """One line: counts, pass share, lags."""
    clips = [clip for row in rows for clip in row["clips"]]
    failed = sum(len(row["failed"]) for row in rows)
    lags = np.array([abs(clip["lag_s"]) * 1000 for clip in clips if clip["lag_s"] is not None])
    told = (
        f"lag median {np.median(lags):.4f}, 99% {np.quantile(lags, 0.99):.4f}, largest {lags.max():.4f} ms"
        if len(lags)
        else "no lag could be measured"
    )
    exceptions = sum("exception" in row for row in rows)
    share = len(clips) / max(1, len(clips) + failed)
    return (
        f"{len(rows)} sources, {exceptions} exceptions, {sum(bool(row['dropped']) for row in rows)} without a clip; "
        f"{len(clips)} clips, {failed} failed, pass {100 * share:.2f}%; {told}; "
        f"{len(clips) - len(lags)} without comparable sound"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, help="folder of real files")
    parser.add_argument("--clip-s", type=float, nargs="+", default=[5.0, 34.0])
    parser.add_argument("--count", type=int, default=0, help="rendered sources")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="folder for rows and work in progress")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[str, Any]] = []
    if arguments.media:
        files = sorted(p for p in arguments.media.iterdir() if p.suffix not in (".tsv", ".txt", ".md"))
        jobs += [(f"{path.name}@{clip_s:g}", (one_real, path, clip_s)) for clip_s in arguments.clip_s for path in files]
    jobs += [(f"{arguments.seed}/{k}", (one_random, k, arguments.seed)) for k in range(arguments.count)]
    log = arguments.out / "rows.jsonl"
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    done = {row["key"]: row for row in (json.loads(line) for line in lines if line.endswith("\n"))}
    start = time.monotonic()
    with ProcessPoolExecutor(arguments.workers) as pool, log.open("a") as handle:
        if lines and not lines[-1].endswith("\n"):
            handle.write("\n")  # a line that a kill left half-written stays unread
        waiting = {key: pool.submit(job[0], *job[1:], arguments.out) for key, job in jobs if key not in done}
        for key, future in waiting.items():
            done[key] = {"key": key, **future.result()}
            handle.write(json.dumps(done[key]) + "\n")
            handle.flush()
            row = done[key]
            for complaint in [*row["failed"].values(), row.get("exception", "")]:
                if complaint:
                    print(f"{key}: {complaint}")
    real = [done[key] for key, job in jobs if job[0] is one_real]
    for row in real:
        print(f"{row['name']:36s} {row['clip_s']:4g} s  {row['dropped'] or summary([row])}")
    if real:
        print(f"real: {summary(real)}")
    rendered = [done[key] for key, job in jobs if job[0] is one_random]
    if rendered:
        print(f"rendered: {summary(rendered)}")
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
