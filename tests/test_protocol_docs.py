"""The table of docs/protocols.md says what the files in recipes/protocols say."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench import protocol, recipe

PAGE = (Path(__file__).parent.parent / "docs" / "protocols.md").read_text()
NAMES = recipe.names("protocols")


def row(found: protocol.Protocol) -> str:
    """A protocol as one row of the table."""
    sound_only = found.metrics == ("fad",)
    rate = "own" if found.fps is None else f"{found.fps:g}"
    i3d = found.features.get("i3d", {})
    network = " -> 224 " + str(i3d.get("resize", "crop")) if {"fvd", "kvd"} & set(found.metrics) else ""
    picture = f"{found.fit} {found.size}, {found.resize}{network if found.size != 224 else ''}"
    if i3d.get("precision", "float32") != "float32":
        picture += ", I3D in bfloat16"
    ddof = str(found.estimators.get("fvd", {}).get("ddof", 1)) if "fvd" in found.metrics else "-"
    sound = []
    if "fad" in found.metrics:
        sound.append("VGGish " + str(found.features.get("vggish", {}).get("variant", "torchvggish")))
    if "fad_audioclip" in found.metrics:
        options = found.features["audioclip"]
        at = f" at {options['input_rate_hz'] / 1000:g} kHz" if "input_rate_hz" in options else ""
        sound.append(f"AudioCLIP {options['mode']} {options['scale']}{at}")
    cells = [
        f"`{found.name}`",
        "-" if sound_only and found.windows == "whole" else str(found.frames),
        "-" if sound_only and found.windows == "whole" else rate,
        "-" if sound_only else picture,
        found.windows,
        found.levels,
        f"{found.n}" + (", repeated" if found.repeat_to_n else "") + (", equal" if found.equal_n else ""),
        found.reference_split,
        ddof,
        "; ".join(sound) or "-",
    ]
    return "| " + " | ".join(cells) + " |"


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_the_row_of_each_protocol(name: str) -> None:
    wanted = row(recipe.load(recipe.find("protocols", name), protocol.Protocol))
    assert wanted in PAGE.splitlines(), f"docs/protocols.md needs this row:\n{wanted}"


@pytest.mark.parametrize("name", NAMES)
def test_each_protocol_has_its_source_beside_the_table(name: str) -> None:
    found = recipe.load(recipe.find("protocols", name), protocol.Protocol)
    for word in found.source.replace(",", " ").replace(";", " ").split():
        if "@" in word:
            assert word in PAGE


def test_the_tables_name_no_protocol_that_is_not_there() -> None:
    first_cells = {line.split("|")[1].strip(" `") for line in PAGE.splitlines() if line.startswith("| `")}
    assert first_cells == set(NAMES)
