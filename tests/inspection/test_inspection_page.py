"""The page: every drop with filter, value, reason and picture; safe, reproducible, and good to look at in a browser."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from avbench import cli
from avbench.errors import UserError
from avbench.inspection.page import write_page
from avbench.workspace import Workspace, read_json, write_json
from tests.curate.clip_folder import tree
from tests.pages import HOSTILE, Tags, screenshot


def read(path: Path) -> Tags:
    tags = Tags(path.read_text(encoding="utf-8"))
    assert not tags.open  # every element is closed
    ids = {attributes["id"] for _, attributes in tags.tags if "id" in attributes}
    for _, attributes in tags.tags:
        for key in ("href", "src"):
            target = attributes.get(key)
            if target and target.startswith("#"):
                assert target[1:] in ids
            elif target:
                assert (path.parent / unquote(target)).is_file()
    assert all(image["alt"] for image in tags.all("img"))
    assert not tags.all("script")
    return tags


def cards(page: Path) -> list[str]:
    """Text and picture addresses of each dropped clip."""
    found = re.findall(r'<li class="card">.*?</li>', page.read_text(encoding="utf-8"), re.DOTALL)
    return [" ".join(card.split()) for card in found]


def test_every_drop_is_there_with_filter_value_reason_and_picture(dataset: Path) -> None:
    written = write_page([str(dataset)])
    assert written.path == dataset / "inspect" / "index.html"
    assert written.summary == "tiny: 3 clips kept, 2 dropped, 0 failed; 5 clips drawn"
    read(written.path)
    drops = [
        (entry["clip"]["clip_id"], verdict)
        for source in ("alpha", "beta", "gamma")
        for entry in (Workspace(dataset).record("filter", source) or {})["clips"]
        for verdict in entry["verdicts"]
        if not verdict["keep"]
    ]
    assert len(drops) == len(cards(written.path)) == 4
    for clip_id, verdict in drops:
        (card,) = [card for card in cards(written.path) if clip_id in card and f"{verdict['filter']} " in card]
        assert {"silence": "100%", "loudness": "-70 LUFS"}[verdict["filter"]] in card
        assert verdict["reason"] in card
        assert len(re.findall(r"<img ", card)) == 2


def test_counts_thresholds_and_sources_are_on_the_page(dataset: Path) -> None:
    text = " ".join(read(write_page([str(dataset)]).path).text.split())
    for expected in (
        "3kept", "2dropped", "kept ≤ 50%", "kept ≥ -50 LUFS",
        "Drops 2 of 5 clips, 0 of them alone; 2 together with loudness",
        "download failed, permanent1", "the video is private", "left out1", "too short: 1.2 s", "About alpha",
    ):  # fmt: skip
        assert expected.replace(" ", "") in text.replace(" ", ""), expected


def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(dataset: Path, tmp_path: Path) -> None:
    write_page([str(dataset)])
    first = tree(dataset / "inspect")
    moved = tmp_path / "elsewhere" / "tiny"
    shutil.copytree(dataset, moved, ignore=shutil.ignore_patterns("inspect"))
    write_page([str(moved)], out=tmp_path / "out")
    assert tree(tmp_path / "out") == first


@pytest.mark.slow
def test_workers_change_no_byte(dataset: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        write_page([str(dataset)], out=tmp_path / str(workers), workers=workers)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_two_datasets_stand_side_by_side_with_their_distributions_over_each_other(dataset: Path) -> None:
    other = dataset.parent / "other"
    shutil.copytree(dataset, other)
    card = read_json(other / "shards" / "DATASET.json")
    write_json(other / "shards" / "DATASET.json", {**card, "name": "games"})
    (other / "work" / "clips" / "beta_0000.mp4").unlink()
    written = write_page([str(dataset), str(other)])
    assert written.path == dataset / "inspect" / "beside-other" / "index.html"
    tags = read(written.path)
    assert [len(re.findall("<img ", card)) for card in cards(written.path)].count(0) == 2  # of the second dataset
    assert [h["class"] for h in tags.all("h3") if h.get("class")].count("set-1") >= 5
    drawn = [svg for svg in tags.all("svg") if svg.get("class") == "hist"]
    assert len(drawn) == 2 * 3  # per filter one over each other, one for each
    outlines = [path for path in tags.all("path") if "outline" in str(path.get("class"))]
    assert [path["class"] for path in outlines] == ["outline set-0", "outline set-1"] * 2
    assert len(cards(written.path)) == 8
    assert "tiny: 3 clips kept" in written.summary
    assert "games: 3 clips kept" in written.summary


def test_a_dataset_beside_itself_has_two_names(dataset: Path, tmp_path: Path) -> None:
    tags = read(write_page([str(dataset), str(dataset)], out=tmp_path / "out").path)
    assert "tiny (1)" in tags.text
    assert "tiny (2)" in tags.text


def test_a_published_dataset_says_that_only_kept_clips_are_known(dataset: Path) -> None:
    shutil.rmtree(dataset / "work")
    written = write_page([str(dataset)])
    tags = read(written.path)
    assert "Only kept clips are known" in tags.text
    assert "What it dropped is not known" in tags.text
    assert "drops not known" in written.summary
    assert tags.all("img")


def test_a_drop_whose_file_is_gone_says_so(dataset: Path) -> None:
    (dataset / "work" / "clips" / "beta_0000.mp4").unlink()
    written = write_page([str(dataset)])
    assert "neither work/clips nor the shards hold beta_0000" in read(written.path).text
    assert written.summary.endswith("4 clips drawn, 1 cannot be shown")


def test_exactness_is_drawn_where_it_was_measured(dataset: Path) -> None:
    path = Workspace(dataset).record_path("filter", "alpha")
    record = read_json(path)
    assert "Lag of the sound" not in read(write_page([str(dataset)]).path).text
    for entry, lag_s in zip(record["clips"], (0.00025, -0.0005), strict=True):
        entry["clip"] |= {"lag_s": lag_s, "verdict": "exact", "picture_psnr_db": 41.0}
    write_json(path, record)
    text = " ".join(read(write_page([str(dataset)]).path).text.split())
    assert "2 clips from -0.5 ms to 0.25 ms" in text
    assert "2 clips, all 41 dB" in text
    assert "2 exact" in text
    assert "3 not read back" in text


def test_other_thresholds_than_those_drawn_are_pointed_out(dataset: Path) -> None:
    recipe = read_json(dataset / "recipe.json")
    recipe["filters"][0]["max_ratio"] = 1.0
    write_json(dataset / "recipe.json", recipe)
    assert "2 verdicts do not agree with the threshold drawn" in read(write_page([str(dataset)]).path).text


def test_hostile_ids_titles_and_reasons_stay_text(dataset: Path) -> None:
    ws = Workspace(dataset)
    record = read_json(ws.record_path("filter", "beta"))
    for entry in record["clips"]:
        entry["clip"] |= {"source_id": HOSTILE, "clip_id": f"{HOSTILE} {entry['clip']['clip_id']}", "verdict": HOSTILE}
        for verdict in entry["verdicts"]:
            verdict |= {"reason": "" if verdict["keep"] else HOSTILE}
    write_json(ws.record_path("filter", "beta"), record)
    download = read_json(ws.record_path("download", "beta"))
    download["source"]["title"] = HOSTILE
    write_json(ws.record_path("download", "beta"), download)
    left_out = read_json(ws.record_path("segment", "short"))
    write_json(ws.record_path("segment", "short"), {**left_out, "reason": HOSTILE})
    card = read_json(dataset / "shards" / "DATASET.json")
    write_json(dataset / "shards" / "DATASET.json", {**card, "name": HOSTILE})
    written = write_page([str(dataset)])
    tags = read(written.path)
    assert tags.text.count(HOSTILE) >= 10
    assert not [name for name, _ in tags.tags if name in ("script", "iframe", "object")]


def test_the_page_of_a_large_dataset_stays_small(dataset: Path) -> None:
    ws = Workspace(dataset)
    record = read_json(ws.record_path("filter", "alpha"))
    kept, dropped = record["clips"]
    for number in range(2100):
        entry = kept if number % 3 else dropped
        record["clips"].append({**entry, "clip": {**entry["clip"], "clip_id": f"alpha_{number + 2:04d}", "file": "x"}})
    write_json(ws.record_path("filter", "alpha"), record)
    page = write_page([str(dataset)]).path
    assert page.stat().st_size < 1_500_000
    assert "more without picture" in page.read_text()
    assert "and 202 more, in" in page.read_text()


def test_out_that_is_a_file_is_refused_before_anything_is_drawn(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; give the page a folder with --out"):
        write_page([str(dataset)], out=tmp_path / "file")


def test_the_command_prints_where_the_page_lies_and_one_line(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dataset.parent)
    result = CliRunner().invoke(cli.app, ["inspect", "tiny", "--examples", "1", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        str(Path("tiny", "inspect", "index.html")), "tiny: 3 clips kept, 2 dropped, 0 failed; 4 clips drawn",
    ]  # fmt: skip


@pytest.mark.parametrize("words", [["nowhere"], ["tiny", "nowhere"]])
def test_a_wrong_name_is_one_sentence(words: list[str], dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dataset.parent)
    result = CliRunner().invoke(cli.app, ["inspect", *words])
    assert isinstance(result.exception, UserError)
    assert "nowhere: is no dataset" in str(result.exception)
    assert not (dataset / "inspect").exists()


def _saved(picture: Path, name: str) -> None:
    """Keep a screenshot where a person asked for it."""
    if folder := os.environ.get("AVBENCH_TEST_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, Path(folder) / name)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 2400), (500, 3000)], ids=["desktop", "phone"])
def test_a_browser_shows_bars_pictures_and_both_schemes(
    width: int, height: int, dark: bool, dataset: Path, tmp_path: Path
) -> None:
    page = write_page([str(dataset)]).path
    picture = tmp_path / "page.png"
    screenshot(page, picture, (width, height), dark=dark)
    _saved(picture, f"inspect-{width}-{'dark' if dark else 'light'}.png")
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"), np.int16)
    assert pixels.shape[1] == width
    corner = pixels[2, 2]
    assert (corner < 60).all() if dark else (corner > 240).all()
    # bars of what is dropped, and the colours of a spectrogram
    dropped = (224, 123, 79) if dark else (179, 71, 29)
    assert (np.abs(pixels - dropped).max(axis=2) < 6).sum() > 100
    assert ((pixels[..., 0] > 100) & (pixels[..., 1] < 80) & (pixels[..., 2] > 90)).sum() > 500
    # nothing sticks out to the right: the margin there is paper
    assert (np.abs(pixels[:, -4:] - corner).max(axis=2) < 8).mean() > 0.98
