"""The search for codes of rows, and the comparison of images, for `inversion` and `restoration`."""

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

# fewest and most rows for the standard deviations of scores
MANY, JUDGED = 100, 1000
SPREAD = 0.5  # of the starts of several codes, in standard deviations of sampled codes


Searching = TypeVar("Searching", bound="SearchOptions")


class SearchOptions(SpaceOptions):
    """Options of the search for codes."""

    rows: int = Field(24, ge=1, description="rows of the data to use, evenly spaced")
    search: Literal["adam", "gauss-newton"] = Field("adam", description="method of the search for codes")
    search_steps: int | None = Field(
        None, ge=1, description="steps of the search; default: 100 (adam) or 10 (gauss-newton)"
    )
    learning_rate: float = Field(
        0.1,
        gt=0,
        description="Adam's learning rate, in standard deviations of sampled codes",
        json_schema_extra=only(search="adam"),
    )
    schedule: Schedule = Field(
        "constant", description="schedule of Adam's learning rate", json_schema_extra=only(search="adam")
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="noise added to codes at first, in standard deviations; 0 after three quarters of the steps",
        json_schema_extra=only(search="adam"),
    )
    codes: int = Field(10, ge=1, description="codes per row in the method of several codes")
    place: str | None = Field(
        None,
        description="place of the generator at which codes are mixed; default: the middle one of its feature maps",
    )
    pictured: int = Field(6, ge=1, description="rows in a figure")

    def how(self, seed: int) -> Search:
        """Return the settings of the search.

        Args:
            seed: Seed of the search.

        Returns:
            The method with its steps, learning rate, schedule and noise.
        """
        steps = self.search_steps or {"adam": 100, "gauss-newton": 10}[self.search]
        return Search(self.search, steps, self.learning_rate, self.schedule, self.noise, seed)


