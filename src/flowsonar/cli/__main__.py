"""`python -m flowsonar.cli`: the same as the `flowsonar` program."""

from flowsonar.cli import main

main()
