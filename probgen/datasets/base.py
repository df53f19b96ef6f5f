"""Registered data sets, and the sources of their files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probgen.errors import InputError, did_you_mean
from probgen.store.files import checked_path

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr


@dataclass(frozen=True)
class DataSet:
    """A data set that is loaded by name. It is registered in the entry-point group `probgen.datasets`.

    Attributes:
        description: Description in one line.
        splits: Names of the parts; () if there are none.
        read: Function (split or None for all rows, folder or None) -> Dataset.
        density: The true log p(x) of rows, (row, ...) -> (row,), in nats, or None if it is unknown.
        sized: Function that returns the same data set with images of another side, or None for images of a fixed size.
    """

    description: str
    splits: tuple[str, ...]
    read: Callable[[str | None, Path | None], xr.Dataset]
    density: Callable[[np.ndarray], np.ndarray] | None = None
    sized: Callable[[int], DataSet] | None = None

    def load(self, split: str | None = None, folder: str | Path | None = None) -> xr.Dataset:
        """Load one part or all rows.

        Args:
            split: Name of the part. None loads all rows.
            folder: Folder with the files, by default the environment variable `PROBGEN_DATA`.

        Returns:
            A Dataset with `x (row, ...)`.

        Raises:
            InputError: When the part is unknown, or a file is missing.
        """
        if split is not None and split not in self.splits:
            allowed = (
                did_you_mean(split, self.splits)
                if self.splits
                else "the data set has no splits, so leave it out"
            )
            raise InputError(f"split = {split!r}: {allowed}")
        if folder is not None:
            return self.read(split, checked_path(folder, "folder"))
        place = os.environ.get("PROBGEN_DATA")
        return self.read(split, Path(place) if place else None)


@dataclass(frozen=True)
class Source:
    """A file in a data folder, or a file that is downloaded and verified.

    Attributes:
        place: Path of the file within a data folder.
        url: Address for the download.
        sha256: SHA-256 of the file at `url`.
    """

    place: str
    url: str
    sha256: str

    def find(self, folder: Path | None) -> Path:
        """Return the path of the file in the data folder or in the cache, and download it if necessary.

        Args:
            folder: The data folder, or None.

        Returns:
            Path of the file.

        Raises:
            InputError: When the file is not in the folder, and the download fails.
        """
        if folder is not None and (folder / self.place).is_file():
            return folder / self.place
        import pooch  # imports requests, which local files do not need

        cache = Path(os.environ.get("PROBGEN_CACHE", pooch.os_cache("probgen")))
        logger = pooch.get_logger()
        level, name = logger.level, self.place.replace("/", "-")
        logger.setLevel("WARNING")
        try:
            return Path(pooch.retrieve(self.url, f"sha256:{self.sha256}", fname=name, path=cache))
        except Exception as error:  # from urllib3, requests, the file system, or a wrong checksum
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self.place} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA), and "
                f"the download from {self.url} failed: {reason}. Put the file into the data folder."
            ) from None
        finally:
            logger.setLevel(level)
