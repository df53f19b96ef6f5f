"""The base of the image families: p(x) = prod_i p(x_i | x_<i, context), with pixels in raster order.

The sites are the colors of the first pixel, then the colors of the second pixel, ... (van den Oord,
Kalchbrenner & Kavukcuoglu, ICML 2016, eq. 1 and 2):

    binary      x_i ~ Bernoulli(sigmoid(y_i))
    integer     x_i ~ Categorical(softmax(y_i)), or mixture of logistics (Salimans et al., ICLR 2017)
    token       x_i ~ Categorical(softmax(y_i)), for values without an order, such as codes
    real        x_i ~ sum_k w_ik Normal(mu_ik, sigma_ik), with standardized data
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
from probgen.inference.training import AutocastOptions
from probgen.models.bases.choose import site_for
from probgen.models.bases.dense import AutoregressivePair, dense_sites
from probgen.nn.masked import Horizontal, colors_of

AT_ONCE = 1 << 24  # features of the images that are scored together: 64 MiB
Context = int | tuple[int, int, int]


class PixelConditioner(nn.Module):
    """The base of the image conditioners: see `probgen.distributions.Autoregressive`.

    A subclass implements `features`, which computes the whole image at once, and `begin`, `begin_row` and
    `pixel`, which compute one pixel at a time and cache results in `state`. The network receives each color
    as the site encodes it, and a plane of ones that marks the inside of the image. Tokens with more levels
    than `width` enter as learned embeddings of `width` numbers.

    Args:
        site: The site of one color of a pixel.
        image: Shape of an image, (color, height, width).
        width: Features of a pixel in the network.
        hidden: Features of the layer between these and the site parameters.
        reach: Pixels to each side that the first layer reads.
        context: Number of context numbers of each image, or the shape (channel, height, width) of a context
            map with the height and width of the image.
        extra: Number of empty columns that are added at the right.
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
            raise InputError(
                f"context = {context}: a context map needs the height and width of the image, "
                f"{tuple(image[1:])}."
            )
        self.extra, self.columns = extra, image[2] + extra
        if min(width, hidden) < colors:
            raise InputError(
                f"width = {width}, hidden = {hidden}: each of the {colors} colors needs at least one "
                "feature. "
                f"Use at least {colors}."
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
        """Return the site parameters of all pixels at once.

        Args:
            x: Images, (row, site), with the sites in the order in which they are sampled.
            context: The context, (row, *context), or None.

        Returns:
            Site parameters, (row, site, size).

        Raises:
            InputError: When the number of sites or the context does not fit.
        """
        colors, height, columns = self.image
        if x.shape[1] != colors * height * columns:
            raise InputError(
                f"x has {x.shape[1]} sites, but the conditioner is for images of "
                f"{' x '.join(map(str, self.image))}. "
                "Give one site per color of a pixel."
            )
        told = self._told(x.unflatten(1, (height, columns, colors))).flatten(3)
        e = torch.cat([told, told.new_ones(*told.shape[:3], 1)], 3).permute(0, 3, 1, 2)
        h = self.features(nn.functional.pad(e, (0, self.extra)), self._map(context))[..., :columns]
        y = self.numbers(self.hidden(h.relu()).relu())
        return y.unflatten(1, (colors, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)

    @abstractmethod
    def features(self, e: Tensor, s: Tensor | None) -> Tensor:
        """Return the features of all pixels.

        Args:
            e: Encoded images, (row, channel, height, width).
            s: The context as a map, (row, given, height or 1, width or 1), or None.

        Returns:
            Features, (row, feature, height, width).
        """

    # one pixel at a time; channels are last, with a border of `reach` pixels above and to the left

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first pixel.

        Args:
            rows: Number of rows.
            context: The context, (row, *context), or None.

        Returns:
            The state.
        """
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
        """Return the parameters of site i.

        Results that depend on the rows above are computed once per row of the image.

        Args:
            state: The state; updated in place.
            i: Number of the site.
            previous: The value of site i - 1, (row,); None for the first site.

        Returns:
            Site parameters, (row, size).
        """
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
        """Add the initial values of the caches to the state."""

    @abstractmethod
    def begin_row(self, state: State, row: int) -> None:
        """Update the state before the first pixel of a row of the image.

        Args:
            state: The state; updated in place.
            row: Number of the row in the image.
        """

    @abstractmethod
    def pixel(self, state: State, row: int, column: int) -> Tensor:
        """Return the features of a pixel.

        Args:
            state: The state, with the colors of the pixel that are already sampled; updated in place.
            row: Row of the pixel in the image.
            column: Column of the pixel in the image.

        Returns:
            Features, (row, width).
        """

    def _tell(self, e: Tensor, i: int, value: Tensor) -> None:
        pixel, color = divmod(i, self.image[0])
        row, column = divmod(pixel, self.image[2])
        told = self._told(value)
        n = told.shape[1]
        e[:, row + self.reach, column + self.reach, color * n : (color + 1) * n] = told

    def _told(self, x: Tensor) -> Tensor:
        """Return the values x (...) as network inputs: (..., feature)."""
        if self.embedding is not None:
            return nn.functional.embedding(x.long(), self.embedding.weight)
        return self.site.encode(x, self.hidden.weight.dtype)

    def _map(self, context: Tensor | None) -> Tensor | None:
        """Return the context as a map; a vector becomes a map of one pixel."""
        if isinstance(self.context, int):
            check_context(context, self.context)
            return None if context is None else context[:, :, None, None]
        if context is None or context.shape[1:] != self.context or not context.is_floating_point():
            found = "none" if context is None else f"{context.dtype} of shape {tuple(context.shape)}"
            raise InputError(
                f"context = {found}: give floats of shape (row, {', '.join(map(str, self.context))})."
            )
        return nn.functional.pad(context, (0, self.extra))


def row_of(state: State, row: int) -> Tensor | None:
    """Return the context of one row of the image.

    Args:
        state: The state of a conditioner.
        row: Number of the row in the image.

    Returns:
        The context, (row, given, 1, width or 1), or None.
    """
    s: Tensor | None = state.get("s")
    if s is None:
        return None
    return s[:, row if s.shape[1] > 1 else 0, None].movedim(3, 1)


class PixelOptions(AutocastOptions):
    """Options of the image families."""

    likelihood: Literal["auto", "categorical", "logistic"] = Field(
        "auto",
        description="distribution of each color of a pixel; auto: by the support of x; logistic: mixture of "
        "logistics",
    )
    components: int = Field(
        5, ge=1, description="mixture components of each color: logistics for integers, normals for real x"
    )
    chain: tuple[int, ...] | None = Field(
        None,
        description="order in which the colors of a pixel are sampled, such as [2, 1, 0]; None: as stored",
    )
    head: int = Field(64, ge=1, description="features of the last hidden layer")
    given: tuple[str, ...] = Field(
        (), description="names of the conditions of x, such as ['label'], or ['low'] for an image"
    )


class PixelPair(AutoregressivePair):
    """The base of the image pairs: a conditioner of images.

    A subclass sets `conditioner`.

    Args:
        options: The options of the family.
        event: The event that x is: images.
    """

    conditioner: PixelConditioner
    Options: ClassVar[type[BaseModel]] = PixelOptions

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        self.image = event.image()
        colors = self.image[0]
        if options.chain is not None and sorted(options.chain) != list(range(colors)):
            raise InputError(f"chain = {options.chain}: list each color from 0 to {colors - 1} once.")
        if colors > 1:
            places = torch.arange(event.size).reshape(self.image).permute(1, 2, 0)
            self.ordering = places[:, :, list(options.chain or range(colors))].flatten()

    @property
    def at_once(self) -> int:
        """The number of images whose layers have `AT_ONCE` features."""
        width = max(4 * self.conditioner.width, self.image[0] * self.site.size)
        return max(1, AT_ONCE // (self.image[1] * self.image[2] * width))

    def assess(self, x: Tensor, options: Any, **given: Tensor) -> xr.Dataset:
        """Return the exact log p(x), and with `conditionals` the values at each site.

        The images are scored in parts, because the features of many images exceed the cache and the memory.
        """
        rows = self.at_once
        parts = [
            super(PixelPair, self).assess(
                x[i : i + rows], options, **{k: v[i : i + rows] for k, v in given.items()}
            )
            for i in range(0, len(x), rows)
        ]
        return xr.concat(parts, "row", data_vars="all", combine_attrs="override")

    def make_site(self) -> Site:
        """Return the site of one color of a pixel, by the event and the options.

        Returns:
            The site.

        Raises:
            InputError: When the likelihood does not suit the data.
        """
        K, event = self.options.components, self.event
        made: dict[str, Callable[[int], Site]] = {
            **dense_sites(K),
            "categorical": Ordinal if event.support == "integer" else Categorical,
        }
        if event.support == "integer":
            made["logistic"] = lambda levels: LogisticMixture(levels, K)
        site = site_for(event, made, self.options.likelihood)
        if event.support != "real" and not isinstance(site, LogisticMixture):
            refuse_unused(self.options, "it needs likelihood = 'logistic' or real x", "components")
        return site
