"""What a run of the suites leaves to read: `results.jsonl` first, `report.json` and `report.html` of it."""
