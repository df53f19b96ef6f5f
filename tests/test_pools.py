"""Draws and scores in parts on a pool: the same bits whoever makes them, and whatever happens to a worker."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from distributed import Client
from typer.testing import CliRunner

import probgen
from probgen import recipes
from probgen.api import parting, pools, sampling, scoring
from probgen.api.loading import packed
from probgen.api.pools import Pool, pool_of
from probgen.cli import app
from probgen.contract.fitted import Fitted
from probgen.contract.state import digest_of
from probgen.data import check
from probgen.errors import FileError, InputError, RunError
from probgen.plugins.family import Family
from probgen.recipes.plan import named_in
from probgen.store import opened as module
from probgen.store.parts import PARTS
from probgen.store.trees import read_dataset

ROWS, DRAWS = 33_000, 40_000


@pytest.fixture(scope="module")
def two() -> Iterator[Client]:
    """Two processes of one thread."""
    with pool_of(2) as pool:
        assert pool is not None
        yield pool.client


@pytest.fixture(scope="module")
def threads() -> Iterator[Client]:
    """One worker of four threads, in this process."""
    with Client(
        processes=False,
        n_workers=1,
        threads_per_worker=4,
        dashboard_address="127.0.0.1:0",
        set_as_default=False,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def exact(x: np.ndarray) -> Fitted:
    return probgen.fit("mixture", x[:500], components=3)


@pytest.fixture(scope="module")
def bound(x: np.ndarray) -> Fitted:
    return probgen.fit("vae", x[:200], latent=2, hidden=(8,), steps=5)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of some thousand rows."""
    monkeypatch.setattr(sampling, "part_bytes", lambda total: 1 << 17)
    monkeypatch.setattr(scoring, "part_bytes", lambda total: 1 << 17)


def bits(folder: Path) -> str:
    return digest_of(probgen.open_parts(folder).load())


def double(x: int) -> int:
    return 2 * x


def refused(x: int) -> int:
    if x == 3:
        raise InputError("x = 3: another one is needed")
    return x


def broken(x: int) -> int:
    raise OSError("no such\ndevice")


def threads_of(x: int) -> int:
    return torch.get_num_threads()


def warned(x: int) -> int:
    warnings.warn("take care", stacklevel=1)
    return x


_inside = threading.Lock()


def by_itself(x: int) -> bool:
    """Whether no other job of this process is done meanwhile."""
    alone = _inside.acquire(blocking=False)
    time.sleep(0.01)
    if alone:
        _inside.release()
    return alone


# the pool


def test_a_pool_is_none_where_none_is_wanted() -> None:
    with pool_of(None) as pool:
        assert pool is None


def test_jobs_come_back_each_with_its_number_and_few_are_under_way(threads: Client) -> None:
    asked = 0

    def jobs() -> Iterator[tuple[int]]:
        nonlocal asked
        for i in range(50):
            asked += 1
            yield (i,)

    found = {}
    for done, (i, result) in enumerate(Pool(threads).each(double, jobs()), 1):
        assert asked <= done + 4  # two a worker and two
        found[i] = result
    assert found == {i: 2 * i for i in range(50)}


def test_jobs_of_one_process_wait_for_each_other(threads: Client) -> None:
    assert all(alone for _, alone in Pool(threads).each(by_itself, [(i,) for i in range(20)]))


def test_errors_come_back_as_they_are(threads: Client) -> None:
    pool = Pool(threads)
    with pytest.raises(InputError, match=r"^x = 3: another one is needed$"):
        list(pool.each(refused, [(i,) for i in range(9)]))
    with pytest.raises(RunError, match=r"^job 0 failed: OSError: no such device$"):
        list(pool.each(broken, [(0,)]))
    with pytest.warns(UserWarning, match="^take care$") as said:
        assert sorted(i for i, _ in pool.each(warned, [(0,), (1,)])) == [0, 1]
    assert len(said) == 1


def test_a_worker_has_the_threads_of_this_process(two: Client) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert dict(Pool(two).each(threads_of, [(0,), (1,)])) == {0: 3, 1: 3}
    finally:
        torch.set_num_threads(before)


