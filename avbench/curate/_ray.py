"""Ray as an engine: one task per source on whatever nodes a cluster has, one `Outcome` per source back here.

Ray only says where a source is worked on. What works on it, and where its results lie, is the same as for local
processes: files in a folder that every node sees. So a node that dies loses nothing but the time it has spent: its
sources are handed out again, and what they had finished is found.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from avbench import parallel
from avbench.curate import _lease
from avbench.errors import EnvironmentFault, UserError
from avbench.progress import Reporter
from avbench.schema import Outcome, Source
from avbench.workspace import TEMPORARY, Workspace

if TYPE_CHECKING:
    from avbench.curate.worker import Mapper
    from avbench.parallel import StageSummary

TRIES = 4
"""A source is handed out so often before it is held to be what kills its worker."""

_CONNECT_S = 5.0
_LOOK_AGAIN_S = 10.0
"""Nodes that join are noticed after so long, seconds."""
_OBJECT_STORE_BYTES = 100_000_000
"""Of a Ray of our own: outcomes are small, and Ray would take a third of the memory."""


@contextmanager
def connected(address: str | None, workers: int | None, reporter: Reporter) -> Iterator[None]:
    """Join a Ray cluster for the length of the block.

    Args:
        address: ``HOST:PORT`` of the head node or ``auto``, for a cluster that this machine is a node of; None starts a
            Ray on this machine, which ends with the block.
        workers: Cores of a Ray that is started; all when None.
        reporter: Hears how large the cluster is.

    Raises:
        UserError: Ray is not installed, or no cluster answers at the address.
    """
    # read when Ray is imported, and handed on to what it starts: nothing is told to its makers
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray tries an address that does not answer for ten minutes
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    if address is None and "RAY_AUTH_MODE" not in os.environ:
        # only we and what we start may use it; left to itself, Ray writes a lasting token into the home folder
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray, which is not installed; type: pip install 'avbench[ray]'") from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cores = workers or parallel.default_workers()
        options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    else:
        _check_address(address)
    try:
        ray.init(address=address or "local", **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _not_joined(address, str(error)) from error
    try:
        nodes = sum(node["Alive"] for node in ray.nodes())
        reporter.note(f"Ray: {nodes} nodes with {_cores()} cores")
        yield
    finally:
        # Ends what runs on the nodes too: Ray kills the workers of a driver that leaves. Cancelling each task before
        # is worse than useless: one that finishes at that moment makes Ray abort this process.
        ray.shutdown()


def _not_joined(address: str | None, told: str) -> UserError:
    """What to say when Ray refuses, of its many lines."""
    if address is None:
        return UserError(f"--engine ray: Ray does not start on this machine ({told.strip().partition(chr(10))[0]})")
    if "AuthToken" in told or "authentication" in told:
        return UserError(
            f"--ray-address {address}: the cluster asks for its token; set RAY_AUTH_MODE=token here too, and copy the "
            "file ~/.ray/auth_token of the head node"
        )
    reason = told.strip().partition("\n")[0]
    return UserError(f"--ray-address {address}: no Ray cluster can be joined there ({reason})")


def _check_address(address: str) -> None:
    """Refuse what no cluster answers at, in seconds."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UserError(
            f"--ray-address {address}: must be HOST:PORT of the head node, or auto, on a machine that is a node of the "
            "cluster"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--ray-address {address}: nothing answers there ({error}); start a cluster with `ray start --head`, or "
            "give the address that it printed"
        ) from error


def mapper(ws: Workspace, workers: int | None, reporter: Reporter) -> Mapper:
    """Work on the nodes of the cluster that is `connected`.

    Args:
        ws: Folder of the dataset, under the path by which every node sees it. The caller holds it alone.
        workers: Sources at a time; twice the cores of the cluster when None, so that no core waits for the next one.
        reporter: Progress.
    """
    return partial(_run, ws=ws, workers=workers, reporter=reporter)


