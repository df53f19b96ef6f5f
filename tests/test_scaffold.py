"""A new plugin passes the check as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probgen.cli.scaffold import write
from probgen.errors import InputError


def test_a_new_plugin_passes_its_check(tmp_path: Path) -> None:
    folder = write("my_own", tmp_path)
    assert not any("laplace" in f.read_text() for f in folder.rglob("*") if f.is_file())
    site = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(site),
            str(folder),
        ],
        check=True,
        capture_output=True,
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    probgen = str(Path(sys.executable).parent / "probgen")
    done = subprocess.run(
        [probgen, "plugins", "check", "my_own"],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[100%]" in done.stdout
    listed = subprocess.run(
        [probgen, "families"], env=environment, capture_output=True, text=True, check=True
    )
    assert "my_own" in listed.stdout


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    write("mine", tmp_path)
    with pytest.raises(InputError, match="there already"):
        write("mine", tmp_path)
