"""Starts the job in ``request.json``, whose path is the only argument."""

import sys
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    sys.dont_write_bytecode = True
    package = ModuleType("profilers")  # stands in for the package, whose other modules are not wanted here
    package.__path__ = [str(Path(__file__).parent.parent)]
    sys.modules["profilers"] = package
    from profilers._child._job import main

    sys.exit(main(sys.argv[1]))
