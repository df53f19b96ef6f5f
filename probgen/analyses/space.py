"""Codes of a generator, and what is told of what it makes of them: what the analyses of latent spaces share."""

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
    "there is no scorer: give scorer, for example a run of the family 'attributes', or find the boundaries of the run first "
    "(probgen analyze boundaries)"
)
SCRIPT = "of a script:"  # before the name of a scorer that no file has
NEAR = 0.2  # of means and covariances of codes that are taken for those of a standard normal
AT_ONCE = 500  # rows that features are taken of

needs = "latents that it decodes"


def _scorer(value: Any) -> Any:
    if isinstance(value, str) and value not in registered("attributes") and Path(value).exists():
        return str(Path(value).resolve())  # so that it is found from elsewhere
    if value is None or isinstance(value, str | Path | Fitted) or callable(value):
        return value
    raise ValueError("the name of a function of attributes, a run, a fitted model or a function is needed")


def _said(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value)
    return f"{SCRIPT} {value.family}" if isinstance(value, Fitted) else f"{SCRIPT} {name_of(value)}"


Scorer = Annotated[Any, BeforeValidator(_scorer), PlainSerializer(_said)]


class SpaceOptions(Options):
    """Which codes, and who tells what is made of them."""

    scorer: Scorer = Field(
        None,
        description="what tells attributes: a run of the family `attributes`, the name of a function of pixels, or another model with its score",
    )
    latent: str | None = Field(
        None, description="a latent or place of real numbers; by default the last one before x is made"
    )
    n: int = Field(5000, ge=10, description="codes")
    of: Literal["draws", "rows"] = Field(
        "draws", description="codes of draws, or of the rows of the data where the model has an encoder"
    )
    given: dict[str, float] = Field(
        default_factory=dict, description="latents or conditions that are fixed for all draws: {member = 0}"
    )


def applies(fitted: Fitted) -> bool:
    """Of families that can be drawn from and decode their latents."""
    module = fitted.module
    return fitted.definition.offers("sample") and isinstance(module, Decoder) and bool(latents_of(module))


