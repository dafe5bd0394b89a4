"""How long each component took last time on this host."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Times:
    """Seconds by component, in one small file. Losing it costs nothing but the display."""

    path: Path

    def last(self, name: str) -> float | None:
        """Seconds that `name` took last time, if known."""
        return self._read().get(name)

    def note(self, name: str, seconds: float) -> None:
        """Remember that `name` took `seconds`."""
        with contextlib.suppress(OSError):
            fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            fresh.write_text(json.dumps({**self._read(), name: round(seconds, 1)}, indent=2, sort_keys=True))
            fresh.replace(self.path)

    def _read(self) -> dict[str, float]:
        try:
            values = json.loads(self.path.read_text())
        except (OSError, json.JSONDecodeError):
            return {}
        return values if isinstance(values, dict) else {}
