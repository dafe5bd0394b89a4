"""An expectation that was not met, in parts for a report: what, what instead, how to ask again."""

from __future__ import annotations

from collections.abc import Sequence


class Unmet(AssertionError):  # noqa: N818 -- as pytest's own outcomes are called
    """Something else was seen than expected.

    Attributes:
        expected: in words.
        seen: in words.
        asked: the words after `lab` that ask the same (`exec node01 -- …`); empty where there are none.
    """

    def __init__(self, *, expected: str, seen: str, asked: Sequence[str] = ()) -> None:
        super().__init__(f"expected {expected}; seen: {seen}")
        self.expected = expected
        self.seen = seen
        self.asked = tuple(asked)