def test_other_versions_are_refused(two: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tuple((name, "0.0" if name in ("numpy", "torch") else v) for name, v in pools._versions())
    monkeypatch.setattr(pools, "_versions", lambda: other)
    has = f" has torch {torch.__version__}, not 0.0, numpy {np.__version__}, not 0.0: its results would"
    with pytest.raises(InputError, match=r"^worker tcp://127.0.0.1:\d+" + re.escape(has)):
        Pool(two)


@pytest.mark.parametrize("cluster", [0, -1, True, 1.5, object()])
def test_what_is_no_cluster_is_refused(cluster: Any) -> None:
    with (
        pytest.raises(InputError, match="a number of processes, the address of a scheduler"),
        pool_of(cluster),
    ):
        pytest.fail("let in")


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ANSWER", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(InputError, match="no scheduler answers at this address") as refusal,
            pool_of(address),
        ):
            pytest.fail("let in")
    assert "\n" not in str(refusal.value)


# the same bits


MODELS = ["exact", "bound"]


@pytest.mark.parametrize("model", MODELS)
def test_draws_are_the_same_whoever_makes_them(
    model: str, request: pytest.FixtureRequest, two: Client, threads: Client, tmp_path: Path
) -> None:
    fitted = request.getfixturevalue(model)
    wanted = digest_of(probgen.sample(fitted, DRAWS, seed=1))
    clients = {"none": None, "two": two, "threads": threads, "address": two.scheduler.address}
    for name, client in clients.items():
        files = probgen.sample_to(tmp_path / name, fitted, DRAWS, seed=1, client=client)
        assert len(files) == 5
        assert bits(tmp_path / name) == wanted, name


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_the_same_whoever_works_them_out(
    model: str, request: pytest.FixtureRequest, x: np.ndarray, two: Client, threads: Client, tmp_path: Path
) -> None:
    fitted = request.getfixturevalue(model)
    n, options = (ROWS, {}) if model == "exact" else (20_000, {"k": 2})
    data = xr.Dataset(
        {"x": (("row", "feature"), x[:n]), "weight": ("row", np.arange(n) % 3)}, {"row": np.arange(n) + 7}
    )
    wanted = probgen.score(fitted, data, seed=1, **options)
    plain = tmp_path / "x.nc"
    data.to_netcdf(plain)
    for name, client in {"none": None, "two": two, "threads": threads}.items():
        for where, rows in {"memory": data, "file": plain}.items():
            folder = tmp_path / f"{name}-{where}"
            files = probgen.score_to(folder, fitted, rows, seed=1, client=client, **options)
            assert len(files) > 2
            found = probgen.open_parts(folder)
            assert found["log_prob"].attrs == wanted["log_prob"].attrs
            names = ["log_prob", "weight"]
            assert digest_of(found[names].drop_vars("row", errors="ignore").load()) == digest_of(
                wanted[names].drop_vars("row")
            ), folder
            if where == "memory":
                np.testing.assert_array_equal(found["row"], data["row"])


def test_draws_given_something_are_the_same(exact: Fitted, two: Client, tmp_path: Path) -> None:
    rows = np.array([[0.5, np.nan, 1, np.nan], [np.nan, 1.0, np.nan, np.nan], [2.0, np.nan, 0, 1]])
    given = xr.Dataset({"x": (("row", "feature"), rows)}, {"row": ["a", "b", "c"]})
    wanted = probgen.sample(exact, 9_000, given=given, seed=2)
    probgen.sample_to(tmp_path, exact, 9_000, given=given, seed=2, client=two)
    found = probgen.open_parts(tmp_path)
    assert digest_of(found.drop_vars("row").load()) == digest_of(wanted.drop_vars("row"))
    assert found["row"].values.tolist() == ["a", "b", "c"]
    assert found["x"].dims == ("sample", "row", "feature")


def test_scores_of_rows_of_several_lengths_are_the_same(threads: Client, tmp_path: Path) -> None:
    texts = ["".join(np.random.default_rng(i).choice(list("ab "), 3 + i % 9)) + "\n" for i in range(700)]
    path = tmp_path / "x.txt"
    path.write_text("".join(texts))
    fitted = probgen.fit("ngram", str(path))
    wanted = probgen.score(fitted, str(path))
    probgen.score_to(tmp_path / "parts", fitted, str(path), client=threads)
    assert bits(tmp_path / "parts") == digest_of(wanted)


