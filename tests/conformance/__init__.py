"""The live suites: what a Kubernetes Service promises, asserted on every node of a running lab.

Run by `lab test`, or with pytest from a place on the lab's network: `pytest tests/conformance --lab NAME`.
"""
