"""How a cluster is reached: its API and a root shell on each of its nodes, whether the lab made it or not."""
