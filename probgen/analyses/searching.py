"""What `inversion` and `restoration` share: a generator whose codes are searched for, and how pictures are compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import xarray as xr
from pydantic import Field
from torch import Tensor

from probgen.analyses.space import LatentSpace, SpaceOptions, known
from probgen.api.attributing import attribute_scores
from probgen.api.common import run_for
from probgen.api.decoding import decode
from probgen.api.encoding import encode
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import Encoder, latents_of, places_of
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import only
from probgen.contract.rows import as_tensor, evenly
from probgen.errors import InputError, NotOffered, did_you_mean
from probgen.evaluation.pictures import psnr
from probgen.inference.degradations import Degradation, whole
from probgen.inference.inversion import (
    Comparison,
    Domain,
    Held,
    Mixed,
    invert,
    memory_of_codes,
    multi_code,
    nearest,
)
from probgen.inference.least_squares import Search
from probgen.inference.training import Schedule
from probgen.pair import PairSampleOptions

MANY, JUDGED = 100, 1000  # rows that deviations of scores are taken over: at least, and at most
SPREAD = 0.5  # of several codes around the mean where their search begins, in deviations of draws


Searching = TypeVar("Searching", bound="SearchOptions")


class SearchOptions(SpaceOptions):
    """How codes are searched for."""

    rows: int = Field(24, ge=1, description="of the data, evenly spaced")
    search: Literal["adam", "gauss-newton"] = Field("adam", description="the method")
    search_steps: int | None = Field(
        None, ge=1, description="of the search; by default 100 of adam, 10 of gauss-newton"
    )
    learning_rate: float = Field(
        0.1,
        gt=0,
        description="of Adam, in deviations of codes over draws",
        json_schema_extra=only(search="adam"),
    )
    schedule: Schedule = Field(
        "constant", description="of the learning rate", json_schema_extra=only(search="adam")
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="deviations added to codes at first; 0 after three quarters of the steps",
        json_schema_extra=only(search="adam"),
    )
    codes: int = Field(10, ge=1, description="of the method of several codes")
    place: str | None = Field(
        None,
        description="of the generator, where several codes are mixed; by default the middle one of its maps",
    )
    pictured: int = Field(6, ge=1, description="rows in a picture")

    def how(self, seed: int) -> Search:
        """The search."""
        steps = self.search_steps or {"adam": 100, "gauss-newton": 10}[self.search]
        return Search(self.search, steps, self.learning_rate, self.schedule, self.noise, seed)


@dataclass(frozen=True)
class Inverting:
    """A generator, and where codes of its draws lie.

    space   codes of draws
    domain  the same as means and deviations, on the device of the model
    unit    deviation of x over draws, in which errors are squared
    data, reference  rows, and those of the fit
    search  how codes are searched for
    """

    fitted: Fitted
    options: SearchOptions
    space: LatentSpace
    domain: Domain
    unit: float
    device: torch.device
    data: xr.Dataset
    reference: xr.Dataset | None
    search: Search

    @classmethod
    def of(cls, space: LatentSpace, options: SearchOptions, data: xr.Dataset, call: Call) -> Inverting:
        """Of codes of draws. Errors: `NotOffered` for an event that is no array of numbers."""
        fitted = space.fitted
        if fitted.event.support == "token" or None in fitted.event.shape:
            raise NotOffered(f"codes are searched for of arrays of numbers, not of {fitted.event}")
        device = run_for(fitted, call.seed, call.device).device
        few = space.some(slice(0, 200))
        unit = float(few.decoded(few.codes)["x"].values.std()) or 1.0
        domain = Domain.of(space.latent, torch.from_numpy(space.codes).to(device, fitted.dtype))
        return cls(fitted, options, space, domain, unit, device, data, call.reference, options.how(call.seed))

    @property
    def event(self) -> Event:
        """Of x."""
        return self.fitted.event

    def decode(self, start: Mapping[str, Tensor], until: str) -> Tensor:
        """Of the generator."""
        module: Any = self.fitted.module
        y: Tensor = module.decode(start, until)
        return y

    def decoded(self, codes: np.ndarray, rest: Mapping[str, np.ndarray]) -> np.ndarray:
        """x of codes: (row, *event), float64, not rounded."""
        x = decode(self.fitted, {**rest, self.space.latent: codes}, device=self.device)["x"].values
        return np.asarray(x.astype(np.float64))

    def features(self, weight: float) -> Callable[[Tensor], Tensor] | None:
        """Of the network that tells attributes, in one deviation of them over draws; None without a weight. Errors: `InputError`."""
        if not weight:
            return None
        net = self.space.telling
        if net is None:
            raise InputError(
                "feature_weight: the scorer is no network with features; a run of `attributes` is"
            )
        of: Any = net
        of.to(self.device)
        with torch.no_grad():
            scale = of.features(self.drawn[:200]).var(0).mean().sqrt().clamp(min=1e-6)
        return lambda x: of.features(x) / scale

    @property
    def has_encoder(self) -> bool:
        """Whether the model has one."""
        return isinstance(self.fitted.module, Encoder)

    def rest(self, rows: xr.Dataset) -> dict[str, np.ndarray]:
        """Conditions of rows, and latents beside the one that is searched for. Errors: `NotOffered` where they are not known."""
        found = conditions_in(rows, self.event)
        for name in self.beside:
            if self.has_encoder:
                found[name] = self.encoded(rows)[name].values
            elif name in self.options.given:
                found[name] = np.repeat(self.space.rest[name][:1], rows.sizes["row"], 0)
            else:
                raise NotOffered(f"latent {name!r} is not known of rows: say which, given = {{{name} = 0}}")
        return found

    @cached_property
    def beside(self) -> list[str]:
        """Latents that x needs beside the one that is searched for: of styles no z, of a GAN of several members which."""
        one = self.space.some(slice(0, 1))
        names = [name for name in one.rest if name not in self.event.given]
        given = {name: value for name, value in one.rest.items() if name in self.event.given}
        needed = list(names)
        for name in names:
            others = {other: one.rest[other] for other in needed if other != name}
            with suppress(InputError):  # it can do without
                decode(self.fitted, {**given, **others, self.space.latent: one.codes}, device=self.device)
                needed.remove(name)
        return needed

    def encoded(self, rows: xr.Dataset) -> xr.Dataset:
        """Latents of rows by the encoder."""
        return encode(self.fitted, rows[["x", *conditions_in(rows, self.event)]], device=self.device)

    def by_encoder(self, rows: xr.Dataset) -> np.ndarray:
        """Codes of rows by the encoder: (row, *dims)."""
        found = self.encoded(rows)
        if self.space.latent in found:
            return np.asarray(found[self.space.latent].values)
        start = found.assign({k: ("row", v) for k, v in conditions_in(rows, self.event).items()})
        return np.asarray(
            decode(self.fitted, start, self.space.latent, device=self.device)[self.space.latent].values
        )

    def held(self, weight: float) -> Held:
        """The encoder as a term of the search."""

        def encoder(x: Tensor, rest: Mapping[str, Tensor]) -> Tensor:
            module: Any = self.fitted.module
            given = {name: rest[name] for name in self.event.given}
            found: dict[str, Tensor] = module.encoded(x, **given)
            if self.space.latent in found:
                return found[self.space.latent]
            return self.decode({**given, **found}, self.space.latent)

        return Held(encoder, weight)

    def one(
        self,
        seen: np.ndarray,
        rest: Mapping[str, np.ndarray],
        *,
        degradation: Degradation = whole,
        start: np.ndarray | None = None,
        held: Held | None = None,
        prior: float = 0.0,
        feature_weight: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The code of each row, and x of it."""
        found = invert(
            self.decode,
            self.tensor(seen),
            self.domain,
            start=None if start is None else self.tensor(start).to(self.domain.mean),
            rest={name: self.tensor(value) for name, value in rest.items()},
            comparison=Comparison(degradation, self.unit, self.features(feature_weight), feature_weight),
            held=held,
            prior=prior,
            search=self.search,
        )
        return found.codes.cpu().numpy(), found.x.double().cpu().numpy()

    def nearest(self, seen: np.ndarray, degradation: Degradation) -> np.ndarray:
        """Codes of draws whose x, degraded, is nearest to what is seen."""
        codes = torch.from_numpy(self.space.codes).to(self.device)
        return nearest(self.tensor(seen), codes, self.drawn, degradation).cpu().numpy()

    @cached_property
    def drawn(self) -> Tensor:
        """x of the codes of draws."""
        return self.tensor(self.space.decoded(self.space.codes)["x"].values.astype(np.float64))

    def several(
        self,
        seen: np.ndarray,
        rest: Mapping[str, np.ndarray],
        seed: int,
        *,
        degradation: Degradation = whole,
        start: np.ndarray | None = None,
    ) -> Mixed:
        """Several codes of each row, mixed at the place. start: codes that they begin around. Errors: `InputError`, `NotOffered`."""
        n, rows = self.options.codes, len(seen)
        known = {name: self.tensor(value) for name, value in rest.items()}
        needed = memory_of_codes(self.decode, self.domain, known, n)
        if needed > (there := _memory(self.device)):
            raise InputError(
                f"codes = {n}: a search for them takes about {needed / 2**30:.1f} GiB a row, and there are {there / 2**30:.1f}; take fewer"
            )
        rng = np.random.default_rng(seed)
        which = rng.integers(len(self.space), size=rows * n)
        drawn = self.domain.standard(torch.from_numpy(self.space.codes[which]).to(self.domain.mean))
        middle = (
            self.domain.mean.expand(rows, *self.domain.mean.shape) if start is None else self.tensor(start)
        )
        around = self.domain.standard(middle.to(self.domain.mean)).repeat_interleave(n, 0)
        starts = self.domain.codes(around + SPREAD * drawn).unflatten(0, (rows, n))
        return multi_code(
            self.decode,
            self.tensor(seen),
            self.domain,
            self.place,
            starts,
            top=None if start is None else middle.to(self.domain.mean),
            rest=known,
            comparison=Comparison(degradation, self.unit),
            search=self.search,
        )

    @cached_property
    def mixable(self) -> list[str]:
        """Places where several codes can be mixed: maps after the latent."""
        places = places_of(self.fitted.module)
        names = list(places)
        after = names[names.index(self.space.latent) + 1 :] if self.space.latent in places else names
        return [name for name in after if len(places[name]) > 1]

    @property
    def place(self) -> str:
        """Where several codes are mixed. Errors: `InputError`, `NotOffered`."""
        if not self.mixable:
            raise NotOffered("the generator has no maps where several codes could be mixed")
        if self.options.place is None:
            return self.mixable[len(self.mixable) // 2]
        if self.options.place not in self.mixable:
            raise InputError(
                f"place = {self.options.place!r}: {did_you_mean(self.options.place, self.mixable)}"
            )
        return self.options.place

    @property
    def draws_posterior(self) -> bool:
        """Whether `sample` draws codes from q(z given x), and x from p(x given a part of it)."""
        return issubclass(self.fitted.definition.options("sample"), PairSampleOptions)

    def tensor(self, values: np.ndarray) -> Tensor:
        """On the device; real numbers in float64, as hooks get them."""
        return as_tensor(np.asarray(values)).to(self.device)

    # what pictures are compared by

    def near(self, x: np.ndarray) -> np.ndarray:
        """x within the levels of the event."""
        return x.clip(0, (self.event.levels or 2) - 1) if self.event.discrete else x

    def range(self, truth: np.ndarray) -> tuple[float, float]:
        """Lowest and highest value: of the event, or of rows of real data."""
        if self.event.discrete:
            return 0.0, float((self.event.levels or 2) - 1)
        return float(truth.min()), float(truth.max())

    def peak(self, truth: np.ndarray) -> float:
        """The distance between them, 1 where there is none."""
        low, high = self.range(truth)
        return (high - low) or 1.0

    def psnr(self, x: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Peak signal-to-noise ratio, in dB, of each row. The peak is the highest level, or the range of the rows of real data."""
        return psnr(self.near(x), truth, self.peak(truth))

    def told(self, x: np.ndarray, rows: xr.Dataset) -> Any:
        """Scores of attributes of x: (row, factor), masked where they are not known."""
        whole_numbers = np.rint(self.near(x)).astype(np.int64) if self.event.discrete else x
        same = {"x": (("row", *self.event.dims), whole_numbers, rows["x"].attrs)}
        data = xr.Dataset({**same, **{name: rows[name] for name in conditions_in(rows, self.event)}})
        return known(attribute_scores(self.space.tells, data, device=self.device).values)

    @cached_property
    def deviation(self) -> tuple[Any, str]:
        """Of scores of attributes, (factor,), and over what: rows of the fit, or else of the data, or of draws where data are few."""
        for rows, said in ((self.reference, "rows of the fit"), (self.data, "rows")):
            if rows is not None and rows.sizes["row"] >= MANY:
                some = evenly(rows, JUDGED)
                return self.told(some["x"].values, some).std(0), f"{said} ({some.sizes['row']})"
        return known(self.space.base.values).std(0), f"draws ({len(self.space)})"

    def attribute_errors(self, x: np.ndarray, scores: Any, rows: xr.Dataset) -> np.ndarray:
        """How far scores of x are from those of the rows, as `told` gives them, in `deviation`, on average: (factor,)."""
        off = np.abs(self.told(x, rows) - scores) / self.deviation[0]
        return np.asarray(off.mean(0).filled(np.nan))


def middle(shape: tuple[int, ...], share: float) -> np.ndarray:
    """True in the middle of an image, of so large a share of its sides: of at least a pixel, and not of all."""
    inside = np.zeros(shape, dtype=bool)
    sides = [min(max(1, round(n * share)), max(1, n - 1)) for n in shape[-2:]]
    (top, left) = ((n - side) // 2 for n, side in zip(shape[-2:], sides, strict=True))
    inside[..., top : top + sides[0], left : left + sides[1]] = True
    return inside


def _memory(device: torch.device) -> int:
    """Bytes of the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    if not hasattr(os, "sysconf"):
        return 1 << 62  # not said
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def by_condition(fitted: Fitted, options: Searching) -> Searching:
    """The same options; of a conditional model, where they name no latent, its first one: codes behind it know the condition, and would leave it."""
    if options.latent is not None or not fitted.event.given:
        return options
    return options.model_copy(update={"latent": next(iter(latents_of(fitted.module)))})
