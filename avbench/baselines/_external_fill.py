"""Placeholders of a recipe become the words of a command. What a user wrote stays one word, whatever it holds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from avbench.errors import UserError
from avbench.recipe_external import PLACEHOLDER, ROW

Values = Mapping[str, str | int]


def fill(template: str, values: Values) -> str:
    """A template with its placeholders replaced, in one pass: a prompt that reads ``{seed}`` stays as it is."""
    return PLACEHOLDER.sub(lambda hit: str(values.get(hit[1], hit[0])), template)


def filled_json(data: Any, values: Values) -> str:
    """A JSON document whose strings are templates; one that is a placeholder alone takes the type of its value."""
    return json.dumps(_filled(data, values), ensure_ascii=False, indent=2) + "\n"


def _filled(data: Any, values: Values) -> Any:
    if isinstance(data, str):
        alone = PLACEHOLDER.fullmatch(data)
        return values.get(alone[1], data) if alone else fill(data, values)
    if isinstance(data, dict):
        return {key: _filled(value, values) for key, value in data.items()}
    return [_filled(value, values) for value in data] if isinstance(data, list) else data


def output_pattern(pattern: str, row: int) -> str:
    """The pattern of the file of clip ``row`` of a call."""
    return ROW.sub(lambda hit: f"{row:0{hit[1] or 1}d}", pattern)


def prompt_table(prompts: Sequence[str], kind: Literal["lines", "csv"], column: str) -> str:
    """The text of a prompt file.

    Raises:
        UserError: A prompt has a line break, which a file of lines cannot hold.
    """
    if kind == "lines":
        if broken := [text for text in prompts if len(text.splitlines()) > 1]:
            raise UserError(
                f"the prompt {broken[0][:40]!r} has a line break, which this program's prompt file cannot hold"
            )
        return "".join(f"{text}\n" for text in prompts)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([[column], *([text] for text in prompts)])
    return table.getvalue()
