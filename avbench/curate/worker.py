"""One of several workers on a shared folder: its sources go through download, segment and judging, one by one.

A `Mapper` says where that is done: in local processes, or on the nodes of a Ray cluster. What needs all sources
together (repeats across sources, tables, splits, shards) is left to the plain command, which finds the work done. A
source belongs to one worker by its id alone, so a list that grows moves none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from avbench import parallel
from avbench.curate import _lease, _sites
from avbench.curate.download import download, lasting_failure, lasting_note
from avbench.curate.filter import judge
from avbench.curate.segment import segment
from avbench.errors import UserError
from avbench.parallel import StageSummary
from avbench.progress import SILENT, Reporter
from avbench.recipe import DatasetRecipe
from avbench.schema import Outcome, Source
from avbench.workspace import STAGES, Workspace

Mapper = Callable[[Callable[[Source], list[StageSummary]], Sequence[Source]], Iterator[Outcome[list[StageSummary]]]]
"""Yields one outcome per source, in any order."""


@dataclass(frozen=True)
class Share:
    """Which part of the sources a worker takes.

    Attributes:
        number: Its number, from 1.
        of: How many workers there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``i/n``.

        Raises:
            UserError: Not two whole numbers with 1 <= i <= n.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--worker {text!r}: must be i/n with i from 1 to n, such as 3/8")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def takes(self, source_id: str) -> bool:
        """Whether a source is this worker's."""
        return int(hashlib.sha256(source_id.encode()).hexdigest()[:16], 16) % self.of == self.number - 1


def local(workers: int, description: str, reporter: Reporter) -> Mapper:
    """Work in ``workers`` processes of this machine; 1 is this process."""
    return partial(parallel.run, item_id=_id, workers=workers, reporter=reporter, description=description)


def run(
    ws: Workspace,
    sources: Sequence[Source],
    recipe: DatasetRecipe,
    share: Share,
    *,
    mapper: Mapper,
    wait_s: float = 0.0,
    reporter: Reporter = SILENT,
) -> list[StageSummary]:
    """Bring the sources of one share as far as their judged clips.

    Args:
        ws: The shared folder.
        sources: All sources of the dataset.
        recipe: How clips are made; the same for every worker.
        share: Which sources are ours.
        mapper: Where the work is done.
        wait_s: How long to wait at the end for sites that pause, seconds.
        reporter: Progress.

    Returns:
        One summary per stage. A source that another worker holds is left to it and said in a note.

    Raises:
        EnvironmentFault: The run cannot go on.
    """
    done = _Done(ws)
    mine = []
    for source in sources:
        if not share.takes(source.source_id):
            continue
        if reason := lasting_failure(ws, source, recipe.download):
            done.lasting[source.source_id] = reason
        else:
            mine.append(source)

    def ask(some: Sequence[Source]) -> list[Source]:
        back = {outcome.item_id for outcome in mapper(_Through(ws, recipe), some) if done.enter(outcome)}
        return [source for source in some if source.source_id in back]

    kept_back = _sites.rounds(ws, mine, ask, wait_s=wait_s, reporter=reporter)
    summaries = done.summaries()
    summaries[0].notes += kept_back
    return summaries


class _Done:
    """Adds up what became of the sources."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.total = {stage: StageSummary(stage) for stage in STAGES[:-1]}
        self.lasting: dict[str, str] = {}
        self.held = 0

    def enter(self, outcome: Outcome[list[StageSummary]]) -> bool:
        """Add one source; returns whether its site kept it back."""
        fetched = self.total["download"]
        fetched.failed.pop(outcome.item_id, None)
        if outcome.value is None:
            fetched.failed[outcome.item_id] = outcome.error
            return False
        self.held += not outcome.value
        for part in outcome.value:
            _add(self.total[part.stage], part)
        record = self.ws.record("download", outcome.item_id)
        return bool(outcome.value and record and record.get("kind") == "site")

    def summaries(self) -> list[StageSummary]:
        """One per stage; its seconds are those of all processes together."""
        fetched = self.total["download"]
        fetched.failed |= self.lasting
        fetched.notes += lasting_note(len(self.lasting))
        if self.held:
            fetched.notes.append(f"{self.held} are in the hands of another worker and were left to it")
        return list(self.total.values())


@dataclass(frozen=True)
class _Through:
    """Takes one source through the stages; no summaries when another worker holds it."""

    ws: Workspace
    recipe: DatasetRecipe

    def __call__(self, source: Source) -> list[StageSummary]:
        with _lease.hold(_lease.source_path(self.ws, source.source_id), source.source_id) as free:
            if not free:
                return []
            found = [download(self.ws, [source], self.recipe.download)]
            if not found[0].failed:
                found.append(segment(self.ws, [source.source_id], self.recipe.segment))
                found.append(judge(self.ws, [source.source_id], self.recipe.filters, view=self.recipe.view))
            return found


def _add(total: StageSummary, part: StageSummary) -> None:
    total.done += part.done
    total.already += part.already
    total.dropped |= part.dropped
    total.failed |= part.failed
    total.seconds += part.seconds


def _id(source: Source) -> str:
    return source.source_id
