"""Stop strings: where a text ends, when the string may begin in one token and end in another."""

from __future__ import annotations

from collections.abc import Sequence


class Stop:
    """Cuts a text that comes in pieces before the first stop string in it.

    What may be the beginning of a stop string is held back until that is known.
    """

    def __init__(self, strings: Sequence[str]):
        self.strings = tuple(strings)
        self.held = ""

    def feed(self, piece: str) -> tuple[str, bool]:
        """The text that is certain with this piece, and whether a stop string is complete: then it is the last."""
        text = self.held + piece
        found = [place for place in map(text.find, self.strings) if place >= 0]
        if found:
            self.held = ""
            return text[: min(found)], True
        certain = len(text) - max((self._begun(text, string) for string in self.strings), default=0)
        self.held = text[certain:]
        return text[:certain], False

    def rest(self) -> str:
        """What was held back, at the end of a text without a stop string."""
        held, self.held = self.held, ""
        return held

    @staticmethod
    def _begun(text: str, string: str) -> int:
        """How many characters at the end of the text may be the beginning of the string."""
        longest = min(len(text), len(string) - 1)
        return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)
