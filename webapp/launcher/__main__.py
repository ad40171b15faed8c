"""`python -m webapp.launcher`, which is what `make run` runs."""

import os
import sys
from pathlib import Path

from webapp.config import ConfigError, with_variables
from webapp.launcher.errors import LaunchError
from webapp.launcher.launch import launch
from webapp.launcher.output import Terminal
from webapp.launcher.procfile import read_procfile
from webapp.web.installed import ROOT, resource


def main(root: Path = ROOT, procfile: Path = resource("Procfile")) -> int:  # noqa: B008  # a path of this installation
    """Run the processes of a Procfile in `root` until a signal. An error is one line, and exit code 1."""
    terminal = Terminal(verbose=bool(os.environ.get("VERBOSE")))
    try:
        launch(os.environ, root, read_procfile(procfile), terminal)
    except (ConfigError, LaunchError) as error:
        terminal.say(with_variables(str(error), os.environ))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