# what happens on the way


def test_a_worker_that_is_killed_costs_no_part(exact: Fitted, two: Client, tmp_path: Path) -> None:
    wanted, n = digest_of(probgen.sample(exact, 120_000, seed=4)), 0

    class Killer:
        @probgen.hookimpl
        def step(self) -> None:
            nonlocal n
            n += 1
            if n == 2:
                pid = next(iter(two.run(os.getpid).values()))
                os.kill(pid, signal.SIGKILL)

    with probgen.observing(Killer()):
        files = probgen.sample_to(tmp_path, exact, 120_000, seed=4, client=two)
    assert n == len(files) == 15
    assert bits(tmp_path) == wanted
    assert not list(tmp_path.glob(".*.tmp"))


def test_parts_go_on_after_an_interruption(exact: Fitted, x: np.ndarray, two: Client, tmp_path: Path) -> None:
    class Stop:
        @probgen.hookimpl
        def step(self) -> None:
            raise KeyboardInterrupt

    for name, call in calls(exact, x).items():
        folder = tmp_path / name
        with pytest.raises(KeyboardInterrupt), probgen.observing(Stop()):
            call(folder, client=two)
        there = {file: file.stat().st_mtime_ns for file in folder.glob("part-*.h5")}
        assert there
        with pytest.raises(FileError, match=r"lacks part \d of \d. Repeat the call"):
            probgen.open_parts(folder)
        files = call(folder, client=two if name == "draws" else None)
        assert len(files) > len(there)
        assert {file: file.stat().st_mtime_ns for file in there} == there
        wanted = probgen.sample(exact, DRAWS, seed=5) if name == "draws" else probgen.score(exact, x, seed=5)
        assert bits(folder) == digest_of(wanted)
        files[1].write_bytes(files[1].read_bytes()[:-9])
        call(folder, client=two)
        assert bits(folder) == digest_of(wanted)


def calls(fitted: Fitted, x: np.ndarray) -> dict[str, Callable[..., list[Path]]]:
    return {
        "draws": lambda folder, **more: probgen.sample_to(folder, fitted, DRAWS, seed=5, **more),
        "scores": lambda folder, **more: probgen.score_to(folder, fitted, x, seed=5, **more),
    }


def test_a_folder_of_something_else_is_refused(exact: Fitted, x: np.ndarray, tmp_path: Path) -> None:
    probgen.score_to(tmp_path / "a", exact, x)
    with pytest.raises(InputError, match="holds scores with rows_sha256 = "):
        probgen.score_to(tmp_path / "a", exact, x + 1)
    with pytest.raises(InputError, match="holds scores with seed = 0, but seed = 1 was requested"):
        probgen.score_to(tmp_path / "a", exact, x, seed=1)
    weighted = xr.Dataset({"x": (("row", "feature"), x), "weight": ("row", np.ones(ROWS))})
    with pytest.raises(InputError, match="holds scores with beside_sha256 = "):
        probgen.score_to(tmp_path / "a", exact, weighted)
    with pytest.raises(InputError, match=r"a holds no samples\. Choose another folder"):
        probgen.sample_to(tmp_path / "a", exact, 10)


def test_a_worker_writes_to_no_other_folder(exact: Fitted, threads: Client, tmp_path: Path) -> None:
    """One that does not see the folder, or comes late, when it is that of another request."""
    model, about, given = sampling._asked(exact, 10, None, 0, None, {}).packed()
    jobs = [(0, 0, 10)]
    for place in ((str(tmp_path / "none"), "0" * 64), (str(tmp_path), "0" * 64)):
        with pytest.raises(RunError, match="is not the folder of this request"):
            list(Pool(threads).each(sampling._draw_part, jobs, (model, about, given, place)))
    assert not list(tmp_path.iterdir())


