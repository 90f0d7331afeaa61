"""A search on a Dask cluster: each fold of each trial goes to a worker, which reads the warehouse by itself.

Only ids and the hypothesis travel to a worker, and scores back. What is stored and judged is stored and judged here.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from queue import Empty, Queue
from typing import Any
from urllib.parse import urlsplit

import dask

# what is wrong is said in our own words; Dask reads these levels when it is first imported
dask.config.set({"logging": {"distributed": "critical", "distributed.client": "critical"}})

from distributed import Client, Future, KilledWorker, get_worker  # noqa: E402

from training import remote  # noqa: E402
from training.budget import SHARE, Budget  # noqa: E402
from training.remote import ClusterError, Query  # noqa: E402
from training.train import Search  # noqa: E402
from training.units import Do, HandOut, Unit  # noqa: E402
from training.versions import versions  # noqa: E402
from warehouse.errors import OperatorError, Stop  # noqa: E402

log = logging.getLogger("truebar")

_SECONDS_TO_ANSWER = 30
# workers may be started anew by whoever runs the cluster; a search without any waits so long for one
SECONDS_WITHOUT_WORKER = 120.0
_AGAIN = "what was stored stays, and the same command goes on; without --cluster it goes on on this machine"


def check(address: str) -> None:
    """See that a cluster answers and that all its workers are like this process. Raises ClusterError."""
    with _connected(address) as client:
        _refuse_others(client, address, "auto")


def handing_out(address: str, search: Search) -> HandOut:
    """Hands out the units of a search to the workers of the cluster at an address."""
    query = Query.of(search)

    def hand_out(units: Sequence[Unit], do: Do) -> Iterator[tuple[Unit, Any]]:
        with _connected(address) as client:
            _refuse_others(client, address, search.device)
            yield from _results(client, address, query, units)

    return hand_out


def _results(client: Client, address: str, query: Query, units: Sequence[Unit]) -> Iterator[tuple[Unit, Any]]:
    """Results as they come. Units in whose company workers died are done again, one at a time."""
    suspects: list[Unit] = []
    yield from _results_of(client, address, query, units, suspects)
    for number, unit in enumerate(suspects, start=1):
        # Dask blames all that a worker did when it died; who ends it alone has ended it
        log.warning(
            "workers died while they did %s, among other things: it is done again by itself, %d of %d",
            *(_named(unit), number, len(suspects)),
        )
        yield from _results_of(client, address, query, [unit], None)


def _results_of(
    client: Client, address: str, query: Query, units: Sequence[Unit], suspects: list[Unit] | None
) -> Iterator[tuple[Unit, Any]]:
    """Results of units that are handed out together. Those that Dask blames for dead workers become suspects.

    Without a list of suspects it raises ClusterError for one.
    """
    done: Queue[Future[Any]] = Queue()
    here = versions()
    asked: dict[str, Unit] = {}
    for unit in units:
        future = client.submit(_fitted, query, unit, here, pure=False)
        asked[str(future.key)] = unit
        future.add_done_callback(done.put)
    # the cluster forgets what nobody here holds: a worker that dies takes nothing along that was fetched already, which
    # would have to be done again
    del future
    count, told, seen = len(asked), time.monotonic(), time.monotonic()
    while asked:
        try:
            future = done.get(timeout=1)
        except Empty:
            if client.status != "running":
                raise ClusterError(_gone(address)) from None
            workers = _workers(client, address)
            if any(worker["status"] == "running" for worker in workers.values()):
                seen = time.monotonic()
            elif time.monotonic() - seen > SECONDS_WITHOUT_WORKER:
                raise ClusterError(_nobody_works(address, len(workers))) from None
            continue
        seen = time.monotonic()
        unit = asked.pop(str(future.key))
        try:
            result = _result(future, address)
        except KilledWorker as error:
            if suspects is None:
                raise ClusterError(
                    f"{_named(unit)} ended {error.allowed_failures + 1} workers of {address} one after the other, the "
                    f"last at {error.last_worker.address}, with nothing beside it, most likely for want of memory: "
                    f"give workers more (`dask worker --memory-limit`); {_AGAIN}"
                ) from None
            suspects.append(unit)
            continue
        finally:
            del future
        yield unit, result
        if time.monotonic() - told > 2:
            told = time.monotonic()
            log.info("%d of %d fits are done on the cluster", count - len(asked), count)


def _named(unit: Unit) -> str:
    return f"fold {unit.fold} of trial {unit.trial}"


def _result(future: Future[Any], address: str) -> Any:
    try:
        return future.result()
    except (CancelledError, OSError):
        # what a worker's own machine refuses comes as a sentence, see `_fitted`
        raise ClusterError(_gone(address)) from None


def _workers(client: Client, address: str) -> dict[str, Any]:
    """What the scheduler says of its workers, by address. Raises ClusterError when it is gone.

    `Client.scheduler_info` may return what the client's own heartbeat has asked for, which is no worker.
    """
    try:
        found = client.sync(client.scheduler.identity, n_workers=-1)
    except (CancelledError, OSError):
        raise ClusterError(_gone(address)) from None
    return dict(found["workers"])


def _nobody_works(address: str, paused: int) -> str:
    if paused:
        return (
            f"all {paused} workers of the cluster at {address} have been paused for {SECONDS_WITHOUT_WORKER:.0f} s, as "
            f"Dask does at 80 % of a worker's memory: give them more (`dask worker --memory-limit`); {_AGAIN}"
        )
    return (
        f"the cluster at {address} has had no worker for {SECONDS_WITHOUT_WORKER:.0f} s: start one with "
        f"`dask worker {address}`; {_AGAIN}"
    )


def _gone(address: str) -> str:
    return f"the Dask scheduler at {address} is gone in the middle of a search: start it again; {_AGAIN}"


def _refuse_without_port(address: str) -> None:
    """Raise ClusterError for an address that Dask would take for another one, and wait for."""
    try:
        port = urlsplit(address if "://" in address else f"tcp://{address}").port
    except ValueError:
        port = None
    if port is None:
        raise ClusterError(
            f"--cluster {address} names no port: give tcp://HOST:PORT, which `dask scheduler` prints when it starts "
            "(its usual port is 8786)"
        )


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    _refuse_without_port(address)
    try:
        client = Client(address, timeout=_SECONDS_TO_ANSWER, set_as_default=False, name="truebar")
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address} ({_reason(error)}): start one with `dask scheduler`, give its "
            "address as --cluster tcp://HOST:PORT, or leave --cluster out"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=_SECONDS_TO_ANSWER)


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _refuse_others(client: Client, address: str, device: str) -> None:
    """Raise ClusterError for workers with other code or libraries, or that cannot read the warehouse or fit."""
    if not _workers(client, address):
        raise ClusterError(f"the cluster at {address} has no worker: start one with `dask worker {address}`")
    for worker, said in sorted(client.run(_described, device, on_error="return").items()):
        if isinstance(said, BaseException):
            raise ClusterError(
                f"worker {worker} of the cluster at {address} has no truebar like this one ({_reason(said)}): start it "
                "with `.venv/bin/dask worker` of a checkout of the same commit"
            )
        found, reason = said
        if sentence := difference(versions(), found):
            raise ClusterError(f"worker {worker} of the cluster at {address} {sentence}")
        if reason is not None:
            raise ClusterError(f"worker {worker} of the cluster at {address} cannot train: {reason}")


def difference(here: dict[str, str], there: dict[str, str]) -> str | None:
    """What another process has otherwise than this one, as the end of a sentence; None when it is alike."""
    others = [f"{name} {there.get(name)} and not {here[name]}" for name in here if there.get(name) != here[name]]
    if not others:
        return None
    return (
        f"has {', '.join(others)}, so its numbers may be others: start it from a checkout of the same commit, after "
        "`make install` there"
    )


def _described(device: str) -> tuple[dict[str, str], str | None]:
    return versions(), remote.unfit(device)


def _budget() -> Budget:
    """What this worker may use: the settings of its own environment, within what Dask lets it have."""
    worker = get_worker()
    limit = worker.memory_manager.memory_limit
    return Budget.of_settings(threads=worker.state.nthreads, memory=int(SHARE * limit) if limit else None)


def _fitted(query: Query, unit: Unit, there: dict[str, str]) -> Any:
    """Do a unit on a worker. One that has joined since the search began may be another than those seen then."""
    worker = get_worker().address
    if sentence := difference(there, versions()):
        raise ClusterError(f"worker {worker}, which has joined meanwhile, {sentence}")
    try:
        return remote.do(query, unit, _budget())
    except OperatorError as error:
        raise type(error)(f"{error} (on worker {worker})") from None
    except (OSError, MemoryError) as error:
        raise Stop(f"worker {worker} could not go on: {_reason(error)}; mend it there; {_AGAIN}") from None