@dataclass(frozen=True)
class Inverting:
    """A generator with the distribution of its sampled codes.

    Attributes:
        fitted: The fitted generator.
        options: Options of the search.
        space: Sampled codes.
        domain: Means and deviations of these codes, on the device of the model.
        unit: Standard deviation of x over samples; squared errors are divided by its square.
        device: The device of the model.
        data: The rows.
        reference: The rows of the fit, or None.
        search: Settings of the search.
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
        """Build the generator of an analysis from sampled codes.

        Args:
            space: Sampled codes.
            options: Options of the search.
            data: The rows.
            call: The call of the analysis.

        Returns:
            The generator.

        Raises:
            NotOffered: When the event is not an array of numbers of fixed shape.
        """
        fitted = space.fitted
        if fitted.event.support == "token" or None in fitted.event.shape:
            raise NotOffered(
                f"a search for codes needs arrays of numbers of fixed shape, and the event is {fitted.event}. Choose another analysis."
            )
        device = run_for(fitted, call.seed, call.device).device
        few = space.some(slice(0, 200))
        unit = float(few.decoded(few.codes)["x"].values.std()) or 1.0
        domain = Domain.of(space.latent, torch.from_numpy(space.codes).to(device, fitted.dtype))
        return cls(fitted, options, space, domain, unit, device, data, call.reference, options.how(call.seed))

    @property
    def event(self) -> Event:
        """The event of x."""
        return self.fitted.event

    def decode(self, start: Mapping[str, Tensor], until: str) -> Tensor:
        """Decode latents with the generator."""
        module: Any = self.fitted.module
        y: Tensor = module.decode(start, until)
        return y

    def decoded(self, codes: np.ndarray, rest: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return x of codes, not rounded: (row, *event), float64."""
        x = decode(self.fitted, {**rest, self.space.latent: codes}, device=self.device)["x"].values
        return np.asarray(x.astype(np.float64))

    def features(self, weight: float) -> Callable[[Tensor], Tensor] | None:
        """Return the scorer's features of x, divided by their standard deviation over samples.

        Args:
            weight: Weight of the features; 0 for none.

        Returns:
            A function from x to features, or None without a weight.

        Raises:
            InputError: When the scorer has no features.
        """
        if not weight:
            return None
        net = self.space.telling
        if net is None:
            raise InputError(
                "feature_weight: the scorer has no features. Use a run of the family 'attributes' as the scorer."
            )
        of: Any = net
        of.to(self.device)
        with torch.no_grad():
            scale = of.features(self.drawn[:200]).var(0).mean().sqrt().clamp(min=1e-6)
        return lambda x: of.features(x) / scale

    @property
    def has_encoder(self) -> bool:
        """Whether the model has an encoder."""
        return isinstance(self.fitted.module, Encoder)

    def rest(self, rows: xr.Dataset) -> dict[str, np.ndarray]:
        """Return the conditions of rows, and the latents that x needs in addition to the inverted one.

        Args:
            rows: The rows.

        Returns:
            Arrays by name, (row, ...) each.

        Raises:
            NotOffered: When a latent has no known value.
        """
        found = conditions_in(rows, self.event)
        for name in self.beside:
            if self.has_encoder:
                found[name] = self.encoded(rows)[name].values
            elif name in self.options.given:
                found[name] = np.repeat(self.space.rest[name][:1], rows.sizes["row"], 0)
            else:
                raise NotOffered(
                    f"latent {name!r}: the rows have no value of it. Set its value, for example given = {{{name} = 0}}."
                )
        return found

    @cached_property
    def beside(self) -> list[str]:
        """Latents that x needs in addition to the inverted one.

        For styles there is none (z is not needed); for a GAN of several members it is the member.
        """
        one = self.space.some(slice(0, 1))
        names = [name for name in one.rest if name not in self.event.given]
        given = {name: value for name, value in one.rest.items() if name in self.event.given}
        needed = list(names)
        for name in names:
            others = {other: one.rest[other] for other in needed if other != name}
            with suppress(InputError):  # no error: x does not need this latent
                decode(self.fitted, {**given, **others, self.space.latent: one.codes}, device=self.device)
                needed.remove(name)
        return needed

    def encoded(self, rows: xr.Dataset) -> xr.Dataset:
        """Return the latents of rows by the encoder."""
        return encode(self.fitted, rows[["x", *conditions_in(rows, self.event)]], device=self.device)

    def by_encoder(self, rows: xr.Dataset) -> np.ndarray:
        """Return codes of rows by the encoder: (row, *dims)."""
        found = self.encoded(rows)
        if self.space.latent in found:
            return np.asarray(found[self.space.latent].values)
        start = found.assign({k: ("row", v) for k, v in conditions_in(rows, self.event).items()})
        return np.asarray(
            decode(self.fitted, start, self.space.latent, device=self.device)[self.space.latent].values
        )

    def held(self, weight: float) -> Held:
        """Return the term of the search that keeps a code near the encoder's code."""

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
        """Return one code per row, found by search, and its x."""
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
        """Return the codes of the samples whose degraded x is nearest to the degraded rows."""
        codes = torch.from_numpy(self.space.codes).to(self.device)
        return nearest(self.tensor(seen), codes, self.drawn, degradation).cpu().numpy()

    @cached_property
    def drawn(self) -> Tensor:
        """The x of the sampled codes."""
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
        """Search for several codes per row, mixed at a place of the generator.

        Args:
            seen: The degraded rows.
            rest: Conditions and other latents of the rows.
            seed: Seed of the starts.
            degradation: The degradation as a function.
            start: Codes around which the search starts, (row, *dims). None: the mean of sampled codes.

        Returns:
            The mixed codes and x.

        Raises:
            InputError: When the codes need more memory than there is, or the place is unknown.
            NotOffered: When the generator has no feature maps at which codes can be mixed.
        """
        n, rows = self.options.codes, len(seen)
        known = {name: self.tensor(value) for name, value in rest.items()}
        needed = memory_of_codes(self.decode, self.domain, known, n)
        if needed > (there := _memory(self.device)):
            raise InputError(
                f"codes = {n}: the search needs about {needed / 2**30:.1f} GiB per row, and {there / 2**30:.1f} GiB are available. Use fewer codes."
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
        """Places at which several codes can be mixed: feature maps after the latent."""
        places = places_of(self.fitted.module)
        names = list(places)
        after = names[names.index(self.space.latent) + 1 :] if self.space.latent in places else names
        return [name for name in after if len(places[name]) > 1]

    @property
    def place(self) -> str:
        """The place at which several codes are mixed; an unknown place raises `InputError`."""
        if not self.mixable:
            raise NotOffered("the generator has no feature maps at which codes can be mixed")
        if self.options.place is None:
            return self.mixable[len(self.mixable) // 2]
        if self.options.place not in self.mixable:
            raise InputError(
                f"place = {self.options.place!r}: {did_you_mean(self.options.place, self.mixable)}"
            )
        return self.options.place

    @property
    def draws_posterior(self) -> bool:
        """Whether `sample` can sample codes from q(z given x), and x given a part of x."""
        return issubclass(self.fitted.definition.options("sample"), PairSampleOptions)

    def tensor(self, values: np.ndarray) -> Tensor:
        """Return values on the device; real numbers in float64, as hooks receive them."""
        return as_tensor(np.asarray(values)).to(self.device)

    # comparison of images

    def near(self, x: np.ndarray) -> np.ndarray:
        """Return x clipped to the levels of the event."""
        return x.clip(0, (self.event.levels or 2) - 1) if self.event.discrete else x

    def range(self, truth: np.ndarray) -> tuple[float, float]:
        """Return the lowest and the highest value: of the event's levels, or of real-valued rows."""
        if self.event.discrete:
            return 0.0, float((self.event.levels or 2) - 1)
        return float(truth.min()), float(truth.max())

    def peak(self, truth: np.ndarray) -> float:
        """Return the difference of the highest and the lowest value, or 1 if it is 0."""
        low, high = self.range(truth)
        return (high - low) or 1.0

    def psnr(self, x: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Return the peak signal-to-noise ratio of each row, in dB.

        The peak is the highest level, or the range of real-valued rows.
        """
        return psnr(self.near(x), truth, self.peak(truth))

    def told(self, x: np.ndarray, rows: xr.Dataset) -> Any:
        """Return attribute scores of x: (row, factor), masked where a score is missing."""
        whole_numbers = np.rint(self.near(x)).astype(np.int64) if self.event.discrete else x
        same = {"x": (("row", *self.event.dims), whole_numbers, rows["x"].attrs)}
        data = xr.Dataset({**same, **{name: rows[name] for name in conditions_in(rows, self.event)}})
        return known(attribute_scores(self.space.tells, data, device=self.device).values)

    @cached_property
    def deviation(self) -> tuple[Any, str]:
        """Standard deviations of attribute scores, (factor,), and a description of the rows that they are computed over.

        These are rows of the fit, otherwise rows of the data, or samples if the data have too few rows.
        """
        for rows, said in ((self.reference, "rows of the fit"), (self.data, "rows")):
            if rows is not None and rows.sizes["row"] >= MANY:
                some = evenly(rows, JUDGED)
                return self.told(some["x"].values, some).std(0), f"{said} ({some.sizes['row']})"
        return known(self.space.base.values).std(0), f"draws ({len(self.space)})"

    def attribute_errors(self, x: np.ndarray, scores: Any, rows: xr.Dataset) -> np.ndarray:
        """Return the mean absolute differences of attribute scores, in units of `deviation`: (factor,).

        `scores` are the scores of the rows, from `told`.
        """
        off = np.abs(self.told(x, rows) - scores) / self.deviation[0]
        return np.asarray(off.mean(0).filled(np.nan))


def middle(shape: tuple[int, ...], share: float) -> np.ndarray:
    """Return a mask of the middle of an image: at least one pixel, and not all pixels.

    Args:
        shape: Shape of the image; the last two dimensions are height and width.
        share: Share of each side.

    Returns:
        True in the middle, of the same shape.
    """
    inside = np.zeros(shape, dtype=bool)
    sides = [min(max(1, round(n * share)), max(1, n - 1)) for n in shape[-2:]]
    (top, left) = ((n - side) // 2 for n, side in zip(shape[-2:], sides, strict=True))
    inside[..., top : top + sides[0], left : left + sides[1]] = True
    return inside


def _memory(device: torch.device) -> int:
    """Return the memory of the device in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    if not hasattr(os, "sysconf"):
        return 1 << 62  # unknown: no limit
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def by_condition(fitted: Fitted, options: Searching) -> Searching:
    """Return options that name the first latent if the model is conditional and no latent is named.

    Later codes depend on the condition, so that a search among them could leave the condition.

    Args:
        fitted: The fitted model.
        options: Options of the search.

    Returns:
        Options of the same class.
    """
    if options.latent is not None or not fitted.event.given:
        return options
    return options.model_copy(update={"latent": next(iter(latents_of(fitted.module)))})
