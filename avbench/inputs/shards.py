"""Clips in WebDataset shards: members of a tar that share a key, read by their place in the tar."""

from __future__ import annotations

import hashlib
import json
import math
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from avbench import npz
from avbench.errors import MediaError
from avbench.inputs import tensors
from avbench.inputs._unchanged import while_unchanged
from avbench.inputs.card import NOTHING, Stated
from avbench.inputs.cutting import cut
from avbench.inputs.files import AUDIO_SUFFIXES, VIDEO_SUFFIXES, FilePicture, FileSound, joined_sha256, named
from avbench.inputs.window import Picture, Sound, Window
from avbench.protocol import Protocol

SUFFIX = ".tar"
VIDEO_ARRAY, AUDIO_ARRAY = "video.npy", "audio.npy"
FILMS = tuple(suffix[1:] for suffix in VIDEO_SUFFIXES)
SOUNDS = tuple(suffix[1:] for suffix in AUDIO_SUFFIXES)
TENSORS = ("npz", "safetensors")

_TEXTS = ("prompt", "caption", "text")
_BLOCK = 1 << 20


class Member(NamedTuple):
    """Where the bytes of a member lie in its tar."""

    offset: int
    size: int


def members(tar: Path) -> Mapping[str, Mapping[str, Member]]:
    """Members of a tar by key and extension, in the order of the tar; only headers are read.

    A key is what stands before the first dot of a file's name, with its folder; the extension is the rest.

    Raises:
        MediaError: Not a tar, or cut off.
    """
    try:
        return _members(tar)
    except OSError as error:
        raise MediaError(f"{tar}: there is no such file") from error


@while_unchanged(32)
def _members(tar: Path) -> Mapping[str, Mapping[str, Member]]:
    found: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for info in archive:
                if info.size < 0:  # tarfile would go back, and round for ever
                    raise MediaError(f"{tar}: not a readable tar (its member {info.name!r} has {info.size} bytes)")
                folder, _, name = info.name.rpartition("/")
                stem, _, extension = name.partition(".")
                if info.isfile() and stem:
                    key = f"{folder}/{stem}" if folder else stem
                    found.setdefault(key, {})[extension.lower()] = Member(info.offset_data, info.size)
    # the last three of sizes that lie
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise MediaError(f"{tar}: not a readable tar ({error})") from error
    last = max((m.offset + m.size for held in found.values() for m in held.values()), default=0)
    if last > tar.stat().st_size:
        raise MediaError(f"{tar}: cut off (its last member ends beyond the file)")
    return found


@contextmanager
def extracted(tar: Path, member: Member, suffix: str) -> Iterator[Path]:
    """A member as a file of its own, for as long as it is read."""
    with tempfile.TemporaryDirectory(prefix="avbench-") as folder:
        path = Path(folder) / f"clip.{suffix}"
        with open(tar, "rb") as source, open(path, "wb") as dest:
            source.seek(member.offset)
            left = member.size
            while left:
                block = source.read(min(left, _BLOCK))
                if not block:
                    raise MediaError(f"{tar}: cut off inside a member")
                dest.write(block)
                left -= len(block)
        yield path


