"""The dataset card: a header the hub understands, figures from the index, and no way for a text to break a table."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

from avbench.curate import _release, card as cards
from avbench.recipe import DatasetRecipe, sha256


def row(number: int, **other: Any) -> dict[str, Any]:
    told = {"clip_id": f"a_{number:04d}", "source_id": "a", "group": "g", "split": "train", "clip_s": 36.0, "fps": 30.0}
    told |= {"width": 640, "height": 360, "channels": 2, "sample_rate_hz": 48000, "licence": "CC BY 4.0"}
    told |= {"verdict": "exact", "lag_s": 0.0, "picture_psnr_db": 40.0, "av_offset_s": 0.0}
    return {**told, **other}


def dataset(rows: list[dict[str, Any]], **other: Any) -> dict[str, Any]:
    recipe = DatasetRecipe().model_dump(mode="json")
    splits = {split: _release.split_card(split, rows) for split in ("train", "validation", "test")}
    told = {"name": "toy", "version": "1.2", "recipe": recipe, "recipe_sha256": sha256(recipe), "splits": splits}
    return {**told, "dropped": {}, "failed": {}, "generation": 0, "tombstones": [], **other}


def header(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---")[1])


def test_the_header_names_the_files_of_every_split_that_holds_clips() -> None:
    rows = [row(0), row(1, split="test")]
    told = header(cards.readme(dataset(rows), rows))
    files = [{"split": "train", "path": "train-*.tar"}, {"split": "test", "path": "test-*.tar"}]
    assert told["configs"] == [{"config_name": "default", "data_files": files}]
    assert (told["license"], told["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    listed = header(cards.readme(dataset(rows), rows, with_media=False))
    assert [entry["path"] for entry in listed["configs"][0]["data_files"]] == ["train.parquet", "test.parquet"]
    assert "webdataset" in told["tags"]
    assert "webdataset" not in listed["tags"]


@pytest.mark.parametrize(("count", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (10_000, "10K<n<100K")])
def test_the_size_category_follows_the_clips(count: int, size: str) -> None:
    rows = [row(n) for n in range(count)]
    assert header(cards.readme(dataset(rows), rows))["size_categories"] == [size]


def test_the_hub_client_reads_the_card() -> None:
    rows = [row(0)]
    card = DatasetCard(cards.readme(dataset(rows), rows))
    assert card.data.pretty_name == "toy"
    assert card.data.license == "cc-by-4.0"


def test_exactness_is_counted_from_the_index() -> None:
    rows = [
        row(0, lag_s=0.0002),
        row(1, lag_s=-0.0008, picture_psnr_db=31.5),
        row(2, lag_s=0.0004, av_offset_s=-0.0005),
        row(3, lag_s=None, verdict="exact, sound not compared", picture_psnr_db=None),
    ]
    told = cards.exactness(rows)
    assert told["verdicts"] == {"exact": 3, "exact, sound not compared": 1}
    assert told["compared"] == 3
    assert told["median_lag_ms"] == pytest.approx(0.4)
    assert told["largest_lag_ms"] == pytest.approx(0.8)
    assert (told["lowest_psnr_db"], told["largest_offset_ms"]) == (31.5, pytest.approx(0.5))
    text = cards.readme(dataset(rows), rows)
    assert "3 clips compared: median 0.400 ms, largest 0.800 ms" in text
    assert "4 clips: 36 s, 640x360 at 30 fps, 2 x 48000 Hz" in text
    assert "4 clips (0.040 h) from 1 recordings" in text


def test_drops_licences_and_removals_are_told() -> None:
    rows = [row(0), row(1, licence="cc-by-4.0"), row(2, licence="")]
    mark = {"id_sha256": "ab" * 32, "url_sha256": "", "date": "2026-01-02", "reason": "asked | <b>now</b>\nplease"}
    text = cards.readme(dataset(rows, dropped={"clips: silence": 7}, generation=1, tombstones=[mark]), rows)
    assert "| clips: silence | 7 |" in text
    assert "| CC-BY-4.0 | 2 |" in text
    assert "| not stated | 1 |" in text
    assert "| 2026-01-02 | asked \\| &lt;b>now&lt;/b> please | `abababababababab` |" in text
    assert header(text)["license"] == "other"


def test_a_name_that_yaml_would_misread_stays_a_name() -> None:
    rows = [row(0)]
    assert header(cards.readme(dataset(rows, name="no"), rows))["pretty_name"] == "no"
    assert header(cards.readme(dataset(rows, name='a: "b" # c'), rows))["pretty_name"] == 'a: "b" # c'


def test_a_dataset_without_clips_still_has_a_card() -> None:
    assert "0 clips" in cards.readme(dataset([]), [])
