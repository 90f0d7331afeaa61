"""Fields of a broker's payload, or one sentence that says which of them is not what the broker documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Payload = Mapping[str, Any]


class BadPayload(ValueError):
    """An answer that is not what the vendor documents."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Reads the payloads of one broker, by whose name the errors call it. Every method raises BadPayload."""

    broker: str

    def rows(self, payload: Any) -> list[Payload]:
        """A list of objects."""
        if not isinstance(payload, list) or not all(isinstance(row, Mapping) for row in payload):
            raise BadPayload(f"{self.broker} answered something other than a list of objects")
        return payload

    def value(self, payload: Payload, name: str) -> Any:
        """A field that must be there, whatever it holds."""
        if not isinstance(payload, Mapping) or name not in payload:
            raise BadPayload(f"{self.broker}'s answer has no {name!r}")
        return payload[name]

    def text(self, payload: Payload, name: str) -> str:
        """A field that holds a text which is not empty."""
        value = self.value(payload, name)
        if not isinstance(value, str) or not value:
            raise BadPayload(f"{self.broker} sent {name} {value!r}")
        return value
