"""docs/inputs.md says what the code reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from avbench.inputs import AUDIO_SUFFIXES, VIDEO_SUFFIXES, card, frames, tensors
from avbench.protocol import Protocol

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "inputs.md").read_text()
POLICIES = get_args(Protocol.model_fields["windows"].annotation)


@pytest.mark.parametrize("suffix", [*VIDEO_SUFFIXES, *AUDIO_SUFFIXES, *frames.SUFFIXES, *tensors.SUFFIXES])
def test_every_suffix_is_on_the_page(suffix: str) -> None:
    assert re.search(rf"{re.escape(suffix)}\b", PAGE)


def test_every_way_to_take_windows_is_on_the_page() -> None:
    section = PAGE.partition("## Windows")[2].partition("## Reasons")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M)[1:] == list(POLICIES)


def test_every_key_of_the_card_is_on_the_page_and_its_example_is_read(tmp_path: Path) -> None:
    section = PAGE.partition("## samples.json")[2].partition("## Windows")[0]
    told = {key for key in re.findall(r"^\| `(\w+)` \|", section, re.M)}
    known = set(card.Card.__dataclass_fields__) - {"stated"} | {"fps", "sample_rate_hz", "range", "made"}
    assert told == known
    (tmp_path / "samples.json").write_text(section.partition("```json\n")[2].partition("```")[0])
    found = card.read_card(tmp_path)
    assert found.model == "my-model"
    assert found.stated == (10.0, 16000, (-1.0, 1.0))
    assert set(found.prompts) == set(found.seeds) == {"a.npz", "b.npz"}
