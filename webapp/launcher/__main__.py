"""`python -m webapp.launcher`, which is what `make run` runs."""

import os
import sys
from pathlib import Path

from webapp.config import ConfigError, with_variables
from webapp.launcher.errors import LaunchError
from webapp.launcher.launch import launch
from webapp.launcher.output import Terminal

ROOT = Path(__file__).resolve().parents[2]


def main(root: Path = ROOT) -> int:
    """Run the Procfile in `root` until a signal. An error is one line, and exit code 1."""
    terminal = Terminal(verbose=bool(os.environ.get("VERBOSE")))
    try:
        launch(os.environ, root, terminal)
    except (ConfigError, LaunchError) as error:
        terminal.say(with_variables(str(error), os.environ))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
