"""Packages of the docs and of `plugins new`, installed in a folder without a network, and tested in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def install(package: Path, site: Path) -> Path:
    """Install a package into a folder, without its dependencies, and return the folder."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    done = subprocess.run([*pip, str(site), str(package)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def environment(site: Path) -> dict[str, str]:
    """The environment of a process that finds what a folder has."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run_tests(package: Path, site: Path) -> None:
    """Run the tests of an installed package, with warnings as errors, as in this project."""
    settings = ["-q", "-p", "no:cacheprovider", "-n", "0", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *settings, "--rootdir", str(package), str(package / "tests")],
        env=environment(site),
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
