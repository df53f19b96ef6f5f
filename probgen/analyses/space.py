"""Latent codes of a generator and attribute scores of its samples, shared by the analyses of latent spaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from pydantic import BeforeValidator, Field, PlainSerializer
from torch import nn

from probgen import latents
from probgen.api.attributing import attribute_scores, teller
from probgen.api.common import name_of
from probgen.api.decoding import decode
from probgen.api.encoding import encode
from probgen.api.sampling import sample
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import Decoder, Encoder, Selecting, Telling, latents_of, places_of
from probgen.contract.fitted import Fitted
from probgen.contract.options import Options
from probgen.contract.rows import as_tensor, evenly
from probgen.errors import InputError, NotOffered, did_you_mean
from probgen.plugins.registry import registered

NOBODY = (
    "there is no scorer. Set scorer, for example to a run of the family 'attributes', or find the boundaries of the run first "
    "(probgen analyze boundaries)."
)
SCRIPT = "of a script:"  # prefix of a scorer that is not stored in a file
# largest difference of means and covariances from a standard normal
NEAR = 0.2
AT_ONCE = 500  # rows per batch of features

needs = "latents that the model can decode"


def _scorer(value: Any) -> Any:
    if isinstance(value, str) and value not in registered("attributes") and Path(value).exists():
        return str(Path(value).resolve())  # absolute, so that it is found from another folder
    if value is None or isinstance(value, str | Path | Fitted) or callable(value):
        return value
    raise ValueError(
        "this is not a scorer. Use the name of an attribute function, a run, a fitted model or a function."
    )


def _said(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value)
    return f"{SCRIPT} {value.family}" if isinstance(value, Fitted) else f"{SCRIPT} {name_of(value)}"


Scorer = Annotated[Any, BeforeValidator(_scorer), PlainSerializer(_said)]


class SpaceOptions(Options):
    """Options of the codes and of the scorer."""

    scorer: Scorer = Field(
        None,
        description="scorer of attributes: a run of the family `attributes`, a pixel function by name, or another model",
    )
    latent: str | None = Field(
        None, description="name of a latent or place of real numbers; default: the last one before x"
    )
    n: int = Field(5000, ge=10, description="number of codes")
    of: Literal["draws", "rows"] = Field(
        "draws", description="use codes of samples, or codes of the data's rows (needs an encoder or a guide)"
    )
    given: dict[str, float] = Field(
        default_factory=dict,
        description="latents or conditions that are fixed for all samples, e.g. {member = 0}",
    )


def applies(fitted: Fitted) -> bool:
    """Return whether the family can be sampled from and decodes its latents."""
    module = fitted.module
    return fitted.definition.offers("sample") and isinstance(module, Decoder) and bool(latents_of(module))


@dataclass(frozen=True)
class LatentSpace:
    """Codes of one latent or place of a generator.

    Attributes:
        fitted: The fitted generator.
        latent: Name of the latent or place.
        dims: Dimension names of a code.
        codes: Codes, (row, *dims).
        rest: Conditions and latents that do not follow from the codes, (row, ...) each.
        tells: The loaded scorer of attributes, or None.
        reals: Names of the latents of real numbers.
        device: The device of the model.
    """

    fitted: Fitted
    latent: str
    dims: tuple[str, ...]
    codes: np.ndarray
    rest: Mapping[str, np.ndarray]
    tells: Any
    reals: tuple[str, ...]
    device: Any

    def __len__(self) -> int:
        return len(self.codes)

    def some(self, rows: Any) -> LatentSpace:
        """Return the same space with some of the rows."""
        return replace(self, codes=self.codes[rows], rest={name: v[rows] for name, v in self.rest.items()})

    @cached_property
    def flat(self) -> np.ndarray:
        """The codes as (row, code), float64."""
        return self.codes.reshape(len(self), -1).astype(np.float64)

    @cached_property
    def covariance(self) -> np.ndarray:
        """The covariance of the codes: (code, code)."""
        return np.atleast_2d(np.cov(self.flat.T, bias=True))

    @property
    def telling(self) -> Telling | None:
        """The network of the scorer, with features; None if the scorer has no such network."""
        net = self.tells.module if isinstance(self.tells, Fitted) else None
        return net if isinstance(net, Telling) else None

    def decoded(self, codes: np.ndarray, until: str = "x") -> xr.Dataset:
        """Decode codes that replace the codes of this space.

        There may be several times as many codes, set after set in the order of the rows.
        """
        times = len(codes) // max(1, len(self))
        rest = {name: np.concatenate([v] * times) for name, v in self.rest.items()}
        return decode(self.fitted, {**rest, self.latent: codes}, until, device=self.device)

    def rows(self, codes: np.ndarray) -> xr.Dataset:
        """Decode codes to data: rounded if the event has levels, with the conditions."""
        x, event = self.decoded(codes)["x"], self.fitted.event
        if event.discrete:
            whole = np.clip(np.rint(x.values), 0, (event.levels or 2) - 1).astype(np.int64)
            x = x.copy(data=whole)
        times = len(codes) // max(1, len(self))
        given = {
            name: (
                ("row", *part.dims),
                np.concatenate([self.rest[name]] * times),
                {"levels": part.levels or 0},
            )
            for name, part in event.given.items()
        }
        return xr.Dataset({"x": x, **given})

    def told(self, codes: np.ndarray) -> xr.DataArray:
        """Return attribute scores of the decoded codes.

        Args:
            codes: Codes, (row, *dims).

        Returns:
            Scores, (row, factor).

        Raises:
            NotOffered: When there is no scorer.
            InputError: When the scorer has another event.
        """
        if self.tells is None:
            raise NotOffered(NOBODY)
        rows = self.rows(codes)
        if isinstance(self.tells, Fitted):
            own, others = self.fitted.event, self.tells.event
            if (own.dims, own.shape) != (others.dims, others.shape):
                raise InputError(
                    f"scorer: it scores {others}, and the samples are {own}. Use a scorer of the same event."
                )
        return attribute_scores(self.tells, rows, device=self.device)

    def seen(self, codes: np.ndarray) -> np.ndarray:
        """Return attribute scores of the decoded codes as an array: (row, factor)."""
        return np.asarray(self.told(codes).values)

    @cached_property
    def base(self) -> xr.DataArray:
        """The attribute scores of the unchanged codes."""
        return self.told(self.codes)


def space_of(fitted: Fitted, data: xr.Dataset | None, options: SpaceOptions, call: Call) -> LatentSpace:
    """Return the codes that the options describe.

    Args:
        fitted: The fitted generator.
        data: Rows, or None.
        options: Options of the codes.
        call: The call of the analysis.

    Returns:
        Codes with their conditions and scorer.

    Raises:
        InputError: When an option does not suit the model, or data are missing.
        NotOffered: When the model has no latent of real numbers.
    """
    module, event = fitted.module, fitted.event
    latents, places = latents_of(module), places_of(module)
    given = _given(fitted, data, options, call)
    how: dict[str, Any] = dict(call.common)
    if options.of == "rows":
        if data is None:
            raise InputError("of = 'rows' (here or in the boundaries of the run) needs rows. Give data.")
        rows = evenly(data, options.n)
        if isinstance(module, Encoder):
            drawn = encode(fitted, rows, device=call.device)
        else:  # the guide of a pair samples the codes
            drawn = sample(fitted, given={**given, "x": rows["x"].values}, **how).isel(sample=0)
        n = rows.sizes["row"]
    else:
        n = options.n
        drawn = sample(fitted, 1, given=given, **how).isel(sample=0) if given else sample(fitted, n, **how)
    arrays = {name: drawn[name].values for name in latents if name in drawn}
    arrays |= {
        name: np.broadcast_to(v, (n, *np.shape(v)[1:])) for name, v in given.items() if name not in arrays
    }
    real = [name for name in latents if name in arrays and arrays[name].dtype.kind == "f"]
    latent = _chosen(options.latent, latents, places, real)
    start = {name: v for name, v in arrays.items() if name in latents or name in event.given}
    if latent in places:
        arrays[latent] = decode(fitted, start, latent, device=call.device)[latent].values
    rest = {
        name: v
        for name, v in start.items()
        if name != latent and (name in event.given or not _follows(fitted, name, latent, arrays, call))
    }
    tells = None if options.scorer is None else teller(options.scorer)
    dims = {**latents, **places}[latent]
    return LatentSpace(fitted, latent, dims, arrays[latent], rest, tells, tuple(real), call.device)


def _given(
    fitted: Fitted, data: xr.Dataset | None, options: SpaceOptions, call: Call
) -> dict[str, np.ndarray]:
    """Return the conditions of all samples: (row, ...)."""
    event, module = fitted.event, fitted.module
    latents = latents_of(module)
    for name in options.given:
        single = [latent for latent, dims in latents.items() if not dims]
        if name not in event.given and name not in single:
            raise InputError(
                f"given.{name}: {did_you_mean(name, [*event.given, *single]) if (single or event.given) else 'the model has no conditions'}"
            )
        if options.of == "rows":
            raise InputError(
                f"given.{name} has no effect with of = 'rows': codes are computed from unchanged rows. Leave it out."
            )
    if isinstance(module, Selecting) and options.of == "draws":
        for name in module.selects:
            if name in latents and name not in options.given:
                raise InputError(
                    f"given: this run contains several models with unrelated codes. Select one, for example given = {{{name} = 0}}."
                )
    n = options.n if options.of == "draws" or data is None else min(options.n, data.sizes["row"])
    found = {name: np.full(n, value) for name, value in options.given.items()}
    found = {name: v.astype(np.int64) if (v == np.rint(v)).all() else v for name, v in found.items()}
    if data is not None and event.given:
        rows = evenly(data, n)
        which = np.arange(n) % rows.sizes["row"]
        found = {name: v[which] for name, v in conditions_in(rows, event).items()} | found
    rng = np.random.default_rng(call.seed)
    for name, part in event.given.items():
        if name not in found:
            if part.dims or not part.levels:
                raise InputError(f"the model is conditional on {name!r}. Give data that contain it.")
            found[name] = rng.integers(part.levels, size=n)
    return found


def _chosen(
    wanted: str | None, latents: Mapping[str, Any], places: Mapping[str, Any], real: list[str]
) -> str:
    whole = [name for name in latents if name not in real]
    offered = [*real, *places]
    if wanted is None:
        if not offered:
            raise NotOffered(
                f"all latents contain whole numbers ({', '.join(whole)}). Boundaries need latents of real numbers."
            )
        return real[-1] if real else next(iter(places))
    if wanted in whole:
        raise InputError(
            f"latent = {wanted!r}: it contains whole numbers. Use a latent of real numbers: {', '.join(offered) or 'there is none'}."
        )
    if wanted not in offered:
        raise InputError(f"latent = {wanted!r}: {did_you_mean(wanted, offered)}")
    return wanted


def _follows(fitted: Fitted, name: str, latent: str, arrays: Mapping[str, np.ndarray], call: Call) -> bool:
    """Return whether a latent is computed from the chosen one, so that its sampled value must not be fixed."""
    start = {known: v[:2] for known, v in arrays.items() if known == latent or known in fitted.event.given}
    try:
        decode(fitted, start, name, device=call.device)
    except InputError:
        return False
    return True


def standard_normal(space: LatentSpace) -> bool:
    """Return whether the codes look standard normal.

    Interpolations between these codes use great circles, because a straight line passes the center, where no
    codes lie.

    Args:
        space: Codes.

    Returns:
        True if mean and covariance are near those of a standard normal, in two or more dimensions.
    """
    d = space.flat.shape[1]
    return d > 1 and bool(
        np.abs(space.flat.mean(0)).max() < NEAR and np.abs(space.covariance - np.eye(d)).max() < NEAR
    )


def features_of(net: Telling, x: np.ndarray) -> np.ndarray:
    """Return the features of a network, on the device of the network: (row, *event) -> (row, feature)."""
    assert isinstance(net, nn.Module)
    device = next(net.parameters()).device
    with torch.no_grad():
        parts = [net.features(as_tensor(x[i : i + AT_ONCE]).to(device)) for i in range(0, len(x), AT_ONCE)]
    return np.asarray(torch.cat(parts).double().cpu().numpy())


def strips(space: LatentSpace, moves: np.ndarray, ways: np.ndarray, pictured: int) -> np.ndarray:
    """Return x of a few codes moved along directions: (move, image, step, *event)."""
    few = space.some(slice(0, min(pictured, len(space))))
    codes = [latents.edit(few.codes, move, by) for move in moves for by in ways]
    x = few.decoded(np.concatenate(codes))["x"].values
    return np.moveaxis(x.reshape(len(moves), len(ways), len(few), *x.shape[1:]), 1, 2)


def layers_of(asked: str | int | None) -> slice | None:
    """Return the layers of a code that an option names.

    Args:
        asked: `3`, `"0-2"`, or None for all.

    Returns:
        The layers, or None for all.

    Raises:
        InputError: When the option is not a number or a range.
    """
    if asked is None:
        return None
    found = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", str(asked))
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if last < first:
        raise InputError(
            f"layers = {asked!r}: this is not a layer or a range. Use a number from 0, or a range such as '0-2'."
        )
    return slice(first, last + 1)


def held_among(names: Sequence[str], hold: Sequence[str]) -> list[str]:
    """Return the attributes that stay fixed, after a check of their names.

    Args:
        names: All attributes.
        hold: Attributes to keep fixed.

    Returns:
        The names.

    Raises:
        InputError: When a name is unknown.
    """
    for name in hold:
        if name not in names:
            raise InputError(f"hold = {name!r}: {did_you_mean(name, names)}")
    return list(hold)


def known(scores: np.ndarray) -> Any:
    """Return scores as a masked array, without missing ones.

    A score is missing, for example, for the slant of an image without ink.
    """
    return np.ma.masked_invalid(scores)


def as_names(factors: Sequence[str]) -> list[str]:
    """Return different names for figures and files, for example `category_1` for the factor `category 1`."""
    names = [re.sub(r"[^\w.-]+", "_", factor) for factor in factors]
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]


def in_words(numbers: Mapping[str, float], form: Callable[[float], str]) -> str:
    """Return numbers with their names as a text: `light 0.97, view 0.95`."""
    return ", ".join(f"{name} {form(value)}" for name, value in numbers.items())


def steps_of(reach: float, n: int) -> list[str]:
    """Return names of n equal steps from -reach to reach, for a figure."""
    return [f"{step:+.2g}" for step in np.linspace(-reach, reach, n)]
