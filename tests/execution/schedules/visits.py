"""A session in a process of its own, and what strikes it: SIGKILL, a cut connection, a stall, at any request."""

import contextlib
import io
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import psycopg
import requests

from execution.session import Session
from tests.execution.schedules.plan import Visit
from tests.machine import as_owner
from warehouse.errors import Retry, Stop

SECONDS = 60
_CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid() and usename <> %s
"""


class Broken(AssertionError):
    """A session ended otherwise than well, by Retry or by Stop, or not at all."""


def visited(visit: Visit, open_session: Callable[[], Session], moves_on: Callable[[], None]) -> None:
    """Run the visit to its end; a stalled one goes on once `moves_on` has moved the market. Raises Broken."""
    strikes = [visit] if visit.strike != "rival" else [Visit("kill", visit.at), Visit()]
    processes = []
    for one in strikes:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=_live, args=(one, open_session, there))
        process.start()
        there.close()
        processes.append((process, here, one))
    for process, here, one in processes:
        said = _heard(here)
        if said == "stalled":
            moves_on()
            here.send("go on")
            said = _heard(here)
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            raise Broken(f"{one} did not end within {SECONDS} s")
        if process.exitcode not in (0, -signal.SIGKILL):
            raise Broken(f"{one} ended with {process.exitcode}: {said}")
        here.close()


def _heard(channel: Connection) -> str:
    """What the process says next; nothing when it ends."""
    try:
        return channel.recv() if channel.poll(SECONDS) else ""
    except EOFError:
        return ""


def _live(visit: Visit, open_session: Callable[[], Session], channel: Connection) -> None:
    signal.alarm(SECONDS)
    _strike_at(visit, channel)
    try:
        with contextlib.redirect_stdout(io.StringIO()), open_session() as session:
            session.decide()
            session.settle(timeout=0.05)
            if session.is_unanswered():
                session.decide()
                session.settle(timeout=0.05)
    except (Retry, Stop):
        pass
    except BaseException:  # noqa: BLE001 (whatever it is, it is no end that a person can read)
        channel.send(traceback.format_exc())
        os._exit(3)


def _strike_at(visit: Visit, channel: Connection) -> None:
    """From now on every request and every statement counts, before it and after it."""
    if not visit.strike:
        return
    passed = 0

    def cross() -> None:
        nonlocal passed
        passed += 1
        if passed != visit.at:
            return
        match visit.strike:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "cut":
                with as_owner(past_triggers=True) as connection:
                    [(me,)] = connection.execute("select current_user").fetchall()
                    connection.execute(_CUT, (me,))
            case "stall":
                signal.alarm(0)
                channel.send("stalled")
                channel.recv()
                signal.alarm(SECONDS)

    @contextlib.contextmanager
    def crossing() -> Iterator[None]:
        cross()
        yield
        cross()

    for owner, name in ((requests.Session, "send"), (psycopg.Cursor, "execute")):
        real = getattr(owner, name)

        def counted(*args: object, real: Callable = real, **kwargs: object) -> object:
            with crossing():
                return real(*args, **kwargs)

        setattr(owner, name, counted)
