"""Publishing against a hub on loopback with the real client, and the promise that others can read what is published."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
from huggingface_hub import constants

from avbench.curate import publish as publishing
from avbench.curate.filter import filter_clips
from avbench.curate.licences import hub_name, is_allowed, normalise
from avbench.curate.publish import prepare, upload
from avbench.curate.shard import shard
from avbench.curate.takedown import takedown
from avbench.dataset import dataset_card, load_index
from avbench.errors import UserError
from avbench.recipe import DatasetRecipe
from avbench.workspace import Workspace
from tests.curate.clip_folder import CLIP_S, tree, write_source
from tests.curate.hub_store import HubStore

RECIPE = DatasetRecipe.model_validate(
    {
        "segment": {"clip_s": CLIP_S, "fps": 10, "sample_rate_hz": 8000},
        "filters": [{"name": "silence"}],
        "view": {"size": 16, "fps": 5, "sample_rate_hz": 4000},
        "shard": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 1},
    }
)
CARD = {
    "version": "1.2",
    "licence": "",
    "description": "Toy clips.",
    "homepage": "https://example.org",
    "citation": "X",
}
SOURCES = {"alpha": "CC-BY-4.0", "beta": "CC-BY-4.0", "gamma": "CC BY 4.0", "delta": "cc-by-4.0", "omega": "CC-BY-4.0"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(tmp_path_factory.mktemp("made") / "set")
    for source_id, licence in SOURCES.items():
        write_source(ws, source_id, 2)
        record = ws.record("segment", source_id)
        assert record is not None
        clips = [{**clip, "verdict": "exact", "lag_s": 0.0001, "licence": licence} for clip in record["clips"]]
        ws.write_record("segment", source_id, {**record, "clips": clips})
        source = {"source_id": source_id, "url": f"https://example.org/{source_id}", "group": "", "title": source_id}
        ws.write_record("download", source_id, {"status": "done", "source": source})
    filter_clips(ws, list(SOURCES), RECIPE.filters)
    shard(ws, "toy", CARD, RECIPE)
    return ws


@pytest.fixture
def ws(made: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(made.root, tmp_path / "set")
    return Workspace(tmp_path / "set")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStore]:
    monkeypatch.setenv("HF_TOKEN", "good")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the store speaks the older transfer
    with HubStore() as running:
        yield running


def test_without_a_licence_on_the_list_only_the_list_goes(ws: Workspace, tmp_path: Path, store: HubStore) -> None:
    release = prepare(ws.root, tmp_path / "scratch")
    assert (release.with_media, release.held_back) == (False, {"CC-BY-4.0": 10})
    address = upload(release, "owner/toy", endpoint=store.endpoint)
    assert address.startswith(f"{store.endpoint}/datasets/owner/toy/commit/")
    repo = store.repos["owner/toy"]
    names = {"index.parquet", "train.parquet", "validation.parquet", "test.parquet"}
    assert set(repo) == names | {"README.md", "croissant.json", "DATASET.json"}
    for name, data in repo.items():
        assert data == dict(release.files)[name].read_bytes()
    index = load_index(ws.root)
    for split, rows in index.groupby("split"):
        table = pd.read_parquet(dict(release.files)[f"{split}.parquet"])
        assert list(table["clip_id"]) == list(rows["clip_id"])
        assert set(table["url"]) == {f"https://example.org/{source_id}" for source_id in rows["source_id"]}
        assert {"bytes", "shard", "video_offset"}.isdisjoint(table.columns)
    assert b"holds no media" in repo["README.md"]
    assert json.loads(repo["DATASET.json"])["dataset_sha256"] == dataset_card(ws.root)["dataset_sha256"]
    assert store.commits == ["toy 1.2"]


def test_one_clip_that_is_not_allowed_keeps_all_media_back(ws: Workspace, tmp_path: Path) -> None:
    record = ws.record("segment", "omega")
    assert record is not None
    ws.write_record("segment", "omega", {**record, "clips": [{**c, "licence": ""} for c in record["clips"]]})
    filter_clips(ws, list(SOURCES), RECIPE.filters)
    shard(ws, "toy", CARD, RECIPE)
    release = prepare(ws.root, tmp_path / "scratch", ["CC-BY-4.0"])
    assert (release.with_media, release.held_back) == (False, {"not stated": 2})
    assert not any(name.endswith(".tar") for name, _ in release.files)


def test_with_every_licence_allowed_the_shards_go_and_nothing_of_work(
    ws: Workspace, tmp_path: Path, store: HubStore
) -> None:
    release = prepare(ws.root, tmp_path / "scratch", ["cc by 4.0"])
    assert (release.with_media, release.held_back) == (True, {})
    upload(release, "owner/toy", endpoint=store.endpoint, private=True)
    assert store.repos["owner/toy"] == tree(ws.shards)
    assert store.private == {"owner/toy"}
    assert not (tmp_path / "scratch").exists()


def test_a_run_that_was_cut_off_goes_on_with_what_is_missing(ws: Workspace, tmp_path: Path, store: HubStore) -> None:
    release = prepare(ws.root, tmp_path / "scratch", ["CC-BY"])
    store.fail_puts = 1
    with pytest.raises(UserError, match="owner/toy"):
        upload(release, "owner/toy", endpoint=store.endpoint)
    assert store.repos["owner/toy"] == {}, "nothing is there before the commit"
    assert len(store.objects) == 1
    before = [line for line in store.requests if line.startswith("PUT")]
    upload(release, "owner/toy", endpoint=store.endpoint)
    after = [line for line in store.requests if line.startswith("PUT")][len(before) :]
    assert len(after) == len(list(ws.shards.glob("*.tar"))), "three tars and the index less the one that had arrived"
    assert store.repos["owner/toy"] == tree(ws.shards)


def test_the_next_version_removes_what_was_taken_down_and_leaves_other_files(
    ws: Workspace, tmp_path: Path, store: HubStore
) -> None:
    upload(prepare(ws.root, tmp_path / "a", ["CC-BY"]), "owner/toy", endpoint=store.endpoint)
    store.repos["owner/toy"]["LICENSE.txt"] = b"someone's own file"
    index = load_index(ws.root)
    takedown(ws.root, sorted(set(index[index["split"] == "test"]["source_id"])), reason="asked")
    upload(prepare(ws.root, tmp_path / "b", ["CC-BY"]), "owner/toy", endpoint=store.endpoint)
    assert store.repos["owner/toy"] == {**tree(ws.shards), "LICENSE.txt": b"someone's own file"}
    assert "test-00000.tar" not in store.repos["owner/toy"]
    assert store.commits[0] == "toy 1.2"
    assert store.commits[1].startswith("toy 1.2.")


def test_no_token_a_wrong_token_and_a_wrong_name_are_one_sentence(
    ws: Workspace, tmp_path: Path, store: HubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = prepare(ws.root, tmp_path / "scratch")
    monkeypatch.setenv("HF_TOKEN", "stranger")
    with pytest.raises(UserError, match=r"does not allow it \(HTTP 401\)|hf auth login"):
        upload(release, "owner/toy", endpoint=store.endpoint)
    monkeypatch.setattr(publishing, "get_token", lambda: None)
    with pytest.raises(UserError, match=r"no one is signed in to the hub; run 'hf auth login'"):
        upload(release, "owner/toy", endpoint=store.endpoint)
    for name in ("toy", "a/b/c", "owner/to y"):
        with pytest.raises(UserError, match="must be owner/name"):
            publishing.check_repo(name)


def test_a_dataset_with_findings_is_not_published(ws: Workspace, tmp_path: Path) -> None:
    (ws.shards / "README.md").write_text("other")
    with pytest.raises(UserError, match=r"is not published, 1 findings \(README.md: is not the one"):
        prepare(ws.root, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", "CC-BY-NC-ND-4.0"),
        ("http://creativecommons.org/licenses/by/3.0/us/legalcode", "CC-BY-3.0"),
        ("Creative Commons Attribution license (reuse allowed)", "CC-BY"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International", "CC-BY-NC-SA-4.0"),
        ("CC0 1.0", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("Standard YouTube License", "Standard YouTube License"),
        ("unknown; see the hub page", "unknown; see the hub page"),
        ("", ""),
    ],
)
def test_licences_are_brought_to_one_name(text: str, name: str) -> None:
    assert normalise(text) == name


def test_a_licence_is_allowed_only_by_its_own_name() -> None:
    assert is_allowed("CC BY 3.0", ["CC-BY"])
    assert is_allowed("Creative Commons Attribution license (reuse allowed)", ["CC-BY"])
    assert not is_allowed("CC BY 3.0", ["CC-BY-4.0"])
    assert not is_allowed("CC BY-NC 4.0", ["CC-BY", "CC-BY-4.0"])
    assert not is_allowed("CC-BY", ["CC-BY-4.0"]), "a version that is not told is not the one allowed"
    assert not is_allowed("", ["", "CC0-1.0"]), "no licence is no permission, whatever the list says"
    assert hub_name(["CC BY 4.0", "cc-by-4.0"]) == "cc-by-4.0"
    assert hub_name(["CC BY 4.0", "CC0"]) == hub_name(["mine"]) == hub_name([]) == "other"


@pytest.mark.slow
@pytest.mark.parametrize("with_media", [True, False])
def test_mlcroissant_finds_no_error_and_reads_the_records(ws: Workspace, tmp_path: Path, with_media: bool) -> None:
    import mlcroissant

    release = prepare(ws.root, tmp_path / "scratch", ["CC-BY"] if with_media else [])
    folder = dict(release.files)["croissant.json"].parent
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()
    told = json.loads((folder / "croissant.json").read_text())
    assert told["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    for entry in told["distribution"]:
        assert entry["sha256"] == hashlib.sha256((folder / entry["contentUrl"]).read_bytes()).hexdigest()
    index = load_index(ws.root)
    records = list(dataset.records("clips"))
    assert [record["clips/clip_id"].decode() for record in records] == list(index["clip_id"])
    assert [record["clips/lag_s"] for record in records] == list(index["lag_s"])
    assert {record["splits/name"] for record in dataset.records("splits")} == {"train", "validation", "test"}


@pytest.mark.slow
def test_hugging_face_datasets_loads_the_folder(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "hf"))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    assert datasets.get_dataset_split_names(str(ws.shards)) == ["train", "validation", "test"]
    index = load_index(ws.root).set_index("clip_id")
    for split, rows in index.groupby("split"):
        stream = datasets.load_dataset(str(ws.shards), split=split, streaming=True).decode(False)
        samples = {sample["__key__"]: sample for sample in stream}
        assert set(samples) == set(rows.index)
        for clip_id, sample in samples.items():
            assert hashlib.sha256(sample["mp4"]["bytes"]).hexdigest() == index.loc[clip_id, "sha256"]
            assert sample["json"]["source_id"] == index.loc[clip_id, "source_id"]
    release = prepare(ws.root, tmp_path / "scratch")
    folder = dict(release.files)["README.md"].parent
    table = datasets.load_dataset(str(folder), split="test", cache_dir=str(tmp_path / "cache"))
    assert table["clip_id"] == list(index[index["split"] == "test"].index)


def test_the_real_client_is_what_talks(store: HubStore) -> None:
    """A guard of the fixture: the loopback hub answers the client's own listing."""
    api = huggingface_hub.HfApi(endpoint=store.endpoint, token="good")
    api.create_repo("owner/empty", repo_type="dataset")
    assert api.list_repo_files("owner/empty", repo_type="dataset") == []
