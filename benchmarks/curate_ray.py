"""Kill one node of a two-node Ray cluster in the middle of a build, and compare every byte of the dataset.

    python -m benchmarks.curate_ray --sources 12 --kills 3

A build in one process is the truth. Then, for each kill: a new cluster of two nodes, a build over it in a new folder,
and SIGKILL for all processes of the second node at once, as soon as a drawn number of sources is finished and the node
holds one. As root each node is a machine of its own as far as a program can see: it has its own network (a namespace
with its own address, joined by a virtual cable) and its own host name, so that a lease of the dead node does not show
that its process is gone. Otherwise both nodes share this machine's address and name, and the output says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from avbench.curate import _lease
from avbench.workspace import Workspace
from benchmarks.curate_kill import RECIPE, SOURCE, digests
from tests.ray_cluster import TOKEN, descendants, environment, kill, two_nodes

HOSTS = "10.213.77.1", "10.213.77.2"
NAMES = "avbench-head", "avbench-second"

Inside = tuple[Sequence[str], Sequence[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=12)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    apart = os.geteuid() == 0 and shutil.which("ip") is not None and shutil.which("unshare") is not None
    print("nodes: " + ("networks and host names of their own" if apart else "one network, one host name"), flush=True)
    rng, good = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as scratch, namespaces() if apart else nullcontext(((), ())) as inside:
        folder, hosts = Path(scratch), HOSTS if apart else ("", "")
        rows = [f"s{k}," + SOURCE.format(seed=k) for k in range(options.sources)]
        (folder / "mine.csv").write_text("id,url\n" + "\n".join(rows) + "\n")
        (folder / "recipe.toml").write_text(RECIPE)
        begun = time.monotonic()
        build(folder, folder / "alone", ["--workers", "1"]).wait()
        print(f"one process: {time.monotonic() - begun:.1f} s", flush=True)
        want = digests(folder / "alone")
        for number in range(options.kills):
            after = rng.randrange(1, options.sources - 2)
            good += one(folder, folder / f"kill{number}", after, hosts, inside) == want
    print(f"{options.kills} kills, {good} same bytes ({len(want)} files)")
    sys.exit(good != options.kills)


def one(folder: Path, out: Path, after: int, hosts: tuple[str, str], inside: Inside) -> dict[str, str]:
    """One cluster, one build, one kill once ``after`` sources are finished; returns the bytes that come of it."""
    leases = _lease.source_path(Workspace(out), "any").parent
    ledger = out / "work" / "ledger" / "filter"
    with two_nodes(folder, hosts, inside) as cluster:
        begun = time.monotonic()
        process = build(folder, out, ["--engine", "ray", "--ray-address", cluster.address], inside[0])
        held: list[str] = []
        while process.poll() is None and not (held and finished(ledger) >= after):
            time.sleep(0.005)
            held = held_by(leases, descendants(cluster.second))
        done = finished(ledger)
        kill(cluster.second)
        killed_s = time.monotonic() - begun
        code = process.wait()
        print(
            f"killed after {killed_s:.1f} s: {done} sources finished, in its hands {held}; code {code} after "
            f"{time.monotonic() - begun:.1f} s",
            flush=True,
        )
    return digests(out) if held and code == 0 else {}


def build(folder: Path, out: Path, more: list[str], inside: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    arguments = ["build-dataset", str(folder / "mine.csv"), "--recipe", str(folder / "recipe.toml"), "--out", str(out)]
    code = "from avbench.cli import main; main()"
    return subprocess.Popen(
        [*inside, sys.executable, "-c", code, *arguments, *more], stdout=subprocess.DEVNULL, env=environment() | TOKEN
    )


def finished(ledger: Path) -> int:
    return len(list(ledger.glob("[!.]*.json")))


def held_by(leases: Path, process_ids: list[int]) -> list[str]:
    """Sources that some of these processes hold."""
    found = []
    for path in leases.glob("*.json"):
        try:
            if json.loads(path.read_text())["pid"] in process_ids:
                found.append(path.stem)
        except (OSError, ValueError):  # given back, or being written
            continue
    return found


@contextmanager
def namespaces() -> Iterator[Inside]:
    """Two networks with one address each and a cable between them; yields what puts a command inside each."""

    def ip(*arguments: str, check: bool = True) -> None:
        subprocess.run(["ip", *arguments], check=check)

    try:
        for name in NAMES:
            ip("netns", "add", name)
        ip("link", "add", "avb0", "netns", NAMES[0], "type", "veth", "peer", "name", "avb1", "netns", NAMES[1])
        for number, (name, host) in enumerate(zip(NAMES, HOSTS, strict=True)):
            ip("-n", name, "address", "add", f"{host}/24", "dev", f"avb{number}")
            for device in ("lo", f"avb{number}"):
                ip("-n", name, "link", "set", device, "up")
        first, second = (
            ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh"]
            for name in NAMES
        )
        yield first, second
    finally:
        for name in NAMES:
            ip("netns", "delete", name, check=False)


if __name__ == "__main__":
    main()
