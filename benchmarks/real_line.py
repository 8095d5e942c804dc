"""The whole line on real recordings, timed: python -m benchmarks.real_line MEDIA_FOLDER > docs/real-recordings.md

Serves the folder over HTTP on loopback, builds a dataset from a manifest of those addresses through yt-dlp, trains 20
steps, samples 8 clips and scores them. The end-to-end test runs the same functions and checks what they give.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avbench import provenance
from avbench.curate.build import Build
from avbench.dataset import dataset_card, load_index
from avbench.leaderboard.records import ResultRecord
from avbench.parallel import StageSummary
from avbench.runs import Run
from avbench.workspace import STAGES
from tests.servers import FileServer

RECIPE = """
[segment]
clip_s = 8
lead_s = 10
fps = 20
width = 160
height = 120
sample_rate_hz = 22050
channels = 1

[[filters]]
name = "silence"
max_ratio = 0.9

[[filters]]
name = "freeze"

[view]
size = 32
"""
STEPS, SAMPLES = 20, 8


@contextmanager
def served_manifest(media: Path, folder: Path) -> Iterator[Path]:
    """A table of addresses of every recording in ``media``, while a server on loopback answers them."""
    with FileServer(media) as server:
        names = sorted(p.name for p in media.iterdir() if p.suffix in (".mp4", ".webm", ".ogv"))
        rows = [f"{server.url(name)},{name.split('_')[0]}" for name in names]
        table = folder / "real.csv"
        table.write_text("url,group\n" + "\n".join(rows) + "\n")
        yield table


def build(media: Path, folder: Path, workers: int = 2) -> tuple[Build, dict[str, StageSummary]]:
    """Build the dataset below ``folder``."""
    (folder / "recipe.toml").write_text(RECIPE)
    with served_manifest(media, folder) as table:
        made = Build.open(str(table), out=folder / "dataset", recipe=str(folder / "recipe.toml"))
        with made.lock():
            return made, {name: made.stage(name, workers) for name in STAGES}


def run(dataset: Path, folder: Path) -> Run:
    """Train a tiny MM-Diffusion for `STEPS` steps and sample `SAMPLES` clips."""
    made = Run.open("mmdiffusion", "tiny", dataset=str(dataset), out=folder, steps=STEPS, n=SAMPLES)
    made.train()
    made.sample()
    return made


def report(made: Build, summaries: dict[str, StageSummary], record: ResultRecord) -> str:
    """The page."""
    index, card = load_index(made.workspace.root), dataset_card(made.workspace.root)
    lines = [
        "# The whole line on real recordings",
        "",
        f"{len(made.sources)} recordings (H.264, VP8, Theora; AAC, MP3, Vorbis; 1 to 60 frames per second, one at a",
        "variable rate; 8 to 48 kHz) were served over HTTP on loopback and taken through yt-dlp, with clips of",
        f"{made.recipe.segment.clip_s:g} s from {made.recipe.segment.lead_s:g} s on. Made by",
        "`python -m benchmarks.real_line MEDIA_FOLDER`; `tests/test_end_to_end.py` runs the same and checks it.",
        "",
        "| stage | done | dropped | failed | seconds |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {s.done} | {len(s.dropped)} | {len(s.failed)} | {s.seconds:.1f} |"
            for name, s in summaries.items()
        ),
        *(
            f"| {name} | {'' if name == 'score' else STEPS if name == 'train' else SAMPLES} | | | {seconds:.1f} |"
            for name, seconds in record.seconds.items()
        ),
        "",
        "## What was left out, and why",
        "",
        *(f"- {stage}: `{item}`: {why}" for stage, s in summaries.items() for item, why in s.dropped.items()),
        "",
        "## Clips per recording",
        "",
        "| recording | split | clips kept |",
        "|---|---|---|",
        *(f"| {source} | {rows['split'].iloc[0]} | {len(rows)} |" for source, rows in index.groupby("source_id")),
        "",
        f"Dataset sha256 `{card['dataset_sha256'][:16]}`, {len(index)} clips.",
        "",
        f"## Scores of {SAMPLES} samples after {STEPS} steps",
        "",
        "An untrained model in all but name: the numbers show that the line works, nothing else.",
        "",
        f"Protocol `{record.protocol.id}`, N used {record.n_used}.",
        "",
        "| score | value | 95% interval | floor |",
        "|---|---|---|---|",
        *(_row(score) for score in record.scores),
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, {provenance.utc_now()[:10]}.",
    ]
    return "\n".join(lines) + "\n"


def _row(score) -> str:
    if score.value is None:
        return f"| {score.metric} | | | {score.reason.split(';')[0]} |"
    interval = f"[{score.interval[0]:.3g}, {score.interval[1]:.3g}]" if score.interval else ""
    floor = f"{score.floor:.3g} ({score.floor_kind})" if score.floor is not None else ""
    return f"| {score.metric} | {score.value:.4g} | {interval} | {floor} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, help="folder of recordings with sound")
    media = parser.parse_args().media
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, summaries = build(media, folder)
        print(report(made, summaries, run(made.workspace.root, folder / "run").score(2)), end="")


if __name__ == "__main__":
    main()
