"""A score on disk: the record, the per-clip table, the feature rows and the page that shows them.

result.json  per_clip.parquet  features.safetensors  report.html, beside the clips or in the folder of the run
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from avbench import (
    inputs,
    parallel,
    protocol as protocols,
    provenance,
    recipe as recipes,
    registry,
    scoring,
    statistics,
    submit,
    workspace,
)
from avbench.baselines._untrained import Licence
from avbench.cache import FeatureCache
from avbench.dataset import find_dataset, is_dataset
from avbench.errors import UserError
from avbench.features._base import usable_device
from avbench.leaderboard import evidence, records
from avbench.leaderboard.evidence import FEATURES_NAME, PER_CLIP_NAME, RESULT_NAME
from avbench.leaderboard.records import DatasetRef, Environment, ProtocolRef, ResultRecord
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.recipe_baseline import BaselineRecipe
from avbench.scoring import Scorer, ScoreResult

DEFAULT_PROTOCOL = "avbench-v1"


def pick_device(name: str | None) -> torch.device:
    """The device asked for, or CUDA when there is one.

    Raises:
        UserError: No such device on this machine.
    """
    return usable_device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def find_reference(name: str) -> Path:
    """A folder, a file of statistics, or the name of a dataset.

    Raises:
        UserError: None of these.
    """
    place = Path(name)
    if place.is_dir() or (place.suffix == statistics.SUFFIX and place.is_file()):
        return place
    if place.suffix == statistics.SUFFIX:
        raise UserError(
            f"{place}: there is no such file; make it with `avbench reference build REFERENCE --out {place}`"
        )
    return find_dataset(name)


def write_record(
    folder: Path,
    result: ScoreResult,
    protocol: Protocol,
    *,
    samples: Path,
    device: str,
    model: str,
    reporter: Reporter = SILENT,
    **about: Any,
) -> ResultRecord:
    """Write the record, the per-clip table, the rows and the page into ``folder`` and return the record.

    Args:
        folder: Where.
        result: The numbers.
        protocol: How they were made.
        samples: Where the clips lie.
        device: Where networks ran.
        model: Name in the table.
        reporter: Told where the page is.
        about: Further fields of `ResultRecord` (preset, training, seconds...).
    """
    statistics.save(folder / FEATURES_NAME, {"generated": result.generated, "reference": result.real}, result.header)
    with workspace.publish(folder / PER_CLIP_NAME) as temporary:
        pd.DataFrame(result.per_clip).to_parquet(temporary, index=False)
    record = ResultRecord(
        model=model,
        dataset=DatasetRef(**result.reference),
        protocol=ProtocolRef(
            id=protocol.id, name=protocol.name, sha256=protocol.sha256, settings=protocol.model_dump(mode="json")
        ),
        scores=result.scores,
        n_asked=result.n_asked,
        n_used=result.n_used,
        failed=result.failed,
        weights=result.weights,
        memorisation=result.memorisation,
        command=provenance.command_line(),
        commit=provenance.git_commit(),
        environment=Environment(**provenance.environment(device)),
        created_at=provenance.utc_now(),
        evidence=evidence.digests(folder, samples),
        **about,
    )
    from avbench.leaderboard import report

    record = _as_before(folder / RESULT_NAME, record)
    shown = report.write_report(folder, record, result.per_clip, result.items, protocol)
    workspace.write_json(folder / RESULT_NAME, record.model_dump(mode="json"))
    reporter.note(f"report     {shown}")
    return record


def _as_before(path: Path, record: ResultRecord) -> ResultRecord:
    """The record that is there already where it says the same and only its times are others, else the new one.

    A command that was killed after it had published a record, and goes on, must not put the same run on a table twice.
    """
    try:
        before = records.load(path)
    except UserError:  # none there, or damaged: it is written anew
        return record
    same = record.model_copy(update={"created_at": before.created_at, "seconds": before.seconds})
    return before if same.model_dump(mode="json") == before.model_dump(mode="json") else record


def score_folder(
    outputs: Path,
    reference: str | None = None,
    protocol: str | None = None,
    *,
    training_set: str | None = None,
    reconstructions: Path | None = None,
    prompts: Path | None = None,
    model: str | None = None,
    device: str | None = None,
    workers: int | None = None,
    use_cache: bool = True,
    leaderboard: Path | None = None,
    reporter: Reporter = SILENT,
) -> ResultRecord:
    """Score any folder of clips and write the record beside them.

    The samples of a run of avbench know their reference and protocol: those of the run, unless others are given.

    Raises:
        UserError: No reference, or whatever is wrong with folder, reference or protocol.
    """
    made = outputs.resolve().parent / "recipe.json"
    about: dict[str, Any] = {}
    recipe: BaselineRecipe | None = None
    if made.is_file() and (outputs / "samples.json").is_file():
        recipe = recipes.parse(workspace.read_json(made), BaselineRecipe, str(made))
        reference, protocol = reference or recipe.dataset, protocol or recipe.protocol
        if model is None:
            model, preset = recipe.shown_as
            about = {"preset": preset, "baseline": recipe.baseline, **facts_of_samples(outputs)}
    rules = protocols.load(protocol or DEFAULT_PROTOCOL)
    where = pick_device(device)
    if reference is None:
        raise UserError(f"{outputs}: give the clips to compare with: --reference DATASET, FOLDER or FILE.safetensors")
    if not outputs.is_dir():
        raise UserError(f"{outputs}: there is no such folder")
    with ExitStack() as held:
        held.enter_context(scoring_alone(outputs))
        rules, task = made_rules(outputs, rules, reporter)
        real = find_reference(reference)
        if recipe is not None and reconstructions is None:
            reconstructions = codec_floor(made.parent, recipe, real, rules, where, reporter)
        result = scoring.score(
            outputs,
            real,
            rules,
            training_set=find_reference(training_set) if training_set else None,
            reconstructions=reconstructions,
            prompts_table=prompts,
            workers=workers or parallel.default_workers(),
            device=str(where),
            cache=held.enter_context(FeatureCache(reporter=reporter)) if use_cache else None,
            reporter=reporter,
        )
        record = write_record(
            outputs,
            result if recipe is None else with_unmade(result, workspace.read_json(outputs / "samples.json")),
            rules,
            samples=outputs,
            model=model or outputs.resolve().name,
            device=str(where),
            task=task,
            **about,
            seconds={"score": round(result.seconds, 2)},
            reporter=reporter,
        )
    if leaderboard is not None:
        submit.publish(record, outputs, leaderboard, reporter=reporter)
    return record


def scoring_alone(folder: Path) -> AbstractContextManager[None]:
    """Be the only process that writes a score into a folder.

    Raises:
        UserError: Another one does.
        EnvironmentFault: The folder cannot be written: found before hours of measuring.
    """
    names = (RESULT_NAME, PER_CLIP_NAME, FEATURES_NAME, "report.html")
    sweep = tuple(f"{workspace.TEMPORARY}*-{name}" for name in names)
    return workspace.alone(folder, "score", "writes a score", sweep=sweep)


def codec_floor(
    run: Path, recipe: BaselineRecipe, reference: Path, protocol: Protocol, device: torch.device, reporter: Reporter
) -> Path | None:
    """Reference clips after the codecs of a run and back, as many as it samples; None where a run has no codecs.

    A score does not fail for want of its floor: that the codecs are gone is said, and the floor left out.
    """
    make = getattr(registry.module("baseline", recipe.baseline), "reconstructions", None)
    if make is None or not is_dataset(reference):
        return None
    n, split = min(protocol.n, recipe.sample.n), protocol.reference_split
    try:
        found: Path = make(run, recipe, reference, split=split, n=n, device=device, reporter=reporter)
    except UserError as error:
        reporter.warn(f"no codec floor: {error}")
        return None
    return found


def made_rules(outputs: Path, rules: Protocol, reporter: Reporter = SILENT) -> tuple[Protocol, str]:
    """The protocol for what was made of a folder's clips, and the name of their task for the record.

    Raises:
        UserError: Too little was made for the protocol, or ``samples.json`` is damaged.
    """
    given = inputs.read_given(outputs)
    fitted = given.fitted(rules)
    if fitted is not rules:
        reporter.note(
            f"protocol   {fitted.name}: windows of {fitted.frames} frames instead of {rules.frames}, on both sides, so "
            "that none holds what was given"
        )
    return fitted, given.task


def facts_of_samples(outputs: Path) -> dict[str, Any]:
    """``sampling`` and ``notes`` of a record, as far as the folder's ``samples.json`` tells them."""
    card = workspace.read_json(outputs / "samples.json")
    sample, config = card.get("sample"), card.get("config") or {}
    known = {name: card[name] for name in ("checkpoint", "given", "made", "seconds") if name in card}
    is_sampled = isinstance(sample, dict) and {"scheduler", "steps", "seed"} <= sample.keys()
    notes = notes_of_samples(card, config.get("imported"))
    sampling = {**sample, "clips": clips_made(outputs), **known} if is_sampled else None
    return {"sampling": sampling, "notes": notes}


