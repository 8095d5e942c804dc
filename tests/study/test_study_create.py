"""A study on disk: which clips belong together, what people see of them, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.errors import MediaError, UserError
from avbench.features._lufs import integrated_lufs
from avbench.study import clips, collect, create, design as designs, record
from avbench.study.design import Design
from tests.clips import RATE, clip, write_mp4
from tests.study.conftest import N_CLIPS, design


def _folder(root: Path, name: str, stems: list[str]) -> Path:
    folder = root / name
    folder.mkdir()
    for stem in stems:
        (folder / f"{stem}.mp4").write_bytes(stem.encode())
    return folder


def _two(root: Path, first: list[str], second: list[str], **settings: object) -> Design:
    a, b = _folder(root, "a", first), _folder(root, "b", second)
    return designs.of_folders([a, b], None, {"trials": 2, **settings})


def test_clips_of_the_same_name_belong_together(tmp_path: Path) -> None:
    found = collect.clips(_two(tmp_path, ["x", "y"], ["y", "x"]))
    assert [(one.system, one.condition) for one in found] == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]


def test_clips_of_equal_rank_belong_together_where_the_design_says_so(tmp_path: Path) -> None:
    found = collect.clips(_two(tmp_path, ["p", "q"], ["x", "y"], match="order"))
    assert [(one.condition, one.path.stem) for one in found] == [
        ("0000", "p"),
        ("0001", "q"),
        ("0000", "x"),
        ("0001", "y"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "settings", "words"),
    [
        (["x", "y", "z"], ["x"], {}, "'a' has 3 clips and 'b' 1.*'b' lacks y, z"),
        (["x", "y"], ["x", "w"], {}, "'b' lacks y; 'a' lacks w.*match = 'order'"),
        (["x", "y", "z"], ["p", "q"], {"match": "order"}, "3 clips and 'b' 2"),
        (["x", "y"], [], {}, "holds no clips"),
        (["x", "y"], ["x", "y"], {"clips": 3}, "only 2"),
    ],
)
def test_unequal_folders_are_refused_by_name(tmp_path: Path, first, second, settings, words) -> None:
    with pytest.raises(UserError, match=words):
        collect.clips(_two(tmp_path, first, second, **settings))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    asked = _two(tmp_path, ["x", "y"], ["x", "y"])
    (tmp_path / "a" / "x.webm").write_bytes(b"x")
    with pytest.raises(UserError, match=r"x\.webm.*x\.mp4"):
        collect.clips(asked)


def test_samples_of_a_run_are_found_and_other_conditions_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _folder(tmp_path / name, "samples", ["x", "y"])
    asked = designs.of_folders([tmp_path / "a", tmp_path / "b" / "samples"], None, {"trials": 2})
    assert asked.made == ("a", "b")
    cards = {"a": {"sources": {"x": {"clip": "one", "window": 0}, "y": {"clip": "two"}}}}
    cards["b"] = {"sources": {"x": {"clip": "one", "window": 3}, "y": {"clip": "two"}}}
    for name, card in cards.items():
        (tmp_path / name / "samples" / "samples.json").write_text(json.dumps(card))
    assert len(collect.clips(asked)) == 4
    cards["b"]["sources"]["y"] = {"clip": "three"}
    (tmp_path / "b" / "samples" / "samples.json").write_text(json.dumps(cards["b"]))
    with pytest.raises(UserError, match="three"):
        collect.clips(asked)


def test_a_draw_takes_the_same_conditions_of_every_system(tmp_path: Path) -> None:
    stems = [f"c{n}" for n in range(9)]
    asked = _two(tmp_path, stems, stems, clips=3)
    found = collect.clips(asked)
    by_system = {name: [one.condition for one in found if one.system == name] for name in ("a", "b")}
    assert by_system["a"] == by_system["b"]
    assert len(by_system["a"]) == 3
    assert collect.clips(asked.model_copy(update={"seed": 1})) != found


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"systems": [{"name": "a", "folder": "a"}]}, "needs two systems"),
        ({"tests": ["turing"]}, "needs real clips"),
        ({"tests": ["pairwise", "pairwise"]}, "named twice"),
        ({"questions": ["beauty"]}, "none of quality"),
        ({"questions": ["quality"]}, "needs_sound"),
        ({"checks": {"kinds": ["identical"]}, "no_difference": False}, "none of the checks"),
        ({"trails": 3}, "did you mean 'trials'"),
        ({"loudness_lufs": 23}, "loudness_lufs"),
        ({"systems": [{"name": "a/b", "folder": "a"}, {"name": "b", "folder": "b"}]}, "name"),
    ],
)
def test_designs_that_cannot_be_are_refused(tmp_path: Path, settings, words) -> None:
    import tomllib

    data = {"systems": [{"name": "a", "folder": "a"}, {"name": "b", "folder": "b"}], **settings}
    lines = [f"{key} = {json.dumps(value)}" for key, value in data.items() if key not in ("systems", "checks")]
    lines += [f"[checks]\nkinds = {json.dumps(data['checks']['kinds'])}"] if "checks" in data else []
    lines += [f'[[systems]]\nname = "{one["name"]}"\nfolder = "{one["folder"]}"' for one in data["systems"]]
    (tmp_path / "design.toml").write_text("\n".join(lines))
    assert tomllib.loads((tmp_path / "design.toml").read_text())
    with pytest.raises(UserError, match=words):
        designs.load(tmp_path / "design.toml")


def test_folders_of_a_design_are_beside_it(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text('[[systems]]\nname="a"\nfolder="x"\n[[systems]]\nname="b"\nfolder="/y"\n')
    assert [system.folder for system in designs.load(tmp_path / "d.toml").systems] == [str(tmp_path / "x"), "/y"]


def test_a_clip_for_the_browser_tells_nothing_and_keeps_picture_sound_and_sync(tmp_path: Path) -> None:
    video, audio = clip(3, frames=20, size=34)
    source = tmp_path / "secret-system.mp4"
    media.encode(source, video, 10, audio, RATE, crf=10)
    made = clips.write(source, tmp_path / "out.mp4")
    info = media.probe(tmp_path / "out.mp4")
    assert (info.video_codec, info.audio_codec, info.width, info.height, info.fps) == ("h264", "aac", 34, 34, 10)
    assert b"secret" not in (tmp_path / "out.mp4").read_bytes()
    assert info.comment == ""
    assert made.duration_s == pytest.approx(2.0, abs=0.06)  # AAC pads its last frame
    seen = media.decode_video(tmp_path / "out.mp4")
    wanted = media.decode_video(source)
    assert seen.shape == wanted.shape
    assert np.abs(seen.astype(int) - wanted).mean() < 3
    heard = media.decode_audio(tmp_path / "out.mp4", sample_rate_hz=RATE, mono=True)[0]
    lag = np.argmax(np.correlate(heard[: len(audio[0])], audio[0], "full")) - (len(audio[0]) - 1)
    assert abs(lag) <= 2  # samples
    assert made.gain_db == 0


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path, folders: Path) -> None:
    source = folders / "alpha" / "sample-00000.mp4"
    assert clips.write(source, tmp_path / "a.mp4") == clips.write(source, tmp_path / "b.mp4")


def test_loudness_is_brought_to_the_target_where_peaks_leave_room(tmp_path: Path) -> None:
    t = np.arange(3 * RATE) / RATE
    video = clip(0, frames=30)[0]
    quiet = (0.02 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None]
    media.encode(tmp_path / "quiet.mp4", video, 10, quiet, RATE)
    made = clips.write(tmp_path / "quiet.mp4", tmp_path / "out.mp4", target_lufs=-23)
    sound = media.decode_audio(tmp_path / "out.mp4")
    assert integrated_lufs(sound, 48000) == pytest.approx(-23, abs=0.2)
    assert made.lufs + made.gain_db == pytest.approx(-23, abs=0.02)
    peaky = np.zeros_like(quiet)
    peaky[0, ::8000] = 0.9
    media.encode(tmp_path / "peaky.mp4", video, 10, peaky, RATE)
    kept = clips.write(tmp_path / "peaky.mp4", tmp_path / "out2.mp4", target_lufs=-10)
    assert kept.lufs + kept.gain_db < -12  # a limiter would have changed the sound


def test_a_silenced_clip_has_its_picture_and_no_sound(tmp_path: Path, folders: Path) -> None:
    source = folders / "alpha" / "sample-00001.mp4"
    made = clips.write(source, tmp_path / "out.mp4", silenced=True)
    assert not np.abs(media.decode_audio(tmp_path / "out.mp4")).max() > 1e-4
    assert made.duration_s == pytest.approx(media.probe(source).duration_s, abs=0.1)


@pytest.mark.parametrize("what", ["sound", "picture", "anything"])
def test_what_is_no_clip_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "bad.mp4"
    if what == "sound":
        media.encode(path, clip(0)[0], 10, None, RATE)
    elif what == "picture":
        import wave

        with wave.open(str(path), "wb") as out:
            out.setparams((1, 2, RATE, 0, "NONE", ""))
            out.writeframes(bytes(RATE))
    else:
        path.write_text("This is a page about a film.")
    with pytest.raises(MediaError, match=rf"bad\.mp4.*{what if what != 'anything' else 'not a video'}"):
        clips.write(path, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_study_holds_every_clip_once_and_some_silenced(made: Path) -> None:
    study = record.read(made)
    ordinary = [one for one in study.clips if not one.silenced]
    assert len({(one.system, one.condition) for one in ordinary}) == len(ordinary) == 3 * N_CLIPS
    assert 0 < len(study.clips) - len(ordinary) <= 4
    assert {path.name for path in (made / "clips").iterdir()} == {f"{one.name}.mp4" for one in study.clips}
    systems = [one.system for one in study.clips]
    assert systems != sorted(systems)  # numbers do not go by system
    record.check_files(made, study)


def test_the_same_command_again_changes_nothing_and_another_is_refused(study_folder: Path, folders: Path) -> None:
    asked = design(folders, tests=("pairwise", "opinion", "turing"))
    before = {path: path.read_bytes() for path in study_folder.rglob("*.*") if path.is_file()}
    assert create.create(asked, study_folder).already
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(UserError, match="holds another study"):
        create.create(asked.model_copy(update={"seed": 5}), study_folder)
    with pytest.raises(UserError, match="is missing"):
        record.clip_path(study_folder, record.read(study_folder).clips[3].name).unlink()
        create.create(asked, study_folder)


@pytest.mark.slow
def test_a_study_that_was_killed_while_it_was_made_ends_with_the_same_bytes_with_any_number_of_workers(
    study_folder: Path, made: Path, folders: Path
) -> None:
    (study_folder / record.NAME).unlink()
    names = sorted((study_folder / "clips").iterdir())
    names[0].unlink()
    (study_folder / "clips" / ".tmp-1-clip-0000.mp4").write_bytes(b"half")
    create.create(design(folders, tests=("pairwise", "opinion", "turing")), study_folder, workers=2)
    for path in made.rglob("*.*"):
        if path.is_file():
            assert (study_folder / path.relative_to(made)).read_bytes() == path.read_bytes()
    assert not list((study_folder / "clips").glob(".tmp*"))


def test_a_changed_record_or_clip_is_noticed(study_folder: Path) -> None:
    study = record.read(study_folder)
    path = record.clip_path(study_folder, study.clips[0].name)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match="was changed"):
        record.check_files(study_folder, study)
    text = (study_folder / record.NAME).read_text()
    (study_folder / record.NAME).write_text(text.replace('"system": "alpha"', '"system": "beta"', 1))
    with pytest.raises(UserError, match="changed after it was made"):
        record.read(study_folder)
    (study_folder / record.NAME).write_text("[]")
    with pytest.raises(UserError, match="is no study"):
        record.read(study_folder)


def test_loudness_that_tells_systems_apart_is_said(tmp_path: Path) -> None:
    for name, loud in (("alpha", 0.9), ("beta", 0.2), ("real", 0.5)):
        (tmp_path / name).mkdir()
        for number in range(2):
            write_mp4(tmp_path / name / f"c{number}.mp4", number, frames=8, loud=loud)
    asked = design(tmp_path, trials=2, checks={"per_test": 0})
    told = create.create(asked, tmp_path / "study").notes
    assert any("they differ by" in note and "louder" in note for note in told)
    shutil.rmtree(tmp_path / "study")
    even = create.create(asked.model_copy(update={"loudness_lufs": -30.0}), tmp_path / "study").notes
    assert not any("differ" in note for note in even)


def test_answers_without_a_study_are_not_built_over(tmp_path: Path, folders: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / record.ANSWERS).write_bytes(b"")
    with pytest.raises(UserError, match="answers lie here"):
        create.create(design(folders), tmp_path / "study")
