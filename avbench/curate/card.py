"""The dataset card: ``README.md`` with the header a Hugging Face hub reads, and what a person should know before use.

Every figure comes from the index and ``DATASET.json``. There is no time stamp, so the same data gives the same bytes.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from avbench.curate import _splits, licences

Row = dict[str, Any]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def readme(card: dict[str, Any], rows: Sequence[Row], *, with_media: bool = True) -> str:
    """The text of the card.

    Args:
        card: `DATASET.json`, its ``files`` aside.
        rows: The index.
        with_media: False for a release that holds the list of clips and no media.

    Returns:
        Markdown with a YAML header.
    """
    parts = [
        _header(card, rows, with_media),
        f"# {card['name']} {card['version']}\n",
        _what(card, rows, with_media),
        _how(card, rows),
        _drops(card),
        _split_table(card),
        _licence_table(rows),
        _release(card, with_media),
        _reading(card, with_media),
    ]
    if card.get("citation"):
        parts.append(f"## Citation\n\n{card['citation']}\n")
    return "\n".join(parts)


def data_files(card: dict[str, Any], with_media: bool) -> dict[str, str]:
    """Glob of the files of each split that holds clips."""
    suffix = "-*.tar" if with_media else ".parquet"
    filled = [split for split in _splits.SPLITS if card["splits"][split]["clips"]]
    return {split: f"{split}{suffix}" for split in filled}


def exactness(rows: Sequence[Row]) -> dict[str, Any]:
    """What reading every clip back has found, over the index.

    Returns:
        ``verdicts`` (clips by verdict), ``compared`` (clips whose sound was compared with the source's), and, where
        there are any, ``median_lag_ms``, ``largest_lag_ms``, ``lowest_psnr_db`` and ``largest_offset_ms``.
    """
    lags = [abs(row["lag_s"]) for row in rows if row["lag_s"] is not None]
    psnr = [row["picture_psnr_db"] for row in rows if row["picture_psnr_db"] is not None]
    offsets = [abs(row["av_offset_s"]) for row in rows if row["av_offset_s"] is not None]
    told: dict[str, Any] = {
        "verdicts": dict(sorted(Counter(row["verdict"] or "not read back" for row in rows).items())),
        "compared": len(lags),
    }
    if lags:
        told |= {"median_lag_ms": 1000 * statistics.median(lags), "largest_lag_ms": 1000 * max(lags)}
    if psnr:
        told["lowest_psnr_db"] = min(psnr)
    if offsets:
        told["largest_offset_ms"] = 1000 * max(offsets)
    return told


def _header(card: dict[str, Any], rows: Sequence[Row], with_media: bool) -> str:
    size = next((name for limit, name in _SIZES if len(rows) < limit), "n>1M")
    files = [
        line
        for split, glob in data_files(card, with_media).items()
        for line in (f"  - split: {split}", f"    path: {json.dumps(glob)}")
    ]
    tags = ["audio-video", "video", "audio", "croissant", *(["webdataset"] if with_media else [])]
    return "\n".join(
        [
            "---",
            f"pretty_name: {json.dumps(card['name'])}",
            f"license: {licences.hub_name([row['licence'] for row in rows])}",
            "task_categories:",
            "- any-to-any",
            "size_categories:",
            f"- {size}",
            "tags:",
            *(f"- {tag}" for tag in tags),
            "configs:",
            "- config_name: default",
            "  data_files:",
            *files,
            "---",
            "",
        ]
    )


def _what(card: dict[str, Any], rows: Sequence[Row], with_media: bool) -> str:
    hours = sum(row["clip_s"] for row in rows) / 3600
    groups = len({row["group"] for row in rows})
    sources = len({row["source_id"] for row in rows})
    shapes = Counter(
        f"{row['clip_s']:g} s, {row['width']}x{row['height']} at {row['fps']:g} fps, {row['channels']} x "
        f"{row['sample_rate_hz']} Hz"
        for row in rows
    )
    text = [
        "## What it is\n",
        f"{card.get('description') or 'Paired audio-video clips.'}\n",
        f"{len(rows)} clips ({hours:.3f} h) from {sources} recordings in {groups} groups.\n",
        *(f"- {count} clips: {shape}" for shape, count in sorted(shapes.items())),
    ]
    if not with_media:
        text.append(
            "\nThis release lists the clips (recording, start, end, what was measured) and holds no media: not every "
            "licence allows handing the media on. `avbench build-dataset` makes the clips from the recordings."
        )
    if card.get("homepage"):
        text.append(f"\nSource: {card['homepage']}")
    return "\n".join(text) + "\n"


def _how(card: dict[str, Any], rows: Sequence[Row]) -> str:
    cut, told = card["recipe"]["segment"], exactness(rows)
    filters = ", ".join(spec["name"] for spec in card["recipe"]["filters"]) or "none"
    lines = [
        "## How it was made\n",
        f"avbench cut each recording into clips of {cut['clip_s']:g} s from {cut['lead_s']:g} s on, on its frame grid, "
        f"judged them with filters ({filters}) and packed them. The whole recipe is in `DATASET.json` (sha256 "
        f"`{card['recipe_sha256'][:16]}`).\n",
        "Reading the clips back, and comparing them with their recordings, has found:\n",
        *(f"- {count} clips: {verdict}" for verdict, count in told["verdicts"].items()),
    ]
    if told["compared"]:
        lines.append(
            f"- sound against the recording, {told['compared']} clips compared: median {told['median_lag_ms']:.3f} ms, "
            f"largest {told['largest_lag_ms']:.3f} ms"
        )
    if "lowest_psnr_db" in told:
        lines.append(f"- first picture against the recording: lowest {told['lowest_psnr_db']:.1f} dB PSNR")
    if "largest_offset_ms" in told:
        lines.append(f"- start of sound against start of picture: at most {told['largest_offset_ms']:.3f} ms")
    return "\n".join(lines) + "\n"


def _drops(card: dict[str, Any]) -> str:
    lines = ["## What was left out\n"]
    if card["dropped"]:
        lines += ["| reason | count |", "|---|---|"]
        lines += [f"| {_cell(reason)} | {count} |" for reason, count in card["dropped"].items()]
    else:
        lines.append("Nothing was dropped.")
    lines.append(
        f"\n{len(card['failed'])} items could not be read or fetched; `DATASET.json` names each with its reason."
    )
    if card["generation"]:
        lines.append(f"{card['generation']} recordings were taken down since the first version.")
    return "\n".join(lines) + "\n"


def _split_table(card: dict[str, Any]) -> str:
    lines = ["## Splits\n", "| split | clips | recordings | hours |", "|---|---|---|---|"]
    for split, held in card["splits"].items():
        lines.append(f"| {split} | {held['clips']} | {held['sources']} | {held['hours']:.3f} |")
    lines.append(
        "\nWhole groups of recordings (one performance, one channel, recordings found to repeat each other) stand in "
        "one split. The splits are stored: a later version never moves a recording to another split."
    )
    return "\n".join(lines) + "\n"


def _licence_table(rows: Sequence[Row]) -> str:
    counts = Counter(licences.normalise(row["licence"]) or "not stated" for row in rows)
    lines = ["## Licences\n", "| licence of the recording | clips |", "|---|---|"]
    lines += [
        f"| {_cell(name)} | {count} |" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    lines.append(
        "\nEach clip keeps the licence of its recording. Its row of the index gives licence, title and address: credit "
        "each recording that you show or hand on, as its licence asks."
    )
    return "\n".join(lines) + "\n"


def _release(card: dict[str, Any], with_media: bool) -> str:
    lines = [
        "## Use and removal\n",
        "By using this dataset you agree to three things:\n",
        "1. You keep to the licence of every recording, attribution included.",
        "2. You use the newest version. Recordings are removed when their owners ask; replace a copy of an older "
        "version and delete the removed clips.",
        "3. Whoever gets it from you agrees to the same.\n",
        "To have a recording removed, write to whoever publishes this dataset (on the page you got it from, open a "
        "discussion or an issue) and name its address or its `source_id`. All its clips then go, the version rises, "
        "and a digest in `DATASET.json` keeps later builds from bringing it back.\n",
        "People can be seen and heard in the recordings. Do not use the dataset to identify them.\n",
        f"Version {card['version']}, {len(card['tombstones'])} removals.",
    ]
    if card["tombstones"]:
        lines += ["", "| removed on | reason | sha256 of the id |", "|---|---|---|"]
        lines += [
            f"| {mark['date']} | {_cell(mark['reason'] or 'not stated')} | `{mark['id_sha256'][:16]}` |"
            for mark in card["tombstones"]
        ]
    return "\n".join(lines) + "\n"


def _reading(card: dict[str, Any], with_media: bool) -> str:
    split = next(iter(data_files(card, with_media)), "train")
    call = f'datasets.load_dataset("FOLDER_OR_REPOSITORY", split="{split}", streaming=True)'
    lines = ["## Reading it\n", "```python", "import datasets", "", f"clips = {call}", "```\n"]
    if with_media:
        lines.append(
            "Each sample of the tars is `mp4` (the clip), `video.npy` (uint8, time x height x width x 3), `audio.npy` "
            "(float32, mono) and `json`. WebDataset readers take the tars as they are; `index.parquet` has a row per "
            "clip with the byte offsets of both arrays."
        )
    else:
        lines.append(
            "Each row is one clip: `source_id`, `url`, `start_s`, `end_s`, `split`, `licence` and what was measured."
        )
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A text inside a table of Markdown: on one line, without what would end the cell or begin a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
