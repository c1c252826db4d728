"""The command ``stretta``, also as ``python -m stretta``."""

import os

__all__ = ["main"]


def main() -> None:
    """Run the command; Ctrl-C ends it quietly from the first moment, while modules load."""
    try:
        from stretta.cli.main import main as run  # noqa: PLC0415 - what a Ctrl-C may meet

        run()
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    main()
