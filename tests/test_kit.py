"""The conformance kit, held against families that each break one law: every one is caught."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ConfigDict
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

import probgen
from probgen import Fitted, Options, Pair, Rows, Run, hookimpl, log_prob
from probgen.contract.places import decoded
from probgen.testing import FamilyLaws, spaces


class GoodModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dims = {"mu": ("feature",), "sigma": ("feature",)}
        self.mu = nn.Parameter(torch.zeros(2))
        self.sigma = nn.Parameter(torch.ones(2))


class Good:
    """Independent normals, whose mean is a running one: it breaks no law."""

    Options = Options
    dtype = "float64"

    @staticmethod
    def build(options: Options, event: probgen.Event) -> nn.Module:
        return GoodModule()

    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        def step(t: int) -> dict[str, Tensor]:
            x = data.batch(t, 16)["x"]
            x = x + 0.1 * torch.randn_like(x)
            module.mu.data += (x.mean(0) - module.mu.data) / (t + 1)
            module.sigma.data = 1 + 0.9 * (module.sigma.data - 1) + 0.1 * (x - module.mu).std(0).detach()
            return {"loss": -Normal(module.mu, module.sigma).log_prob(x).sum(1).mean()}

        run.train(step, 6, keep={"module": module})

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int) -> dict[str, Tensor]:
        return {"x": Normal(fitted.module.mu, fitted.module.sigma).sample((n,))}

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        return exact(Normal(fitted.module.mu, fitted.module.sigma).log_prob(data["x"]).sum(1))


def exact(values: Tensor) -> Any:
    return log_prob(values, kind="exact", estimator="exact", measure="lebesgue")


class Unseeded(Good):
    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        Good.fit(module=module, data=data, run=run)
        module.mu.data += int.from_bytes(os.urandom(4), "little") / 2**32


class StartsFromNumPy(Good):
    """The fit starts at numbers from NumPy's global generator, and restores it."""

    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        state = np.random.get_state()
        start = np.random.standard_normal(2)
        np.random.set_state(state)
        Good.fit(module=module, data=data, run=run)
        module.mu.data += torch.from_numpy(start)


class DrawsBeforeItsSteps(Good):
    """Numbers of torch's generator before and after the loop follow the seed of the fit."""

    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        start = torch.randn(2)
        Good.fit(module=module, data=data, run=run)
        module.mu.data += start + torch.randn(2)


class DrawsWithOneSeed(Good):
    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int) -> dict[str, Tensor]:
        torch.default_generator.manual_seed(0)
        return {"x": Normal(fitted.module.mu, fitted.module.sigma).sample((n,))}


class ChangesTheData(Good):
    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        next(data.chunks(8))["x"].add_(1)
        Good.fit(module=module, data=data, run=run)


class DrawsFromNumPy(Good):
    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int) -> dict[str, Tensor]:
        z = torch.from_numpy(np.random.standard_normal((n, 2)))
        return {"x": fitted.module.mu + fitted.module.sigma * z}


class ChangesTheDefaultType(Good):
    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        torch.set_default_dtype(torch.float64)
        return exact(Normal(fitted.module.mu, fitted.module.sigma).log_prob(data["x"]).sum(1))


class Meets(Good):
    """A fit starts from the one before."""

    before: Tensor | None = None

    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        Good.fit(module=module, data=data, run=run)
        if cls.before is not None:
            module.mu.data = 0.5 * (module.mu.data + cls.before)
        cls.before = module.mu.detach().clone()


class SampleOptions(Options):
    """Of a draw that minds none."""

    scale: float = 1.0


class IgnoresAnOption(Good):
    SampleOptions = SampleOptions


class LeavesAParameter(Good):
    @staticmethod
    def build(options: Options, event: probgen.Event) -> nn.Module:
        module = GoodModule()
        module.unused = nn.Parameter(torch.ones(3))
        return module


class ScoresByBatch(Good):
    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        x = data["x"]
        return exact(Normal(x.mean(0), fitted.module.sigma).log_prob(x).sum(1))


class ScoresNothing(Good):
    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        return exact(torch.full((len(data["x"]),), float("nan")))


class DrawsEachShardAlike(Good):
    """The seed of the call has an effect, but all shards of a call are the same."""

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int, run: Run) -> dict[str, Tensor]:
        z = torch.from_numpy(run.numpy("z").standard_normal((n, 2)))
        return {"x": fitted.module.mu + fitted.module.sigma * z}


