"""Run a supervisor: `python -m supervisor`.

Its settings come from the environment; docs/settings.md lists them.
"""

import sys

from supervisor.process import main

if __name__ == "__main__":
    sys.exit(main())
