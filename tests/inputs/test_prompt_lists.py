"""Lists of prompts: those of avbench, one text per line, and tables of other evaluators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avbench.errors import UserError
from avbench.inputs.prompt_lists import names, read_prompts


@pytest.mark.parametrize("name", names())
def test_a_list_of_avbench_has_twenty_different_prompts_that_are_sentences(name: str) -> None:
    texts = read_prompts(name).texts
    assert len(texts) == len(set(texts)) == 20
    assert all(text[0].isupper() and text.endswith(".") for text in texts)


def test_there_are_lists_for_both_datasets_and_for_anything() -> None:
    assert names() == ["concerts", "gaming", "general"]


def test_a_text_file_has_a_prompt_per_line_in_order(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("\ufeff# a comment\n  first, with a comma \n\nsecond é\nfirst, with a comma\n", encoding="utf-8")
    found = read_prompts(str(path))
    assert found.name == "mine"
    assert found.texts == ("first, with a comma", "second é", "first, with a comma")
    assert found.sha256 != read_prompts("general").sha256


def test_a_table_gives_its_prompts_in_order(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,caption\nb.mp4,a dog barks\na.mp4,rain\nc.mp4,a dog barks\n")
    assert read_prompts(str(tmp_path / "t.csv")).texts == ("a dog barks", "rain")
    rows = [{"index": 1, "prompt": "one"}, {"index": 2, "prompt": "two"}]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    assert read_prompts(str(tmp_path / "t.json")).texts == ("one", "two")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("consert", "there is no list of prompts called 'consert'; did you mean concerts?"),
        ("none.txt", "none.txt: there is no such file of prompts; lists of avbench: concerts, gaming, general"),
        ("none.csv", "none.csv: there is no such file"),
        ("{empty}", "holds no prompt; write one per line"),
        ("{latin}", "not a text file in UTF-8"),
    ],
)
def test_a_list_that_cannot_be_is_refused_with_the_way_out(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").write_text("# nothing\n\n")
    (tmp_path / "latin").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(UserError) as told:
        read_prompts(name.format(empty=tmp_path / "empty", latin=tmp_path / "latin"))
    assert message in str(told.value)
