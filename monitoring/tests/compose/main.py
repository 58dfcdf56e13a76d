"""Runs the modules that are asked for. See run.sh."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import counting
import files_test
import hardening_test
import image_test
import programs_test

MODULES = {"files": files_test, "hardening": hardening_test, "programs": programs_test, "image": image_test}

if __name__ == "__main__":
    sys.exit(counting.run("compose", [MODULES[name] for name in sys.argv[1:] or MODULES]))
