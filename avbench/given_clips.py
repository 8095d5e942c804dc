"""Clips that a closed system made elsewhere become the samples of a run, as they lie: no byte of them is changed.

``run/samples`` holds a link for every entry of the folder, so clips keep their names and any layout of docs/inputs.md
works. What is known of their maker is what somebody says of it, and is marked so.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import inputs, protocol as protocols, recipe as recipes
from avbench.baselines._untrained import CARD, SAMPLES, Prompts
from avbench.errors import UserError
from avbench.inputs import Item
from avbench.inputs.card import read_card
from avbench.progress import SILENT, Reporter
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_external import GivenFolder
from avbench.workspace import read_json, write_json

if TYPE_CHECKING:
    import torch

_SHOWN = 3
_STATED = ("fps", "sample_rate_hz", "range", "seeds", "made")
"""Keys of the folder's own ``samples.json`` that stay; the others are not its own to say."""


def is_path(name: str) -> bool:
    """Whether ``external:NAME`` names a folder rather than a recipe: it has a slash or begins with a dot."""
    return not name.endswith(".toml") and ("/" in name or name.startswith("."))


def recipe_of(name: str) -> BaselineRecipe:
    """The recipe of a folder of clips: the shipped ``external-folder``, called as the folder.

    Raises:
        UserError: There is no such folder.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of clips")
    shipped = recipes.load(recipes.find("baselines", "external-folder"), BaselineRecipe)
    called = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-.") or "folder"
    data = shipped.model_dump(mode="json")
    data["preset"], data["external"]["folder"]["path"] = called, str(folder)
    return recipes.parse(data, BaselineRecipe, str(folder))


def is_given(recipe: BaselineRecipe) -> bool:
    """Whether a recipe takes its clips from a folder; this module then stands in for the baseline."""
    return recipe.external is not None and recipe.external.folder is not None


def plan(run: Path, recipe: BaselineRecipe, *, prompts: Prompts | None, accept_licence: bool = False) -> list[str]:
    """What would be taken, line by line; nothing is."""
    del accept_licence  # nothing is loaded
    folder, items, refused = _found(recipe)
    texts = _prompts(folder, items, prompts)
    system = _system(folder, recipe)
    said = f"{len(items)} clips of {folder} into {run / SAMPLES}, as links"
    rows = [f"{'system':<11}external:{recipe.preset}: {system or 'nobody has said what made the clips'}"]
    rows += [f"{'clips':<11}{said}", f"{'prompts':<11}{len(texts)} of {len(items)} clips have one"]
    return rows + [f"{'left out':<11}{reason}" for reason in refused.values()]


def write_samples(
    run: Path,
    recipe: BaselineRecipe,
    *,
    prompts: Prompts | None,
    device: torch.device | None = None,
    accept_licence: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[int, int]:
    """Make the clips of a folder the samples of a run.

    Args:
        run: Folder of the run.
        recipe: Which folder, and what is said of its clips.
        prompts: One per clip, in order of their names; None reads what lies beside the clips.
        device: Nothing is computed.
        accept_licence: Nothing is loaded.
        reporter: Told what was left out.

    Returns:
        Clips taken now, and clips that an earlier call had taken.

    Raises:
        UserError: No folder or no clips, as many prompts as there are no clips, or the run holds clips of its own.
    """
    del device, accept_licence
    folder, items, refused = _found(recipe)
    samples = run / SAMPLES
    if samples.resolve().is_relative_to(folder) or folder.is_relative_to(samples.resolve()):
        raise UserError(f"{folder}: lies in the run or around it; give another --out")
    own = [path for path in samples.glob("sample-*") if not path.is_symlink()]
    if own:
        raise UserError(f"{samples}: holds clips that were made there; give another --out, or delete that folder")
    for name, reason in list(refused.items())[:_SHOWN]:
        reporter.warn(f"{name} left out: {reason.removeprefix(f'{name}: ')}")
    card = _card(folder, recipe, items, refused, prompts)
    before = read_json(samples / CARD) if (samples / CARD).exists() else None
    samples.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in folder.iterdir() if path.name[0] != "." and path.name != CARD}
    for link in [path for path in samples.glob("*") if path.is_symlink()]:
        if link.name not in wanted or link.readlink() != wanted[link.name]:
            link.unlink()
    for name, path in wanted.items():
        if not (samples / name).is_symlink():
            (samples / name).symlink_to(path)
    write_json(samples / CARD, card)
    return (0, len(items)) if card == before else (len(items), 0)


def _given(recipe: BaselineRecipe) -> GivenFolder:
    assert recipe.external is not None
    assert recipe.external.folder is not None
    return recipe.external.folder


def _found(recipe: BaselineRecipe) -> tuple[Path, list[Item], dict[str, str]]:
    """The folder, its clips in order of name, and what looks like a clip and is none."""
    given = _given(recipe)
    if not given.path:
        raise UserError("external:folder: name the folder as external:./FOLDER, or in a copy of recipe external-folder")
    folder = Path(given.path).expanduser().resolve()
    items, refused = inputs.outputs(folder, protocols.load(recipe.protocol))
    return folder, sorted(items, key=lambda item: item.item_id), refused


def _prompts(folder: Path, items: list[Item], prompts: Prompts | None) -> dict[str, str]:
    names = [item.item_id for item in items]
    if prompts is None:
        return inputs.prompts(folder, names)
    if len(prompts.texts) != len(names):
        raise UserError(
            f"{folder}: holds {len(names)} clips and {prompts.name} {len(prompts.texts)} prompts; a list is one prompt "
            "per clip in order of name, a table beside the clips (docs/inputs.md) may leave some out"
        )
    return dict(zip(names, prompts.texts, strict=True))


def _system(folder: Path, recipe: BaselineRecipe) -> str:
    """What is said to have made the clips: the recipe's words, else those of the folder's own card."""
    given = _given(recipe)
    system = given.system or read_card(folder).model
    return ", ".join(part for part in (system, given.settings) if part)


def _card(
    folder: Path, recipe: BaselineRecipe, items: list[Item], refused: dict[str, str], prompts: Prompts | None
) -> dict[str, Any]:
    """``samples.json`` of the run: what the folder says of its clips, and who is said to have made them."""
    stated = read_json(folder / CARD) if (folder / CARD).is_file() else {}
    system = _system(folder, recipe)
    card = {
        **{key: stated[key] for key in _STATED if key in stated},
        "model": f"external:{recipe.preset}",
        "preset": recipe.preset,
        "prompts": _prompts(folder, items, prompts),
        "failed": refused,
        "licences": [],
        "seconds": 0.0,
        "sample": {"scheduler": "as given", "steps": 0, "seed": 0},
        "generator": {
            "kind": "folder",
            "pinned": False,
            "as_given": system,
            "clips": len(items),
            "left_out": len(refused),
            "sha256": recipes.sha256({item.item_id: _digest(item) for item in items}),
        },
        "notes": f"clips made elsewhere; as given: {system or 'nothing is known of their maker'}",
    }
    return json.loads(recipes.canonical(card))


def _digest(item: Item) -> str:
    try:
        return item.content_sha256()
    except OSError:
        return ""  # scoring says what is wrong with it
