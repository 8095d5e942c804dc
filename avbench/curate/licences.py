"""Licences as manifests and sites write them, brought to one name, so that they can be counted and allowed.

A name is the SPDX identifier where the text says enough (``CC-BY-4.0``); a Creative Commons licence whose version is
not told has the name without it (``CC-BY``). What is not recognised keeps its own words.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_WORDS = (("attribution", "BY"), ("noncommercial", "NC"), ("sharealike", "SA"), ("noderivatives", "ND"))
_HUB_NAMES = {"cc0-1.0", "mit", "apache-2.0"} | {
    f"cc-{kind}-{version}"
    for kind in ("by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd")
    for version in ("2.0", "2.5", "3.0", "4.0")
}
"""Licences a Hugging Face card can name; every other is ``other``."""
_SPDX = {"mit": "MIT", "apache-2.0": "Apache-2.0"}


def normalise(text: str) -> str:
    """One name for one licence.

    Args:
        text: ``CC BY 4.0``, ``cc-by-4.0``, ``https://creativecommons.org/licenses/by/4.0/``, ``Creative Commons
            Attribution license (reuse allowed)`` as YouTube writes it, ``public domain``, or anything else.

    Returns:
        ``CC-BY-4.0``, ``CC0-1.0``, ``CC-BY`` where the version is not told; else the text, spaces at its ends removed.
        Empty for an empty text.
    """
    plain = text.strip()
    lowered = plain.lower()
    if lowered in _SPDX:
        return _SPDX[lowered]
    if re.search(r"\bcc[ -]?0\b|publicdomain/zero", lowered):
        return "CC0-1.0"
    address = re.search(r"creativecommons\.org/licenses/([a-z-]+)(?:/(\d\.\d))?", lowered)
    short = re.fullmatch(
        r"cc[ -]((?:by|nc|sa|nd)(?:[ -](?:nc|sa|nd))*)(?:[ -]v?(\d\.\d))?(?: (?:int|international))?", lowered
    )
    if found := address or short:
        parts, version = set(re.split(r"[ -]", found[1])), found[2]
    elif lowered.startswith("creative commons"):
        joined = re.sub(r"[^a-z]", "", lowered)
        parts = {short_name.lower() for word, short_name in _WORDS if word in joined}
        number = re.search(r"\b(\d\.\d)\b", lowered)
        version = number[1] if number else None
    else:
        return plain
    if "by" not in parts:
        return plain
    kind = "-".join(name for name in ("BY", "NC", "SA", "ND") if name.lower() in parts)
    return f"CC-{kind}-{version}" if version else f"CC-{kind}"


def is_allowed(licence: str, allowed: Collection[str]) -> bool:
    """Whether a licence is on the list. A name without a version on the list allows every version of it.

    An empty licence is never allowed.
    """
    name = normalise(licence)
    names = {normalise(entry) for entry in allowed}
    return bool(name) and (name in names or re.sub(r"-\d\.\d$", "", name) in names)


def hub_name(licences: Collection[str]) -> str:
    """The licence field of a Hugging Face card: the one licence of all clips where the hub knows it, else ``other``."""
    names = {normalise(licence).lower() for licence in licences}
    name = names.pop() if len(names) == 1 else ""
    return name if name in _HUB_NAMES else "other"
