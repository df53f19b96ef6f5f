"""The M2 model for semi-supervised learning (Kingma, Rezende, Mohamed & Welling, NeurIPS 2014).

    y ~ Categorical(pi),    z ~ Normal(0, 1),    x ~ p(x | y, z)
    q(y | x) = Categorical(f(x)),    q(z | x, y) = Normal

For rows with a known class y, the fit maximizes L(x, y) + alpha log q(y | x) (eq. 6, 9). For other rows, y is
summed out:

    U(x) = sum_y q(y | x) L(x, y) + H(q(y | x)) <= log p(x)                                     (eq. 7)

The class of a row is its `label`; -1 or NaN stands for an unknown class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from pydantic import Field
from torch import Tensor, nn

from probgen.contract.event import Event
from probgen.contract.options import PosteriorOptions
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.distributions import NormalVector
from probgen.errors import InputError
from probgen.inference.elbo import elbo
from probgen.models.bases.codes import CodeOptions, CodePair, Decoder, Encoder, joint
from probgen.models.bases.priors import StandardNormal
from probgen.pair import PairScoreOptions


class M2Options(CodeOptions):
    """Options of `m2`."""

    classes: int = Field(10, ge=2, description="number of classes y; `label` holds 0 to classes - 1")
    alpha: float = Field(
        0.1,
        ge=0,
        description="weight of log q(y | x) of labeled rows, multiplied by all rows / labeled rows",
    )


class M2ScoreOptions(PosteriorOptions, PairScoreOptions):
    """Options of scoring: a bound of log p(x), and optionally q(y | x)."""


class M2(CodePair):
    """The M2 model: a semi-supervised VAE with a latent class and a latent vector.

    Args:
        options: The options of the family.
        event: The event that x is.
    """

    Options = M2Options
    ScoreOptions = M2ScoreOptions
    accepts = frozenset({"label"})
    latents = {"y": (), "z": ("latent",)}
    known: Tensor

    def __init__(self, options: M2Options, event: Event):
        super().__init__(options, event)
        if options.given:
            raise InputError(
                f"given = {list(options.given)}: m2 models the label as a latent class, and has no "
                "conditions. "
                "Leave 'given' out."
            )
        K = options.classes
        self.log_pi = nn.Parameter(torch.full((K,), -math.log(K)))
        self.classifier = Encoder(options, event, self.site, K)
        self.encoder = Encoder(options, event, self.site, 2 * options.latent, context=K)
        self.decoder = Decoder(options, event, self.site.size, context=K)
        self.prior = StandardNormal(options.latent)
        self.register_buffer("known", torch.ones(()), persistent=False)  # the share of labeled rows

    def model(self, x: Tensor | None = None, *, n: int, y: Tensor | None = None, **given: Tensor) -> Tensor:
        """Sample y ~ p(y), z ~ p(z) and x ~ p(x | y, z)."""
        with self.rows(n):
            y = pyro.sample("y", dist.Categorical(logits=self.log_pi).expand([n]), obs=y)
            z = pyro.sample("z", self.prior(n))
            return pyro.sample(
                "x", joint(self.site, self.decoder(z, self._one_hot(y)), len(self.shape)), obs=x
            )

    def guide(self, x: Tensor | None = None, *, n: int, y: Tensor | None = None, **given: Tensor) -> Tensor:
        """Sample y ~ q(y | x), unless it is given, and z ~ q(z | x, y)."""
        assert x is not None
        with self.rows(n):
            if y is None:
                y = pyro.sample("y", self.posterior(x))
            mu, log_sigma = self.encoder(x, self._one_hot(y)).chunk(2, 1)
            return pyro.sample("z", NormalVector(mu, log_sigma.exp()))

    def posterior(self, x: Tensor) -> Any:
        """Return q(y | x) of the rows x (row, *event): batch shape (row,)."""
        return dist.Categorical(logits=self.classifier(x))

    def encoded(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return the most likely `y`, and as `z` the mean of q(z | x, y)."""
        y = self.classifier(x).argmax(1)
        return {"y": y, "z": self.encoder(x, self._one_hot(y)).chunk(2, 1)[0]}

    def told(self, at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return z, and one-hot y as the context."""
        self._check(at["y"])
        return at["z"], self._one_hot(at["y"])

    def _check(self, y: Tensor) -> None:
        K = self.options.classes
        if not bool(((y >= 0) & (y < K) & (y == y.round())).all()):
            raise InputError(f"given y: a class is out of range. Give whole numbers from 0 to {K - 1}.")

    def _one_hot(self, y: Tensor) -> Tensor:
        return nn.functional.one_hot(y.long(), self.options.classes).to(self.log_pi.dtype)

    def loss(self, x: Tensor, *, n: int, label: Tensor | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return the mean over rows of -U(x), or for labeled rows of -L(x, y) - alpha log q(y | x).

        Args:
            x: The rows, (row, *event).
            n: Number of rows.
            label: Classes, (row,), -1 if unknown; None if no row is labeled.
            **given: Nothing.

        Returns:
            `loss` and `elbo`, in nats per row.
        """
        if label is None:
            label = torch.full((n,), -1, device=x.device)
        known = label >= 0
        bound = torch.cat([self.labeled(x[known], label[known]), self.unlabeled(x[~known])])
        loss = -bound.mean()
        if known.any():
            rows = n * self.known if self.training else known.sum()
            loss = loss - self.options.alpha * self.posterior(x[known]).log_prob(label[known]).sum() / rows
        return {"loss": loss, "elbo": bound.mean()}

    def labeled(self, x: Tensor, y: Tensor) -> Tensor:
        """Return L(x, y), a lower bound of log p(x, y).

        Args:
            x: The rows, (row, *event).
            y: Classes, (row,).

        Returns:
            Bounds, (row,), in nats.
        """
        return elbo(self, x, y=y).bound if len(x) else x.new_zeros(0)

    def unlabeled(self, x: Tensor) -> Tensor:
        """Return U(x), a lower bound of log p(x).

        Args:
            x: The rows, (row, *event).

        Returns:
            Bounds, (row,), in nats.
        """
        if not len(x):
            return x.new_zeros(0)
        K, n = self.options.classes, len(x)
        y = torch.arange(K, device=x.device).repeat_interleave(n)
        each = self.labeled(x.expand(K, *x.shape).flatten(0, 1), y).reshape(K, n)
        q = self.posterior(x)
        return (q.probs.T * each).sum(0) + q.entropy()

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset] | None:
        """Maximize both bounds.

        Args:
            data: The rows of the fit.
            run: The run of the fit.

        Returns:
            Nothing, or further groups to store.

        Raises:
            InputError: When no row is labeled, or a label is out of range.
        """
        known = self._known(data)
        if not known:
            raise InputError("label: no row has a known class. Give some rows labels from 0 on.")
        if data.valid is not None:
            self._known(data.valid)
        self.known.fill_(known / data.n)
        self.standardize(data)
        return super().learn(data, run)

    def _known(self, data: Rows) -> int:
        """Return the number of labeled rows."""
        known = 0
        for label in (chunk["label"] for chunk in data.chunks() if "label" in chunk):
            known += int((label >= 0).sum())
            if int(label.max()) >= self.options.classes:
                raise InputError(
                    f"label = {int(label.max())}: out of range with classes = {self.options.classes}. "
                    "Increase classes."
                )
        return known

    def assess(self, x: Tensor, options: Any, **given: Any) -> xr.Dataset:
        """Return a bound or estimate of log p(x), and with `posterior` also q(y | x)."""
        scores = super().assess(x, options, **given)
        if options.posterior:
            p = self.posterior(x).probs
            scores["posterior"] = (("row", "class"), p.cpu().numpy(), {"long_name": "q(y | x)"})
            scores["y"] = ("row", p.argmax(1).cpu().numpy(), {"long_name": "arg max of q(y | x)"})
        return scores

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample y and z, unless they are given, and x given both."""
        if "y" in given:
            self._check(given["y"])
        return super().draw(n, given, options)
