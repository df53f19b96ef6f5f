"""What a registered data set is, and where its files come from."""

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
    """A data set that can be loaded by name; registered in the entry-point group `probgen.datasets`.

    description  one line
    splits       the names of its parts; () where it has none
    read         (split or None for all, folder or None) -> Dataset
    density      the true log p(x) of rows: (row, ...) -> (row,), in nats, where it is known
    sized        the same data set of images of another side, where they are made and not read
    """

    description: str
    splits: tuple[str, ...]
    read: Callable[[str | None, Path | None], xr.Dataset]
    density: Callable[[np.ndarray], np.ndarray] | None = None
    sized: Callable[[int], DataSet] | None = None

    def load(self, split: str | None = None, folder: str | Path | None = None) -> xr.Dataset:
        """One part, or all rows. Errors: `InputError`."""
        if split is not None and split not in self.splits:
            allowed = did_you_mean(split, self.splits) if self.splits else "the data set has no splits"
            raise InputError(f"split = {split!r}: {allowed}")
        if folder is not None:
            return self.read(split, checked_path(folder, "folder"))
        place = os.environ.get("PROBGEN_DATA")
        return self.read(split, Path(place) if place else None)


@dataclass(frozen=True)
class Source:
    """A file that lies in a data folder, or is downloaded and verified.

    place   where it lies in a data folder
    url     where it comes from
    sha256  of the file at `url`
    """

    place: str
    url: str
    sha256: str

    def find(self, folder: Path | None) -> Path:
        """The file: from the data folder, from the cache, or downloaded. Errors: `InputError`."""
        if folder is not None and (folder / self.place).is_file():
            return folder / self.place
        import pooch  # it imports requests, which a file that is there does not need

        cache = Path(os.environ.get("PROBGEN_CACHE", pooch.os_cache("probgen")))
        logger = pooch.get_logger()
        level, name = logger.level, self.place.replace("/", "-")
        logger.setLevel("WARNING")
        try:
            return Path(pooch.retrieve(self.url, f"sha256:{self.sha256}", fname=name, path=cache))
        except Exception as error:  # of urllib3, requests, the file system, or a wrong checksum
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self.place} is not in the data folder ({folder or 'none given'}: --data-dir, PROBGEN_DATA), and "
                f"{self.url} gave no good copy: {reason}"
            ) from None
        finally:
            logger.setLevel(level)
