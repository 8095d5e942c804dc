"""The prompts of clips: of ``samples.json``, of tables that other evaluators keep, and of text beside a clip."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from avbench.errors import MediaError, UserError
from avbench.inputs import shards
from avbench.inputs.card import read_card, read_json, strings

_NAMES = ("name", "file", "filename", "video", "id", "path")
_TEXTS = ("prompt", "caption", "text")
_INDEXED = ("sample_{0:04d}", "sample_{0}", "{0:04d}", "{0}", "video_{0:04d}", "video_{0}")
_ROW_NAME = "sample_{0:04d}"


def prompt_table(path: Path) -> dict[str, str]:
    """Prompts by file name of a table that another evaluator uses.

    A ``.csv`` has a header; its rows name a file (``name``, av-benchmark) or, in JavisBench, stand for the clips
    ``sample_0000``, ``sample_0001``, ... in order. A ``.json`` is an object of file to prompt, or the list of
    T2AV-Compass, whose ``index`` stands for the clips it names (``sample_0001``, ``1``, ``video_0001``, ...).

    Raises:
        UserError: Absent, or none of these.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    return _with_stems(_from_csv(path) if path.suffix.lower() == ".csv" else _from_json(path))


def _with_stems(table: Mapping[str, str]) -> dict[str, str]:
    """A prompt of ``x.mp4`` is that of ``x.npz`` too."""
    return {**{_stem(name): text for name, text in table.items()}, **table}


def find_prompt(table: Mapping[str, str], item_id: str) -> str | None:
    """The prompt of a clip: by its path in the folder, its file name, and both without suffix.

    Args:
        table: From `tables` or `prompt_table`.
        item_id: The clip.
    """
    name = item_id.rpartition("/")[2]
    for key in (item_id, _stem(item_id), name, _stem(name)):
        if key in table:
            return table[key]
    return None


def tables(folder: Path) -> Iterable[dict[str, str]]:
    """The prompt tables of a folder, the one that counts first: samples.json, prompts.json, then every .csv."""
    yield _with_stems(read_card(folder).prompts)
    if (folder / "prompts.json").is_file():
        yield prompt_table(folder / "prompts.json")
    for path in sorted(folder.glob("*.csv")):
        if set(_header(path)) & set(_TEXTS):
            yield prompt_table(path)


def _stem(name: str) -> str:
    """Without its suffix; ``clip.v2`` keeps what is no suffix of a file."""
    return re.sub(r"\.[A-Za-z0-9]{1,11}$", "", name)


def _header(path: Path) -> list[str]:
    with open(path, encoding="utf-8-sig", newline="", errors="replace") as stream:
        return [name.strip().lower() for name in next(csv.reader(stream), [])]


def _from_csv(path: Path) -> dict[str, str]:
    header = _header(path)
    text = next((name for name in _TEXTS if name in header), "")
    if not text:
        raise UserError(f"{path}: has no column {' or '.join(map(repr, _TEXTS))}; its columns are {', '.join(header)}")
    with open(path, encoding="utf-8-sig", newline="", errors="replace") as stream:
        rows = [dict(zip(header, row, strict=False)) for row in list(csv.reader(stream))[1:] if row]
    name = next((column for column in _NAMES if column in header), "")
    found: dict[str, str] = {}
    if name in ("", "path"):  # the table of JavisBench names real clips, and generated ones by its rows
        found = {_ROW_NAME.format(number): row.get(text, "") for number, row in enumerate(rows)}
    for row in rows if name else ():
        found[row[name]] = row.get(text, "")
        found.setdefault(row[name].rpartition("/")[2], row.get(text, ""))
    return {key: value for key, value in found.items() if value.strip()}


def _from_json(path: Path) -> dict[str, str]:
    data = read_json(path)
    if isinstance(data, dict):
        return strings(path, {"prompts": data}, "prompts")
    if not isinstance(data, list) or not all(isinstance(row, dict) and type(row.get("index")) is int for row in data):
        raise UserError(f"{path}: must be an object of file to prompt, or a list of objects with 'index' and 'prompt'")
    found: dict[str, str] = {}
    for row in data:
        text = row.get("video_prompt") or row.get("prompt")
        if isinstance(text, str) and text.strip():
            found |= {pattern.format(row["index"]): text for pattern in _INDEXED}
    return found


def prompt_beside(folder: Path, item_id: str) -> str:
    """The prompt a clip brings along, in its shard or in a text file of its name; empty where there is none."""
    where, inside, key = item_id.partition(f"{shards.SUFFIX}/")
    tar = folder / f"{where}{shards.SUFFIX}"
    if inside and tar.is_file():
        try:
            return shards.prompt(tar, key)
        except MediaError:
            return ""  # decoding says what is wrong with the shard
    path = folder / f"{_stem(item_id)}.txt"
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
