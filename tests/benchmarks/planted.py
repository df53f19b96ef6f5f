"""Boundaries, projections, layers and measures compared with planted truth, for the number of worlds in the results.

The protocols of the papers are compared as well: a support vector machine on the 2 % extremes (InterFaceGAN),
and the mean of max(change, 0) (HiGAN).
"""

from __future__ import annotations

import time

import numpy as np

from probgen import latents
from tests.planted import Planted

WORLDS = 100


def main() -> None:
    """Print every figure."""
    begun = time.process_time()
    _cosines()
    _layers()
    _two_layers()
    _projection()
    _measures()
    print(f"{time.process_time() - begun:.0f} processor seconds", flush=True)


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))


def _cosines() -> None:
    print("cosine with planted directions, d = 64, 30 worlds of 6: mean (worst)")
    for condition in (1.0, 10.0):
        for noise in (0.3, 1.0):
            for n in (1000, 5000, 10_000):
                said = []
                for method in ("least-squares", "logistic", "svm"):
                    found = []
                    for seed in range(30 if n <= 5000 else 10):
                        world = Planted(seed, condition=condition, noise=noise)
                        b = latents.boundaries(*world.drawn(n), method=method)  # type: ignore[arg-type]
                        found.append(np.abs((b.normal * _unit(world.q)).sum(1)))
                    said.append(f"{method} {np.mean(found):.3f} ({np.min(found):.3f})")
                print(f"  condition {condition:g}, noise {noise}, n = {n}: {', '.join(said)}", flush=True)


def _rescored(world: Planted, seed: int) -> latents.Rescored:
    b = latents.boundaries(*world.drawn(4000))
    styles, among = world.styles(world.codes(500)), world.styles(world.codes(2000))
    return latents.rescore(world.seen, styles, world.ways(b.normal), among=among, seed=seed)


def _layers() -> None:
    found = called = rectified = total = by_t = 0
    for seed in range(2 * WORLDS):
        world = Planted(seed, d=32, cosine=0.3, condition=4, noise=0.5, null=2)
        r = _rescored(world, seed)
        if seed < WORLDS:
            found += int((r.layer[:6] == world.layer).sum())
        total += 2
        called += int((r.layer[6:] >= 0).sum())
        by_t += int((r.p[6:] < 0.05 / world.layers).any(1).sum())
    print(
        f"layers, 39 random directions: {found} of {6 * WORLDS} found and named; null attributes named: {called} of {total}, by the t-test alone {by_t}"
    )
    rng = np.random.default_rng(0)
    for _ in range(
        200
    ):  # one direction, one layer: an attribute that it changes a little, and one that is noise
        real, null = 0.15 + 0.2 * rng.standard_normal(500), rng.standard_normal(500)
        rectified += bool(np.maximum(null, 0).mean() > np.maximum(real, 0).mean())
    print(
        f"mean of max(change, 0): a null attribute ranks above a real one in {rectified} of 200", flush=True
    )


def _two_layers() -> None:
    first = third = total = 0
    for seed in range(40):
        world = Planted(500 + seed, d=32, attributes=4, cosine=0.3, condition=4, noise=0.5, spread=(0.8, 0.6))
        r = _rescored(world, seed)
        total += 4
        first += int((r.layer == world.layer).sum())
        for k, layer in enumerate(world.layer):
            third += bool(np.delete(r.called[k], [layer, layer + 1]).any())
    print(
        f"two layers, 0.8 and 0.6: the heavier one first in {first} of {total}, a third one named in {third}",
        flush=True,
    )


def _projection() -> None:
    for cosine in (0.3, 0.6):
        moved, kept, exact = [], [], []
        for seed in range(30):
            world = Planted(seed, cosine=cosine, condition=4)
            b = latents.boundaries(*world.drawn(5000))
            t, world.noise = world.codes(500), 0.0
            base = world.seen(world.styles(t))

            def change(
                v: np.ndarray, world: Planted = world, t: np.ndarray = t, base: np.ndarray = base
            ) -> np.ndarray:
                return world.seen(world.styles(latents.edit(t, 2 * (t @ v).std() * v, 1))) - base

            for k in range(6):
                alone = change(b.normal[k]).mean(0)
                held = change(latents.project(b.normal[k], np.delete(b.normal, k, 0))).mean(0)
                moved.append(np.abs(np.delete(held, k)).mean() / abs(held[k]))
                kept.append(held[k] / alone[k])
                true = change(latents.project(_unit(world.q[k]), np.delete(world.q, k, 0)))
                exact.append(np.abs(np.delete(true, k, 1)).max())
        print(
            f"projection against five others, cosine {cosine}, n = 5,000: {np.mean(moved):.4f} (worst {np.max(moved):.4f}) of the edited change, "
            f"{np.mean(kept):.2f} of it kept; with true directions {np.max(exact):.0e}",
            flush=True,
        )


def _measures() -> None:
    rng = np.random.default_rng(0)
    n, k = 4000, 6
    f = rng.random((n, k))
    c = (f - 0.5) * np.sqrt(12)
    cases = {
        "identity": c,
        "permuted, with noise": np.c_[-c[:, ::-1], rng.standard_normal((n, 4))],
        "rotated": c @ np.linalg.qr(rng.standard_normal((k, k)))[0],
        "noise": rng.standard_normal((n, 10)),
        "doubled": np.repeat(c, 2, 1) + 0.1 * rng.standard_normal((n, 2 * k)),
    }
    for name, codes in cases.items():
        said = " ".join(f"{value:.3f}" for value in latents.dci(codes, f))
        print(
            f"codes: {name}: DCI {said}, MIG {latents.mig(codes, f):.3f}, SAP {latents.sap(codes, f):.3f}",
            flush=True,
        )
