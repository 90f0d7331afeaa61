"""Rows that have arrived and wait for the database."""

import asyncio

from loaders.client.base import Row


class RowBuffer:
    """Bounded memory: who brings rows waits when it is full, and no row leaves it before it has landed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: list[Row] = []
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= self._most

    async def put(self, row: Row) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self.is_full)
            self._rows.append(row)
            self._changed.notify_all()

    async def wait(self) -> None:
        """Until there is a row."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._rows)

    def oldest(self, count: int) -> list[Row]:
        return self._rows[:count]

    async def landed(self, count: int) -> None:
        """The oldest rows are in the database."""
        async with self._changed:
            del self._rows[:count]
            self._changed.notify_all()
