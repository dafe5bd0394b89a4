"""`python -m lab`: the `lab` command of this very Python."""

from lab.cli import main

main()
