"""What a failure's message shows of the nodes' logs."""

from __future__ import annotations

from lab.evidence import troubles

LOGS = """== kubelet
I1122 20:15:19.7 kubelet.go:1] "Started kubelet"
E1122 20:15:20.7 kubelet.go:2] "first"
E1122 20:15:21.7 kubelet.go:3] "second"
E1122 20:15:22.7 kubelet.go:4] "third"
== containerd
time="2026-11-22T20:04:13Z" level=info msg="skip loading plugin" error="failed to check mkfs.erofs"
== kube-proxy-abc
2026-11-22T20:15:19.73081655Z stderr F E1122 20:15:19.7 run.go:72] "command failed"
"""


def test_the_last_troubles_of_each_log() -> None:
    assert troubles(LOGS) == [
        'kubelet: E1122 20:15:21.7 kubelet.go:3] "second"',
        'kubelet: E1122 20:15:22.7 kubelet.go:4] "third"',
        'kube-proxy-abc: E1122 20:15:19.7 run.go:72] "command failed"',
    ]
