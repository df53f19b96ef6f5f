"""What is looked at of a fitted model: draws, completions, conditionals, the latent space, the fit itself.

Everything goes through the hooks, so that it works for any family that offers what is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probgen import evaluation, latents, pictures
from probgen.api import diagnose, sample, score
from probgen.errors import InputError, NotOffered
from probgen.event import Event
from probgen.fitted import Fitted
from probgen.recipes.plan import Complete, Conditionals, Diagnose, Latent, Translate
from probgen.sounds import from_mu_law, write_wav
from probgen.store.files import write_whole
from probgen.store.folder import COMPLETIONS, CONDITIONALS, DIAGNOSIS, LATENT, SAMPLES, TRANSLATIONS
from probgen.store.trees import write_dataset
from probgen.symbols import END, decode, texts_of

SEEN = 1600  # characters of a text whose surprise is drawn
SHOWN = 5  # translations among the texts
BY_MODE = ("modes", "high_quality", "reverse_kl", "spread")  # measures whose worst case is a figure, too


@dataclass
class Looks:
    """One model and where its files go.

    again     seed and device of every call
    pictures  those that were made
    figures   single numbers that came of it
    texts     draws that are texts
    """

    fitted: Fitted
    run: Path
    title: str
    again: dict[str, Any]
    pictures: list[Path] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def picture(self, name: str, draw: Callable[[], Any]) -> None:
        """Save a picture, if one suits the event."""
        try:
            figure = draw()
        except InputError:
            return
        path = self.run / f"{name}.png"
        pictures.save(figure, path)
        self.pictures.append(path)

    def sample(self, n: int = 1, **options: Any) -> xr.Dataset:
        """Draws with the seed of the recipe; options that the family does not have are left out."""
        known = {"given", "progress", *self.fitted.definition.options("sample").model_fields}
        return sample(self.fitted, n, **{k: v for k, v in options.items() if k in known}, **self.again)

    # the looks

    def history(self) -> None:
        """The bound and its parts by epoch; of several stages each by its steps, in a picture of its own."""
        whole, size = self.fitted.history, getattr(self.fitted.options, "batch_size", None)
        rows, stages = self.fitted.provenance["data"]["rows"], dict.fromkeys(whole["stage"].values.tolist())
        for stage in stages:
            history = whole.isel(step=whole["stage"].values == stage)
            x, xlabel = history["step"].values + 1, "step"
            name, title = f"history-{stage}", f"{self.title}, {stage}"
            if len(stages) == 1:
                name, title = "history", self.title
                whole_rows = (
                    size and None not in self.fitted.event.shape
                )  # a text is a row, of which there may be one
                x, xlabel = (x * min(size, rows) / rows, "epoch") if whole_rows else (x, xlabel)
            metrics = {str(k): v.values for k, v in history.data_vars.items() if np.isfinite(v).any()}
            self.picture(name, partial(pictures.curves, metrics, x, xlabel, title))

    def draws(
        self, n: int, given: dict[str, Any], data: xr.Dataset, progress: bool, options: dict[str, Any]
    ) -> None:
        """Draws from the model: a picture, a sound each, or texts."""
        try:
            draws = self.sample(n, given=given or None, progress=progress, **options)
        except NotOffered:
            return
        write_dataset(self.run / SAMPLES, "samples", draws)
        event, names = self.fitted.event, str(data["x"].attrs.get("names", "")).split()
        conditions = {name: values for name, values in given.items() if name in event.given}
        told = names_of(conditions, data) * n
        if event.rate:
            write_sounds(self.run, draws["x"].values.reshape(-1, draws.sizes["time"]), event.rate)
            names = told
        self.texts = texts_of(draws["x"])
        if self.texts and told:
            self.texts = [f"{known} -> {text}" for known, text in zip(told, self.texts, strict=True)]
        if not self.texts:
            self.picture("samples", lambda: picture_of(self.fitted, draws, self.title, names))

    def translations(self, scored: xr.Dataset, plan: Translate, progress: bool) -> None:
        """Rows beside what the model makes of what they are conditioned on; BLEU of it, and of the source as it is."""
        event = self.fitted.event
        name, source = next(((k, part) for k, part in event.given.items() if part.symbols), (None, None))
        if name is None or source is None or not event.symbols:
            return
        rows = some(scored, plan.rows)
        columns = {"source": _lines(rows, name, f"{name}_length"), "reference": _lines(rows, "x", "length")}
        given = {name: columns["source"]}
        known = self.fitted.definition.options("sample").model_fields
        for kind, how in (("greedy", {"top_k": 1}), ("beam", {"beams": plan.beams})):
            if how.keys() <= known.keys():
                columns[kind] = texts_of(self.sample(given=given, progress=progress, **how)["x"])
        for kind in (kind for kind in columns if kind != "reference"):
            with suppress(InputError):  # sacrebleu is an extra
                self.figures[f"bleu_{kind}"] = evaluation.bleu(columns[kind], columns["reference"])
        lines = ["\t".join(columns), *("\t".join(row) for row in zip(*columns.values(), strict=True))]
        write_whole(self.run / TRANSLATIONS, ("\n".join(lines) + "\n").encode())
        shown = zip(*(text[:SHOWN] for text in columns.values()), strict=True)
        self.texts = ["\n  ".join(each) for each in shown] + self.texts

    def completions(self, scored: xr.Dataset, plan: Complete) -> None:
        """Completions of half-hidden rows, beside the rows; of a family that completes."""
        rows, event = some(scored, plan.rows), self.fitted.event
        x = rows["x"].values
        observed = np.broadcast_to(~hidden(event, plan.hide), x.shape)
        given = {"x": x, "observed": observed, **self._conditions(rows)}
        try:
            draws = self.sample(plan.n, given=given)
        except NotOffered:
            return
        dims = ("row", *event.dims)
        draws = draws.assign(truth=(dims, x), observed=(dims, observed.astype(np.uint8)))
        write_dataset(self.run / COMPLETIONS, "completions", draws)
        columns = [x, np.where(observed, x, np.nan), *draws["x"].values]
        names = ["x", "known", *[""] * plan.n]
        self.picture("completions", lambda: pictures.columns(columns, names, event, self.title))

    def conditionals(self, scored: xr.Dataset, plan: Conditionals) -> None:
        """The conditional distribution of every site: what was expected there, how uncertain that was, and the surprise at what
        was found; the latter two summed over the colours of a pixel.
        """
        if "conditionals" not in self.fitted.definition.options("score").model_fields:
            return
        rows = some(scored, plan.rows)
        try:
            found = score(self.fitted, rows, conditionals=True, **self.again)
        except NotOffered:
            return
        write_dataset(self.run / CONDITIONALS, "conditionals", found)
        event = self.fitted.event
        if event.symbols:
            length = int(rows["length"][0]) if "length" in rows else rows.sizes["time"]
            text, surprise = rows["x"].values[0, :length], -found["site_log_prob"].values[0, :length]
            self.picture(
                "surprise",
                lambda: pictures.surprise(
                    [event.symbols[i] for i in text[:SEEN]], surprise[:SEEN], self.title
                ),
            )
            return
        columns, names = [rows["x"].values, found["site_mean"].values], ["x", "expected"]
        for name, nats in (("entropy", found.get("site_entropy")), ("surprise", -found["site_log_prob"])):
            if nats is not None:
                of_pixels = nats.sum("channel") if "channel" in nats.dims else nats
                columns.append(of_pixels.values)
                names.append(f"{name},\n0 to {float(of_pixels.max()):.1f} nats")
        self.picture("conditionals", lambda: pictures.columns(columns, names, event, self.title, shared=2))

    def latent(self, scored: xr.Dataset, plan: Latent) -> None:
        """Codes, and what lies between them; of a family with a latent vector that can be drawn given x."""
        name = next((k for k, dims in self._latents().items() if len(dims) == 1), None)
        if name is None:
            return
        rows = some(scored, plan.codes)
        try:
            drawn = self.sample(given={"x": rows["x"].values, **self._conditions(rows)})
        except NotOffered:
            return
        z = drawn[name].values[0]
        found = xr.Dataset({name: (("row", "latent"), z)})
        label = rows["label"].values if "label" in rows else None
        if label is not None:
            found["label"] = ("row", label)
        if plan.clusters:
            clusters = latents.cluster(z, plan.clusters, self.again["seed"])
            found["cluster"] = ("row", clusters)
            if label is not None:
                self.figures |= latents.agreement(clusters, label)
        names = str(rows["label"].attrs.get("names", "")).split() if label is not None else []
        self.picture("codes", lambda: pictures.codes(latents.plane(z), label, names, self.title))
        few = np.arange(plan.rows) * len(z) // plan.rows
        x, z, conditions = rows["x"].values[few], z[few], self._conditions(rows.isel(row=few))
        conditions |= {
            k: drawn[k].values[0][few] for k in self._latents() if k != name
        }  # the class of M2, say
        event = self.fitted.event
        decoded = self._decoded(name, z[:, None], conditions)
        found["reconstruction"] = (("image", "step", *event.dims), decoded)
        columns = [x, decoded[:, 0]]
        self.picture(
            "reconstructions",
            lambda: pictures.columns(columns, ["x", "reconstruction"], event, self.title),
        )
        between = latents.interpolate(z, np.roll(z, -1, 0), plan.steps)
        rng = np.random.default_rng(self.again["seed"])
        walk = latents.random_walk(z, plan.steps, plan.stride, rng)
        for kind, way in (("interpolations", between), ("walks", walk)):
            seen = self._decoded(name, way, conditions)
            found[kind] = (("image", "way", *event.dims), seen)
            self.picture(kind, lambda seen=seen: pictures.strips(seen, event, self.title))  # type: ignore[misc]
        if z.shape[1] == 2 and not conditions:
            seen = self._decoded(name, latents.grid(plan.side)[None], {})
            found["grid"] = (("square", "place", *event.dims), seen)
            self.picture(
                "grid",
                lambda: pictures.strips(
                    seen.reshape(plan.side, plan.side, *seen.shape[2:]), event, self.title
                ),
            )
        found.attrs = {**found.attrs, "stride": plan.stride}
        write_dataset(self.run / LATENT, "latent", found)

    def diagnosis(self, data: xr.Dataset, scored: xr.Dataset, plan: Diagnose, progress: bool) -> None:
        """What is wrong with the draws, for each of the latents that are given; the rows of the fit say where the modes are.

        Figures are means over these; of what is said of modes, where there are several, also the least and the most:
        `modes_least`, ...
        """
        names = [name for name in plan.given if name in self._latents()]  # models of a recipe may have others
        cases = list(zip(*(plan.given[name] for name in names), strict=True)) or [()]
        found = [
            diagnose(
                self.fitted,
                scored,
                reference=data,
                n=plan.n,
                k=plan.k,
                given=dict(zip(names, case, strict=True)) or None,
                progress=progress,
                **self.again,
            )
            for case in cases
        ]
        for measure in found[0]["measure"].values:
            values = [float(case["value"].sel(measure=measure)) for case in found]
            self.figures[measure] = float(np.mean(values))
            if len(values) > 1 and measure in BY_MODE:
                self.figures |= {f"{measure}_least": min(values), f"{measure}_most": max(values)}
        self.picture("diagnosis", lambda: pictures.diagnosis(found[0]))
        if names:
            verdicts = [case.attrs.pop("verdict") for case in found]
            together = xr.concat(found, "case", combine_attrs="override")
            together["verdict"] = ("case", verdicts)
            for name, chosen in zip(names, zip(*cases, strict=True), strict=True):
                together[name] = ("case", list(chosen))
            found = [together]
        write_dataset(self.run / DIAGNOSIS, "diagnosis", found[0])

    def own(self, data: xr.Dataset) -> None:
        """Pictures that the family brings: `pictures(fitted, data, *, seed, device)`, figures by name."""
        make = getattr(self.fitted.definition.definition, "pictures", None)
        try:
            figures = make(self.fitted, data, **self.again) if make is not None else {}
        except InputError:  # none suits the event
            return
        for name, figure in figures.items():
            self.picture(name, lambda figure=figure: figure)  # type: ignore[misc]

    def _decoded(self, name: str, z: np.ndarray, conditions: dict[str, np.ndarray]) -> np.ndarray:
        """What codes stand for, the mean where the family knows it: (image, step, latent) -> (image, step, *event)."""
        images, steps = z.shape[:2]
        given = {
            name: z.reshape(images * steps, -1),
            **{k: np.repeat(v, steps) for k, v in conditions.items()},
        }
        try:
            x = self.sample(given=given, mean=True)["x"].values[0]
        except NotOffered:
            x = self.sample(given=given)["x"].values[0]
        return x.reshape(images, steps, *x.shape[1:])

    def _latents(self) -> dict[str, tuple[str, ...]]:
        return dict(getattr(self.fitted.module, "latents", {}))

    def _conditions(self, rows: xr.Dataset) -> dict[str, np.ndarray]:
        event = self.fitted.event
        return {name: rows[name].values for name in (*event.given, *event.lengths)}


def names_of(given: dict[str, Any], data: xr.Dataset) -> list[str]:
    """What each of the conditions is, in words: ["label 3, speaker theo", ...]."""
    words = []
    for name, values in given.items():
        names = str(data[name].attrs.get("names", "")).split() if name in data else []
        words.append([v if isinstance(v, str) else f"{name} {names[v] if names else v}" for v in values])
    return [", ".join(each) for each in zip(*words, strict=True)]


def _lines(rows: xr.Dataset, name: str, length: str) -> list[str]:
    """Texts of rows, without the line feed that ends them."""
    x = rows[name]
    lengths = rows[length].values if length in rows else [x.shape[1]] * len(x)
    return [decode(row[:n], x.attrs["symbols"]).rstrip(END) for row, n in zip(x.values, lengths, strict=True)]


def write_sounds(folder: Path, x: np.ndarray, rate: int) -> None:
    """Draws of a sound as `samples-000.wav`, ...: x (sample, time) in levels of the mu-law. Errors: `RunError`."""
    for i, row in enumerate(x):
        write_wav(folder / f"samples-{i:03d}.wav", from_mu_law(row), rate)


def some(dataset: xr.Dataset, rows: int | None) -> xr.Dataset:
    """At most so many rows, evenly spaced: a file may be sorted."""
    n = dataset.sizes["row"]
    if rows is None or rows >= n:
        return dataset
    return dataset.isel(row=np.arange(rows) * n // rows)


def hidden(event: Event, half: str) -> np.ndarray:
    """True at the half of an event that is hidden. Errors: `InputError`."""
    shape = tuple(length or 1 for length in event.shape)
    where = np.zeros(shape, dtype=bool)
    if half == "last":
        where.reshape(-1)[where.size // 2 :] = True
        return where
    if event.dims[-2:] != ("height", "width"):
        raise InputError(f"complete.hide = {half!r} is for images, not for {event}; use 'last'")
    height, width = shape[-2:]
    if half in ("lower", "upper"):
        where[..., slice(height // 2, None) if half == "lower" else slice(None, height // 2), :] = True
    else:
        where[..., slice(width // 2, None) if half == "right" else slice(None, width // 2)] = True
    return where


def picture_of(fitted: Fitted, draws: xr.Dataset, title: str = "", names: list[str] | None = None) -> Any:
    """The figure of draws of a fitted model, with the ellipses of its Gaussians where it has some."""
    x = draws["x"].values
    x = x.reshape(-1, *x.shape[-len(fitted.event.dims) :])
    gaussians = getattr(fitted.module, "gaussians", None)
    return pictures.draw(
        x[: 100 if fitted.event.dims[-1] == "width" else 10_000],
        fitted.event,
        title=title,
        names=names or None,
        gaussians=gaussians() if gaussians is not None else None,
    )
