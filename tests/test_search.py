"""A search of options: the best of those that are there, the same after a kill, and no test row before the end."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import probgen
from probgen import recipes
from probgen.api import searching, trials
from probgen.cli import app
from probgen.contract.ranges import Range, fitting_space, space_of
from probgen.contract.state import digest_of
from probgen.data import as_dataset
from probgen.errors import InputError, NotOffered, RunError
from probgen.evaluation.means import mean
from probgen.models.nade import NADE
from probgen.recipes import searching as of_recipes
from tests.planted import planted
from tests.trust import child

NADE_FIT: dict[str, Any] = {"epochs": 3, "batch_size": 50, "hidden": 4}
NADE_SPACE: dict[str, Any] = {
    "hidden": {"low": 2, "high": 16, "log": True},
    "learning_rate": {"low": 1e-3, "high": 0.3, "log": True},
    "schedule": ["constant", "cosine"],
}


def bits(rows: int, seed: int) -> np.ndarray:
    """Each bit is more likely to be that before it than not."""
    rng = np.random.default_rng(seed)
    x = rng.integers(2, size=(rows, 8))
    for i in range(1, 8):
        x[:, i] = np.where(rng.random(rows) < 0.8, x[:, i - 1], x[:, i])
    return x


def clusters(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middles = np.array([[-6.0, 0], [6, 0], [0, 9]])
    return middles[rng.integers(3, size=rows)] + rng.normal(size=(rows, 2))


def words(rows: int, seed: int) -> xr.Dataset:
    """Symbols that follow from the two before them."""
    rng = np.random.default_rng(seed)
    x = rng.integers(3, size=(rows, 12))
    for t in range(2, 12):
        x[:, t] = np.where(rng.random(rows) < 0.8, (x[:, t - 1] + x[:, t - 2]) % 3, x[:, t])
    return xr.Dataset({"x": (("row", "time"), x, {"support": "token", "levels": 3})})


def nade(out: Path | None = None, **call: Any) -> Any:
    how = {"trials": 12, **NADE_FIT, **call}
    return probgen.search("nade", bits(200, 0), valid=bits(100, 1), options=NADE_SPACE, out=out, **how)


@functools.cache
def undisturbed() -> Any:
    return nade()


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    """All but the time that it took."""
    xr.testing.assert_identical(one.drop_vars("seconds"), other.drop_vars("seconds"))


# what is chosen


def test_the_number_of_clusters_is_found() -> None:
    found = probgen.search(
        "mixture",
        clusters(60, 0),  # more components learn what is not there
        valid=clusters(2000, 1),
        options={"components": {"low": 1, "high": 6}},
        trials=20,
        covariance="spherical",
    )
    assert found.options == {"components": 3}
    assert found.fitted.options.components == 3
    assert found.fitted.options.covariance == "spherical"
    assert found.trials["value"].values[found.best] == found.trials["value"].max()
    assert found.trials["options.components"].values[0] == 2  # the family's own, always the first


def test_values_are_those_of_fit_and_score() -> None:
    """Of all orders, each tried once: the best of all."""
    data, valid = words(200, 0), words(100, 1)
    by_hand = {}
    for order in range(5):
        scores = probgen.score(probgen.fit("ngram", data, valid=valid, order=order, seed=3), valid, seed=3)
        by_hand[order] = mean(scores["log_prob"])[0]
    found = probgen.search(
        "ngram", data, valid=valid, options={"order": {"low": 0, "high": 4}}, trials=30, seed=3
    )
    tried = dict(
        zip(found.trials["options.order"].values.tolist(), found.trials["value"].values.tolist(), strict=True)
    )
    assert tried == by_hand
    assert found.options == {"order": max(by_hand, key=lambda order: by_hand[order])} == {"order": 2}
    repeated = np.unique(found.trials["options.order"].values, return_index=True)[1]
    again = np.setdiff1d(np.arange(30), repeated)
    assert (found.trials["seconds"].values[again] == 0).all()  # options that were tried are not fitted again


def test_a_search_is_a_function_of_its_seed(tmp_path: Path) -> None:
    found = undisturbed()
    same(found.trials, nade(tmp_path / "a").trials)
    other = nade(seed=1, trials=3).trials["options.learning_rate"].values
    assert not np.isin(other[1:], found.trials["options.learning_rate"].values).any()
    assert (found.trials["options.hidden"].dtype.kind, *found.trials["options.hidden"].values[:1]) == ("i", 4)
    state = probgen.load(tmp_path / "a" / "best").state
    assert digest_of(state) == digest_of(found.fitted.state)


def test_more_trials_go_on_from_fewer(tmp_path: Path) -> None:
    nade(tmp_path / "a", trials=4)
    same(undisturbed().trials, nade(tmp_path / "a", resume=True).trials)


# killed and resumed


def killed(out: Path, at: Callable[[pytest.MonkeyPatch], None]) -> None:
    """A search in a process that ends as by SIGKILL."""

    def work(tell: Callable[[Any], None]) -> None:
        os.environ["PROBGEN_CHECKPOINT_SECONDS"] = "0"
        with pytest.MonkeyPatch.context() as patch:
            at(patch)
            nade(out)

    done = child.run(work)
    assert done.code == 9, done.errors


def instead(patch: pytest.MonkeyPatch, module: Any, name: str, call: int, after: bool) -> None:
    """End the process in the given call of a function, before or after it."""
    plain, calls = getattr(module, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os._exit(9)
        found = plain(*args, **kwargs)
        if calls == call:
            os._exit(9)
        return found

    patch.setattr(module, name, counted)


@pytest.mark.parametrize(
    ("module", "name", "call", "after"),
    [
        (searching, "begin", 12, True),
        (trials, "validations", 11, True),  # within a fit
        (trials, "score", 5, False),  # the fit has ended
        (searching, "keep_best", 1, False),
        (searching, "write_request", 1, False),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_search_that_was_killed_has_the_same_bits(
    module: Any, name: str, call: int, after: bool, tmp_path: Path
) -> None:
    killed(tmp_path / "a", lambda patch: instead(patch, module, name, call, after))
    found = nade(tmp_path / "a", resume=True)
    same(undisturbed().trials, found.trials)
    assert digest_of(found.fitted.state) == digest_of(undisturbed().fitted.state)


def test_a_trial_whose_end_was_half_written_is_done_again(tmp_path: Path) -> None:
    import optuna

    killed(tmp_path / "a", lambda patch: instead(patch, optuna.Study, "tell", 4, False))
    same(undisturbed().trials, nade(tmp_path / "a", resume=True).trials)


# fits that end early


def attempted(folder: Path, medians: dict[str, list[float]], **options: Any) -> dict[str, Any]:
    told = json.dumps({**NADE_FIT, "learning_rate": 0.05, **options})
    rows = as_dataset(bits(200, 0)), as_dataset(bits(100, 1))
    return trials.attempt("nade", *rows, 0, "cpu", False, 1, told, json.dumps(medians), str(folder))


def test_a_fit_ends_at_the_first_validation_below_the_median(tmp_path: Path) -> None:
    whole = attempted(tmp_path / "a", {})
    (curve,) = whole["curve"].values()
    assert (whole["state"], whole["steps"], len(curve)) == ("done", 12, 3)
    just = [value - 1e-9 for value in curve]
    assert attempted(tmp_path / "b", {"fit": just})["curve"] == whole["curve"]
    for i in range(2):  # 3 validations of 4 steps: a third is over after the first one
        bars = [*just[:i], curve[i] + 1e-9, *just[i + 1 :]]
        ended = attempted(tmp_path / f"c{i}", {"fit": bars})
        assert (ended["state"], ended["steps"], ended["value"]) == ("pruned", 4 * (i + 1), None)
        assert ended["curve"] == {"fit": curve[: i + 1]}
        assert not (tmp_path / f"c{i}" / "model.h5").exists()
        again = attempted(tmp_path / f"c{i}", {"fit": bars})  # as after a kill before it was written down
        assert ended | {"seconds": 0} == again | {"seconds": 0}
    late = attempted(tmp_path / "d", {"fit": [*just[:2], 0.0]})
    assert late["value"] == whole["value"]  # a fit that is over is scored


def test_validations_before_an_interruption_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best validation so far may have been seen by a process that is no more."""
    (curve,) = attempted(tmp_path / "a", {})["curve"].values()
    bars = {"fit": [-99.0, curve[1] + 1e-9]}  # ends it at the second validation
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "0")

    class Stop:
        @probgen.hookimpl
        def step(self, step: int) -> None:
            if step == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), probgen.observing(Stop()):
        attempted(tmp_path / "b", bars)
    ended = attempted(tmp_path / "b", bars)
    assert (ended["state"], ended["steps"]) == ("pruned", 8)
    assert ended["curve"] == {"fit": curve[:2]}


