"""A run: the folder in which a baseline is trained, sampled, scored and recorded.

runs/<name>/recipe.json  checkpoints/  log.jsonl  run.html  samples/  result.json  per_clip.parquet
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from avbench import (
    given_clips,
    heap,
    parallel,
    protocol as protocols,
    recipe as recipes,
    registry,
    scoring,
    submit,
    workspace,
)
from avbench.baselines import _base
from avbench.baselines._untrained import Prompts, is_untrained
from avbench.cache import FeatureCache
from avbench.dataset import find_dataset
from avbench.errors import EnvironmentFault, UserError
from avbench.inputs.conditions import Conditions
from avbench.inputs.prompt_lists import read_prompts
from avbench.leaderboard.records import ResultRecord
from avbench.processor import warn_of_imitation
from avbench.progress import SILENT, Reporter
from avbench.recipe_baseline import BaselineRecipe, SampleRecipe, TrainRecipe
from avbench.scored import (
    clips_made,
    clips_unmade,
    codec_floor,
    made_rules,
    notes_of_samples,
    pick_device,
    scoring_alone,
    with_unmade,
    write_record,
)
from avbench.training import checkpoint
from avbench.training.log import edge_losses, numbers, read_log
from avbench.training.page import NAME as PAGE_NAME
from avbench.training.processes import rank

_HALF_TRAINED = (
    f"checkpoints/{workspace.TEMPORARY}*",
    *(f"{workspace.TEMPORARY}*{name}" for name in ("recipe.json", "log.jsonl", ".png", PAGE_NAME)),
)
"""What a killed training may leave half-written: names that sampling and scoring do not use."""


@dataclass
class Run:
    """One baseline in one folder.

    Attributes:
        recipe: What is trained, sampled and scored, with the user's numbers filled in.
        folder: Where.
        dataset: Dataset folder, or None when only sampling.
        device: Where networks run.
        reporter: Progress.
        accept_licence: Licences that ask something of the user were accepted.
    """

    recipe: BaselineRecipe
    folder: Path
    dataset: Path | None
    device: torch.device
    reporter: Reporter
    accept_licence: bool = False

    @classmethod
    def open(
        cls,
        baseline: str,
        preset: str | None = None,
        *,
        dataset: str | None,
        out: Path | None,
        steps: int | None = None,
        n: int | None = None,
        bf16: bool | None = None,
        sampling: Mapping[str, Any] | None = None,
        prompts: str | None = None,
        accept_licence: bool = False,
        device: str | None = None,
        track: Sequence[str] = (),
        reporter: Reporter = SILENT,
    ) -> Run:
        """Read the recipe and check every name before any work begins.

        Without a preset it is the recipe of the run in ``out``; where there is no run yet, that of ``tiny``.

        Raises:
            UserError: Unknown baseline, preset, recipe key, list of prompts or device; ``out`` holds a run of another
                baseline; an option that this baseline does not take.
        """
        baseline, preset = _named(baseline, preset)
        module = registry.module("baseline", baseline)
        made = out / "recipe.json" if out and preset is None else None
        if made is not None and made.is_file():
            recipe = recipes.parse(workspace.read_json(made), BaselineRecipe, str(made))
            if recipe.baseline != baseline.replace("_", "-"):
                raise UserError(f"{out}: holds a run of {recipe.baseline}; name that baseline or give another --out")
        else:
            recipe = load_recipe(baseline, preset or "tiny")
        if dataset is not None:
            recipe = recipe.model_copy(update={"dataset": dataset})
        options = {"steps": steps, "track": track or None, "bf16": bf16, **(sampling or {})}
        recipe = _with_prompts(recipe, prompts, options if is_untrained(module) else None)
        if steps is not None:
            recipe = recipe.model_copy(update={"train": recipe.training.model_copy(update={"steps": steps})})
        if track:
            named = recipes.parse({**recipe.training.model_dump(), "track": tuple(track)}, TrainRecipe, "--track")
            recipe = recipe.model_copy(update={"train": named})
        if n is not None:
            recipe = recipe.model_copy(update={"sample": recipe.sample.model_copy(update={"n": n})})
        if bf16 is not None:
            recipe = _in_precision(recipe, bf16)
        if sampling:
            sample = recipes.parse({**recipe.sample.model_dump(), **sampling}, SampleRecipe, "sample")
            recipe = recipe.model_copy(update={"sample": sample})
        if accept_licence and recipe.codec is not None:
            agreed = recipe.codec.model_copy(update={"accept_licence": True})
            recipe = recipe.model_copy(update={"codec": agreed})
        protocols.load(recipe.protocol)
        folder = out or Path("runs") / f"{recipe.baseline}-{recipe.preset}"
        place = find_dataset(dataset) if dataset else None
        return cls(recipe, folder, place, pick_device(device), reporter, accept_licence)

    def imported(self) -> dict[str, Any] | None:
        """Which file the weights were imported from (`avbench import-checkpoint`); None for a run trained here."""
        found = checkpoint.latest(self.folder / "checkpoints")
        return found.config.get("imported") if found else None

    def _dataset(self) -> Path:
        if self.dataset is None:
            self.dataset = find_dataset(self.recipe.dataset)
        return self.dataset

    def train(self) -> None:
        """Train, or go on training; of several processes that a launcher started, the first writes and reports."""
        if self._is_untrained:
            self._dataset()
            self.reporter.note(f"train      nothing: {self.recipe.baseline} takes the models of others as they are")
            return
        if imported := self.imported():
            self._dataset()  # what it is scored against: better missed now than after hours of sampling
            self.reporter.note(f"train      left out: the weights were imported from {imported['file']}")
            return
        if self.recipe.training.bf16:
            self._warn_of_imitation("train.bf16 = true")
        dataset, begun = self._dataset(), time.monotonic()
        baseline = registry.module("baseline", self.recipe.baseline)
        with self._training_alone() if rank() == 0 else nullcontext():
            result = baseline.train(dataset, self.recipe, self.folder, device=self.device, reporter=self.reporter)
        self.reporter.note(
            f"train      {result.steps} steps, loss {result.first_loss:.3f} -> {result.final_loss:.3f} "
            f"({time.monotonic() - begun:.1f} s), {self.folder / PAGE_NAME}"
        )

    @contextmanager
    def _training_alone(self) -> Iterator[None]:
        """Be the only process that trains the run, with its recipe beside it; one that is refused leaves no trace.

        Raises:
            UserError: Another process trains it.
            EnvironmentFault: The folder cannot be written.
        """
        saved = self.folder / "recipe.json"
        with workspace.alone(self.folder, "train", "trains", sweep=_HALF_TRAINED):
            before = saved.read_text() if saved.is_file() else None
            workspace.write_json(saved, self.recipe.model_dump(mode="json"))
            try:
                yield
            except UserError:
                # what is trained there follows the recipe of before, which a plain `avbench train` goes on with
                with suppress(EnvironmentFault):
                    if before is not None:
                        workspace.write_text(saved, before)
                    elif not any((self.folder / "checkpoints").glob("step-*")):
                        saved.unlink(missing_ok=True)
                raise

    def sample(self) -> Path:
        """Sample what is missing."""
        begun = time.monotonic()
        if self.device.type == "cpu":
            heap.keep_freed_memory()  # training does not: its peak would rise by a tenth
        if self.recipe.sample.bf16:
            self._warn_of_imitation("sample.bf16 = true")
        folder = _base.samples_folder(self.folder, self.recipe)
        if self._is_untrained:
            workspace.write_json(self.folder / "recipe.json", self.recipe.model_dump(mode="json"))
            made, already = self._module().write_samples(
                self.folder,
                self.recipe,
                prompts=self._prompts(),
                device=self.device,
                accept_licence=self.accept_licence,
                reporter=self.reporter,
            )
        else:
            made, already = _base.write_samples(
                self.folder, self.recipe, device=self.device, conditions=self._conditions(), reporter=self.reporter
            )
        before, unmade = f", {already} already" if already else "", len(clips_unmade(folder))
        failed = f", {unmade} failed" if unmade else ""
        self.reporter.note(f"sample     {made} clips{before}{failed} ({time.monotonic() - begun:.1f} s), {folder}")
        return folder

    def _warn_of_imitation(self, what: str) -> None:
        warn_of_imitation(self.device, self.reporter, what, "give --no-bf16")

    def plan(self, dataset: str | None = None) -> list[str]:
        """What `sample` would run, download and ask, line by line; nothing of it is done.

        Args:
            dataset: What the samples are to be compared with; None takes the recipe's.

        Raises:
            UserError: The baseline is trained here, and so has nothing of others to show.
        """
        if not self._is_untrained:
            raise UserError(f"--dry-run: {self.recipe.baseline} is trained here and loads no models of others")
        lines: list[str] = self._module().plan(
            self.folder, self.recipe, prompts=self._prompts(), accept_licence=self.accept_licence
        )
        try:
            return [*lines, f"reference  {find_dataset(dataset or self.recipe.dataset)}"]
        except UserError as error:
            return [*lines, f"missing    the clips to compare with: {error}"]

    @property
    def _is_untrained(self) -> bool:
        return is_untrained(self._module())

    def _module(self) -> ModuleType:
        if given_clips.is_given(self.recipe):
            return given_clips
        return registry.module("baseline", self.recipe.baseline)

    def _prompts(self) -> Prompts | None:
        return read_prompts(self.recipe.prompts) if self.recipe.prompts else None

    def _conditions(self) -> _base.Conditions | None:
        """The clips that samples are given, where the recipe asks for any."""
        if self.recipe.sample.enlarge is not None:
            return _base.clips_to_enlarge(self.folder, self.recipe)
        condition = self.recipe.sample.condition
        if condition is None:
            return None
        window = _base.given_window(self.folder, self.recipe)
        place = Path(condition.source)
        found = Conditions(place if place.is_dir() else find_dataset(condition.source), condition, window)
        if self.recipe.sample.n > len(found):
            self.reporter.warn(
                f"{condition.source}: {self.recipe.sample.n} clips are sampled from the windows of {len(found)}; "
                f"samples.json says which has which"
            )
        return found

    def score(self, workers: int | None) -> ResultRecord:
        """Score the samples against the dataset; write the result and its page into the run's folder.

        Raises:
            UserError: Another process scores the run, or whatever is wrong with samples, dataset or protocol.
        """
        with scoring_alone(self.folder):
            return self._score(workers)

    def _score(self, workers: int | None) -> ResultRecord:
        samples = _base.samples_folder(self.folder, self.recipe)
        protocol, task = made_rules(samples, protocols.load(self.recipe.protocol), self.reporter)
        with FeatureCache(reporter=self.reporter) as cache:
            result = scoring.score(
                samples,
                self._dataset(),
                protocol,
                reconstructions=codec_floor(
                    self.folder, self.recipe, self._dataset(), protocol, self.device, self.reporter
                ),
                workers=workers or parallel.default_workers(),
                device=str(self.device),
                cache=cache,
                reporter=self.reporter,
            )
        imported, card = self.imported(), self._card()
        sampling = self._sampling(card)
        training = None if imported or self._is_untrained else self._training()
        seconds = {"sample": sampling["seconds"], "score": round(result.seconds, 2)}
        return write_record(
            self.folder,
            with_unmade(result, card),
            protocol,
            samples=samples,
            device=str(self.device),
            reporter=self.reporter,
            model=self.recipe.shown_as[0],
            preset=self.recipe.shown_as[1],
            baseline=self.recipe.baseline,
            task=task,
            training=training,
            sampling=sampling,
            recipe=self.recipe.model_dump(mode="json"),
            seconds={"train": training["seconds"], **seconds} if training else seconds,
            notes=notes_of_samples(card, imported),
        )

    def _training(self) -> dict[str, Any]:
        """What the record says of training: the recipe, and what log and checkpoint show of all of it."""
        log = read_log(self.folder / "log.jsonl")
        found = checkpoint.latest(self.folder / "checkpoints")
        if found is None or not log:
            raise UserError(f"{self.folder}: holds no finished training; run `avbench train {self.recipe.baseline}`")
        first, final = edge_losses(numbers(log, "loss"))
        latents = found.config.get("latents")
        return {
            **self.recipe.training.model_dump(mode="json"),
            "steps": found.step,
            "seconds": round(sum(numbers(log, "seconds")), 2),
            "parameters": sum(tensor.numel() for tensor in found.weights("ema").values()),
            "first_loss": round(first, 6),
            "final_loss": round(final, 6),
            **({"codecs": latents["codecs"]} if latents else {}),
        }

    def _card(self) -> dict[str, Any]:
        card: dict[str, Any] = workspace.read_json(_base.samples_folder(self.folder, self.recipe) / "samples.json")
        return card

    def _sampling(self, card: Mapping[str, Any]) -> dict[str, Any]:
        """What the record says of sampling: where others' models made the clips, what is known of it."""
        how = card["sample"] if self._is_untrained else self.recipe.sample.model_dump(mode="json")
        known = {name: card[name] for name in ("given", "made") if name in card}
        clips = clips_made(_base.samples_folder(self.folder, self.recipe))
        return {**how, "clips": clips, **known, "seconds": card["seconds"]}

    def publish(self, record: ResultRecord, leaderboard: Path) -> None:
        """Add the record to a leaderboard folder with its evidence, and rebuild its pages."""
        submit.publish(record, self.folder, leaderboard, reporter=self.reporter)


