"""Clips of which a part was given: windows hold none of it, and `samples.json` is held to its format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.errors import MediaError, UserError
from avbench.inputs import outputs
from avbench.inputs.given import Given, read_given
from avbench.protocol import Protocol
from avbench.scoring import score
from tests.clips import write_npz

RULES = Protocol(name="toy", metrics=("av_align", "mel_fd", "flow_fd"), frames=4, fps=10, size=32, windows="tile", n=64)
CONTINUED = {"made": {"video": [[0.8, 1.6]], "audio": [[0.8, 1.6]]}}


def folder(where: Path, clips: int = 2, **card: Any) -> Path:
    for number in range(clips):
        write_npz(where / f"c{number}.npz", number)
    (where / "samples.json").write_text(json.dumps(card))
    return where


def starts_s(where: Path, rules: Protocol = RULES) -> list[float]:
    return [window.start_s for item in outputs(where, rules)[0] for window in item.windows(rules)]


def test_windows_lie_in_what_was_made(tmp_path: Path) -> None:
    where = folder(tmp_path, **CONTINUED)
    assert starts_s(where) == pytest.approx([0.8, 1.2] * 2)
    assert starts_s(where, RULES.model_copy(update={"windows": "first"})) == pytest.approx([0.8] * 2)
    assert starts_s(where, RULES.model_copy(update={"windows": "overlap"})) == pytest.approx(
        [0.8, 0.9, 1.0, 1.1, 1.2] * 2
    )
    (window, *_) = outputs(where, RULES)[0][0].windows(RULES)
    with np.load(where / "c0.npz") as whole:
        assert np.array_equal(window.signals.video, whole["video"][8:12])
        assert np.array_equal(window.signals.audio, whole["audio"][:, 12800:19200])


def test_of_two_made_parts_both_count_and_one_window_comes_from_the_longest(tmp_path: Path) -> None:
    spans = [[0.0, 0.5], [0.8, 1.6]]
    where = folder(tmp_path, made={"video": spans, "audio": spans})
    assert starts_s(where) == pytest.approx([0.0, 0.8, 1.2] * 2)
    assert starts_s(where, RULES.model_copy(update={"windows": "centre"})) == pytest.approx([1.0] * 2)


def test_a_longer_window_is_shortened_under_another_name_and_id() -> None:
    given, rules = Given(made=((0.8, 1.6),)), RULES.model_copy(update={"frames": 16})
    short = given.fitted(rules)
    assert (short.name, short.frames) == ("toy-8f", 8)
    assert short.id != rules.id
    assert given.fitted(RULES) is RULES
    assert Given().fitted(rules) is rules
    with pytest.raises(UserError, match=r"protocol toy takes whole clips, and of these only 0.8 s to 1.6 s were made"):
        given.fitted(rules.model_copy(update={"windows": "whole"}))
    with pytest.raises(UserError, match=r"at most 1 frames in a row at 10 fps; .* give less of the clip \(--keep\)"):
        Given(made=((1.5, 1.6),)).fitted(rules)


def test_a_window_that_fits_nowhere_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    where, rules = folder(tmp_path, **CONTINUED), RULES.model_copy(update={"frames": 9})
    with pytest.raises(MediaError, match=r"c0.npz: no window of 9 frames lies in 0.8 s to 1.6 s, as made"):
        list(outputs(where, rules)[0][0].windows(rules))


def test_a_distance_of_what_was_given_whole_is_an_empty_cell_with_the_reason(tmp_path: Path) -> None:
    sources = {f"c{n}": {"clip": f"k{n // 2}", "recording": f"r{n // 2}"} for n in range(12)}
    condition = {"task": "v2a", "keep": []}
    where = folder(tmp_path / "made", 12, made={"video": []}, sample={"condition": condition}, sources=sources)
    real = folder(tmp_path / "real", 12)
    found = score(where, real, RULES)
    by_name = {each.metric: each for each in found.scores}
    assert by_name["flow_fd"].value is None
    assert by_name["flow_fd"].reason == "the picture was given, not made (v2a)"
    assert by_name["mel_fd"].value is not None
    assert by_name["av_align"].value is not None
    assert sorted(set(found.generated.clusters)) == [f"r{n}" for n in range(6)], (
        "samples of one recording belong together"
    )
    assert read_given(where).task == "v2a"


def test_the_task_names_the_times_that_were_given(tmp_path: Path) -> None:
    condition = {"task": "inpaint", "keep": [[0.0, 0.4], [1.2, 1.6]]}
    where = folder(tmp_path, sample={"condition": condition}, made={"video": [[0.4, 1.2]], "audio": [[0.4, 1.2]]})
    assert read_given(where).task == "inpaint-0-0.4-1.2-1.6"
    assert read_given(folder(tmp_path / "plain")) == Given()
    assert read_given(tmp_path / "absent") == Given()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "'made' must be an object with the keys 'video' and 'audio', or one of them"),
        ({"picture": []}, "'made' must be an object with the keys"),
        ({"video": [0.8, 1.6]}, r"'made' of 'video' must be a list of \[start, end\] in seconds"),
        ({"video": [[1.6, 0.8]]}, "'made' of 'video' must be a list"),
        ({"video": [[0, True]]}, "'made' of 'video' must be a list"),
        ({"video": [[0, 1], [0.5, 2]]}, "its times must rise and not overlap"),
        ({"video": [], "audio": []}, "neither picture nor sound was made; there is nothing to score"),
        ({"video": [[0, 1]], "audio": [[0, 2]]}, "other times for picture and sound"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(tmp_path: Path, made: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        outputs(folder(tmp_path, made=made), RULES)
    assert "samples.json" in str(told.value)