def _run(
    function: Callable[[Source], list[StageSummary]],
    sources: Sequence[Source],
    *,
    ws: Workspace,
    workers: int | None,
    reporter: Reporter,
) -> Iterator[Outcome[list[StageSummary]]]:
    """Yield one outcome per source, as they finish.

    Raises:
        EnvironmentFault: A node cannot go on, lacks avbench, or does not see the folder.
    """
    mark = ws.root / "work" / f"{TEMPORARY}ray-{uuid4().hex}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        with reporter.bar("ray", total=len(sources)) as bar:
            for outcome in _outcomes(partial(_one, function, mark), sources, ws, workers):
                bar.advance(1, outcome.item_id)
                yield outcome
    finally:
        mark.unlink(missing_ok=True)


def _outcomes(
    work: Callable[[Source], Outcome[list[StageSummary]] | EnvironmentFault],
    sources: Sequence[Source],
    ws: Workspace,
    workers: int | None,
) -> Iterator[Outcome[list[StageSummary]]]:
    """Keep some sources in flight, and hand those of dead workers out again."""
    import ray

    # Ray's own retries would begin while the dead worker's lease still stands
    task = ray.remote(num_cpus=1, max_retries=0)(_call)
    shared = ray.put(work)
    queue, deaths = deque(sources), Counter[str]()
    flying: dict[Any, Source] = {}
    while queue or flying:
        most = workers or max(1, 2 * _cores())
        while queue and len(flying) < most:
            source = queue.popleft()
            # Nobody but us hands out sources in this folder, so whoever holds this one is gone with its node or
            # with an earlier command: its lease would only look alive for some minutes.
            _lease.source_path(ws, source.source_id).unlink(missing_ok=True)
            flying[task.remote(shared, source)] = source
        finished, _ = ray.wait(list(flying), timeout=_LOOK_AGAIN_S)
        for ref in finished:
            source = flying.pop(ref)
            found = _result(ref)
            if isinstance(found, EnvironmentFault):
                raise found
            if found is not None:
                yield found
                continue
            deaths[source.source_id] += 1
            if deaths[source.source_id] < TRIES:
                queue.appendleft(source)
                continue
            reason = f"its worker process died {TRIES} times (killed or out of memory)"
            yield Outcome(source.source_id, None, reason)


def _result(ref: Any) -> Outcome[list[StageSummary]] | EnvironmentFault | None:
    """What became of a task; None where its worker or its node died."""
    import ray
    from ray import exceptions

    try:
        return ray.get(ref)
    except (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.LocalRayletDiedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
    ):
        return None
    except exceptions.RayError as error:
        told = str(error).strip().rpartition("\n")[2]
        return EnvironmentFault(f"a node of the Ray cluster cannot run avbench ({told}); install the same one on each")


def _call(
    work: Callable[[Source], Outcome[list[StageSummary]] | EnvironmentFault], source: Source
) -> Outcome[list[StageSummary]] | EnvironmentFault:
    """What Ray runs on a node."""
    return work(source)


def _one(
    function: Callable[[Source], list[StageSummary]], mark: Path, source: Source
) -> Outcome[list[StageSummary]] | EnvironmentFault:
    """One source on a node; a fault of the node is returned, since Ray would wrap its traceback around an exception."""
    parallel.limit_threads(1)
    try:
        # listed, not asked for by name: a network file system may remember for a while that a name was absent
        seen = mark.name in os.listdir(mark.parent)
    except OSError:
        seen = False
    if not seen:
        folder = mark.parent.parent
        return EnvironmentFault(
            f"{platform.node()}: does not see {folder}, where the dataset is built; every node of the cluster needs "
            "that folder under the same path: choose another with --out"
        )
    try:
        return parallel.attempt(function, source, source.source_id)
    except EnvironmentFault as fault:
        return EnvironmentFault(f"{platform.node()}: {fault}")


def _cores() -> int:
    """Cores of all living nodes."""
    import ray

    return int(ray.cluster_resources().get("CPU", 0))