def test_a_file_that_changes_is_refused(exact: Fitted, x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    source = scoring._source(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", x[:-1])
    assert source is not None
    with pytest.raises(InputError, match="is not the file that was checked, or has changed since"):
        scoring._opened(packed(exact), source)


def test_a_family_that_workers_do_not_find_is_refused(threads: Client, tmp_path: Path) -> None:
    fitted = probgen.fit("independent", np.zeros((4, 2)) + np.arange(4)[:, None])
    own = dataclasses.replace(fitted, definition=Family("independent", fitted.definition.source, "__main__"))
    with pytest.raises(InputError, match="is defined in your script, so workers cannot find it"):
        probgen.sample_to(tmp_path / "a", own, 3, client=threads)
    assert not (tmp_path / "a").exists()


# all parts as one


@pytest.fixture(scope="module")
def opened(exact: Fitted, tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset, Path]:
    """Draws in parts, and the same in memory."""
    folder = tmp_path_factory.mktemp("opened") / "draws"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "part_bytes", lambda total: 1 << 17)
        files = probgen.sample_to(folder, exact, DRAWS, seed=6)
    whole = xr.concat([read_dataset(file, "samples") for file in files], "sample", combine_attrs="drop")
    return probgen.open_parts(folder), whole, folder


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(8190, 8195),
        slice(100, 39_000, 4096),
        slice(None, None, -1),
        slice(30_000, 100, -777),
        slice(5, 5),
        0,
        -1,
        8192,
        [8191, 8192, 0, 39_999, 8191],
        np.array([], dtype=int),
        np.arange(DRAWS)[::-1][:9000],
    ],
)
def test_all_parts_are_read_as_one(rows: Any, opened: tuple[xr.Dataset, xr.Dataset, Path]) -> None:
    lazy, whole, _ = opened
    for more in ({}, {"feature": [3, 1]}, {"feature": 2}, {"feature": slice(1, 3)}):
        found, wanted = lazy.isel(sample=rows, **more), whole.isel(sample=rows, **more)
        for name in whole.data_vars:
            np.testing.assert_array_equal(found[name].values, wanted[name].values)
            assert found[name].dims == wanted[name].dims
            assert found[name].dtype == wanted[name].dtype


def test_pointwise_selection_and_selections_of_selections(
    opened: tuple[xr.Dataset, xr.Dataset, Path],
) -> None:
    lazy, whole, _ = opened
    at = {"sample": xr.DataArray([1, 8192, 30_000], dims="p"), "feature": xr.DataArray([0, 3, 1], dims="p")}
    np.testing.assert_array_equal(lazy["x"].isel(at).values, whole["x"].isel(at).values)
    twice = lazy["x"][8000:20_000][::3][100:1000, 1]
    np.testing.assert_array_equal(twice.values, whole["x"][8000:20_000][::3][100:1000, 1].values)


