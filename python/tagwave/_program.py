"""The program ``tagwave``."""

import os
import signal
import sys
import tempfile

from . import _native


def main() -> int:
    """Runs the program with the arguments of the command line, and returns its exit code."""
    # Python only notes the signal until the program returns; the program has a handler of its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A layer of Mesa's Vulkan driver prints errors without it.
    if os.name == "posix" and not os.environ.get("XDG_RUNTIME_DIR"):
        os.environ["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    return _native.run_program(["tagwave", *sys.argv[1:]])
