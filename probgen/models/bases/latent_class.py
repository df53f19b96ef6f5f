"""A mixture over a table with columns of different kinds.

The model is latent class analysis (Lazarsfeld & Henry 1968; McLachlan & Peel 2000, chapter 5):

    z ~ Categorical(pi)
    x_i | z ~ a distribution by the kind of column i: see `models.bases.columns`
    log p(x) = log sum_k pi_k prod_i p(x_i | z = k)

It is fitted by EM. Missing values are summed or integrated out exactly. Each step increases the
log-likelihood, less the penalty of narrow components in real columns, plus the log-likelihood of the
pseudo-rows (`smoothing`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import xarray as xr
from torch import Tensor, nn

from probgen.contract.event import Event, columns_of
from probgen.contract.options import NoOptions, PosteriorOptions, refuse_unused
from probgen.contract.rows import Rows
from probgen.contract.run import Run
from probgen.errors import DivergedError, InputError, NotOffered
from probgen.inference.active import say_unused
from probgen.inference.em import block_size, em
from probgen.inference.starts import START_ROWS, clusters, distinct
from probgen.models.bases.blocks import Classes, Normals
from probgen.models.bases.columns import Columns, GivenClass, check_double
from probgen.models.bases.counts import Counts
from probgen.pair import Pair

AT_ONCE = 1 << 22  # numbers that are computed together


class LatentClass(Pair):
    """A mixture over a table: each component has one distribution per column.

    Args:
        options: The options of `mixture`.
        event: The event that x is, with columns.
    """

    SampleOptions = NoOptions
    ScoreOptions = PosteriorOptions
    accepts = frozenset({"observed", "weight"})
    latents = {"z": ()}
    exact = True
    by_loss = False
    dtype = "float64"

    def __init__(self, options: Any, event: Event):
        super().__init__(options, event)
        if options.method != "em":
            raise InputError(
                f"method = {options.method!r}: a table with counts or classes is fitted by EM only. "
                "Use method = 'em'."
            )
        if options.covariance not in ("full", "diagonal"):
            raise InputError(
                f"covariance = {options.covariance!r}: a table with counts or classes allows fewer forms. "
                "Use covariance = 'full' or 'diagonal'."
            )
        kinds = {column.support for column in columns_of(event)}
        if "real" not in kinds:
            unused = ("covariance", "regularization", "reg_covar")
            refuse_unused(options, "the table has no real column", *unused)
        if "count" not in kinds:
            refuse_unused(options, "the table has no column of counts", "counts")
        self.log_pi = nn.Parameter(torch.full((options.components,), -math.log(options.components)))
        self.columns = Columns(
            columns_of(event),
            options.components,
            full=options.covariance == "full",
            counts=options.counts,
            smoothing=options.smoothing,
            regularization=options.regularization,
            reg_covar=options.reg_covar,
        )
        self.dims = {
            "log_pi": ("component",),
            **{f"columns.{name}": dims for name, dims in self.columns.dims.items()},
        }
        self.long_names = {"log_pi": "logarithms of the weights"}

    # the model

    def model(
        self, x: Tensor | None = None, *, n: int, observed: Tensor | None = None, **given: Any
    ) -> Tensor:
        """Sample z ~ Categorical(pi) and x ~ p(x | z)."""
        with pyro.plate("row", n):
            z = pyro.sample("z", dist.Categorical(logits=self.log_pi), infer={"enumerate": "parallel"})
            return pyro.sample("x", GivenClass(self.columns, z, observed), obs=x)

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return log p(x, z = k) of the observed values.

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event), or None for complete rows.

        Returns:
            Log-probabilities, (row, component), in nats.
        """
        there = None if observed is None or bool(observed.all()) else observed.flatten(1)
        x = x.flatten(1).to(self.log_pi.dtype)
        return self.log_pi.log_softmax(0) + self.columns.log_prob(x, there)

    def log_prob(self, x: Tensor, observed: Tensor | None = None, **given: Tensor) -> Tensor:
        """Return log p(x) of the observed values: (row,), in nats."""
        return self.log_joint(x, observed).logsumexp(1)

    def posterior(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the posterior of the classes given the observed values.

        Args:
            x: The rows, (row, *event).
            observed: The observed values, (row, *event), or None for complete rows.

        Returns:
            p(z = k | x), (row, component).
        """
        return self.log_joint(x, observed).softmax(1)

    def assess(self, x: Tensor, options: PosteriorOptions, **given: Tensor) -> xr.Dataset:
        """Return exact scores, and with `posterior` also p(z | x)."""
        scores = super().assess(x, options, **given)
        return with_posterior(scores, self.posterior(x, **given)) if options.posterior else scores

    def draw(self, n: int, given: dict[str, Tensor], options: Any) -> dict[str, Tensor]:
        """Sample z, unless it is given, and x given z."""
        z = (
            checked_z(given, self.options.components)
            if "z" in given
            else dist.Categorical(logits=self.log_pi).sample((n,))
        )
        return {"x": self.columns.draw(z).reshape(n, *self.event.fixed_shape), "z": z}

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        """Return E[x | z].

        Args:
            start: `z`, (row,).
            until: The place to decode to; "x" only.

        Returns:
            Means, (row, *event).

        Raises:
            InputError: When z is out of range.
            NotOffered: When the table has a column of classes, which has no mean.
        """
        if "z" in start and until == "x":
            mean = self.columns.mean(checked_z(start, self.options.components))
            if mean is None:
                raise NotOffered("mixture: columns of classes have no mean. Sample x given z instead.")
            return mean.reshape(len(mean), *self.event.fixed_shape)
        return super().decode(start, until)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """Sample z ~ p(z | x_o), then the missing values x_m ~ p(x_m | x_o, z), in closed form."""
        flat, there = x.flatten(1).to(self.log_pi.dtype), observed.flatten(1)
        p = self.posterior(x, observed)
        z = checked_z(given, self.options.components) if "z" in given else dist.Categorical(probs=p).sample()
        return {"x": self.columns.complete(flat, there, z).reshape(x.shape), "z": z}

    # learning

    def learn(self, data: Rows, run: Run) -> dict[str, xr.Dataset]:
        """Fit by EM from each start, and keep the best fit."""
        check_double(self)
        options = self.options
        if options.components > data.n:
            raise InputError(
                f"components = {options.components}: the data have only {data.n} rows. Use fewer components."
            )
        self.columns.begin(data)
        best: tuple[float, dict[str, Tensor]] | None = None
        failed: list[DivergedError] = []
        for i in range(options.restarts):
            stage = f"restart-{i}" if options.restarts > 1 else "fit"
            try:
                self.start(data, run, stage)
                em(self, data, run, options.steps, options.tolerance, stage, self.columns.prior)
            except DivergedError as error:
                failed.append(error)
                continue
            objective = float(run.history()["objective"].values[-1])
            if best is None or objective > best[0]:
                best = objective, {name: value.clone() for name, value in self.state_dict().items()}
        if best is None:
            raise failed[0]
        if failed:
            run.notes.append(
                f"{len(failed)} of {options.restarts} restarts failed and were left out: {failed[0]}"
            )
        self.load_state_dict(best[1])
        self.columns.end()
        with torch.no_grad():
            self.log_pi.copy_(self.log_pi.log_softmax(0))
        pi = self.log_pi.detach().exp().cpu().numpy()
        run.notes += say_unused(pi, data.n)
        return {"criteria": self.criteria(data, run), "components": self.describe()}

    @torch.no_grad()
    def start(self, data: Rows, run: Run, stage: str) -> None:
        """Set the parameters from k-means clusters of some rows.

        Before clustering, real columns and log(1 + count) are standardized, and classes are one-hot encoded.

        Args:
            data: The rows of the fit.
            run: The run of the fit.
            stage: Name of the stage.
        """
        batch = data.batch(0, START_ROWS, f"{stage}-start")
        x, K = batch["x"].flatten(1).to(self.log_pi.dtype), self.options.components
        there = batch["observed"].flatten(1) if "observed" in batch else None
        weight = batch["weight"].to(x) if "weight" in batch else torch.ones_like(x[:, 0])
        points = self._as_points(x, there)
        first, w = distinct(points, weight)
        labels = clusters(points[first], w, K, run, stage).to(x.device)
        r = nn.functional.one_hot(labels, K).to(x) * w[:, None]
        x, there = x[first], None if there is None else there[first]
        for _, block in self.columns.each():
            if isinstance(block, Normals):
                block.mu.zero_()
                block.L.zero_()
            if isinstance(block, Counts) and not block.poisson:
                block.log_r.zero_()
        self.columns.update(self.columns.statistics(x, there, r))
        share = r.sum(0) + 1
        self.log_pi.copy_((share / share.sum()).log())

    def _as_points(self, x: Tensor, there: Tensor | None) -> Tensor:
        parts = []
        for _, block in self.columns.each():
            part, known = x[:, block.at], None if there is None else there[:, block.at]
            if isinstance(block, Classes):
                index = block._index(part, known)
                one_hot = torch.stack([(index == v).any(1) for v in range(sum(block.levels))], 1).to(x)
                parts.append(one_hot)
                continue
            y = torch.log1p(part) if isinstance(block, Counts) else part
            w = torch.ones_like(y) if known is None else known.to(y)
            mean = (w * y).sum(0) / w.sum(0).clamp(min=1)
            deviation = ((w * (y - mean).square()).sum(0) / w.sum(0).clamp(min=1)).sqrt()
            parts.append(w * (y - mean) / torch.where(deviation > 0, deviation, 1))
        return torch.cat(parts, 1)

    def e_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the sufficient statistics of a batch under the responsibilities p(z | x).

        Args:
            batch: Rows by name: `x`, and optionally `observed` and `weight`.

        Returns:
            Sums over the rows.
        """
        x = batch["x"].flatten(1).to(self.log_pi.dtype)
        observed = batch.get("observed")
        there = None if observed is None or bool(observed.all()) else observed.flatten(1)
        weight = batch["weight"].to(x) if "weight" in batch else torch.ones_like(x[:, 0])
        size = max(1, AT_ONCE // (self.options.components * x.shape[1]))
        sums: dict[str, Tensor] = {}
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            part = self._of(x[rows], None if there is None else there[rows], weight[rows])
            sums = {name: sums[name] + value for name, value in part.items()} if sums else part
        return sums

    def _of(self, x: Tensor, there: Tensor | None, weight: Tensor) -> dict[str, Tensor]:
        log_joint = self.log_pi.log_softmax(0) + self.columns.log_prob(x, there)
        paid = log_joint - self.columns.penalties()
        log_likelihood = weight @ log_joint.logsumexp(1)
        r = weight[:, None] * paid.softmax(1)
        return {
            **self.columns.statistics(x, there, r),
            "r": r.sum(0),
            "rows": weight.sum(),
            "log_likelihood": log_likelihood,
            "penalty": log_likelihood - weight @ paid.logsumexp(1),
        }

    def m_step(self, statistics: dict[str, Tensor]) -> None:
        """Set pi to the shares of the rows, and update the columns.

        Args:
            statistics: The sums that `e_step` returns, over all rows.
        """
        n = statistics["r"]
        self.log_pi.copy_((n / n.sum()).clamp(min=torch.finfo(n.dtype).tiny).log())
        self.columns.update({name: value for name, value in statistics.items() if "." in name})

    # results

    @torch.no_grad()
    def criteria(self, data: Rows, run: Run) -> xr.Dataset:
        """Return the log-likelihood of all rows, the number of parameters, BIC and AIC.

        Args:
            data: The rows of the fit.
            run: The run of the fit.

        Returns:
            Numbers by name.
        """
        blocks = data.blocks(block_size(data))

        def sums(i: int) -> dict[str, Tensor]:
            batch = blocks[i]
            log_p = self.log_prob(batch["x"], batch.get("observed"))
            weight = batch["weight"].to(log_p) if "weight" in batch else torch.ones_like(log_p)
            return {"log_likelihood": weight @ log_p, "rows": weight.sum()}

        total = run.sum(blocks.n, sums)
        log_likelihood, rows = float(total["log_likelihood"]), float(total["rows"])
        K = self.options.components
        parameters = K - 1 + K * self.columns.parameters_of_component
        bic = parameters * math.log(rows) - 2 * log_likelihood
        return xr.Dataset(
            {
                "log_likelihood": (
                    (),
                    log_likelihood,
                    {"units": "nat", "long_name": "sum of log p(x) over rows"},
                ),
                "parameters": ((), parameters),
                "bic": ((), bic, {"long_name": "lower is better"}),
                "aic": ((), 2 * parameters - 2 * log_likelihood, {"long_name": "lower is better"}),
            }
        )

    @torch.no_grad()
    def describe(self) -> xr.Dataset:
        """Return the parameters of the components in the units of the data.

        Returns:
            The weights `pi`, and if the table has such columns: `mean` and `deviation` of real columns,
            `count_mean` of counts, `probability` of the values of classes.
        """
        names = [column.name for column in self.columns.columns]
        found: dict[str, Any] = {"pi": ("component", self.log_pi.exp().cpu().numpy())}
        coords: dict[str, Any] = {}
        for _, block in self.columns.each():
            some = [names[i] for i in block.at.tolist()]
            if isinstance(block, Normals):
                factor = block.factor
                deviation = (factor @ factor.mT).diagonal(dim1=-2, dim2=-1).sqrt() if block.full else factor
                z = torch.arange(len(block.mu), device=block.mu.device)
                found["mean"] = (("component", "real"), block.mean(z).cpu().numpy())
                found["deviation"] = (("component", "real"), (block.scale * deviation).cpu().numpy())
                coords["real"] = some
            elif isinstance(block, Counts):
                found["count_mean"] = (("component", "count"), block.log_m.exp().cpu().numpy())
                coords["count"] = some
            elif isinstance(block, Classes):
                found["probability"] = (("component", "value"), block.log_theta.exp().cpu().numpy())
                columns = [self.columns.columns[i] for i in block.at.tolist()]
                coords["value"] = [
                    f"{column.name}={column.classes[v] if column.classes else v + column.least}"
                    for column, n in zip(columns, block.levels, strict=True)
                    for v in range(n)
                ]
        return xr.Dataset(found, {name: np.array(values) for name, values in coords.items()})


def with_posterior(scores: xr.Dataset, p: Tensor) -> xr.Dataset:
    """Add the posterior of the classes and the most likely class to scores.

    Args:
        scores: Scores with the dimension row; changed in place.
        p: p(z | x), (row, component).

    Returns:
        The scores with `posterior` (row, component) and `z` (row).
    """
    scores["posterior"] = (("row", "component"), p.cpu().numpy(), {"long_name": "p(z | x)"})
    scores["z"] = ("row", p.argmax(1).cpu().numpy(), {"long_name": "arg max of p(z | x)"})
    return scores


def checked_z(given: Mapping[str, Tensor], K: int) -> Tensor:
    """Return the given classes as integers.

    Args:
        given: Conditions by name, with `z` (row,).
        K: Number of classes.

    Returns:
        The classes, (row,).

    Raises:
        InputError: When a class is not a whole number from 0 to K - 1.
    """
    z = given["z"]
    if not bool(((z >= 0) & (z < K) & (z == z.round())).all()):
        raise InputError(f"given z: a class is out of range. Give whole numbers from 0 to {K - 1}.")
    return z.long()