def _in_precision(recipe: BaselineRecipe, bf16: bool) -> BaselineRecipe:
    """The recipe with training and sampling in bfloat16 or float32."""
    train = recipe.train and recipe.train.model_copy(update={"bf16": bf16})
    sample = recipe.sample.model_copy(update={"bf16": bf16})
    return recipe.model_copy(update={"train": train, "sample": sample})


def _with_prompts(recipe: BaselineRecipe, prompts: str | None, untrained: Mapping[str, Any] | None) -> BaselineRecipe:
    """The recipe with the user's prompts, where its baseline takes any.

    Args:
        recipe: The recipe.
        prompts: A list of prompts that was given.
        untrained: Options of training and of our solvers that were given to a baseline that trains nothing; None for
            one that is trained.

    Raises:
        UserError: An option that the baseline does not take, or no such list.
    """
    for name, value in (untrained or {}).items():
        if value is not None and name != "seed":
            raise UserError(
                f"--{name.replace('_', '-')}: {recipe.baseline} trains nothing and samples as its recipe says; leave "
                "it out, or write a recipe of your own (--preset FILE.toml)"
            )
    if untrained is None and prompts is not None:
        raise UserError(f"--prompts: {recipe.baseline} makes clips without texts; leave it out")
    if prompts is not None:
        recipe = recipe.model_copy(update={"prompts": prompts})
    if recipe.prompts:
        read_prompts(recipe.prompts)  # before any work begins
    return recipe


def _named(baseline: str, preset: str | None) -> tuple[str, str | None]:
    """Baseline and preset of ``BASELINE:PRESET``, as in ``external:ovi``.

    Raises:
        UserError: A preset was given beside it.
    """
    name, colon, named = baseline.partition(":")
    if not colon:
        return baseline, preset
    if preset is not None or not named:
        raise UserError(f"{baseline}: write the recipe's name once, as {name}:NAME, and leave out --preset")
    return name, named


def load_recipe(baseline: str, preset: str) -> BaselineRecipe:
    """The recipe of a baseline's preset, the user's own file, or that of a folder of clips.

    Raises:
        UserError: No such preset (the nearest names are offered), or what `avbench.recipe.load` raises.
    """
    if baseline == "external" and given_clips.is_path(preset):
        return given_clips.recipe_of(preset)
    if preset.endswith(".toml"):
        return recipes.load(recipes.find("baselines", preset), BaselineRecipe)
    shipped = [recipes.load(recipes.find("baselines", name), BaselineRecipe) for name in recipes.names("baselines")]
    known = {recipe.preset: recipe for recipe in shipped if recipe.baseline == baseline.replace("_", "-")}
    if preset not in known:
        raise registry.unknown("preset", preset, sorted(known))
    return known[preset]
