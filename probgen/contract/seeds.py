"""Randomness by key: a seed is a function of names and numbers, so no generator state has to be stored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch

from probgen.errors import InputError


def checked_seed(seed: object) -> int:
    """Return `seed` as an int.

    Args:
        seed: A whole number from 0 to 2**63 - 1.

    Returns:
        The seed.

    Raises:
        InputError: When `seed` is not such a number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= int(seed) < 2**63:
        raise InputError(f"seed = {seed!r}: a whole number from 0 to 2**63 - 1 is needed.")
    return int(seed)


def key(*name: object) -> int:
    """Return a number of 63 bits that is a function of names and numbers, as in `key(seed, "fit", 17)`.

    Args:
        *name: Names and numbers that identify the use of the seed.

    Returns:
        The number.
    """
    digest = blake2b("\x1f".join(map(str, name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_torch(value: int) -> None:
    """Seed torch's default generators, from which families sample.

    `torch.manual_seed` takes a hundred times as long.

    Args:
        value: The seed.
    """
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)


def numpy_state() -> bytes:
    """Return the state of NumPy's global generator as bytes, for comparison."""
    state = np.random.get_state(legacy=False)["state"]
    return b"".join(np.asarray(part).tobytes() for part in state.values())


@contextmanager
def generators_kept(*name: object) -> Iterator[None]:
    """Restore the global generators of torch, NumPy and `random` after the context.

    Args:
        *name: Names and numbers whose `key` seeds torch's generators for the context. Without a name, they keep
            their state.
    """
    state, legacy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            if name:
                seed_torch(key(*name))
            yield
    finally:
        random.setstate(state)
        np.random.set_state(legacy)