def test_medians_are_of_fits_that_came_to_their_end() -> None:
    def receipt(state: str, *curve: float) -> dict[str, Any]:
        return {"state": state, "curve": {"fit": list(curve)}}

    done = {i: receipt("done", float(i), 10.0 * i) for i in range(4)}
    assert trials.medians_of(done, 9) == {"fit": []}  # of too few
    done[4] = receipt("done", 4.0)
    done[5] = receipt("pruned", -100.0, -100.0)
    assert trials.medians_of(done, 9) == {"fit": [2.0]}
    done[6] = receipt("done", 5.0, 60.0)
    assert trials.medians_of(done, 9) == {"fit": [2.5, 20.0]}
    assert trials.medians_of(done, 6) == {"fit": [2.0]}  # of trials before


def test_a_search_prunes_and_says_so(tmp_path: Path) -> None:
    found = undisturbed().trials
    ended = found["state"].values == "pruned"
    assert 0 < ended.sum() < 8
    assert np.isnan(found["value"].values[ended]).all()
    assert set(nade(prune=False, trials=11).trials["state"].values) == {"done"}


def test_what_diverges_or_is_refused_is_a_state(tmp_path: Path) -> None:
    found = probgen.search(
        "nade",
        bits(200, 0),
        valid=bits(100, 1),
        options={"learning_rate": [0.01, 1e30]},
        trials=12,
        epochs=1,
        learning_rate=0.01,
    )
    by_rate = dict(zip(found.trials["options.learning_rate"].values.tolist(), found.trials["state"].values.tolist(), strict=True))  # fmt: skip
    assert by_rate == {"0.01": "done", "1e+30": "diverged"}
    assert found.best == 0
    with pytest.raises(RunError, match="no trial is complete"):
        probgen.search("nade", bits(200, 0), valid=bits(100, 1), options={"learning_rate": [1e29, 1e30]}, trials=2, learning_rate=1e30)  # fmt: skip
    table = probgen.search(  # no table of so many levels is as large as the order wants it
        "ngram", words(200, 0), valid=words(100, 1), options={"order": {"low": 1, "high": 24}}, trials=4
    ).trials
    assert set(table["state"].values) == {"done", "refused"}
    assert all("order" in note for note in table["note"].values[table["state"].values == "refused"])


