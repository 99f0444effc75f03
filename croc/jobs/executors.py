"""Executors make the parts of a plan: in this process, in processes of this machine, or on a Ray cluster.

Only :func:`croc.jobs.runner.run`, which takes an executor, writes the plan, the records and the manifest. So
the files are the same with every executor, and one executor can finish what another began.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError, MissingExtra
from croc.jobs.parts import Executor, MakePart, Outcomes, Part, WorkerDied, finish_part, make_part, write_part
from croc.storage.files import fsync
from croc.wording import counted

EXECUTORS = ("local", "ray")

_IN_FLIGHT = 2
"""Parts per worker: one in progress and one waiting, so that the worker is never idle."""

_SLOW = 10.0
"""In seconds. A part that took this long is recorded before the next one begins, so a kill cannot lose it."""


def executor_for(
    name: str,
    *,
    workers: int | None = None,
    address: str | None = None,
    gpus: Sequence[str] = (),
    gpus_per_worker: float = 0,
) -> Executor:
    """The executor of this name.

    Args:
        name: ``local`` or ``ray``.
        workers: number of processes, or of actors on a cluster. None: locally one per GPU, or one; on a
            cluster as many as it has resources for.
        address: of a running cluster, such as ``ray://head:10001`` or ``auto``; None starts one on this
            machine.
        gpus: devices of this machine, assigned to the local workers in turn; see :func:`visible_gpus`.
        gpus_per_worker: GPUs that an actor of the cluster needs.

    Raises:
        InputError: the executor is unknown, or an option belongs to the other one.
    """
    if name not in EXECUTORS:
        raise InputError(f"executor {name!r} is not known; known are {', '.join(EXECUTORS)}")
    if name == "ray":
        return ray_executor(address, workers=workers, gpus_per_worker=gpus_per_worker)
    if address is not None:
        raise InputError("--address needs --executor ray; --executor local runs on this machine")
    return local_executor(workers or max(1, len(gpus)), gpus=gpus)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by their CUDA names; may be empty.

    They are those in ``CUDA_VISIBLE_DEVICES`` if it is set, otherwise all that torch counts.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in ("", "-1")]
    try:
        import torch
    except ImportError:
        return []
    return [str(number) for number in range(torch.cuda.device_count())]


# ---- This machine ----


def local_executor(workers: int, *, gpus: Sequence[str] = ()) -> Executor:
    """An executor that makes parts on this machine: in this process, or in several worker processes.

    Args:
        workers: worker processes; 1 means this process.
        gpus: devices; each worker sees one of them, assigned in turn.
    """

    def execute(make: MakePart, todo: Sequence[Part], tmp: Path) -> Outcomes:
        if workers <= 1 or len(todo) <= 1:
            return _in_this_process(make, todo, tmp)
        return _in_processes(make, todo, tmp, workers, gpus)

    return execute


def _in_this_process(make: MakePart, todo: Sequence[Part], tmp: Path) -> Outcomes:
    # The thread computes checksums and syncs to disk, which leaves the interpreter free for the next part.
    with ThreadPoolExecutor(1) as beside:
        before: tuple[Part, Future[dict[str, Any]]] | None = None
        try:
            for part in todo:
                draft = write_part(make, part.payload, tmp / part.name)
                if before is not None:
                    done, before = before, None
                    yield done[0], done[1].result()
                before = part, beside.submit(finish_part, draft)
                if "path" not in draft or draft["seconds"] >= _SLOW:
                    yield part, before[1].result()
                    before = None
        except GeneratorExit:
            raise
        except BaseException:
            # After an interrupt in the middle of a part, the previous part is complete.
            if before is not None:
                yield before[0], before[1].result()
            raise
        if before is not None:
            yield before[0], before[1].result()


def _in_processes(
    make: MakePart, todo: Sequence[Part], tmp: Path, workers: int, gpus: Sequence[str]
) -> Outcomes:
    context = multiprocessing.get_context("spawn")
    # Workers exit when this pipe closes, so that none survives an interrupted or killed parent.
    lifeline, held = context.Pipe(duplex=False)
    places = context.SimpleQueue()
    count = min(workers, len(todo))
    for number in range(count):
        places.put(gpus[number % len(gpus)] if gpus else None)
    pool = ProcessPoolExecutor(count, context, initializer=_start_worker, initargs=(lifeline, places))
    flying: dict[Future[dict[str, Any]], Part] = {}
    waiting = iter(todo)
    whole = False
    try:
        while True:
            while len(flying) < _IN_FLIGHT * workers and (part := next(waiting, None)) is not None:
                flying[pool.submit(make_part, make, part.payload, tmp / part.name)] = part
            if not flying:
                break
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                yield flying[future], future.result()
                del flying[future]
        whole = True
    except BrokenProcessPool as error:
        names = ", ".join(sorted(part.name for part in flying.values())[:8])
        raise WorkerDied(
            f"{tmp.parent}: a worker process died while making {names}, perhaps out of memory; finished "
            "parts are kept; run the command again to resume, with fewer workers if memory was short"
        ) from error
    finally:
        if not whole:
            held.close()
        pool.shutdown(wait=True, cancel_futures=True)
        held.close()
        lifeline.close()


def _start_worker(lifeline: Connection, places: Any) -> None:
    """Initialise a worker process: set its GPU, and let it exit when its parent does."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (gpu := places.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu

    def watch() -> None:
        multiprocessing.connection.wait([lifeline])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# ---- A cluster ----


