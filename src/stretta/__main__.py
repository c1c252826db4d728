"""``python -m stretta`` is the command ``stretta``."""

from stretta.cli.main import main

if __name__ == "__main__":
    main()
