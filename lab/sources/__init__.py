"""Where Kubernetes comes from: a table of names to classes. A new source is one file and one line."""

from __future__ import annotations

import importlib

from lab.sources.base import Source

SOURCES = {
    "bundle": "lab.sources.bundle:BundleSource",
    "upstream": "lab.sources.upstream:UpstreamSource",
}


def get(name: str) -> Source:
    """The source of that name, as `source:` of a configuration says it."""
    module, _, cls = SOURCES[name].partition(":")
    source: type[Source] = getattr(importlib.import_module(module), cls)
    return source()
