"""A real Ray cluster of two nodes on this machine, one of which can be killed as a machine dies: all of it at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
"""Ray lets nobody into a cluster without one; made up here, so that none of the user's is used or written."""


@dataclass(frozen=True)
class Cluster:
    """Two nodes of one core each.

    Attributes:
        address: Of the head node.
        head: Process that has started all others of the head node.
        second: The same of the other node.
    """

    address: str
    head: int
    second: int


def environment() -> dict[str, str]:
    """Of a process that takes no Ray setting from whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@contextmanager
def two_nodes(
    logs: Path, hosts: tuple[str, str] = ("", ""), inside: tuple[Sequence[str], Sequence[str]] = ((), ())
) -> Iterator[Cluster]:
    """Start a cluster, and end it whatever happens.

    Args:
        logs: Folder for what the nodes print.
        hosts: Address of each node; this machine's where empty.
        inside: What each node's command is put behind, such as ``ip netns exec NAME``.
    """
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    address = f"{hosts[0] or '127.0.0.1'}:{port}"
    places = ["--head", f"--port={port}", "--include-dashboard=false"], [f"--address={address}"]
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for number, (place, host) in enumerate(zip(places, hosts, strict=True)):
            ray = [*inside[number], sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *place]
            ray += ["--disable-usage-stats", "--num-cpus=1", "--object-store-memory=100000000", "--log-color=false"]
            ray += [f"--node-ip-address={host}"] if host else []
            log = logs / f"node{number}.log"
            with open(log, "wb") as stream:
                nodes.append(
                    subprocess.Popen(
                        ray, stdout=stream, stderr=stream, start_new_session=True, env=environment() | TOKEN
                    )
                )
            while b"Ray runtime started" not in log.read_bytes():
                assert nodes[-1].poll() is None, log.read_text()
                time.sleep(0.05)
        yield Cluster(address, nodes[0].pid, nodes[1].pid)
    finally:
        for node in nodes:
            kill(node.pid)
            node.wait()


def descendants(process_id: int) -> list[int]:
    """A process and all it has started, oldest first."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if fields[0] != "Z":
            parents[int(entry.name)] = int(fields[1])
    found = [process_id] if process_id in parents else []
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def kill(node: int) -> None:
    """SIGKILL for a node: its raylet, its workers and what they run."""
    for one in descendants(node):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue
