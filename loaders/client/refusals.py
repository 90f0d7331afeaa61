"""What a vendor refuses: a question about one symbol, or whatever it is asked with a key."""

import re

from warehouse.errors import Stop


class Refused(Stop):
    """The vendor refuses what it was asked about one symbol: another one may be served. `words` are the vendor's."""

    def __init__(self, text: str, words: str) -> None:
        super().__init__(text)
        self.words = words


class Refusals:
    """Refusals of one symbol after the other. In the same words they are about the key or the plan, and no symbol."""

    def __init__(self) -> None:
        self._last: tuple[str, list[str]] | None = None

    def add(self, refused: Refused, vendor_symbol: str) -> None:
        """Raises it when the symbol before this one was refused in the same words."""
        last, self._last = self._last, (vendor_symbol, _plain(refused.words, vendor_symbol))
        if last and last[0] != vendor_symbol and last[1] == self._last[1]:
            raise refused

    def served(self) -> None:
        """The vendor has answered for a symbol: what it refuses next is compared with nothing before."""
        self._last = None


def _plain(words: str, vendor_symbol: str) -> list[str]:
    """The words of a refusal without what differs by symbol and by request: names, numbers and identifiers."""
    names = set(re.findall(r"\w+", vendor_symbol.lower()))
    return [word for word in re.findall(r"\w+", words.lower()) if word.isalpha() and word not in names]
