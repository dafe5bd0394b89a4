"""The way of a new connection through one node's rules, from a Service's address down to a pod, in plain words."""