class IgnoresWeights(Good):
    """It declares row weights, and its batches are the same with them."""

    accepts = frozenset({"weight"})


class BoundsFromAbove(Good):
    """A lower bound that exceeds the density."""

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        values = Normal(fitted.module.mu, fitted.module.sigma).log_prob(data["x"]).sum(1) + 0.1
        return log_prob(values, kind="lower_bound", estimator="elbo", measure="lebesgue")


class CallsAProbabilityADensity(Good):
    """Independent bits, scored with the wrong measure."""

    supports = frozenset({"binary"})

    @staticmethod
    def build(options: Options, event: probgen.Event) -> nn.Module:
        module = nn.Module()
        module.p = nn.Parameter(torch.full((event.size,), 0.4))
        return module

    @classmethod
    @hookimpl
    def fit(cls, module: nn.Module, data: Rows, run: Run) -> None:
        def step(t: int) -> dict[str, float]:
            module.p.data = torch.cat([chunk["x"] for chunk in data.chunks()]).double().mean(0)
            return {"loss": 0.0}

        run.train(step, 1, keep={"module": module})

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int) -> dict[str, Tensor]:
        return {"x": torch.bernoulli(fitted.module.p.expand(n, -1))}

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        return exact(Bernoulli(fitted.module.p).log_prob(data["x"].double()).sum(1))


class CompletesAtZero(Good):
    """It repeats what is given, and samples the rest from another density."""

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        if "x" not in given:
            return Good.sample(fitted=fitted, n=n)
        noise = Normal(torch.zeros(2).double(), fitted.module.sigma).sample((n,))
        return {"x": torch.where(given["observed"], given["x"], noise)}


class LacksAConstant(Good):
    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        return exact((-0.5 * ((data["x"] - fitted.module.mu) / fitted.module.sigma) ** 2).sum(1))


class DrawsTooWide(Good):
    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int) -> dict[str, Tensor]:
        return {"x": Normal(fitted.module.mu, 1.3 * fitted.module.sigma).sample((n,))}


class DrawsTransposed(Good):
    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int) -> dict[str, Tensor]:
        return {"x": Normal(fitted.module.mu, fitted.module.sigma).sample((n,)).flip(1)}


class KeepsAnAttribute(Good):
    """What is learned is not in the state_dict."""

    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        Good.fit(module=module, data=data, run=run)
        cls.shift = float(module.mu.detach()[0])

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        mean = getattr(cls, "shift", 0.0)
        return exact(Normal(mean, fitted.module.sigma).log_prob(data["x"]).sum(1))


class KeepsAnAttributeOfItsModule(Good):
    """What is learned is lost with the module that was trained."""

    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        Good.fit(module=module, data=data, run=run)
        module.shift = float(module.mu.detach()[0])

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        mean = vars(fitted.module).get("shift", 0.0)
        return exact(Normal(mean, fitted.module.sigma).log_prob(data["x"]).sum(1))


class ForgetsItsAverage(Good):
    """Step t depends on what is not kept."""

    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        seen: list[Tensor] = []

        def step(t: int) -> dict[str, Tensor]:
            seen.append(data.batch(t, 16)["x"].mean(0))
            module.mu.data = torch.stack(seen).mean(0)
            module.sigma.data += 0.1
            return {"loss": module.mu.sum()}

        run.train(step, 6, keep={"module": module})


class ReturnsWhatFilesCannotHold(Good):
    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> Any:
        Good.fit(module=module, data=data, run=run)
        return {"notes": xr.Dataset({"notes": ("note", np.array([{"a": 1}], dtype=object))})}


class TakesAnyOption(Good):
    class Options(Options):
        model_config = ConfigDict(extra="ignore")


class TakesMissingValues(Good):
    """It says that it can use them, and they become zeros that are scored like any other."""

    accepts = frozenset({"observed"})


class StopsTheGradient(Pair):
    """A parameter with a gradient of 0; weight decay changes it all the same."""

    def __init__(self, options: Any, event: probgen.Event):
        super().__init__(options, event)
        self.mu = nn.Parameter(torch.ones(2))
        self.log_sigma = nn.Parameter(torch.ones(2))

    def model(self, x: Tensor | None = None, *, n: int, **given: Tensor) -> Any:
        import pyro
        from pyro.distributions import Normal

        with pyro.plate("row", n):
            p = Normal(self.mu, (0 * self.log_sigma).exp()).to_event(1)
            return pyro.sample("x", p, obs=x)


