"""Tars that are the same bytes on every run, and numpy arrays inside them that can be memory-mapped."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

MAX_NAME = 100
"""Longest member name a ustar header holds without a folder."""


class TarWriter:
    """Writes members one after the other: no owner, no time, ustar headers.

    Use as a context manager; a tar left by an exception is not whole and must not be published.
    """

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # the end-of-archive blocks say that a tar is whole, so they are not written after an error
        if kind is None:
            self._tar.close()
        elif self._tar.fileobj is not None:
            self._tar.fileobj.close()

    def add(self, name: str, data: bytes | BinaryIO, size: int | None = None) -> int:
        """Append a member.

        Args:
            name: Its name, at most `MAX_NAME` characters.
            data: Its bytes, or a file to copy ``size`` bytes from.
            size: Needed for a file.

        Returns:
            Byte offset of its data in the tar.
        """
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        info.size = len(data) if isinstance(data, bytes) else size or 0
        offset = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else data)
        return offset


def member_bytes(size: int) -> int:
    """Bytes a member of ``size`` bytes takes in a tar: header and data in blocks of 512."""
    return tarfile.BLOCKSIZE + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def archive_bytes(members: int) -> int:
    """Size of a tar whose members take ``members`` bytes: two empty blocks, padded to a record of 10240."""
    return -(-(members + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What stands before the raw data of a C-ordered array in a ``.npy`` file; a multiple of 64 bytes long."""
    stream = io.BytesIO()
    description = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()