@dataclass(frozen=True)
class LatentSpace:
    """Codes of one latent or place.

    latent  its name; dims of a code
    codes   (row, *dims)
    rest    conditions, and latents that do not follow from it, as they were drawn: (row, ...) each
    tells   what tells attributes, loaded; None where nobody does
    reals   latents of real numbers
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
        """Some of the rows."""
        return replace(self, codes=self.codes[rows], rest={name: v[rows] for name, v in self.rest.items()})

    @cached_property
    def flat(self) -> np.ndarray:
        """(row, code), float64."""
        return self.codes.reshape(len(self), -1).astype(np.float64)

    @cached_property
    def covariance(self) -> np.ndarray:
        """Of codes: (code, code)."""
        return np.atleast_2d(np.cov(self.flat.T, bias=True))

    @property
    def telling(self) -> Telling | None:
        """The network that tells attributes, whose features distances are taken in; None where it is none."""
        net = self.tells.module if isinstance(self.tells, Fitted) else None
        return net if isinstance(net, Telling) else None

    def decoded(self, codes: np.ndarray, until: str = "x") -> xr.Dataset:
        """What is made of codes that stand in place of these, all of them or several times all of them, one after the other."""
        times = len(codes) // max(1, len(self))
        rest = {name: np.concatenate([v] * times) for name, v in self.rest.items()}
        return decode(self.fitted, {**rest, self.latent: codes}, until, device=self.device)

    def rows(self, codes: np.ndarray) -> xr.Dataset:
        """The same as data: rounded where the event has levels, with the conditions."""
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
        """Scores of attributes: (row, factor). Errors: `NotOffered` without a scorer, `InputError` for one of another event."""
        if self.tells is None:
            raise NotOffered(NOBODY)
        rows = self.rows(codes)
        if isinstance(self.tells, Fitted):
            own, others = self.fitted.event, self.tells.event
            if (own.dims, own.shape) != (others.dims, others.shape):
                raise InputError(f"scorer: it tells attributes of {others}, and the draws are {own}")
        return attribute_scores(self.tells, rows, device=self.device)

    def seen(self, codes: np.ndarray) -> np.ndarray:
        """The same as an array."""
        return np.asarray(self.told(codes).values)

    @cached_property
    def base(self) -> xr.DataArray:
        """Scores of what is made of the codes as they are."""
        return self.told(self.codes)


def space_of(fitted: Fitted, data: xr.Dataset | None, options: SpaceOptions, call: Call) -> LatentSpace:
    """Codes as the options ask for them. Errors: `InputError`, `NotOffered`."""
    module, event = fitted.module, fitted.event
    latents, places = latents_of(module), places_of(module)
    given = _given(fitted, data, options, call)
    how: dict[str, Any] = dict(call.common)
    if options.of == "rows":
        if data is None:
            raise InputError("of = 'rows', here or in the boundaries of the run: give data")
        rows = evenly(data, options.n)
        if isinstance(module, Encoder):
            drawn = encode(fitted, rows, device=call.device)
        else:  # a pair whose guide draws them
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
    """What all draws are conditioned on: (row, ...)."""
    event, module = fitted.event, fitted.module
    latents = latents_of(module)
    for name in options.given:
        single = [latent for latent, dims in latents.items() if not dims]
        if name not in event.given and name not in single:
            raise InputError(
                f"given.{name}: {did_you_mean(name, [*event.given, *single]) if (single or event.given) else 'nothing can be given'}"
            )
        if options.of == "rows":
            raise InputError(f"given.{name} has no effect: the codes are those of the rows as they are")
    if isinstance(module, Selecting) and options.of == "draws":
        for name in module.selects:
            if name in latents and name not in options.given:
                raise InputError(
                    f"this run holds several models, whose codes mean nothing to one another: say which one, given = {{{name} = 0}}"
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
                raise InputError(f"the model is conditioned on {name!r}: give data that have it")
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
                f"its latents hold whole numbers ({', '.join(whole)}), and boundaries lie between real ones"
            )
        return real[-1] if real else next(iter(places))
    if wanted in whole:
        raise InputError(
            f"latent {wanted!r} holds whole numbers, and boundaries lie between real ones: {', '.join(offered) or 'there are none'}"
        )
    if wanted not in offered:
        raise InputError(f"latent = {wanted!r}: {did_you_mean(wanted, offered)}")
    return wanted


def _follows(fitted: Fitted, name: str, latent: str, arrays: Mapping[str, np.ndarray], call: Call) -> bool:
    """Whether a latent is made of the chosen one, and so must not be held as it was drawn."""
    start = {known: v[:2] for known, v in arrays.items() if known == latent or known in fitted.event.given}
    try:
        decode(fitted, start, name, device=call.device)
    except InputError:
        return False
    return True


def standard_normal(space: LatentSpace) -> bool:
    """Whether codes are those of a standard normal, whose paths are along great circles and not through the middle, where no codes are."""
    d = space.flat.shape[1]
    return d > 1 and bool(
        np.abs(space.flat.mean(0)).max() < NEAR and np.abs(space.covariance - np.eye(d)).max() < NEAR
    )


def features_of(net: Telling, x: np.ndarray) -> np.ndarray:
    """(row, *event) -> (row, feature), where the network is."""
    assert isinstance(net, nn.Module)
    device = next(net.parameters()).device
    with torch.no_grad():
        parts = [net.features(as_tensor(x[i : i + AT_ONCE]).to(device)) for i in range(0, len(x), AT_ONCE)]
    return np.asarray(torch.cat(parts).double().cpu().numpy())


def strips(space: LatentSpace, moves: np.ndarray, ways: np.ndarray, pictured: int) -> np.ndarray:
    """What is made of some codes along moves: (move, image, step, *event)."""
    few = space.some(slice(0, min(pictured, len(space))))
    codes = [latents.edit(few.codes, move, by) for move in moves for by in ways]
    x = few.decoded(np.concatenate(codes))["x"].values
    return np.moveaxis(x.reshape(len(moves), len(ways), len(few), *x.shape[1:]), 1, 2)


def layers_of(asked: str | int | None) -> slice | None:
    """`3`, `"0-2"` as layers of a code; None for all. Errors: `InputError`."""
    if asked is None:
        return None
    found = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", str(asked))
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if last < first:
        raise InputError(f"layers = {asked!r}: a number from 0, or a range as '0-2'")
    return slice(first, last + 1)


def held_among(names: Sequence[str], hold: Sequence[str]) -> list[str]:
    """Those that are to stay, checked. Errors: `InputError` for an unknown one."""
    for name in hold:
        if name not in names:
            raise InputError(f"hold = {name!r}: {did_you_mean(name, names)}")
    return list(hold)


def known(scores: np.ndarray) -> Any:
    """Without those that are not known, as the slant of an image without ink: a masked array."""
    return np.ma.masked_invalid(scores)


def as_names(factors: Sequence[str]) -> list[str]:
    """Factors in the names of figures and files, all different: `category 1` as `category_1`."""
    names = [re.sub(r"[^\w.-]+", "_", factor) for factor in factors]
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]


def in_words(numbers: Mapping[str, float], form: Callable[[float], str]) -> str:
    """`light 0.97, view 0.95`."""
    return ", ".join(f"{name} {form(value)}" for name, value in numbers.items())