def test_a_part_is_read_when_its_rows_are_wanted(
    opened: tuple[xr.Dataset, xr.Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = module.read_dataset
    monkeypatch.setattr(
        module, "read_dataset", lambda file, group: read.append(file.name) or real(file, group)
    )
    lazy = probgen.open_parts(opened[2])
    assert read == ["part-000000.h5"]
    assert lazy.sizes["sample"] == DRAWS
    assert lazy["x"].isel(sample=slice(9000, 20_000)).shape == (11_000, 4)
    assert len(read) == 1
    _ = lazy["x"].isel(sample=slice(9000, 20_000)).values
    assert read[1:] == ["part-000001.h5", "part-000002.h5"]


def test_attributes_are_those_of_the_draws(
    opened: tuple[xr.Dataset, xr.Dataset, Path], exact: Fitted
) -> None:
    lazy, _, _ = opened
    draws = probgen.sample(exact, 10, seed=6)
    assert lazy["x"].attrs == draws["x"].attrs
    assert {k: v for k, v in lazy.attrs.items() if k != "created"} == {
        k: v for k, v in draws.attrs.items() if k != "created"
    }


def test_a_damaged_part_is_named(exact: Fitted, tmp_path: Path) -> None:
    files = probgen.sample_to(tmp_path, exact, DRAWS)
    lazy = probgen.open_parts(tmp_path)
    content = bytearray(files[2].read_bytes())
    content[len(content) // 2] ^= 1
    files[2].write_bytes(content)
    assert np.isfinite(lazy["x"].isel(sample=slice(0, 16_000))).all()
    with pytest.raises(FileError, match=r"part-000002.h5 is damaged"):
        lazy["x"].load()
    files[1].unlink()
    with pytest.raises(FileError, match="lacks part 1 of 5"):
        probgen.open_parts(tmp_path)
    (tmp_path / PARTS).unlink()
    with pytest.raises(FileError, match=r"holds no parts.toml"):
        probgen.open_parts(tmp_path)


# the command line


def test_bad_clusters_are_refused_on_the_command_line(
    exact: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "ANSWER", 1)
    exact.save(tmp_path / "model.h5")
    np.save(tmp_path / "x.npy", np.zeros((9, 4)))
    (tmp_path / "file").write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        for command in (
            ["sample", str(tmp_path)],
            ["score", str(tmp_path), "--data", str(tmp_path / "x.npy")],
        ):
            for cluster, out, message in (
                ("many", "o", "--cluster many: a number of at least 1"),
                ("0", "o", "--cluster 0: a number of at least 1"),
                ("2", "o.h5", "workers write parts to a folder"),
                ("2", "file", "workers write parts to a folder"),
                (silent, "o", "no scheduler answers at this address"),
            ):
                done = CliRunner().invoke(
                    app, [*command, "--cluster", cluster, "--out", str(tmp_path / out), "-q"]
                )
                assert done.exit_code == 2, done.output
                assert message in done.stderr
                assert done.stderr.count("\n") == 1
            assert CliRunner().invoke(app, [*command, "--cluster", "2"]).exit_code == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "model.h5", "x.npy"]


def test_commands_share_the_work(exact: Fitted, x: np.ndarray, two: Client, tmp_path: Path) -> None:
    exact.save(tmp_path / "model.h5")
    np.save(tmp_path / "x.npy", x)
    address = two.scheduler.address
    for command, wanted in (
        (["sample", "-n", str(DRAWS), "--seed", "3"], probgen.sample(exact, DRAWS, seed=3)),
        (["score", "--data", str(tmp_path / "x.npy")], probgen.score(exact, x)),
    ):
        for name, cluster in (("alone", []), ("shared", ["--cluster", address])):
            out = tmp_path / f"{command[0]}-{name}"
            done = CliRunner().invoke(
                app, [command[0], str(tmp_path), *command[1:], *cluster, "--out", str(out), "--quiet"]
            )
            assert done.exit_code == 0, done.output
            assert bits(out) == digest_of(wanted)


def test_models_of_a_recipe_are_fitted_side_by_side(two: Client, tmp_path: Path) -> None:
    """Those that are built on others after these; with the bits of a recipe that is run alone."""
    (tmp_path / "r.toml").write_text(
        '[data]\nname = "iris"\n[models.one]\nfamily = "mixture"\ncomponents = 2\nsteps = 5\n'
        '[models.two]\nfamily = "independent"\n[models.three]\nfamily = "vae"\nlatent = 1\nhidden = [4]\nepochs = 2\n'
    )
    plan = recipes.read(str(tmp_path / "r.toml"), {})
    alone = list(recipes.execute(plan, tmp_path / "alone"))
    shared = list(recipes.execute(plan, tmp_path / "shared", pool=Pool(two)))
    for one, other in zip(alone, shared, strict=True):
        assert digest_of(one.fitted.state) == digest_of(other.fitted.state)
        assert one.figures == other.figures
        assert (other.run / "model.h5").read_bytes()
    again = list(recipes.execute(plan, tmp_path / "shared", resume=True, pool=Pool(two)))
    assert [result.figures for result in again] == [result.figures for result in alone]
    built = recipes.read("rooms-inversion", {})
    chains = {name: named_in(model.options) for name, model in built.models.items()}
    assert any(chains.values())
    assert all(chain <= set(built.models) for chain in chains.values())


# the pass over the values, which checks and digests them


@pytest.mark.parametrize("shape", [(4,), (None,)])
def test_workers_check_a_file_as_one_process_does(
    two: Client, exact: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int | None]
) -> None:
    """The same digest, the same order of errors; the values do not go through this process, and threads of it do not wait for one another."""
    monkeypatch.setattr(check, "SHARED", 2)
    monkeypatch.setattr(check, "SPAN", 1)
    fitted = exact if shape == (4,) else probgen.fit("ngram", texts(50), order=1)
    rows = np.random.default_rng(0).normal(size=(2_500_000, 4)).astype(np.float32)  # three blocks of 16 MiB
    data = xr.Dataset({"x": (("row", "feature"), rows)}) if fitted is exact else texts(2_500_000)
    file = tmp_path / "x.h5"
    data.to_netcdf(file, engine="h5netcdf")
    alone = passed(fitted, file, None)
    looked = check.look
    monkeypatch.setattr(check, "look", lambda *_: pytest.fail("this process has read the values"))
    monkeypatch.setattr(scoring, "look", looked)  # the workers are threads of this process
    assert passed(fitted, file, Pool(two)) == alone
    name = "x" if fitted is exact else "length"
    data[name][[1_200_000, 2_400_000]] = (
        np.inf if fitted is exact else 9
    )  # in the second block and in the last one
    data.to_netcdf(file, engine="h5netcdf")
    with pytest.raises(InputError) as of_workers:
        passed(fitted, file, Pool(two))
    monkeypatch.setattr(check, "look", looked)
    with pytest.raises(InputError) as of_one:
        passed(fitted, file, None)
    assert str(of_workers.value) == str(of_one.value)
    assert "1200000" in str(of_one.value)


def texts(n: int) -> xr.Dataset:
    """Rows of 4 and 5 of six symbols."""
    rng = np.random.default_rng(0)
    x = xr.DataArray(
        rng.integers(0, 6, (n, 8)), dims=("row", "time"), attrs={"support": "token", "levels": 6}
    )
    return xr.Dataset({"x": x, "length": ("row", rng.integers(4, 6, n))})


def passed(fitted: Fitted, file: Path, pool: Pool | None) -> str:
    """The digest of the rows that a score takes."""
    source = scoring._source(file)
    assert source is not None
    run, wanted = scoring._asked(fitted, 0, None, {})
    looked = scoring._looked_by(lambda: pool, fitted, source, "cpu") if pool else None
    assert (pool is None) == (looked is None)
    assert looked != []
    return scoring._taken(fitted, file, run, wanted, looked)[1].digest


def test_a_pool_of_threads_does_not_wait_for_the_call_that_started_it(
    two: Client, exact: Fitted, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs are isolated calls, and so was the one that checked the data: both would wait for ever."""
    monkeypatch.setattr(check, "SHARED", 1)
    np.save(tmp_path / "x.npy", x)
    probgen.score_to(tmp_path / "out", exact, tmp_path / "x.npy", client=two)
    assert np.array_equal(probgen.open_parts(tmp_path / "out").log_prob, probgen.score(exact, x).log_prob)


def test_parts_grow_with_the_request() -> None:
    assert [parting.part_bytes(n << 20) >> 20 for n in (1, 64, 1024, 2048, 4096, 100_000)] == [
        16,
        16,
        16,
        32,
        64,
        64,
    ]


# parts that are not what their names say


def test_a_part_of_another_place_or_request_is_written_again(
    exact: Fitted, x: np.ndarray, tmp_path: Path
) -> None:
    """Copied over another part, or from a folder of the same shape: both have a valid checksum."""
    files = probgen.sample_to(tmp_path / "a", exact, 20_000, seed=1)
    others = probgen.sample_to(tmp_path / "b", exact, 20_000, seed=2)
    assert len(files) >= 3
    wanted = bits(tmp_path / "a")
    for harmed, by in ((files[1], files[0]), (files[2], others[2])):
        harmed.write_bytes(by.read_bytes())
        with pytest.raises(FileError, match="is not part"):
            bits(tmp_path / "a")
        probgen.sample_to(tmp_path / "a", exact, 20_000, seed=1)
        assert bits(tmp_path / "a") == wanted
