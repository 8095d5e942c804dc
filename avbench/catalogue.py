"""What `avbench list` and `avbench weights` show: every plug-in, dataset, protocol and weight file, one line each."""

from __future__ import annotations

import tomllib

from avbench import features, filters, recipe, registry, weights
from avbench.weights import Weight


def rows(kind: str) -> list[tuple[str, str]]:
    """Name and one line for everything of ``kind`` (the plural words of `avbench list`)."""
    if kind == "datasets":
        folder = recipe.project_root() / "manifests"
        cards = {p.parent.name: tomllib.loads(p.read_text()) for p in sorted(folder.glob("*/card.toml"))}
        return [(name, str(card.get("description", "")).split("\n")[0]) for name, card in cards.items()]
    if kind == "protocols":
        folder = recipe.project_root() / "recipes" / "protocols"
        files = {p.stem: tomllib.loads(p.read_text()) for p in sorted(folder.glob("*.toml"))}
        return [(name, data.get("description", "")) for name, data in files.items()]
    if kind == "weights":
        return [(w.name, describe(w)) for w in weights_named("all")]
    singular = kind.removesuffix("s")
    return [(name, registry.summary(singular, name)) for name in registry.names(singular)]


def weights_named(name: str) -> list[Weight]:
    """One set of weights by name, or all.

    Raises:
        UserError: Unknown name; the nearest right ones are offered.
    """
    known = features.published_weights() | filters.published_weights()
    if name == "all":
        return list(known.values())
    if name not in known:
        raise registry.unknown("set of weights", name, sorted(known))
    return [known[name]]


def describe(weight: Weight) -> str:
    """File, size, licence, and whether it is on this machine."""
    here = "present" if weights.is_present(weight) else "absent"
    return f"{here}: {weight.file}, {weights.megabytes(weight.size_bytes)}, {weight.licence}"