class StaysWhereItWas(Good):
    """A tensor is made on the processor, wherever the module is."""

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        x = data["x"] + torch.zeros(2)
        return exact(Normal(fitted.module.mu, fitted.module.sigma).log_prob(x).sum(1))


class KnowsItsProcess(Good):
    @classmethod
    @hookimpl
    def fit(cls, module: GoodModule, data: Rows, run: Run) -> None:
        Good.fit(module=module, data=data, run=run)
        module.mu.data += run.world.rank


class Warns(Good):
    """Where warnings are errors it ends another way."""

    @classmethod
    @hookimpl
    def score(cls, fitted: Fitted, data: dict[str, Tensor]) -> Any:
        warnings.warn("a matter of taste", stacklevel=1)
        return exact(Normal(fitted.module.mu, fitted.module.sigma).log_prob(data["x"]).sum(1))


class DecodingModule(GoodModule):
    """x = z, with sigma forgotten."""

    latents: ClassVar = {"z": ("latent",)}

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        return decoded({"x": lambda at: self.mu + at["z"]}, start, until, ["z"])


class DecodesAnother(Good):
    """What it decodes is not what it samples."""

    @staticmethod
    def build(options: Options, event: probgen.Event) -> nn.Module:
        return DecodingModule()

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        z = given.get("z", torch.randn(n, 2).double())
        return {"x": fitted.module.mu + fitted.module.sigma * z, "z": z}


class DrawsOneLatentWithOneSeed(DecodesAnother):
    """The noise of x follows the seed, and z is the same with any seed."""

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        z = given.get("z", torch.randn(n, 2, generator=torch.Generator().manual_seed(0)).double())
        return {"x": Normal(fitted.module.mu + z, fitted.module.sigma).sample(), "z": z}


class IgnoresWhatIsGiven(DecodesAnother):
    """It takes conditions for its latent, and ignores a given x."""


class LacksALatent(DecodesAnother):
    """It declares a latent that samples do not have."""

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        z = given.get("z", torch.randn(n, 2).double())
        return {"x": fitted.module.mu + fitted.module.sigma * z}


class ForgetsItsMaps(DecodingModule):
    """x is made of z, whatever is at the place between."""

    places: ClassVar = {"maps": ("map",)}

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        steps = {"maps": lambda at: 2 * at["z"], "x": lambda at: self.mu + at["z"]}
        return decoded(steps, start, until, ["z"])