def ray_executor(
    address: str | None = None, *, workers: int | None = None, gpus_per_worker: float = 0
) -> Executor:
    """An executor that makes parts on a Ray cluster: Ray Data assigns them to actors, which return the files.

    The machines need no shared file system for the output. The input of a part must be readable on them,
    unless ``make`` has a method ``carried(payload)`` that adds it to the payload. If a machine fails, its
    parts are made again on another one.

    Args:
        address: of a running cluster; None starts one on this machine for this run. If this process is
            already connected to a cluster, that one is used.
        workers: maximum number of actors; None means as many as the cluster has resources for.
        gpus_per_worker: GPUs that an actor needs.
    """
    return _RayExecutor(address, workers, gpus_per_worker)


@dataclass(frozen=True)
class _RayExecutor:
    address: str | None
    workers: int | None
    gpus_per_worker: float

    def __call__(self, make: MakePart, todo: Sequence[Part], tmp: Path) -> Outcomes:
        return _on_cluster(make, todo, tmp, self.address, self.workers, self.gpus_per_worker)


def on_this_machine(executor: Executor | None) -> Executor | None:
    """The executor for parts that read files of this machine: in place of a cluster, this process (None)."""
    return None if isinstance(executor, _RayExecutor) else executor


def _on_cluster(
    make: MakePart,
    todo: Sequence[Part],
    tmp: Path,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float,
) -> Outcomes:
    carried = getattr(make, "carried", lambda payload: payload)
    done: set[int] = set()
    with _connected(address) as connection:
        import ray as client
        from ray.data import ActorPoolStrategy

        most = workers or _room(connection, gpus_per_worker)
        # One block per part, so that only single parts are made again after a machine failed.
        parts = client.data.from_items(
            [
                {"number": number, "payload": json.dumps(carried(part.payload))}
                for number, part in enumerate(todo)
            ],
            override_num_blocks=len(todo),
        )
        made = parts.map(
            _Maker,
            fn_constructor_args=(make,),
            compute=ActorPoolStrategy(
                min_size=1, max_size=max(1, min(most, len(todo))), max_tasks_in_flight_per_actor=_IN_FLIGHT
            ),
            num_gpus=gpus_per_worker or None,
        )
        try:
            for row in made.iter_rows():
                number = int(row["number"])
                if number in done:  # made twice because a machine failed; the bytes are the same
                    continue
                done.add(number)
                outcome = json.loads(row["outcome"])
                if "path" in outcome:
                    path = tmp / todo[number].name
                    path.write_bytes(row["file"])
                    fsync(path)
                    outcome["path"] = str(path)
                yield todo[number], outcome
        except client.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise WorkerDied(
                f"{tmp.parent}: the cluster failed ({reason[:300]}); finished parts are kept; "
                "run the command again to resume"
            ) from error
    if len(done) < len(todo):
        raise WorkerDied(
            f"{tmp.parent}: the cluster stopped before {counted(len(todo) - len(done), 'part')}; "
            "finished parts are kept; run the command again to resume"
        )


class _Maker:
    """An actor of the pool; what ``make`` keeps in its process, such as a model, is kept for later parts."""

    def __init__(self, make: MakePart) -> None:
        self.make = make

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="croc-part-") as folder:
            path = Path(folder) / "part"
            outcome = make_part(self.make, json.loads(row["payload"]), path)
            content = path.read_bytes() if "path" in outcome else b""
        return {"number": row["number"], "outcome": json.dumps(outcome), "file": content}


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster; a connection that exists already is used and kept open."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray as client
        import ray.data
    except ImportError as error:
        raise MissingExtra("--executor ray", "ray") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Ray's messages about its plan are for its developers.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    mine = not client.is_initialized()
    if mine:
        options: dict[str, Any] = {}
        if address is None:
            # Lets the workers import what this process can; other clusters are set up by their owners.
            paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
            options = {"include_dashboard": False, "runtime_env": {"env_vars": {"PYTHONPATH": paths}}}
        try:
            client.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"cannot connect to a Ray cluster at {address or 'this machine'}: {reason}"
            ) from error
    try:
        yield client
    finally:
        if mine:
            client.shutdown()


def _room(connection: Any, gpus_per_worker: float) -> int:
    """The number of workers that the cluster has resources for."""
    resources = connection.cluster_resources()
    room = int(resources.get("GPU", 0) / gpus_per_worker) if gpus_per_worker else int(resources.get("CPU", 1))
    if room < 1:
        raise CrocError(
            f"a worker needs more GPUs ({gpus_per_worker:g}) than the cluster has "
            f"({resources.get('GPU', 0):g})"
        )
    return room
