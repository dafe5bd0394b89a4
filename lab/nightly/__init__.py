"""The nightly run: labs raised one after the other, tested in every mode, told as a page over time.

`matrix` says what is run, `night` runs it, `results` is what came of it, `history` what changed, and
`report` tells it. `guard` keeps nights apart; `collect` makes one night of those of a CI's jobs.
"""
