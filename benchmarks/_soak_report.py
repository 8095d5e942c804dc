"""What the rounds of a soak show: slope of the memory with its interval, what was left behind, whether bytes agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

Row = dict[str, Any]


def write(folder: Path) -> str:
    """Write ``soak.json``, ``soak.md`` and ``soak.png`` from ``rounds.jsonl``; returns the Markdown."""
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    found = summary(rows)
    (folder / "soak.json").write_text(json.dumps(found, indent=2) + "\n")
    text = markdown(found)
    (folder / "soak.md").write_text(text)
    draw(rows, found, folder / "soak.png")
    return text


def warm_up(count: int) -> int:
    """Rounds that are left out of slopes: a fifth, at most 5. Libraries load and pools fill in them."""
    return min(5, count // 5)


def slope(values: Sequence[float]) -> tuple[float, float, float]:
    """Least-squares slope per round, with its 95% interval."""
    if len(values) < 3:
        return float("nan"), float("-inf"), float("inf")
    fit = stats.linregress(np.arange(len(values)), values)
    half = float(stats.t.ppf(0.975, len(values) - 2) * fit.stderr)
    return float(fit.slope), float(fit.slope - half), float(fit.slope + half)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The numbers of the report."""
    first = warm_up(len(rows))
    states = [row["state"] for row in rows]
    after, last = states[first], states[-1]
    rss = [state["rss_mib"] for state in states]
    minutes = (rows[-1]["begun_s"] + rows[-1]["seconds"]) / 60
    return {
        "rounds": len(rows),
        "warm_up": first,
        "minutes": round(minutes, 1),
        "rss_mib": {"first": rss[0], "after_warm_up": rss[first], "last": rss[-1], "largest": max(rss)},
        "rss_slope_mib_per_round": slope(rss[first:]),
        "native_slope_mib_per_round": slope([state["native_mib"] for state in states][first:]),
        "objects_slope_per_round": slope([state["objects"] for state in states][first:]),
        "blocks_slope_per_round": slope([state["blocks"] for state in states][first:]),
        "open_files": [sum(after["fds"].values()), sum(last["fds"].values())],
        "threads": [sum(after["threads"].values()), sum(last["threads"].values())],
        "left": {
            "open files": grown(after["fds"], last["fds"]),
            "threads": grown(after["threads"], last["threads"]),
            "processes": list((Counter(last["processes"]) - Counter(after["processes"])).elements()),
            "zombies": last["zombies"],
            "files": sorted(set(last["files"]) - set(after["files"])),
            "shared memory": lasting([state["shm"] for state in states]),
        },
        "standing_processes": after["processes"],
        "disk_mib": [after["disk_mib"], last["disk_mib"]],
        "differs": differing(rows),
    }


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What there is more of, by name."""
    return dict(Counter(after) - Counter(before))


def lasting(listings: Sequence[Iterable[str]]) -> list[str]:
    """Entries that came after the first round and were still there for the last third of the rounds.

    The machine's shared memory is everybody's: what comes and goes belongs to somebody who lives.
    """
    tail = [set(listing) for listing in listings[-max(2, len(listings) // 3) :]]
    return sorted(set.intersection(*tail) - set(listings[0])) if tail else []


def differing(rows: Sequence[Row]) -> list[str]:
    """Results that are not those of the first round, or not the same by library and commands."""
    want, found = rows[0]["library"]["results"], []
    for number, row in enumerate(rows):
        for way in ("library", "commands"):
            found += [
                f"round {number}, {way}: {name}"
                for name, value in row[way]["results"].items()
                if want.get(name) != value
            ]
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """The table of docs/robustness.md."""
    rss, left = found["rss_mib"], found["left"]
    named = {name: what for name, what in left.items() if what}
    rows = [
        ("rounds", f"{found['rounds']} in {found['minutes']:.0f} minutes ({found['warm_up']} of warm-up)"),
        ("memory of the process", f"{rss['after_warm_up']:.0f} MiB after warm-up, {rss['last']:.0f} MiB at the end"),
        ("its slope", per_round(found["rss_slope_mib_per_round"], "MiB")),
        ("in use by libraries, slope", per_round(found["native_slope_mib_per_round"], "MiB")),
        ("Python objects, slope", per_round(found["objects_slope_per_round"], "")),
        ("Python blocks, slope", per_round(found["blocks_slope_per_round"], "")),
        ("open files", "{} after warm-up, {} at the end".format(*found["open_files"])),
        ("threads", "{} after warm-up, {} at the end".format(*found["threads"])),
        ("left behind", "; ".join(f"{name}: {what}" for name, what in named.items()) or "nothing"),
        ("other bytes than round 0", ", ".join(found["differs"][:5]) or "none"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]) + "\n"


def per_round(interval: Sequence[float], unit: str) -> str:
    """A slope in words."""
    value, low, high = interval
    return f"{value:+.3f} {unit} a round, 95% [{low:+.3f}, {high:+.3f}]".replace("  ", " ")


def draw(rows: Sequence[Row], found: Mapping[str, Any], path: Path) -> None:
    """Memory of the process, open files and threads, over the minutes of the run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    minutes = [(row["begun_s"] + row["seconds"]) / 60 for row in rows]
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    memory = [row["state"]["rss_mib"] for row in rows]
    above.plot(minutes, memory, ".-", label="the process, after each round")
    if found["warm_up"]:
        above.axvspan(0, minutes[found["warm_up"] - 1], color="0.92", label="warm-up")
    above.set_ylim(0, 1.1 * max(memory))
    above.set_ylabel("memory, MiB")
    above.legend(loc="lower right")
    below.plot(minutes, [sum(row["state"]["fds"].values()) for row in rows], ".-", label="open files")
    below.plot(minutes, [sum(row["state"]["threads"].values()) for row in rows], ".-", label="threads")
    below.set_ylim(bottom=0)
    below.set_xlabel("minutes")
    below.legend(loc="lower right")
    figure.savefig(path, dpi=110)
