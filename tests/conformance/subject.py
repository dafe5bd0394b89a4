"""The lab under test."""

from __future__ import annotations

from dataclasses import dataclass

from lab.config import Config
from lab.providers.base import Provider
from lab.state import LabState

PROXY_MODE = "curl -sS -m 5 http://127.0.0.1:10249/proxyMode"
"""Asks a node's kube-proxy by which mode it serves; to run on the node."""


@dataclass(frozen=True)
class Lab:
    """The lab under test, as it was brought up."""

    config: Config
    state: LabState
    provider: Provider