def test_optuna_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    nade(trials=2)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


# refusals


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the search space is empty"),
        ({"hiden": {"low": 2, "high": 4}}, "did you mean 'hidden'"),
        ({"hidden": {"low": 2, "hi": 4}}, "did you mean 'high'"),
        ({"hidden": {"low": 600, "high": 4}}, "not below"),
        ({"hidden": {"low": 0, "high": 600}}, "at least 1 unit"),
        ({"hidden": {"low": 0, "high": 600, "log": True}}, "no logarithm"),
        ({"hidden": {"low": 1.5, "high": 600}}, "a whole number, but 1.5 is not"),
        ({"hidden": {"low": 2, "high": 4}}, "leaves out 500, which is its default"),
        ({"hidden": 4}, "a range"),
        ({"hidden": [500]}, "at least two values"),
        ({"hidden": [500, 500]}, "at least two values"),
        ({"hidden": [500, "many"]}, "at least 1 unit"),
        ({"learning_rate": {"low": -1.0, "high": 1.0}}, "greater than 0"),
        ({"schedule": {"low": 1, "high": 2}}, "is not a number"),
        ({"schedule": ["constant", "cosin"]}, "cosin"),
        ({"hold": {"low": 0.0, "high": 0.5}}, "no effect with schedule = 'constant'"),
    ],
)
def test_ranges_that_cannot_be_are_refused(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        probgen.search("nade", bits(20, 0), valid=bits(10, 1), options=options, out=tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_ranges_are_of_whole_numbers_where_the_option_is_one() -> None:
    space = fitting_space(
        space_of({"hidden": {"low": 2, "high": 8}, "learning_rate": {"low": 0.001, "high": 1}}, "s"),
        NADE.Options,
        {"hidden": 4},
        "s",
    )
    kinds = {name: [type(end) for end in part.ends] for name, part in space.items()}
    assert kinds == {"hidden": [int, int], "learning_rate": [float, float]}
    assert isinstance(space["hidden"], Range)


def test_what_is_asked_of_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotOffered, match="does not implement score"):
        probgen.search(planted, bits(9, 0), valid=bits(9, 1), options={"steps": [1, 2]})
    with pytest.raises(NotOffered, match="scores critic, but a search needs a log-probability"):
        probgen.search("gan", clusters(20, 0), valid=clusters(9, 1), options={"steps": [1, 2]}, steps=1, out=tmp_path / "a")  # fmt: skip
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="trials = 0"):
        nade(trials=0)
    nade(tmp_path / "a", trials=1)
    with pytest.raises(InputError, match="--resume"):
        nade(tmp_path / "a", trials=1)
    with pytest.raises(InputError, match="another search"):
        nade(tmp_path / "a", trials=1, resume=True, seed=1)
    with pytest.raises(InputError, match="another search"):
        probgen.search("nade", bits(200, 0), valid=bits(100, 2), options=NADE_SPACE, trials=2, out=tmp_path / "a", resume=True, **NADE_FIT)  # fmt: skip
    (tmp_path / "a" / "study.db").write_bytes(b"no database" * 99)
    with pytest.raises(RunError, match="cannot be used: file is not a database"):
        nade(tmp_path / "a", trials=1, resume=True)
    nade(tmp_path / "a", trials=1, force=True, seed=1)
    probgen.fit("independent", bits(20, 0), out=tmp_path / "run")
    with pytest.raises(InputError, match="is not a search"):
        nade(tmp_path / "run", trials=1, force=True)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'probgen\[scale\]'"):
        nade(tmp_path / "b")
    assert not (tmp_path / "b").exists()


