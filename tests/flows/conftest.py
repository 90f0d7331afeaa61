"""One Prefect server for the files that ask it something."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.flows.serving import Server, server_alone

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Files of the group `prefect server` share it."""
    with server_alone(tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> "Iterator[SyncPrefectClient]":
    """A client of that server, as the service uses one. The settings are those of the file's tests only."""
    # imported here, because Prefect takes seconds, and most files of this folder do without
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    from flows import prefect_access

    settings = {PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: prefect_access.credential(server.home)}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def pool(client: "SyncPrefectClient") -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    from flows.deployments import POOL

    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