class DecodesPastAPlace(Good):
    """The same where it samples; from its maps it does not go on."""

    @staticmethod
    def build(options: Options, event: probgen.Event) -> nn.Module:
        return ForgetsItsMaps()

    @classmethod
    @hookimpl
    def sample(cls, fitted: Fitted, n: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        z = given.get("z", torch.randn(n, 2).double())
        return {"x": fitted.module.mu + z, "z": z}


class EncodesItsBatch(DecodingModule):
    """A code is told by all rows together."""

    def decode(self, start: Mapping[str, Tensor], until: str = "x") -> Tensor:
        return decoded({"x": lambda at: self.mu + self.sigma * at["z"]}, start, until, ["z"])

    def encoded(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": x - x.mean(0)}


class EncodesByBatch(DecodesAnother):
    """The same where it samples and decodes."""

    @staticmethod
    def build(options: Options, event: probgen.Event) -> nn.Module:
        return EncodesItsBatch()


BROKEN = {
    EncodesByBatch: "test_encode_sees_each_row_alone",
    DecodesPastAPlace: "test_decode_goes_from_any_place_to_any_other",
    Warns: "test_surroundings_change_nothing",
    DecodesAnother: "test_decode_is_what_sample_gives",
    Unseeded: "test_same_seed_same_bits",
    StartsFromNumPy: "test_same_seed_same_bits",
    DrawsWithOneSeed: "test_samples_follow_the_seed",
    DrawsOneLatentWithOneSeed: "test_samples_follow_the_seed",
    DrawsEachShardAlike: "test_samples_follow_the_seed",
    IgnoresWeights: "test_a_row_of_weight_w_is_w_rows",
    BoundsFromAbove: "test_a_bound_is_on_its_side",
    CallsAProbabilityADensity: "test_the_measure_is_that_of_the_density",
    CompletesAtZero: "test_completions_agree_with_density",
    IgnoresWhatIsGiven: "test_completions_agree_with_density",
    KeepsAnAttributeOfItsModule: "test_the_state_is_all_that_is_learned",
    LacksALatent: "test_samples_have_each_latent",
    ChangesTheData: "test_generators_and_inputs_are_left_alone",
    DrawsFromNumPy: "test_generators_and_inputs_are_left_alone",
    ChangesTheDefaultType: "test_generators_and_inputs_are_left_alone",
    Meets: "test_two_fits_do_not_meet",
    LeavesAParameter: "test_fit_reaches_every_parameter",
    StopsTheGradient: "test_fit_reaches_every_parameter",
    ScoresByBatch: "test_score_order_and_split",
    ScoresNothing: "test_score_order_and_split",
    LacksAConstant: "test_density_sums_to_one",
    DrawsTooWide: "test_draws_agree_with_density",
    DrawsTransposed: "test_draws_agree_with_density",
    KeepsAnAttribute: "test_saved_and_loaded_in_a_fresh_process",
    ForgetsItsAverage: "test_resumed_equals_uninterrupted",
    ReturnsWhatFilesCannotHold: "test_files_open_without_probgen",
    KnowsItsProcess: "test_several_processes_are_not_seen",
    TakesAnyOption: "test_bad_input_is_refused_by_name",
    IgnoresAnOption: "test_an_option_has_an_effect_or_is_refused",
    TakesMissingValues: "test_missing_values_are_summed_out",
    StaysWhereItWas: "test_an_accelerator_says_the_same",
}
LAWS = [name for name in dir(FamilyLaws) if name.startswith("test_")]


def breaks(family: type, law: str, tmp_path: Path) -> str:
    """What the law says against the family, or nothing."""
    options = {"steps": 6, "batch_size": 16, "weight_decay": 0.1} if issubclass(family, Pair) else {}
    laws = type("Laws", (FamilyLaws,), {"family": family, "options": options})()
    data = spaces.example("binary" if family is CallsAProbabilityADensity else "real")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = probgen.fit(family, data, **laws.options)
            known = {"data": data, "fitted": fitted, "tmp_path": tmp_path}
            method = getattr(laws, law)
            method(**{name: known[name] for name in inspect.signature(method).parameters})
    except (Exception, pytest.fail.Exception) as error:
        return f"{type(error).__name__}: {error}"
    except pytest.skip.Exception:
        return ""
    return ""


@pytest.mark.parametrize("law", LAWS)
def test_a_good_family_breaks_no_law(law: str, tmp_path: Path) -> None:
    assert not breaks(Good, law, tmp_path)


@pytest.mark.parametrize("law", ["test_same_seed_same_bits", "test_several_processes_are_not_seen"])
def test_numbers_outside_of_the_loop_follow_the_seed(law: str, tmp_path: Path) -> None:
    assert not breaks(DrawsBeforeItsSteps, law, tmp_path)
    data = spaces.example("real")
    mus = [probgen.fit(DrawsBeforeItsSteps, data, seed=seed).state["mu"].values for seed in (0, 1)]
    assert not np.array_equal(*mus)


@pytest.mark.parametrize("family", BROKEN)
def test_a_broken_family_is_caught(family: type, tmp_path: Path) -> None:
    if family is StaysWhereItWas and not torch.cuda.is_available():
        pytest.skip("there is no CUDA here")
    assert breaks(family, BROKEN[family], tmp_path)


def test_every_law_is_broken_by_one() -> None:
    assert set(LAWS) == set(BROKEN.values())


def test_expected_failures_are_declared_and_held_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A declared failure is one that fails; a law that holds after all is reported."""
    (tmp_path / "test_mine.py").write_text(
        "from probgen.testing import FamilyLaws\n"
        "from tests.test_kit import Good, LacksAConstant\n"
        "class TestDeclared(FamilyLaws):\n"
        "    family = LacksAConstant\n"
        "    expected_failures = {'test_density_sums_to_one': 'a constant is left out'}\n"
        "class TestHolds(FamilyLaws):\n"
        "    family = Good\n"
        "    expected_failures = {'test_density_sums_to_one': 'it does'}\n"
    )
    found: dict[str, tuple[str, str]] = {}

    class Reports:
        """What became of each class."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == "call":
                found[report.nodeid.split("::")[1]] = report.outcome, getattr(report, "wasxfail", "")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "test_mine", raising=False)
    options = ["-p", "no:cacheprovider", "-W", "default", "-k", "sums_to_one"]
    code = pytest.main([*options, "test_mine.py"], plugins=[Reports()])
    assert code == pytest.ExitCode.TESTS_FAILED
    assert found == {"TestDeclared": ("skipped", "a constant is left out"), "TestHolds": ("failed", "")}