# of recipes

RECIPE = """
title = "Bits"
[data]
path = "{data}"
split = "train"
valid = "valid"
[models.chain]
family = "nade"
hidden = 4
epochs = 2
batch_size = 50
learning_rate = 1e-3
[score]
split = "test"
[search]
trials = 6
[search.options]
hidden = {{ low = 2, high = 16, log = true }}
learning_rate = {{ low = 1e-3, high = 0.3, log = true }}
"""


def written(folder: Path, test: np.ndarray, text: str = RECIPE) -> str:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "bits.npz", train=bits(200, 0), valid=bits(100, 1), test=test)
    (folder / "bits.toml").write_text(text.format(data=folder / "bits.npz"))
    return str(folder / "bits.toml")


def run(*args: object) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    done = run("search", written(folder, bits(100, 2)), "--out", folder / "out", "--json")
    assert done.exit_code == 0, done.stderr
    (folder / "said.json").write_text(done.stdout)
    return folder


def test_a_folder_of_a_search_and_its_recipe_runs(searched: Path) -> None:
    out, said = searched / "out", json.loads((searched / "said.json").read_text())
    for name in ("study.db", "trials.tsv", "history.png", "importance.png", "best.toml", "recipe.toml"):
        assert (out / name).stat().st_size > 0
    own, best = said["rows"]
    assert own["trial"] == 0
    assert {name: own[name] for name in ("hidden", "learning_rate")} == {"hidden": 4, "learning_rate": 1e-3}
    assert best["validation"] >= own["validation"]
    assert best["validation"] == max(line["value"] for line in said["trials"] if line["value"] is not None)
    (result,) = recipes.execute(recipes.read(str(out / "best.toml")), searched / "run")
    assert digest_of(result.fitted.state) == digest_of(probgen.load(out / "best").state)
    assert result.figures["log_prob"] == best["test"]
    assert (out / "best" / "recipe.toml").exists()
    with xr.open_datatree(out / "best" / "scores.h5") as tree:
        assert tree["/probgen/scores/log_prob"].values.mean() == pytest.approx(best["test"], rel=1e-12)
    recipes.check_search(recipes.read(str(out / "best.toml")))  # and may be searched further


