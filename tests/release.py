"""Prove a release: `make release`, or `python -m tests.release python3.11 python3.12 --pin torch==2.13.0`.

The wheels are built from the source distributions. Each Python gets two environments in turn, with the newest
and the lowest allowed versions of what the wheels require. Each installs the wheels alone and runs the commands
of a first visit in an empty folder. The figures of `probgen run quickstart` agree between all environments.

pip and its own configuration are all that is used. `--pin` replaces the lowest and the newest version of a
requirement: a machine without a GPU pins torch to a version that has a build for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECTS = (ROOT, *(path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))))
PYTHONS = ("python3.11", "python3.12", "python3.13")
SHOWN = ("torch", "xarray", "pandas", "numpy")
TOLERANCE = 1e-3  # nats per row

FIRST_VISIT = (
    "--version",
    "recipes",
    "families",
    "plugins",
    "explore --help",
    "report runs/quickstart --out page.html",
)
RECIPES = ("ring-gan", "ring-flow", "ring-diffusion", "digits-vqvae")  # one of each plugin that has families


def run(command: Sequence[object], cwd: Path = ROOT) -> str:
    """The output of a command that succeeds, in a process that finds nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wheels(folder: Path) -> list[Path]:
    """Build each source distribution, and a wheel from it."""
    for project in PROJECTS:
        run([sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder], project)
    sources = sorted(folder.glob("*.tar.gz"))
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            folder,
            *sources,
        ]
    )
    return sorted(folder.glob("*.whl"))


def complaints(wheel: Path) -> Iterator[str]:
    """What a wheel lacks, or has too much of."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    package = wheel.name.split("-")[0]
    project = next(path for path in PROJECTS if (path / package).is_dir())
    source = {
        str(path.relative_to(project))
        for path in (project / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    source |= {
        f"probgen/_shipped/recipes/{path.name}" for path in (project / "recipes").glob("*.toml")
    }  # of plugins there are none
    yield from (f"{name} is missing" for name in sorted(source - set(names)))
    for name in names:
        folder, *_ = name.split("/")
        if folder != package and not folder.endswith(".dist-info"):
            yield f"{name} is not of the package"
    for needed in (f"{package}/py.typed", "licenses/LICENSE"):
        if not any(name.endswith(needed) for name in names):
            yield f"{needed} is missing"


def lowest(wheels: Sequence[Path]) -> dict[str, str]:
    """The lowest allowed version of each requirement of the wheels, without their extras."""
    bounds = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            metadata = message_from_bytes(archive.read(name))
        for text in metadata.get_all("Requires-Dist", []):
            requirement = Requirement(text)
            if requirement.marker is None and requirement.name != "probgen":
                [bound] = [part.version for part in requirement.specifier if part.operator == ">="]
                bounds[requirement.name] = bound
    return bounds


def visit(
    title: str, python: str, wheels: Sequence[Path], versions: dict[str, str], recipes: Sequence[str]
) -> dict[str, float]:
    """Install the wheels in a new environment, run the commands of a first visit in an empty folder, and print a line.

    Returns:
        The mean log-probability of each model of quickstart, in nats per row.
    """
    with tempfile.TemporaryDirectory() as temporary:
        environment, empty = Path(temporary, "environment"), Path(temporary, "empty")
        empty.mkdir()
        constraints = Path(temporary, "constraints.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        run([python, "-m", "venv", environment])
        pip = environment / "bin" / "pip"
        run([pip, "install", "--quiet", "--constraint", constraints, *wheels])
        run([pip, "check"])
        installed = json.loads(run([pip, "list", "--format", "json"]))
        probgen = environment / "bin" / "probgen"
        start = time.monotonic()
        result = json.loads(run([probgen, "run", "quickstart", "--check", "--json"], empty))
        seconds = time.monotonic() - start
        packages = {package["name"].lower(): package["version"] for package in installed}
        figures = {model["model"]: model["log_prob"] for model in result["models"]}
        shown = " ".join(f"{name} {packages[name]}" for name in SHOWN)
        values = " ".join(f"{model} {figure:.4f}" for model, figure in figures.items())
        print(f"{title}: {shown}; {values}; {seconds:.0f} s", flush=True)
        for command in FIRST_VISIT:
            run([probgen, *command.split()], empty)
        for recipe in recipes:
            run([probgen, "run", recipe, "--fast"], empty)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pythons", nargs="*", help=f"default: those of {', '.join(PYTHONS)} that are found")
    parser.add_argument("--pin", action="append", default=[], metavar="NAME==VERSION")
    asked = parser.parse_args()
    pins = dict(pin.split("==") for pin in asked.pin)
    with tempfile.TemporaryDirectory() as folder:
        built = wheels(Path(folder))
        found = [f"{wheel.name}: {said}" for wheel in built for said in complaints(wheel)]
        if found:
            sys.exit("\n".join(found))
        print(f"{len(built)} wheels are complete", flush=True)
        first: dict[str, float] = {}
        for python in asked.pythons or filter(shutil.which, PYTHONS):
            for name, versions in (("newest", pins), ("lowest", {**lowest(built), **pins})):
                recipes = RECIPES if name == "newest" else ()
                figures = visit(f"{python} {name}", python, built, versions, recipes)
                first = first or figures
                if figures.keys() != first.keys() or any(
                    abs(figures[model] - first[model]) > TOLERANCE for model in first
                ):
                    sys.exit("the figures differ from those of the first environment")


if __name__ == "__main__":
    main()
