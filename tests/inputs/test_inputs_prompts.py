"""What a folder says of its clips, and prompts in the tables of other evaluators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avbench.errors import UserError
from avbench.inputs import prompts, read_card


def write(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_card_says_what_it_says_and_ignores_the_rest(tmp_path: Path) -> None:
    told = {
        "model": "mine", "fps": 8, "sample_rate_hz": 44100, "range": [-1, 1], "seeds": {"a.mp4": 7},
        "prompts": {"a.mp4": "a dog"}, "config": {"anything": [1]}, "seconds": 3.5,
    }  # fmt: skip
    write(tmp_path / "samples.json", told)
    card = read_card(tmp_path)
    assert (card.model, card.stated, card.seeds) == ("mine", (8.0, 44100, (-1.0, 1.0)), {"a.mp4": 7})
    assert prompts(tmp_path, ["a.mp4", "b.mp4"]) == {"a.mp4": "a dog"}
    assert read_card(tmp_path / "absent").model == ""


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("{", r"not JSON \("),
        ([1], "holds a list, must be an object"),
        ({"model": 3}, "'model' is a number, must be a string"),
        ({"fps": "10"}, "'fps' is a string, must be a number"),
        ({"fps": True}, "'fps' is a truth value, must be a number"),
        ({"fps": 0}, "'fps' is 0, must be positive"),
        ({"sample_rate_hz": 1.5}, "'sample_rate_hz' is a number, must be a"),
        ({"range": [0, 2]}, r"'range' is \[0, 2\], must be \[0, 255\], \[0, 1\] or \[-1, 1\]"),
        ({"prompts": ["a"]}, "'prompts' is a list, must be an object of file to value"),
        ({"prompts": {"a": 1}}, "'prompts' of 'a' is a number, must be a string"),
        ({"seeds": {"a": "1"}}, "'seeds' of 'a' is a string, must be a whole number"),
    ],
)
def test_a_wrong_type_is_refused_by_name(data: Any, sentence: str, tmp_path: Path) -> None:
    write(tmp_path / "samples.json", data)
    with pytest.raises(UserError, match=rf"samples\.json: {sentence}"):
        read_card(tmp_path)


def test_a_prompt_is_found_by_path_name_and_stem(tmp_path: Path) -> None:
    write(tmp_path / "samples.json", {"prompts": {"a.mp4": "one", "sub/b.mp4": "two", "c": "three", "v.1": "four"}})
    found = prompts(tmp_path, ["a.npz", "sub/b.mp4", "deep/c.mov", "v.1.mp4", "v.2.mp4"])
    assert found == {"a.npz": "one", "sub/b.mp4": "two", "deep/c.mov": "three", "v.1.mp4": "four"}


def test_javisbench_rows_stand_for_numbered_clips(tmp_path: Path) -> None:
    table = write(tmp_path / "JavisBench.csv", 'path,text,cat0_ind\nreal/x.mp4,"rain, thunder",1\nreal/y.mp4,a dog,2\n')
    items = ["sample_0000.mp4", "sample_0001.mp4", "sample_0002.mp4"]
    wanted = {"sample_0000.mp4": "rain, thunder", "sample_0001.mp4": "a dog"}
    assert prompts(tmp_path, items) == wanted
    assert prompts(tmp_path / "elsewhere", items, table) == wanted


def test_t2av_compass_names_clips_by_index(tmp_path: Path) -> None:
    rows = [
        {"index": 1, "prompt": "long", "video_prompt": "seen", "audio_prompt": "heard", "speech_prompt": []},
        {"index": 2, "prompt": "both", "video_prompt": ""},
    ]
    write(tmp_path / "prompts.json", rows)
    items = ["sample_0001.mp4", "1.mp4", "video_2.mp4", "0002.mp4", "sample_3.mp4"]
    assert list(prompts(tmp_path, items).values()) == ["seen", "seen", "both", "both"]


def test_av_benchmark_names_clips_by_name(tmp_path: Path) -> None:
    write(tmp_path / "captions.csv", "name,caption\nabc_000010,a bell\nsample_0001,a horn\n")
    assert prompts(tmp_path, ["abc_000010.flac", "sample_0000.wav", "sample_0001.wav"]) == {
        "abc_000010.flac": "a bell",
        "sample_0001.wav": "a horn",
    }


def test_the_first_table_that_knows_a_clip_counts(tmp_path: Path) -> None:
    write(tmp_path / "samples.json", {"prompts": {"a": "card"}})
    write(tmp_path / "prompts.json", {"a": "json", "b": "json"})
    write(tmp_path / "t.csv", "name,prompt\na,csv\nb,csv\nc,csv\n")
    write(tmp_path / "other.csv", "window_id,value\na,1\n")
    (tmp_path / "d.txt").write_text("  beside\n")
    found = prompts(tmp_path, [f"{name}.mp4" for name in "abcd"])
    assert list(found.values()) == ["card", "json", "csv", "beside"]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("t.csv", "a,b\n1,2\n", "has no column 'prompt' or 'caption' or 'text'; its columns are a, b"),
        ("t.json", [{"prompt": "x"}], "must be an object of file to prompt, or a list of objects with 'index'"),
        ("t.json", {"a": 1}, "'prompts' of 'a' is a number"),
        ("t.json", "{", "not JSON"),
    ],
)
def test_a_table_of_another_form_is_refused(name: str, data: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        prompts(tmp_path, ["a.mp4"], write(tmp_path / name, data))
    with pytest.raises(UserError, match="there is no such file"):
        prompts(tmp_path, ["a.mp4"], tmp_path / "absent.csv")