@dataclass(frozen=True)
class ShardItem:
    """A clip in a shard.

    Attributes:
        tar: The shard.
        key: WebDataset key.
        parts: Its members by extension.
        name: Its name in the folder it was found in.
        clip: Name of the clip in window ids.
        cluster: See `Window`; empty takes ``clip``.
        stated: What the folder says of it.
    """

    tar: Path
    key: str
    parts: tuple[tuple[str, Member], ...]
    name: str
    clip: str
    cluster: str = ""
    stated: Stated = NOTHING

    @property
    def item_id(self) -> str:
        """Its name in the folder it was found in."""
        return self.name

    def content_sha256(self) -> str:
        """Digest of its members, and of what the folder says of tensors."""
        hasher = hashlib.sha256()
        with open(self.tar, "rb") as stream:
            for extension, member in sorted(self.parts):
                hasher.update(f"{extension} {member.size}\n".encode())
                stream.seek(member.offset)
                for at in range(0, member.size, _BLOCK):
                    hasher.update(stream.read(min(_BLOCK, member.size - at)))
        return joined_sha256([hasher.hexdigest(), tensors.facts(self.stated)])

    def windows(self, protocol: Protocol) -> Iterator[Window]:
        """Read it into windows: its arrays where they are at the protocol's rates, else its film.

        Raises:
            MediaError: Unreadable, without what the protocol needs, or shorter than one window.
        """
        try:
            with self._open(protocol) as (picture, sound):
                yield from cut(picture, sound, protocol, self.clip, self.cluster)
        except MediaError as error:
            raise named(self.item_id, (self.tar,), error) from error

    @contextmanager
    def _open(self, protocol: Protocol) -> Iterator[tuple[Picture | None, Sound | None]]:
        parts = dict(self.parts)
        film = next((extension for extension in FILMS if extension in parts), "")
        sound = next((extension for extension in SOUNDS if extension in parts), "")
        tensor = next((extension for extension in TENSORS if extension in parts), "")
        if VIDEO_ARRAY in parts and not (film and self._at_other_rates(protocol)):
            yield self._arrays()
            return
        if tensor:
            with extracted(self.tar, parts[tensor], tensor) as path, _short(path):
                yield tensors.open_file(path, self.stated)
            return
        if not film and not sound:
            yield self._arrays()
            return
        if not film:
            with extracted(self.tar, parts[sound], sound) as path, _short(path):
                yield None, FileSound(path)
            return
        with extracted(self.tar, parts[film], film) as path, _short(path):
            if not sound:
                yield FilePicture(path), FileSound(path)
                return
            with extracted(self.tar, parts[sound], sound) as sound_path, _short(sound_path):
                yield FilePicture(path), FileSound(sound_path)

    def _rates(self) -> dict[str, float]:
        """Rates of its arrays: those of the training view of our own shards come first."""
        facts, found = _json(self.tar, self.key, dict(self.parts)), {}
        for name in ("fps", "sample_rate_hz"):
            value = facts.get(f"view_{name}", facts.get(name))
            if isinstance(value, int | float):
                found[name] = float(value)
        return found

    def _at_other_rates(self, protocol: Protocol) -> bool:
        """The arrays are not what the protocol takes, or not the frames that the film has."""
        rates = self._rates()
        plain = protocol.fps is not None and protocol.windows != "spread" and protocol.channel == "mean"
        return not plain or (rates.get("fps"), rates.get("sample_rate_hz")) != (protocol.fps, protocol.sample_rate_hz)

    def _arrays(self) -> tuple[Picture | None, Sound | None]:
        parts, found = dict(self.parts), dict[str, Any](self._rates())
        for name, extension in (("video", VIDEO_ARRAY), ("audio", AUDIO_ARRAY)):
            if extension in parts:
                found[name] = _mapped(self.tar, parts[extension])
        return tensors.of_arrays(found, self.stated)


@contextmanager
def _short(path: Path) -> Iterator[None]:
    """Reasons name the member, not the temporary file."""
    try:
        yield
    except MediaError as error:
        raise MediaError(str(error).removeprefix(f"{path}: ").replace(str(path), path.name)) from error


def _mapped(tar: Path, member: Member) -> Any:
    """An array of a ``.npy`` member, mapped from the tar."""
    try:
        with open(tar, "rb") as stream:
            stream.seek(member.offset)
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
            if fortran or dtype.hasobject:
                raise ValueError("not a plain array in C order")
            if stream.tell() + math.prod(shape) * dtype.itemsize > member.offset + member.size:
                raise ValueError(f"it announces {shape} and ends before")
            return np.memmap(tar, dtype=dtype, mode="r", offset=stream.tell(), shape=shape)
    except npz.DAMAGE as error:
        raise MediaError(f"{tar}: a .npy member is damaged ({error})") from error


def usable(extensions: Mapping[str, Member]) -> bool:
    """True where a key has something to decode."""
    return bool(extensions.keys() & {VIDEO_ARRAY, AUDIO_ARRAY, *FILMS, *SOUNDS, *TENSORS})


def prompt(tar: Path, key: str) -> str:
    """What the ``.txt`` or ``.json`` of a key says was asked for; empty where neither does.

    Raises:
        MediaError: Not a readable tar, or a damaged member.
    """
    parts = members(tar).get(key, {})
    if "txt" in parts:
        return _bytes(tar, parts["txt"]).decode(errors="replace").strip()
    facts = _json(tar, key, parts)
    return next((facts[name] for name in _TEXTS if isinstance(facts.get(name), str)), "")


def _bytes(tar: Path, member: Member) -> bytes:
    with open(tar, "rb") as stream:
        stream.seek(member.offset)
        return stream.read(member.size)


def _json(tar: Path, key: str, parts: Mapping[str, Member]) -> dict[str, Any]:
    if "json" not in parts:
        return {}
    try:
        found = json.loads(_bytes(tar, parts["json"]))
    except (ValueError, RecursionError) as error:
        raise MediaError(f"{tar}: the json of {key} is damaged ({error})") from error
    return found if isinstance(found, dict) else {}