def test_test_rows_are_not_touched(searched: Path, tmp_path: Path) -> None:
    """Rows that no model could take: all trials are the same, and what comes to grief is the end."""
    done = run("search", written(tmp_path, np.full((50, 3), np.nan)), "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 7  # six trials, one refusal
    drop = [line.split("\t")[:5] for line in (searched / "out" / "trials.tsv").read_text().splitlines()]
    assert [
        line.split("\t")[:5] for line in (tmp_path / "out" / "trials.tsv").read_text().splitlines()
    ] == drop
    for name in ("best.toml", "best/model.h5"):
        assert (tmp_path / "out" / name).exists()


def test_splits_are_read_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, seen = recipes.read(written(tmp_path, bits(100, 2)), {"search.trials": 2}), []
    plain = of_recipes.rows_of_split

    def noted(recipe: Any, data_dir: Any, split: Any) -> xr.Dataset:
        seen.append(split)
        return plain(recipe, data_dir, split)

    monkeypatch.setattr(of_recipes, "rows_of_split", noted)
    recipes.search(plan, tmp_path / "out", told=lambda number, receipt: seen.append(number))
    assert seen == ["train", "valid", 0, 1, "test"]


class Backwards:
    """A pool of one process: three jobs are taken at a time, the last is done first. What goes over is plain."""

    def each(
        self,
        work: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        shared: tuple[Any, ...] = (),
        spare: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        rest, first = iter(jobs), 0
        while some := [job for _, job in zip(range(3), rest, strict=False)]:
            for i in reversed(range(len(some))):
                plain = json.loads(json.dumps([*shared, *some[i]]))
                yield first + i, json.loads(json.dumps(work(*plain)))
            first += len(some)


def test_trials_side_by_side(searched: Path, tmp_path: Path) -> None:
    """Proposals are others; a trial is the same as by hand, and the first one the recipe's own."""
    path = written(tmp_path, bits(100, 2))
    found = recipes.search(recipes.read(path), tmp_path / "out", pool=Backwards())
    alone = recipes.search(recipes.read(path), tmp_path / "alone").trials
    assert found.trials["trial"].values.tolist() == list(range(6))
    assert found.trials.isel(trial=0).drop_vars("seconds") == alone.isel(trial=0).drop_vars("seconds")
    x, valid = bits(200, 0), bits(100, 1)
    for i in np.flatnonzero(found.trials["state"].values == "done"):
        told = {
            name: found.trials[f"options.{name}"].values[i].item() for name in ("hidden", "learning_rate")
        }
        fitted = probgen.fit("nade", x, valid=valid, epochs=2, batch_size=50, **told)
        assert mean(probgen.score(fitted, valid)["log_prob"])[0] == found.trials["value"].values[i]


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('valid = "valid"\n', "", "the recipe has no validation rows"),
        ('valid = "valid"\n', 'valid = "train"\n', "the recipe has no validation rows"),
        ('split = "train"\n', "", "the recipe has no validation rows"),
        ("[search]\ntrials = 6\n", "[search]\ntrials = 6\nmodel = 'chian'\n", "did you mean 'chain'"),
        ("[search]\ntrials = 6\n", "[search]\ntrails = 6\n", "did you mean 'trials'"),
        ("hidden = {{ low = 2", "hiden = {{ low = 2", "did you mean 'hidden'"),
        ("low = 2,", "lw = 2,", "did you mean 'low'"),
        ("low = 2,", "low = 5,", "leaves out 4, which is given"),
        ("[score]", "[models.b]\nfamily = 'nade'\n[score]", "search.model is missing"),
        (RECIPE[RECIPE.index("[search]") :], "", "Add a table"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_searched(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in RECIPE
    done = run("search", written(tmp_path, bits(9, 2), RECIPE.replace(old, new)), "--out", tmp_path / "out")
    assert done.exit_code == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_other_commands_ignore_the_table(tmp_path: Path) -> None:
    """A run that was begun before the table was there goes on with it."""
    without = written(tmp_path, bits(100, 2), RECIPE[: RECIPE.index("[search]")])
    list(recipes.execute(recipes.read(without), tmp_path / "run"))
    with_it = written(tmp_path, bits(100, 2))
    list(recipes.execute(recipes.read(with_it), tmp_path / "run", resume=True))


@pytest.mark.parametrize("name", [n for n, p in recipes.shipped().items() if "\n[search]\n" in p.read_text()])
def test_shipped_searches_can_be_done(name: str) -> None:
    for fast in (False, recipes.has_fast(name)):
        model, space = recipes.check_search(recipes.read(name, fast=fast))
        assert space, model
