"""`python -m flowsonar`: the same as the `flowsonar` program."""

import gc
import signal

__all__ = ["main"]


def main() -> None:
    """Entry point of the program. Until a command runs there is nothing to save: Ctrl-C ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(100_000, 20, 20)  # what the start makes stays: walking it again and again is a tenth of the start

    from flowsonar.cli import main as command_line  # noqa: PLC0415 - takes the tenth of a second in which Ctrl-C may come

    command_line()


if __name__ == "__main__":
    main()
