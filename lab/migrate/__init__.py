"""`lab migrate-check`: what changes for the user's workloads from one proxy mode to another."""
