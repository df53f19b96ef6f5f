"""What the families of images share: p(x) = prod_i p(x_i | x_<i, context), the colors of the pixels in raster order.

Sites are the colors of the first pixel, then those of the second, ... (van den Oord, Kalchbrenner & Kavukcuoglu, ICML
2016, eq. 1 and 2):

    binary      x_i ~ Bernoulli(sigmoid(y_i))
    integer     x_i ~ Categorical(softmax(y_i)), or a mixture of discretized logistics (Salimans et al., ICLR 2017)
    token       x_i ~ Categorical(softmax(y_i)): codes, say, whose order means nothing
    real        x_i ~ sum_k w_ik Normal(mu_ik, sigma_ik), of standardized data
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import xarray as xr
from pydantic import BaseModel, Field
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import refuse_unused
from probgen.distributions import Categorical, LogisticMixture, Ordinal
from probgen.distributions.autoregressive import State, check_context
from probgen.distributions.sites import Site
from probgen.errors import InputError
from probgen.inference.training import SVIOptions, Training
from probgen.models.bases.choose import site_for
from probgen.models.bases.dense import AutoregressivePair, dense_sites
from probgen.nn.masked import Horizontal, colors_of

AT_ONCE = 1 << 24  # features of images that are scored together: 64 MiB
Context = int | tuple[int, int, int]


class PixelConditioner(nn.Module):
    """From networks of images to conditioners: see `probgen.distributions.Autoregressive`.

    site     what one color of a pixel is
    image    (color, height, width)
    width    features of a pixel in the network
    hidden   features between these and the numbers of the site
    reach    how many pixels the first layer sees to each side
    context  how many numbers are given with each image, or the (channel, height, width) of a map with its sides
    extra    columns of nothing that the network sees at the right

    A subclass has `features`, the whole image at once, and `begin`, `begin_row`, `pixel`, one pixel after the other with what
    was computed before in `state`. It is told each color as the site tells it, and a plane of ones by which it knows where
    the image ends. Tokens of more levels than `width` are told as `width` numbers that are learned.
    """

    def __init__(
        self,
        site: Site,
        image: tuple[int, int, int],
        width: int,
        hidden: int,
        reach: int,
        context: Context = 0,
        extra: int = 0,
    ):
        super().__init__()
        colors = image[0]
        if not isinstance(context, int) and tuple(context[1:]) != tuple(image[1:]):
            raise InputError(f"context = {context}: a map that lies over images of {image}")
        self.extra, self.columns = extra, image[2] + extra
        if min(width, hidden) < colors:
            raise InputError(
                f"{min(width, hidden)} features are too few for {colors} colors: one each at least"
            )
        self.site, self.image, self.width, self.reach, self.context = site, image, width, reach, context
        told = min(site.features, width)
        self.embedding = nn.Embedding(site.features, told) if told < site.features else None
        self.seen = torch.cat([torch.arange(colors).repeat_interleave(told), torch.tensor([-1])])
        self.given = context if isinstance(context, int) else context[0]
        between = colors_of(hidden, colors)
        self.hidden = Horizontal(colors_of(width, colors), between, 1, "B")
        self.numbers = Horizontal(between, colors_of(colors * site.size, colors), 1, "B")

    # the whole image at once

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site), (row, *context) -> (row, site, size)."""
        colors, height, columns = self.image
        if x.shape[1] != colors * height * columns:
            raise InputError(
                f"the conditioner is for images of {' x '.join(map(str, self.image))}, not for {x.shape[1]} sites"
            )
        told = self._told(x.unflatten(1, (height, columns, colors))).flatten(3)
        e = torch.cat([told, told.new_ones(*told.shape[:3], 1)], 3).permute(0, 3, 1, 2)
        h = self.features(nn.functional.pad(e, (0, self.extra)), self._map(context))[..., :columns]
        y = self.numbers(self.hidden(h.relu()).relu())
        return y.unflatten(1, (colors, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)

    @abstractmethod
    def features(self, e: Tensor, s: Tensor | None) -> Tensor:
        """(row, channel, height, width), (row, given, height or 1, width or 1) -> (row, width, height, width)."""

    # one pixel after the other; images lie with their channels last, `reach` pixels of border above and to the left

    def start(self, rows: int, context: Tensor | None) -> State:
        """Images of which nothing is told."""
        _, height, columns = self.image
        like = self.hidden.weight
        e = like.new_zeros(rows, height + self.reach, self.columns + self.reach, len(self.seen))
        e[:, self.reach :, self.reach : self.reach + columns, -1] = 1
        head = tuple((layer.flat(), layer.bias) for layer in (self.hidden, self.numbers))
        state = {"e": e, "head": head}
        s = self._map(context)
        if s is not None:
            state["s"] = s.movedim(1, 3)
        self.begin(state)
        return state

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """Of a row, what is above is computed once; of a pixel, what is left of it."""
        colors, _, columns = self.image
        if previous is not None:
            self._tell(state["e"], i - 1, previous)
        pixel, color = divmod(i, colors)
        row, column = divmod(pixel, columns)
        if color == column == 0:
            self.begin_row(state, row)
        h = self.pixel(state, row, column)
        (U, b), (V, c) = state["head"]
        mine = slice(color * self.site.size, (color + 1) * self.site.size)
        return torch.addmm(c[mine], torch.addmm(b, h.relu(), U).relu(), V[:, mine])

    @abstractmethod
    def begin(self, state: State) -> None:
        """Put into the state what is known before the first row."""

    @abstractmethod
    def begin_row(self, state: State, row: int) -> None:
        """The same before the first pixel of a row."""

    @abstractmethod
    def pixel(self, state: State, row: int, column: int) -> Tensor:
        """The features of a pixel, of which the colors before the one that is asked for are told: (row, width)."""

    def _tell(self, e: Tensor, i: int, value: Tensor) -> None:
        pixel, color = divmod(i, self.image[0])
        row, column = divmod(pixel, self.image[2])
        told = self._told(value)
        n = told.shape[1]
        e[:, row + self.reach, column + self.reach, color * n : (color + 1) * n] = told

    def _told(self, x: Tensor) -> Tensor:
        """(...) -> (..., number)."""
        if self.embedding is not None:
            return nn.functional.embedding(x.long(), self.embedding.weight)
        return self.site.encode(x, self.hidden.weight.dtype)

    def _map(self, context: Tensor | None) -> Tensor | None:
        """A context as a map, of one pixel where it is a vector. Errors: `InputError`."""
        if isinstance(self.context, int):
            check_context(context, self.context)
            return None if context is None else context[:, :, None, None]
        if context is None or context.shape[1:] != self.context or not context.is_floating_point():
            found = "none" if context is None else f"{context.dtype} of shape {tuple(context.shape)}"
            raise InputError(f"context: {self.context} floats a row are needed, not {found}")
        return nn.functional.pad(context, (0, self.extra))


def row_of(state: State, row: int) -> Tensor | None:
    """What is given over a row, if something is: (row, given, 1, width or 1)."""
    s: Tensor | None = state.get("s")
    if s is None:
        return None
    return s[:, row if s.shape[1] > 1 else 0, None].movedim(3, 1)


class PixelOptions(SVIOptions):
    """What can be chosen of every family of images."""

    likelihood: Literal["auto", "categorical", "logistic"] = Field(
        "auto",
        description="of one color of a pixel; auto: bernoulli, categorical or normal by the data. logistic is a mixture of "
        "discretized ones, for integers",
    )
    components: int = Field(
        5, ge=1, description="logistics of each integer color, or normals of each real one"
    )
    chain: tuple[int, ...] | None = Field(
        None, description="in which order the colors of a pixel are drawn, e.g. [2, 1, 0]; None: as they lie"
    )
    head: int = Field(64, ge=1, description="features of the layer before the last")
    given: tuple[str, ...] = Field((), description="what x is conditioned on: ['label'], ['low']")
    autocast: bool = Field(
        False,
        description="features and products in bfloat16 while training (torch.autocast): half the time on a processor that "
        "has it; weights and scores keep their dtype",
    )


class PixelPair(AutoregressivePair):
    """A conditioner of images behind the hooks."""

    conditioner: PixelConditioner
    Options: ClassVar[type[BaseModel]] = PixelOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.image = event.image()
        colors = self.image[0]
        if options.chain is not None and sorted(options.chain) != list(range(colors)):
            raise InputError(f"chain = {options.chain}: each of the colors 0 .. {colors - 1} once")
        if colors > 1:
            places = torch.arange(event.size).reshape(self.image).permute(1, 2, 0)
            self.ordering = places[:, :, list(options.chain or range(colors))].flatten()

    def training_plan(self) -> Training:
        """With products in bfloat16, if that is wanted."""
        return Training.of(self.options, autocast=self.options.autocast)

    @property
    def at_once(self) -> int:
        """As many as have `AT_ONCE` features in a layer."""
        width = max(4 * self.conditioner.width, self.image[0] * self.site.size)
        return max(1, AT_ONCE // (self.image[1] * self.image[2] * width))

    def assess(self, x: Tensor, options: Any, **given: Tensor) -> xr.Dataset:
        """As every autoregressive pair, some images at a time: the features of many fit neither a cache nor, in the end, memory."""
        rows = self.at_once
        parts = [
            super(PixelPair, self).assess(
                x[i : i + rows], options, **{k: v[i : i + rows] for k, v in given.items()}
            )
            for i in range(0, len(x), rows)
        ]
        return xr.concat(parts, "row", data_vars="all", combine_attrs="override")

    def make_site(self) -> Site:
        """Errors: `InputError` where the likelihood does not suit the data."""
        K, event = self.options.components, self.event
        made: dict[str, Callable[[int], Site]] = {
            **dense_sites(K),
            "categorical": Ordinal if event.support == "integer" else Categorical,
        }
        if event.support == "integer":
            made["logistic"] = lambda levels: LogisticMixture(levels, K)
        site = site_for(event, made, self.options.likelihood)
        if event.support != "real" and not isinstance(site, LogisticMixture):
            refuse_unused(self.options, "it is of likelihood = 'logistic', and of real x", "components")
        return site
