"""The command line: `python -m sideband --help`."""

from sideband.cli import main

if __name__ == "__main__":
    main()
