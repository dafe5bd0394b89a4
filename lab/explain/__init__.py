"""The way of a new connection through one node's rules, from a Service's address to a pod, in plain words."""
