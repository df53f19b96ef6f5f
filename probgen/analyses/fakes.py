"""Swap the class of held-out images by codes, and measure how well a detector of other fakes finds the swaps.

A swap is the code of a row, decoded as another class: with a class for each person, the face of one person
with the expression of another (Perov et al. 2020). A detector is a small classifier of real rows and of
fakes. Its error on fakes of the generators that it was trained on says little of its error on fakes of other
generators (Wang, Wang, Zhang, Owens & Efros, CVPR 2020). Therefore one detector is trained on all given
generators, one on each of them, and one on swaps. Each is tested on held-out fakes of all kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from pydantic import Field

from probgen import figures as draw
from probgen.analyses.space import Scorer
from probgen.api.attributing import attributes
from probgen.api.decoding import decode
from probgen.api.encoding import encode
from probgen.api.fitting import fit
from probgen.api.loading import load
from probgen.api.sampling import sample
from probgen.api.scoring import score
from probgen.codecs.images import rounded
from probgen.contract.analysis import Call
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import Decoder, Encoder
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import MeanOptions
from probgen.contract.options import Options as BaseOptions
from probgen.contract.rows import evenly
from probgen.contract.seeds import key
from probgen.contract.state import digest_of
from probgen.errors import InputError, did_you_mean
from probgen.evaluation.detection import area_under_curve
from probgen.evaluation.intervals import of_share

needs = "an encoder of images in levels, and a decoder conditional on a class"
ROWS, SWAP, ALL = "rows", "swap", "all others"  # names of real rows, of the swaps, and of the main detector
SHOWN = 8


class Options(BaseOptions):
    """Options of the swaps and of the detectors."""

    generators: dict[str, Scorer] = Field(
        default_factory=dict,
        description="other generators by name: their samples are the fakes that detectors are trained on",
    )
    scorer: Scorer = Field(
        None,
        description="scorer of attributes that a swap should keep: a run of the family `attributes`, or a "
        "pixel function by name",
    )
    keep: tuple[str, ...] | None = Field(
        None, description="attributes that a swap should keep; default: all numeric ones of the scorer"
    )
    n: int = Field(4000, ge=20, description="real rows, and as many fakes, that each detector is trained on")
    rows: int = Field(2000, ge=20, description="greatest number of held-out rows, and of fakes of each kind")


def applies(fitted: Fitted) -> bool:
    """Return whether the model encodes images in levels, and decodes them as a class."""
    event, module = fitted.event, fitted.module
    coded = isinstance(module, Encoder) and isinstance(module, Decoder)
    return (
        coded and event.is_image and not event.any_size and bool(event.levels) and _class(event) is not None
    )


def run(fitted: Fitted, data: xr.Dataset, options: Options, call: Call) -> xr.Dataset:
    """Measure the swaps of held-out rows, and the errors of detectors.

    The result contains:

    - `flagged` (detector, source): share that a detector calls fakes, with its 95 % interval `low`, `high`.
      It is a false alarm for the source `rows`; a miss is one minus it for all others.
    - `area` (detector, source): area under the ROC curve, with its standard error `area_se`.
    - `log_odds` (detector, source, row): log-odds of a fake, in nats.
    - `kept` (factor,): R^2 of the attribute of a swap, as a prediction of the attribute of its row. `kept_rebuilt` is the same
      for reconstructions.
    - `as_target`: share of the swaps that a classifier of real rows takes for the other class;
      `as_own` is its accuracy on real rows, and `as_own_rebuilt` on their reconstructions.
    - `shown` (version, image, ...): rows, their reconstructions and their swaps.

    `false_alarms`, `misses_known`, `misses_swap`, `area_known` and `area_swap` are the figures of the detector
    of all other generators.

    Args:
        fitted: The model that swaps.
        data: Held-out rows.
        options: Options of the swaps and of the detectors.
        call: The call; without the rows of the fit, one half of the data trains the detectors.

    Returns:
        The measures.

    Raises:
        InputError: When a generator makes other images, an attribute is unknown, or data and reference are
            the same rows.
    """
    others = {name: _generator(name, by, fitted.event) for name, by in options.generators.items()}
    learned, held = _apart(data, options, call)
    rebuilt, swapped = _decoded(fitted, held, 0), _decoded(fitted, held, 1)
    found = _identity(fitted, learned, held, rebuilt, swapped, call)
    if options.scorer is not None:
        found = found.merge(_kept(held, rebuilt, swapped, options))
    fakes = {name: _drawn(g, learned, key(call.seed, "learned", name), call) for name, g in others.items()}
    sources = {
        ROWS: held["x"].values,
        **{name: _drawn(g, held, key(call.seed, "held", name), call) for name, g in others.items()},
        SWAP: swapped,
    }
    detectors = {ALL: list(fakes.values())} if fakes else {}
    detectors |= {name: [x] for name, x in fakes.items()} if len(fakes) > 1 else {}
    detectors |= {SWAP: [_decoded(fitted, learned, 1)]}
    log_odds = np.stack([_log_odds(learned, parts, sources, call) for parts in detectors.values()])
    found = found.merge(_errors(log_odds, [*detectors], [*sources]))
    images = np.stack([part[:SHOWN] for part in (held["x"].values, rebuilt, swapped)])
    found["shown"] = (("version", "image", *fitted.event.dims), images)
    return found.assign_coords(version=["row", "reconstruction", "swap"])


def _apart(data: xr.Dataset, options: Options, call: Call) -> tuple[xr.Dataset, xr.Dataset]:
    """Return real rows for training and others for tests: the rows of the fit and the data, or two halves of the data."""
    if call.reference is None:
        half, other = (data[{"row": slice(i, None, 2)}] for i in (0, 1))
        return evenly(half, options.n), evenly(other, options.rows)
    if digest_of(call.reference[["x"]]) == digest_of(data[["x"]]):
        raise InputError("data and reference are the same rows. Leave out reference, or use another split.")
    return evenly(call.reference, options.n), evenly(data, options.rows)


def _class(event: Event) -> str | None:
    """Return the name of the only condition, if it is a class."""
    names = [name for name, part in event.given.items() if not part.dims and (part.levels or 0) > 1]
    return names[0] if len(names) == len(event.given) == 1 else None


def _generator(name: str, by: Any, event: Event) -> Fitted:
    if name in (ROWS, SWAP, ALL):
        raise InputError(f"generators.{name}: this name has another meaning here. Use another name.")
    found = load(by) if isinstance(by, str | Path) else by
    if not isinstance(found, Fitted):
        raise InputError(f"generators.{name}: it is not a fitted model. Give a run or a fitted model.")
    if (found.event.shape, found.event.levels) != (event.shape, event.levels):
        raise InputError(
            f"generators.{name}: it makes {found.event}, but the rows are {event}. Fit it to the same rows."
        )
    return found


def _decoded(fitted: Fitted, rows: xr.Dataset, by: int) -> np.ndarray:
    """Return the rows decoded as the class `by` classes further: the reconstruction for 0, a swap for 1."""
    event, name = fitted.event, _class(fitted.event)
    assert name is not None
    levels = event.given[name].levels or 1
    start = {str(latent): z.values for latent, z in encode(fitted, rows).items()}
    classes = (rows[name].values + by) % levels
    return rounded(decode(fitted, {**start, name: classes})["x"].values, event.levels or 2)


def _drawn(generator: Fitted, rows: xr.Dataset, seed: int, call: Call) -> np.ndarray:
    """Return as many samples as rows; x is the mean of p(x | latents) if the family has it."""
    how = {**call.common, "seed": seed % (1 << 31)}
    if issubclass(generator.definition.options("sample"), MeanOptions):
        how["mean"] = True
    if generator.event.given:
        given = conditions_in(rows, generator.event)
        x = sample(generator, 1, given=given, **how)["x"].values[0]
    else:
        x = sample(generator, rows.sizes["row"], **how)["x"].values
    return rounded(x, generator.event.levels or 2)


def _classifier(x: np.ndarray, classes: np.ndarray, rows: xr.Dataset, seed: int) -> Fitted:
    """Return a classifier of images that are like the rows."""
    label = ("row", classes.astype(np.int64), {"levels": int(classes.max()) + 1})
    images = xr.Dataset({"x": (rows["x"].dims, x, rows["x"].attrs), "label": label})
    return fit("attributes", images, seed=seed)


def _told(classifier: Fitted, x: np.ndarray, rows: xr.Dataset, call: Call) -> np.ndarray:
    """Return log-probabilities of the classes, (row, class), in nats."""
    images = xr.Dataset({"x": (rows["x"].dims, x, rows["x"].attrs)})
    return np.asarray(score(classifier, images, device=call.device)["class_log_prob"].values)


def _identity(
    fitted: Fitted,
    learned: xr.Dataset,
    held: xr.Dataset,
    rebuilt: np.ndarray,
    swapped: np.ndarray,
    call: Call,
) -> xr.Dataset:
    name = _class(fitted.event)
    assert name is not None
    levels, own = fitted.event.given[name].levels or 1, held[name].values
    classifier = _classifier(learned["x"].values, learned[name].values, learned, call.seed)

    def share(x: np.ndarray, classes: np.ndarray) -> float:
        return float((_told(classifier, x, held, call).argmax(1) == classes).mean())

    return xr.Dataset(
        {
            "as_own": _said(share(held["x"].values, own), "rows that a classifier takes for their class"),
            "as_own_rebuilt": _said(share(rebuilt, own), "the same for reconstructions"),
            "as_target": _said(share(swapped, (own + 1) % levels), "swaps taken for the other class"),
        }
    )


def _kept(held: xr.Dataset, rebuilt: np.ndarray, swapped: np.ndarray, options: Options) -> xr.Dataset:
    def told(x: np.ndarray) -> xr.DataArray:
        images = xr.Dataset({"x": (held["x"].dims, x, held["x"].attrs)})
        return attributes(options.scorer, images)

    of_rows = told(held["x"].values)
    levels = dict(zip(map(str, of_rows["factor"].values), of_rows.attrs["levels"], strict=True))
    numbers = [name for name, n in levels.items() if not n]
    keep = numbers if options.keep is None else list(options.keep)
    for name in keep:
        if name not in numbers:
            raise InputError(f"keep = {name!r}: {did_you_mean(name, numbers)}")
    out = xr.Dataset(coords={"factor": keep})
    for measure, x in (("kept", swapped), ("kept_rebuilt", rebuilt)):
        of_x = told(x)
        r2 = [_r2(of_rows.sel(factor=k).values, of_x.sel(factor=k).values) for k in keep]
        out[measure] = ("factor", r2, {"long_name": "R^2 with the row"})
        out = out.assign({f"{measure}_{name}": value for name, value in zip(keep, r2, strict=True)})
    return out


def _r2(known: np.ndarray, told: np.ndarray) -> float:
    return float(1 - np.square(told - known).mean() / max(known.var(), 1e-12))


def _log_odds(
    learned: xr.Dataset, fakes: list[np.ndarray], sources: Mapping[str, np.ndarray], call: Call
) -> np.ndarray:
    """Train a detector on real rows and on fakes in equal parts; return log-odds of fakes, (source, row)."""
    real = learned["x"].values
    parts = [x[i :: len(fakes)] for i, x in enumerate(fakes)]  # together as many as real rows
    x = np.concatenate([real, *parts])
    detector = _classifier(x, np.arange(len(x)) >= len(real), learned, call.seed)
    log_p = np.stack([_told(detector, each, learned, call) for each in sources.values()])
    return np.asarray(log_p[..., 1] - log_p[..., 0])


def _errors(log_odds: np.ndarray, detectors: list[str], sources: list[str]) -> xr.Dataset:
    """Return the shares that are called fakes and the areas, and the figures of the first detector."""
    n = log_odds.shape[2]
    flagged = (log_odds > 0).mean(2)
    ends = np.array([[of_share(p, n) for p in line] for line in flagged])
    areas = np.array([[area_under_curve(line[0], other) for other in line] for line in log_odds])
    areas[:, 0] = np.nan  # real rows against themselves
    at = ("detector", "source")
    out = xr.Dataset(
        {
            "flagged": (at, flagged, {"long_name": "share called a fake"}),
            "low": (at, ends[..., 0]),
            "high": (at, ends[..., 1]),
            "area": (at, areas[..., 0], {"long_name": "area under the ROC curve"}),
            "area_se": (at, areas[..., 1]),
            "log_odds": ((*at, "row"), log_odds, {"units": "nat"}),
            "misses_swap_seen": _said(1 - flagged[-1, -1], "swaps missed by the detector of swaps"),
        },
        {"detector": detectors, "source": sources},
    )
    if len(detectors) == 1:
        return out
    known = slice(1, -1)
    return out.assign(
        false_alarms=_said(flagged[0, 0], "held-out rows called fakes"),
        misses_known=_said(1 - flagged[0, known].mean(), "held-out fakes of known generators missed"),
        misses_swap=_said(1 - flagged[0, -1], "swaps missed, of a kind that the detector has not seen"),
        area_known=_said(areas[0, known, 0].mean(), "area under the ROC curve, known generators"),
        area_swap=_said(areas[0, -1, 0], "area under the ROC curve, swaps"),
    )


def _said(value: float, words: str) -> tuple[tuple[()], float, dict[str, str]]:
    return (), float(value), {"long_name": words}


def figures(found: xr.Dataset) -> Mapping[str, Figure]:
    """Return `swaps` (rows and their swaps), `flagged` (a table) and `roc` (of the first detector).

    Args:
        found: The results.

    Returns:
        Figures by name.
    """
    event, names = Event.of(found), [str(name) for name in found["version"].values]
    rows = f"{found.sizes['row']} rows"
    detectors, sources = ([str(name) for name in found[dim].values] for dim in ("detector", "source"))
    odds = found["log_odds"].isel(detector=0)
    curves = {name: odds.sel(source=name).values for name in sources[1:]}
    swaps = draw.of_results(found, "Rows, and their codes decoded as their own and as another class")
    flagged = draw.of_results(found, "Share of held-out images that a detector calls fakes", rows)
    roc = draw.of_results(found, f"A detector trained on the fakes of {detectors[0]}", rows)
    return draw.suiting(
        {
            "swaps": lambda: draw.columns(list(found["shown"].values), names, event, swaps),
            "flagged": lambda: draw.table(
                found["flagged"].values, detectors, sources, flagged, beside="trained on", above="tested on"
            ),
            "roc": lambda: draw.roc_curves(odds.sel(source=ROWS).values, curves, roc),
        }
    )
