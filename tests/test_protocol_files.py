"""Every shipped protocol: it loads, says what it is and where it comes from, and its id is the one it had."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from avbench import protocol, recipe, registry
from avbench.errors import UserError

IDS: dict[str, str] = {
    "av-align": "6484efe4",
    "avbench-v1": "25362e98",
    "avbench-v1-bf16": "0fc540b8",
    "avdit": "f5a80999",
    "bounce-v1": "cf6f16bc",
    "cd-fvd": "fda01ff3",
    "common-metrics": "87a8a36b",
    "demo-64": "95c1f3a5",
    "demo-v1": "dcd66156",
    "fad-av-benchmark": "f0cc96fc",
    "fad-fadtk": "cd9fe750",
    "fad-google": "13a4c97d",
    "fad-gudgud96": "8a4f0c7d",
    "javisbench": "64b04e92",
    "javisbench-compat": "30ede2af",
    "mmdiffusion": "9554e4c4",
    "mmdiffusion-compat": "4f019ff6",
    "stylegan-v": "0aaa8c6c",
    "stylegan-v-128f": "b7d129b9",
    "tats": "ffafc1a2",
    "videogpt": "61fcc976",
}
"""Ids of the shipped protocols. A score carries its id: a change here means that older scores no longer compare, and
belongs in CHANGELOG.md with its reason. The failing test prints the new one."""

NAMES = recipe.names("protocols")
COMMIT = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{7}\b|arXiv \d{4}\.\d{5}")


def test_there_is_a_pinned_id_for_each_protocol_and_no_other() -> None:
    assert sorted(IDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_id_is_the_one_it_had(name: str) -> None:
    assert protocol.load(name).id == f"{name}@{IDS[name]}"


def test_no_two_protocols_share_a_digest() -> None:
    digests = {protocol.load(name).sha256 for name in NAMES}
    assert len(digests) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_called_as_its_file_and_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    found = protocol.load(name)
    assert found.name == name
    assert len(found.description) > 40
    assert found.description.endswith(".")
    assert found.source.startswith("avbench") or COMMIT.search(found.source)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_of_features_and_metrics_it_uses_and_these_take_them(name: str) -> None:
    found = protocol.load(name)
    used = found.feature_names()
    for feature, options in found.features.items():
        assert feature in used
        offered = inspect.signature(registry.module("feature", feature).Feature).parameters
        assert set(options) <= set(offered)
    for metric, options in found.estimators.items():
        assert metric in found.metrics
        assert set(options) <= set(inspect.signature(registry.module("metric", metric).compute).parameters)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-compat")])
def test_a_compat_protocol_has_a_plain_one_beside_it_and_only_the_compat_one_has_defects(name: str) -> None:
    compat, plain = protocol.load(name), protocol.load(name.removesuffix("-compat"))
    assert compat.levels != "plain"
    assert plain.levels == "plain"
    assert not plain.repeat_to_n
    assert (compat.frames, compat.fps, compat.size, compat.n) == (plain.frames, plain.fps, plain.size, plain.n)
    assert set(compat.metrics) <= set(plain.metrics)


def test_bfloat16_differs_from_the_recommended_protocol_in_nothing_else() -> None:
    exact, fast = protocol.load("avbench-v1"), protocol.load("avbench-v1-bf16")
    differ = {key for key in type(exact).model_fields if getattr(exact, key) != getattr(fast, key)}
    assert differ == {"name", "description", "features"}
    assert exact.features["i3d"] | {"precision": "bfloat16"} == fast.features["i3d"]
    assert exact.id != fast.id


def test_own_rate_is_said_in_the_file_and_never_by_leaving_the_rate_out(tmp_path: Path) -> None:
    written = (recipe.find("protocols", "cd-fvd")).read_text()
    assert protocol.load("cd-fvd").fps is None
    path = tmp_path / "mine.toml"
    path.write_text(written.replace('fps = "own"\n', ""))
    with pytest.raises(UserError, match="fps"):
        protocol.load(str(path))


def test_a_window_of_own_rate_has_no_length_until_a_clip_gives_one() -> None:
    found = protocol.load("cd-fvd")
    assert found.seconds(25) == pytest.approx(16 / 25)
    with pytest.raises(ValueError, match="own rate"):
        found.seconds()


def test_seconds_of_sound_may_be_set_apart_from_the_pictures() -> None:
    found = protocol.load("javisbench-compat")
    assert found.n_samples(30) == 4 * 16000
    assert found.seconds(30) == pytest.approx(24 / 30)
