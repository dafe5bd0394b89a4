"""EndpointSlices, programmed rules and observed traffic, held against each other for every Service."""
