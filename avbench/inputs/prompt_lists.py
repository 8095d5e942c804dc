"""Lists of prompts to generate from: those that come with avbench, and the user's own files."""

from __future__ import annotations

from pathlib import Path

from avbench import recipe, registry
from avbench.baselines._untrained import Prompts
from avbench.errors import UserError
from avbench.inputs.prompt_tables import prompt_table

_TABLES = (".csv", ".json")


def names() -> list[str]:
    """Names of the lists in ``recipes/prompts``."""
    return sorted(path.stem for path in _folder().glob("*.txt"))


def _folder() -> Path:
    return recipe.project_root() / "recipes" / "prompts"


def read_prompts(name: str) -> Prompts:
    """A list of prompts.

    A ``.txt`` has one prompt per line; empty lines and those that begin with ``#`` are left out. A ``.csv`` or
    ``.json`` is a table as `avbench.inputs.prompt_tables` reads it, in its order, equal prompts once.

    Args:
        name: A list that comes with avbench (`names`), or a file.

    Raises:
        UserError: No such list or file (the nearest names are offered), or nothing in it.
    """
    path = Path(name)
    if path.suffix.lower() in _TABLES:
        texts = tuple(dict.fromkeys(prompt_table(path).values()))
    elif path.is_file():
        texts = _lines(path)
    elif path.suffix or len(path.parts) > 1:
        raise UserError(f"{path}: there is no such file of prompts; lists of avbench: {', '.join(names())}")
    elif name in names():
        texts = _lines(_folder() / f"{name}.txt")
    else:
        raise registry.unknown("list of prompts", name, names())
    if not texts:
        raise UserError(f"{path}: holds no prompt; write one per line")
    return Prompts(path.stem, recipe.sha256({"prompts": list(texts)}), texts)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8 ({error}); save it as one") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
