"""Run every benchmark, or the named ones, and print ratios from one run: `python -m tests.benchmarks [NAME]`."""

from __future__ import annotations

import importlib
import os
import platform
import sys

import torch

NAMES = (
    "alarms",
    "calls",
    "coverage",
    "diffusion",
    "em",
    "em_file",
    "errors",
    "explore",
    "flow",
    "gan",
    "images",
    "inversion",
    "laboratory",
    "large",
    "layered",
    "nade",
    "pixels",
    "planes",
    "planted",
    "pools",
    "scale",
    "sequences",
    "starts",
    "startup",
    "tables",
    "vae",
    "vast",
    "vqvae",
)

print(
    f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
    f"Python {platform.python_version()}, torch {torch.__version__}",
    flush=True,
)
for name in sys.argv[1:] or NAMES:
    importlib.import_module(f"tests.benchmarks.{name}").main()
