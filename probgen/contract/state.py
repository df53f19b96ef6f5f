"""The state of torch objects as arrays.

The state of a module becomes a Dataset; the state of any object with a `state_dict` becomes a nested
structure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from probgen.contract.definition import dims_of, long_names_of
from probgen.errors import FileError


def state_of(module: nn.Module) -> xr.Dataset:
    """Return the `state_dict` of a module as a Dataset.

    torch defines the names, `module.dims` the dimensions, and `module.long_names` the attributes `long_name`.

    Args:
        module: The module of a family.

    Returns:
        The arrays by name.

    Raises:
        ValueError: When a file cannot store a name, or when the dimensions do not match the array.
    """
    named, said = dims_of(module), long_names_of(module)
    variables = {}
    for name, tensor in module.state_dict().items():
        dims = named.get(name) or tuple(f"{name}_{i}" for i in range(tensor.ndim))
        if "/" in name or len(dims) != tensor.ndim or len(set(dims)) != len(dims):
            raise ValueError(
                f"array {name!r}: it has {tensor.ndim} dimensions, and their names are {dims}. Use names without '/', and one name per dimension."
            )
        attrs = {"long_name": said[name]} if name in said else {}
        variables[name] = (dims, tensor.detach().cpu().numpy().copy(), attrs)
    return xr.Dataset(variables)


def beside_state(module: nn.Module) -> dict[str, str]:
    """Return digests of the numbers of a module that its `state_dict` does not have, and files lose.

    These are real numbers, arrays and tensors in attributes, in containers, and in objects. Left out are whole numbers,
    which are counters and flags, objects with a `state_dict`, which checkpoints store, and buffers with `persistent=False`,
    which are declared as not a part of the state.

    Args:
        module: The module of a family.

    Returns:
        The digests by the name of the attribute.
    """
    own, found = vars(nn.Module()).keys(), {}
    kept = {id(tensor) for tensor in module.state_dict(keep_vars=True).values()}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            whole = hashlib.sha256()
            if name not in own and not name.startswith("_pyro") and _hash_numbers(value, whole, kept):
                found[f"{path}.{name}".lstrip(".")] = whole.hexdigest()
    return found


def _hash_numbers(value: Any, whole: hashlib._Hash, seen: AbstractSet[int], depth: int = 0) -> bool:
    """Add the numbers of a value to a hash, and return whether there are any. Values with an id in `seen` are left out."""
    if id(value) in seen or depth > 4:
        return False
    if isinstance(value, torch.Tensor | np.ndarray):
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        whole.update(f"{array.dtype} {array.shape}".encode())
        whole.update(np.ascontiguousarray(array).tobytes() if array.dtype != object else b"")
        return True
    if isinstance(value, float | np.floating):
        whole.update(repr(value).encode())
        return True
    if hasattr(value, "state_dict") or callable(value):
        return False
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        parts = list(vars(value).values()) if hasattr(value, "__dict__") else []
    found = [_hash_numbers(part, whole, seen | {id(value)}, depth + 1) for part in parts]  # of all parts
    return any(found)


def check_state(module: nn.Module, state: xr.Dataset, where: str) -> None:
    """Check that a state has the arrays of a module and no others.

    Args:
        module: The module.
        state: The arrays by name.
        where: The file or model, as the start of error messages.

    Raises:
        FileError: When an array is missing, not known to the module or not finite, or when its shape or dtype
            differs.
    """
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        if name not in state.variables:
            raise FileError(f"{where}: the state has no array {name!r}, which the model needs")
        array = state[name]
        if array.shape != tuple(tensor.shape):
            raise FileError(
                f"{where}: {name!r} has shape {array.shape}, the model needs {tuple(tensor.shape)}"
            )
        if (array.dtype.kind == "f") != tensor.is_floating_point() or array.dtype.kind not in "biuf":
            raise FileError(f"{where}: {name!r} holds {array.dtype}, the model needs {tensor.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array.values).all():
            raise FileError(f"{where}: {name!r} is not finite")
    unknown = {str(name) for name in state.variables} - wanted.keys()
    if unknown:
        raise FileError(f"{where}: the state has {min(unknown)!r}, which the model does not know")


def load_state(module: nn.Module, state: xr.Dataset, where: str) -> None:
    """Load a state into a module, in the dtypes of the state.

    Args:
        module: The module.
        state: The arrays by name.
        where: The file or model, as the start of error messages.

    Raises:
        FileError: When the state does not match the module (see `check_state`).
    """
    check_state(module, state, where)
    arrays = {str(name): np.array(state[name].values, order="C") for name in state.variables}
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)


def digest_of(arrays: xr.Dataset | Mapping[str, Any]) -> str:
    """Return the SHA-256 of the names, dtypes, shapes and bits of all arrays.

    Args:
        arrays: The arrays by name.

    Returns:
        The digest in hexadecimal digits.
    """
    whole = hashlib.sha256()
    named = arrays.variables if isinstance(arrays, xr.Dataset) else arrays
    for name in sorted(map(str, named)):
        values = np.asarray(named[name])
        # an array of objects contains only addresses
        values = values.astype(str) if values.dtype == object else values
        whole.update(f"{name} {values.dtype} {values.shape}".encode())
        whole.update(np.ascontiguousarray(values).tobytes())
    return whole.hexdigest()


def first_not_finite(state: Any, name: str = "") -> str | None:
    """Return the name of the first tensor in a nested state that is not finite; None if all are finite."""
    if isinstance(state, torch.Tensor):
        return name if state.is_floating_point() and not bool(torch.isfinite(state).all()) else None
    if isinstance(state, Mapping):
        items = [(f"{name}.{key}" if name else str(key), value) for key, value in state.items()]
    elif isinstance(state, list | tuple):
        items = [(f"{name}[{i}]", value) for i, value in enumerate(state)]
    else:
        return None
    return next((found for key, value in items if (found := first_not_finite(value, key))), None)


def flatten(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return a nested state as JSON values.

    Args:
        value: Nested dicts, lists and tuples of tensors, arrays, numbers, text and None.
        arrays: The list to which the tensors and arrays are appended; the result refers to them by number.

    Returns:
        The JSON values.

    Raises:
        TypeError: When the state holds a value of another type.
    """
    if isinstance(value, torch.Tensor):
        arrays.append(value.detach().cpu().numpy())
        return {"tensor": len(arrays) - 1}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, Mapping):
        return {"items": [[key, flatten(item, arrays)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [flatten(item, arrays) for item in value]}
    if isinstance(value, list):
        return [flatten(item, arrays) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state may hold tensors, arrays, numbers, text and None, not {type(value).__name__}")


def unflatten(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return the nested state from the results of `flatten`.

    Args:
        value: The JSON values.
        arrays: The tensors and arrays by number.

    Returns:
        The nested state.
    """
    if isinstance(value, list):
        return [unflatten(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return torch.from_numpy(np.array(arrays[value["tensor"]]))
    if "array" in value:
        return np.array(arrays[value["array"]])
    if "tuple" in value:
        return tuple(unflatten(item, arrays) for item in value["tuple"])
    return {key: unflatten(item, arrays) for key, item in value["items"]}
