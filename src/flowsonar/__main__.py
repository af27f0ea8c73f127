"""`python -m flowsonar`: the same as the `flowsonar` program."""

from flowsonar.cli import main

main()