def clips_made(samples: Path) -> int:
    """Clips that a folder of samples holds."""
    return len(list(samples.glob("*.mp4")))


def clips_unmade(samples: Path) -> dict[str, str]:
    """Clips that the models of others could not make, with the reason; our own networks fail on none."""
    found: dict[str, str] = workspace.read_json(samples / "samples.json").get("failed", {})
    return found


def notes_of_samples(card: Mapping[str, Any], imported: Mapping[str, Any] | None) -> str:
    """What else a reader of the record should know: whose weights made the clips, and on what terms.

    Args:
        card: ``samples.json``.
        imported: Where imported weights come from; None for those trained here.
    """
    if imported:
        return f"weights imported from {imported['file']}, sha256 {imported['sha256']}"
    notes = [card["notes"]] if card.get("notes") else []
    return "; ".join([*notes, *(str(Licence(**each)) for each in card.get("licences", ()))])


def with_unmade(result: ScoreResult, card: Mapping[str, Any]) -> ScoreResult:
    """The result with the clips that could not be made among those that failed."""
    return replace(result, failed={**card.get("failed", {}), **result.failed})


def build_reference(
    reference: str,
    protocol: str,
    out: Path | None = None,
    *,
    device: str | None = None,
    workers: int | None = None,
    reporter: Reporter = SILENT,
) -> tuple[Path, dict[str, str]]:
    """Measure a reference once, for scores that then need neither its media nor its decoding.

    Args:
        reference: A dataset or a folder of real clips.
        protocol: Name or file.
        out: File to write; by default ``<reference>-<protocol id>.safetensors`` here.
        device: Where networks run.
        workers: Processes.
        reporter: Progress.

    Returns:
        The file, and clips that could not be measured with the reason.

    Raises:
        UserError: Whatever is wrong with reference, protocol or file name.
    """
    rules, begun = protocols.load(protocol), time.monotonic()
    place = find_reference(reference)
    if place.suffix == statistics.SUFFIX:
        raise UserError(f"{place}: is a file of statistics already; give the dataset or folder it was made from")
    path = out or Path(f"{place.resolve().name}-{rules.id}{statistics.SUFFIX}")
    if path.suffix != statistics.SUFFIX:
        raise UserError(f"{path}: the file of statistics must end in {statistics.SUFFIX}")
    with FeatureCache(reporter=reporter) as cache:
        scorer = Scorer(rules, workers or parallel.default_workers(), str(pick_device(device)), cache, reporter)
        side, about, _ = scorer.reference(place)
    for reason in scorer.missing.values():
        reporter.warn(f"left out: {reason}")
    statistics.save(path, {"reference": side}, statistics.header(rules, about, scorer.weights, scorer.missing))
    reporter.note(
        f"reference  {side.distinct} windows of {about['name']} for {rules.id} "
        f"({time.monotonic() - begun:.1f} s), {path}"
    )
    return path, side.failed
