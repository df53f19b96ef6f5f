"""The laws of a family, as a base class for pytest."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import h5py
import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pydantic import BaseModel
from torch import nn

from probgen import datasets
from probgen.api import sampling
from probgen.api.decoding import decode
from probgen.api.encoding import encode
from probgen.api.fitting import fit
from probgen.api.sampling import sample
from probgen.api.scoring import score
from probgen.contract.conditions import conditions_in
from probgen.contract.definition import Decoder, Encoder, deterministic, latents_of, places_of
from probgen.contract.fitted import Fitted
from probgen.contract.options import MeanOptions
from probgen.contract.rows import Rows
from probgen.contract.seeds import generators_kept, numpy_state
from probgen.contract.state import digest_of, load_state, state_of
from probgen.errors import InputError, Interrupted, NotOffered
from probgen.pair import Pair
from probgen.plugins.family import Family
from probgen.plugins.observers import observing
from probgen.testing import spaces
from probgen.testing.ambient import AMBIENT
from probgen.testing.densities import DensityLaws
from probgen.testing.helpers import (
    Stop,
    close,
    differs,
    drawn,
    fitted_in_parts,
    given_of,
    in_a_new_process,
    in_new_processes,
    known_of,
    learned,
    loaded_results,
    need,
    offers,
    other_values,
    results,
    same,
    several,
)

WITHOUT_EFFECT = {
    "fit.epochs": "it is replaced by steps, if these are given",
    "fit.prior.epochs": "it is replaced by prior.steps, if these are given",
    "fit.graph": "it records the same operations",
    "fit.prior.graph": "it records the same operations",
    "score.at_once": "it changes only memory use",
}


class FamilyLaws(DensityLaws):
    """The laws that every family must satisfy. Inherit from this class, and set `family`.

    Attributes:
        family: A registered name, or a class.
        options: Options of the fit. Choose options for a short run.
        support: Support of the example data: real, binary, integer, count or mixed (a table with four kinds of columns). By default the first of
            these that the family accepts.
        expected_failures: Laws that cannot hold, with the reason: {"test_of_a_law": "reason"}. A listed law that holds is a failure.
        without_effect: Options that change no result, with the reason: {"hook.option": "reason"}, for example options for memory use.
    """

    # samples of a deterministic model are equal; a law tests this, so the warning is not needed
    pytestmark = pytest.mark.filterwarnings("ignore:.*is deterministic under these conditions:UserWarning")

    family: ClassVar[Any]
    options: ClassVar[Mapping[str, Any]] = {}
    support: ClassVar[str | None] = None
    expected_failures: ClassVar[Mapping[str, str]] = {}
    without_effect: ClassVar[Mapping[str, str]] = {}

    _fits: ClassVar[dict[type, dict[str, Fitted]]] = {}
    _supports: ClassVar[dict[type, str]] = {}
    _failed: ClassVar[dict[type, str]] = {}

    @pytest.fixture(autouse=True)
    def _expected(self, request: pytest.FixtureRequest) -> None:
        reason = self.expected_failures.get(request.node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def data(self) -> xr.Dataset:
        """Return a small data set that the family accepts, the same at every call."""
        return spaces.example(self._support())

    @pytest.fixture
    def fitted(self, data: xr.Dataset) -> Fitted:
        """Return the family fitted to the data with seed 0. The fit runs once, and each law receives a copy."""
        fits = self._fits.setdefault(type(self), {})
        digest = digest_of(data)
        if type(self) in self._failed:
            pytest.skip(f"the fit of the family failed in an earlier law: {self._failed[type(self)]}")
        if digest not in fits:
            try:
                fits[digest] = fit(self.family, data, **self.options)
            except Exception as error:
                self._failed[type(self)] = f"{type(error).__name__}: {error}"
                raise
        once = fits[digest]
        return replace(once, state=once.state.copy(deep=True))

    def _support(self) -> str:
        """Return the support of the example data: the declared support, or the first support that the family accepts."""
        if self.support is not None:
            return self.support
        if type(self) not in self._supports:
            for support in ("real", "binary", "integer", "count", "mixed"):
                try:
                    fit(self.family, spaces.example(support), **self.options)
                except InputError:
                    continue
                self._supports[type(self)] = support
                break
            else:
                pytest.fail(
                    f"{self.family!r} accepts no real, binary, integer or mixed data and no counts of a few dimensions. Override the fixture `data`."
                )
        return self._supports[type(self)]

    # randomness

    def test_same_seed_same_bits(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Two calls with one seed give bit-identical results, whatever the states of the global generators."""
        with generators_kept(1, "ambient"):
            np.random.seed(1)
            random.seed(1)
            again = fit(self.family, data, **self.options)
            found = results(again, data)
        same(again.state, fitted.state, "states of two fits with one seed")
        same(again.history, fitted.history, "histories of two fits with one seed")
        same(found, results(fitted, data), "two calls with one seed")

    def test_samples_follow_the_seed(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Samples and latents differ between two seeds, and between the shards of one call.

        A deterministic model has the same samples with any seed.
        """
        need(fitted, "sample")
        draws, others = (drawn(fitted, data, 300, seed=seed) for seed in (1, 2))
        if deterministic(fitted.module):
            same(others, draws, "samples of a deterministic model with two seeds")
            return
        with mock.patch.object(sampling, "shard_rows", return_value=64):
            shards = drawn(fitted, data, 128, seed=1)
        for name, array in draws.data_vars.items():
            values, first, second = array.values, shards[name].values[:64], shards[name].values[64:]
            if (values == values[:1]).all():
                continue  # a constant, for example the only value of a latent
            assert not np.array_equal(values, others[name].values), (
                f"{name!r} of samples is the same with seed 1 and seed 2: do not use a generator with a seed of its own"
            )
            assert not np.array_equal(first, second) or (first == first[:1]).all(), (
                f"{name!r} of samples is the same in two shards: draw from torch's default generator, which has another "
                "seed in each shard; run.key and run.numpy are the same in all shards"
            )

    def test_generators_and_inputs_are_left_alone(self, data: xr.Dataset, fitted: Fitted) -> None:
        """A call does not change the global generators, the defaults of torch or the data, and raises no warning."""
        kind = str(fitted.dtype).removeprefix("torch.")
        if data["x"].dtype.kind == "f":
            data = data.assign(x=data["x"].astype(kind))  # hooks receive data of this type without a copy
        untouched = data.copy(deep=True)
        before = torch.get_rng_state(), numpy_state(), random.getstate()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted = fit(self.family, data, **self.options)
            for hook in (h for h in ("sample", "score") if offers(fitted, h)):
                _ = drawn(fitted, data, several(fitted, 10)) if hook == "sample" else score(fitted, data)
        same(data, untouched, "the data after and before the calls")
        assert torch.equal(torch.get_rng_state(), before[0]), "a call changed torch's global generator"
        assert numpy_state() == before[1], "a call changed NumPy's global generator"
        assert random.getstate() == before[2], "a call changed Python's global generator"
        assert torch.get_default_dtype() == torch.float32, "a call changed torch's default dtype"

    def test_two_fits_do_not_meet(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Another fit in the same process does not change an earlier or later fit, and leaves no Pyro parameters."""
        state = state_of(fitted.module)
        other = fit(self.family, data.isel(row=slice(0, 40)), seed=5, **self.options)
        same(state_of(fitted.module), state, "the state of a model after and before another fit")
        assert digest_of(state_of(other.module)) != digest_of(state), (
            "a fit of half of the rows with another seed has the same state"
        )
        later = fit(self.family, data, **self.options)
        same(later.state, fitted.state, "states of a fit after and before another fit")
        assert not list(pyro.get_param_store().keys()), "a fit left parameters in Pyro's global store"

    def test_fit_reaches_every_parameter(self, data: xr.Dataset, fitted: Fitted) -> None:
        """The fit changes every parameter, and the loss of a pair has a nonzero gradient for each parameter."""
        with generators_kept(0, "build"):
            start = fitted.definition.build(fitted.options, fitted.event, **fitted.models)
        for name, parameter in start.named_parameters():
            value = parameter.detach().to(fitted.dtype).numpy()
            assert not np.array_equal(value, fitted.state[name].values), f"the fit does not change {name}"
        if not isinstance(start, Pair) or not start.by_loss:
            return
        with generators_kept("loss"):
            pair = fitted.definition.build(fitted.options, fitted.event, **fitted.models).to(fitted.dtype)
            assert isinstance(pair, Pair)
            load_state(pair, fitted.state, "the fit")
            pair.requires_grad_().zero_grad()
            batch = Rows(data, fitted.event, dtype=fitted.dtype, beside=fitted.definition.accepts).batch(
                0, 64
            )
            pair.loss(n=len(batch["x"]), **batch)["loss"].backward()
        for name, parameter in pair.named_parameters():
            assert parameter.grad is not None, f"the loss has no gradient for {name}"
            assert parameter.grad.any(), f"the gradient of the loss for {name} is 0"

    def test_surroundings_change_nothing(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Global modes of torch, NumPy and Pyro around a call do not change its results.

        All modes are active at the same time first, because an effective mode also changes results there. If results change, each mode is tested alone
        to name the mode in the message.
        """
        few = data.isel(row=slice(0, 5))

        def found(of: Fitted) -> dict[str, np.ndarray]:
            draws = drawn(of, data, several(of, 5), seed=1) if offers(of, "sample") else xr.Dataset()
            scores = score(of, few, seed=1) if offers(of, "score") else xr.Dataset()
            return {
                f"{k} of {call}": v.values
                for call, part in (("samples", draws), ("scores", scores))
                for k, v in part.items()
            }

        expected = found(fitted)
        with ExitStack() as stack:
            for ambient in AMBIENT.values():
                stack.enter_context(ambient())
            again = fit(self.family, data, **self.options)
            together = found(replace(fitted))  # the copy builds its module inside the modes
        same(again.state, fitted.state, "states of fits with and without the modes")
        if digest_of(together) != digest_of(expected):
            for name, ambient in AMBIENT.items():
                with ambient():
                    alone = found(replace(fitted))
                same(alone, expected, f"with and without the mode {name!r}")
        same(together, expected, "with and without all modes together")

    def test_a_row_of_weight_w_is_w_rows(self, data: xr.Dataset, fitted: Fitted) -> None:
        """A fit to rows with weights is a fit to these rows repeated, where both have as many rows and steps.

        Half of the rows have weight 3/2 or 2, and the others 1/2 or 0. The difference of the two fits is at most two thirds
        of the difference that the weights make, because batches of repeated rows are others than batches of weighted rows.
        """
        if "weight" not in fitted.definition.accepts:
            pytest.skip(f"{fitted.family} does not accept row weights")
        order = np.argsort(
            data["x"].values.reshape(data.sizes["row"], -1).astype(float).sum(1), kind="stable"
        )
        half = len(order) // 2
        small, large = order[:half], order[-half:]
        for copies, seldom, often in ((1, 0, 2), (2, 1, 3)):
            plain, repeated = (
                data.isel(row=np.stack([small] * of_small + [large] * of_large, 1).reshape(-1))
                for of_small, of_large in ((copies, copies), (seldom, often))
            )
            weight = np.tile(np.repeat([seldom / copies, often / copies], copies), half)
            with_weights, expected, without = (
                known_of(fit(self.family, each, **self.options), data)
                for each in (plain.assign(weight=("row", weight)), repeated, plain)
            )
            effect = np.sqrt(np.mean((without - expected) ** 2))
            error = np.sqrt(np.mean((with_weights - expected) ** 2))
            assert error <= 2 / 3 * effect + 1e-6, (
                f"weights {often / copies:g} and {seldom / copies:g}: the numbers of the fit differ by {error:.3g} from those of "
                f"rows repeated {often} and {seldom} times; without weights they differ by {effect:.3g}"
            )

    # scores

    def test_score_order_and_split(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Exact scores do not depend on order and batches; Monte Carlo scores are the same for the same rows in the same order."""
        need(fitted, "score")
        many = xr.concat([data] * 8, "row").isel(
            row=np.random.default_rng(0).permutation(8 * data.sizes["row"])
        )
        scores = score(fitted, many)
        for name, values in scores.data_vars.items():
            bad = ~np.isfinite(values.values)
            assert not bad.any(), (
                f"{name!r} of row {int(bad.argmax())} of the data is {values.values[bad][0]}"
            )
        if "log_prob" not in scores or scores["log_prob"].attrs["kind"] != "exact":
            same(score(fitted, many), scores, "scores of the same rows")
            return
        expected = scores["log_prob"].values
        order = np.random.default_rng(1).permutation(len(expected))
        shuffled = score(fitted, many.isel(row=order))["log_prob"].values
        close(shuffled, expected[order], "log_prob of rows in another order")
        single = [score(fitted, many.isel(row=[i]))["log_prob"].item() for i in range(5)]
        close(single, expected[:5], "log_prob of rows alone and together")

    # latents

    def test_samples_have_each_latent(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Samples contain x and every latent that the module declares."""
        need(fitted, "sample")
        draws, latents = drawn(fitted, data, several(fitted, 5)), latents_of(fitted.module)
        lacking = sorted({"x", *latents} - set(draws.data_vars))
        assert not lacking, (
            f"module.latents names {lacking}, but samples have {sorted(map(str, draws.data_vars))}"
        )

    def test_decode_is_what_sample_gives(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Decoding sampled latents gives the same x as sampling x given these latents, without noise or on average.

        The average is over 64 samples, and the tolerance is 6 standard errors. Whole numbers are accepted as values of
        real latents.
        """
        known = self._latents(data, fitted)
        try:
            found = decode(fitted, known)["x"].values
        except NotOffered as reason:
            pytest.skip(str(reason))
        whole = {name: np.rint(v) for name, v in known.items() if v.dtype.kind == "f"}
        numbers = {name: v.astype(np.int64) for name, v in whole.items()}
        for call in (lambda z: sample(fitted, 1, given=z)[["x"]], lambda z: decode(fitted, z)):
            same(
                call({**known, **numbers}),
                call({**known, **whole}),
                "x of a real latent in whole numbers and in floating point",
            )
        noiseless = issubclass(fitted.definition.options("sample"), MeanOptions)
        how: dict[str, Any] = {"mean": True} if noiseless else {"n": 64}
        draws = sample(fitted, given=known, **how)["x"].values.astype(float)
        error = 6 * draws.std(0) / 8
        if fitted.event.discrete and not error.any() and (draws == np.rint(draws)).all():
            found = np.rint(found)  # samples are rounded, but decoded values are not
        assert found.shape == draws.shape[1:]
        expected = draws.mean(0)
        far = np.abs(found - expected) > error + 1e-5 * (1 + np.abs(expected))
        at = tuple(int(i) for i in np.argwhere(far)[0]) if far.any() else ()
        assert not far.any(), (
            f"x differs first at {at}: decoded {found[at]!r}, mean of samples {expected[at]!r}"
        )

    def test_decode_goes_from_any_place_to_any_other(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Decoding from the values at any place gives the same x, row by row, with a gradient. Unknown names raise an InputError."""
        known = self._latents(data, fitted)
        try:
            expected = decode(fitted, known)["x"].values
        except NotOffered as reason:
            pytest.skip(str(reason))
        module = fitted.module
        assert isinstance(module, Decoder)
        for name in (*latents_of(module), *places_of(module)):
            place = decode(fitted, known, name)[name].values
            start = {**known, name: place}
            close(
                decode(fitted, start)["x"].values, expected, f"x decoded from {name!r} and from the latents"
            )
            last = {k: v[-1:] for k, v in start.items()}
            close(
                decode(fitted, last)["x"].values,
                expected[-1:],
                f"x of a row alone and together, from {name!r}",
            )
            if place.dtype.kind != "f":
                continue
            later = {} if name in latents_of(module) else {k: torch.as_tensor(v) for k, v in known.items()}
            at = torch.as_tensor(place).requires_grad_()
            with torch.enable_grad():
                module.decode({**self._roots(known, fitted), **later, name: at}).square().sum().backward()
            assert at.grad is not None, f"x has no gradient for {name}"
            assert torch.isfinite(at.grad).all()
            assert at.grad.any(), f"the gradient of x for {name} is 0"
        for start, until in (({**known, "nowhere": expected}, "x"), (known, "nowhere")):
            with pytest.raises(InputError, match="nowhere"):
                decode(fitted, start, until)

    def test_encode_sees_each_row_alone(self, data: xr.Dataset, fitted: Fitted) -> None:
        """An encoder returns every latent, for each row independently of the other rows, in the form that `decode` accepts."""
        if not isinstance(fitted.module, Encoder):
            pytest.skip(f"{fitted.family} does not declare an encoder")
        rows = data.isel(row=slice(0, 7))
        codes = encode(fitted, rows)
        last = encode(fitted, rows.isel(row=slice(6, 7)))
        for name in latents_of(fitted.module):
            close(last[name].values, codes[name].values[6:], f"code {name!r} of a row alone and together")
        try:
            x = decode(
                fitted,
                codes.assign(
                    {k: ("row", v) for k, v in conditions_in(rows, fitted.event).items() if v.ndim == 1}
                ),
            )["x"]
        except NotOffered as reason:
            pytest.skip(str(reason))
        assert np.isfinite(x.values).all()

    def _latents(self, data: xr.Dataset, fitted: Fitted) -> dict[str, np.ndarray]:
        """Return all latents of samples, and conditions."""
        if not isinstance(fitted.module, Decoder):
            pytest.skip(f"{fitted.family} does not declare a decoder")
        draws = drawn(fitted, data, 40, seed=1)
        latents = {name: draws[name].values for name in latents_of(fitted.module)}
        return latents | {name: np.repeat(v[None], 40, 0) for name, v in given_of(fitted, data).items()}

    def _roots(self, known: dict[str, np.ndarray], fitted: Fitted) -> dict[str, torch.Tensor]:
        """Return conditions, and latents that are whole numbers."""
        real = {name for name in latents_of(fitted.module) if known[name].dtype.kind == "f"}
        return {name: torch.as_tensor(v) for name, v in known.items() if name not in real}

    # options

    def test_an_option_has_an_effect_or_is_refused(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Another value of any option changes the result of a hook, or raises an InputError. No option is ignored silently.

        The law tests `fit` with the options of the test, `score`, and `sample`. Samples are taken without conditions, and given complete and partial rows
        of x if the family accepts these. Options without effect on results are declared in `without_effect`.
        """
        allowed = {**WITHOUT_EFFECT, **self.without_effect}
        ignored = []

        def tried(hook: str, where: str, before: BaseModel, call: Callable[..., str]) -> None:
            try:
                usual = call()
            except (InputError, NotOffered):
                return  # the family does not offer this call
            for name, values in other_values(before).items():
                option = name.partition(".")[0]  # nested options are passed together
                if f"{hook}.{name}" not in allowed and not any(
                    differs(call, usual, {option: value}) for value in values
                ):
                    ignored.append(f"{name} of {hook}{where}")

        def fit_digest(**changes: Any) -> str:
            found = fit(self.family, data, **{**self.options, **changes})
            return "".join(map(digest_of, (found.state, found.history, *found.groups.values())))

        tried("fit", "", fitted.options, fit_digest)
        if offers(fitted, "sample"):
            own = fitted.definition.options("sample")()
            tried("sample", ", freely", own, lambda **how: digest_of(drawn(fitted, data, 40, seed=1, **how)))
            x = data["x"].isel(row=[0, 1, 2]).astype(float)
            part = x.copy(deep=True)
            part.values[..., -1] = np.nan
            for where, known in ((", given x", x), (", given x in part", part)):
                rows = {"x": known.values}
                rows |= {name: data[name].values[:3] for name in (*fitted.event.given, *fitted.event.lengths)}
                tried(
                    "sample",
                    where,
                    own,
                    lambda rows=rows, **how: digest_of(sample(fitted, 8, given=rows, seed=1, **how)),
                )
        if offers(fitted, "score"):
            own = fitted.definition.options("score")()
            tried("score", "", own, lambda **how: digest_of(score(fitted, data, seed=1, **how)))
        assert not ignored, (
            f"these options have no effect and are not refused: {'; '.join(ignored)}. Refuse these options, or list them in `without_effect`."
        )

    # files

    def test_saved_and_loaded_in_a_fresh_process(
        self, fitted: Fitted, data: xr.Dataset, tmp_path: Path
    ) -> None:
        """A new process that loads the file computes bit-identical samples and scores."""
        fitted.save(tmp_path / "model.h5")
        data.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
        home = None if isinstance(self.family, str) else (self.family.__module__, self.family.__qualname__)
        place = str(tmp_path / "model.h5"), home, str(tmp_path / "data.nc"), torch.get_num_threads()
        found = in_a_new_process(loaded_results, *place)
        same(
            found,
            results(fitted, datasets.load(str(tmp_path / "data.nc"))),
            "the loaded and the fitted model",
        )

    def test_the_state_is_all_that_is_learned(self, data: xr.Dataset) -> None:
        """The module that was trained gives the samples, scores and codes of a new module with its `state_dict`."""
        trained: list[nn.Module] = []
        called = Family.call

        def call(family: Family, hook: str, **arguments: Any) -> Any:
            trained.extend([arguments["module"]] if hook == "fit" else [])
            return called(family, hook, **arguments)

        with mock.patch.object(Family, "call", call):
            fitted = fit(self.family, data, **self.options)
        expected = results(fitted, data)
        module = next(
            each for each in trained if type(each) is type(fitted.module)
        )  # not one that it builds on
        fitted.__dict__["module"] = module.eval()  # instead of the new module
        same(results(fitted, data), expected, "the trained module and its state in a new module")

    def test_resumed_equals_uninterrupted(self, data: xr.Dataset, fitted: Fitted, tmp_path: Path) -> None:
        """A fit that a signal interrupts after a step, and that is resumed, gives bit-identical results."""
        steps = fitted.history.sizes["step"]
        for stop in sorted({1, steps // 2, steps - 1} & set(range(1, steps + 1))) or [1]:
            out = tmp_path / str(stop)
            with pytest.raises(Interrupted), observing(Stop(stop)):
                fit(self.family, data, out=out, **self.options)
            resumed = fit(self.family, data, out=out, resume=True, **self.options)
            where = f"a fit interrupted after step {stop} and one without interruption"
            same(resumed.state, fitted.state, f"states of {where}")
            same(resumed.history, fitted.history, f"histories of {where}")
            assert resumed.groups.keys() == fitted.groups.keys(), f"groups of {where}"
            for name, group in fitted.groups.items():
                same(resumed.groups[name], group, f"group {name!r} of {where}")

    def test_several_processes_are_not_seen(self, data: xr.Dataset, fitted: Fitted, tmp_path: Path) -> None:
        """A fit in two parts gives bit-identical results on one process and on two."""
        if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
            pytest.skip("this installation of torch has no gloo")
        try:
            alone = fit(self.family, data, parts=2, **self.options)
        except InputError as error:
            pytest.skip(f"the family cannot be fitted in parts: {error}")
        data.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
        home = (
            self.family
            if isinstance(self.family, str)
            else (self.family.__module__, self.family.__qualname__)
        )
        what = home, str(tmp_path / "data.nc"), self.options, torch.get_num_threads()
        place = str(tmp_path / "meeting")
        found = in_new_processes(fitted_in_parts, [(rank, 2, place, *what) for rank in range(2)])
        for rank, arrays in enumerate(found):
            same(arrays, learned(alone), f"a fit on two processes, process {rank}, and on one")

    def test_an_accelerator_says_the_same(self, data: xr.Dataset, fitted: Fitted, tmp_path: Path) -> None:
        """Exact scores do not depend on the device, and a fit on an accelerator can be interrupted, resumed and sampled from."""
        if not torch.cuda.is_available():
            pytest.skip("CUDA is not available")
        out, steps = tmp_path / "run", fitted.history.sizes["step"]
        with pytest.raises(Interrupted), observing(Stop(max(1, steps // 2))):
            fit(self.family, data, device="cuda", out=out, **self.options)
        other = fit(self.family, data, device="cuda", out=out, resume=True, **self.options)
        assert other.history.sizes["step"] > steps // 2
        if offers(fitted, "sample"):
            draws, like = drawn(other, data, 30, device="cuda"), drawn(fitted, data, 30)
            assert draws["x"].dims == like["x"].dims
            assert draws["x"].dtype == like["x"].dtype
            assert np.isfinite(draws["x"].values).all()
        for each in (f for f in (fitted, other) if offers(f, "score")):
            there, here = score(each, data, device="cuda"), score(each, data)
            assert there.keys() == here.keys()
            assert all(np.isfinite(value.values).all() for value in there.data_vars.values())
            if "log_prob" in here and here["log_prob"].attrs["kind"] == "exact":
                np.testing.assert_allclose(there["log_prob"], here["log_prob"], rtol=1e-3, atol=1e-3)

    def test_files_open_without_probgen(self, fitted: Fitted, data: xr.Dataset, tmp_path: Path) -> None:
        """The file opens with xarray and with h5py, every dimension has a name, and the state is complete."""
        fitted.save(tmp_path / "model.h5")
        with xr.open_datatree(tmp_path / "model.h5") as tree:
            assert set(tree["/probgen/state"].variables) == set(fitted.state.variables)
            for node in tree.subtree:
                assert not any(str(dim).startswith("phony") for dim in node.sizes)
        with h5py.File(tmp_path / "model.h5") as file:
            assert "probgen" in file

    # bad input

    def test_bad_input_is_refused_by_name(self, data: xr.Dataset, fitted: Fitted) -> None:
        """Data and options that cannot be used raise an InputError that names them."""
        x = data["x"].values.astype(float)
        broken = x.copy()
        broken[3, 0] = np.inf
        cases: list[tuple[str, Any]] = [("rows", x[:0]), ("row 3", broken)]
        if "observed" not in fitted.definition.accepts:
            missing = x.copy()
            missing[3, 0] = np.nan
            cases.append(("missing", missing))
        if fitted.event.discrete:
            cases.append(("0.5", np.full_like(x, 0.5)))
        for word, bad in cases:
            again = data.isel(row=slice(len(bad))).assign(x=(data["x"].dims, bad, data["x"].attrs))
            with pytest.raises(InputError, match=word):
                fit(self.family, again, **self.options)
        with pytest.raises(InputError, match="no_such_option"):
            fit(self.family, data, **{**self.options, "no_such_option": 1})
        with pytest.raises(InputError, match="seed"):
            fit(self.family, data, seed=-1, **self.options)
        if offers(fitted, "score"):
            with pytest.raises(InputError, match="shape"):
                score(fitted, x.reshape(len(x), -1) if fitted.event.any_size else np.concatenate([x, x], 1))
        if offers(fitted, "sample"):
            with pytest.raises(InputError, match="no_such_latent"):
                sample(fitted, 1, given={**given_of(fitted, data), "no_such_latent": 0})
            with pytest.raises(InputError, match="n = 0"):
                drawn(fitted, data, 0)
