"""EndpointSlices, programmed rules and observed traffic of every Service on every node, held against each other."""
