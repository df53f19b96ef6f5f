"""Sequences of any length: causality, enumeration, NumPy versions of the cells, stretches against the whole, and what is drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import special

import probgen
from probgen import Rows
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.contract.state import digest_of
from probgen.contract.streams import Streams
from probgen.data.describe import event_of
from probgen.distributions import Autoregressive, Categorical
from probgen.errors import InputError, Interrupted
from probgen.models.bases.sequences import choose
from probgen.models.char_rnn import CharRNN, RecurrentConditioner
from probgen.models.transformer import TransformerConditioner
from probgen.models.wavenet import WaveNetConditioner
from probgen.testing.helpers import Stop
from tests.test_autoregressive import FALSE_ALARM, Uncached, g_test, sigmoid
from tests.test_symbols import text

NETS = [
    *(f"{cell}-{layers}" for cell in ("rnn", "gru", "lstm") for layers in (1, 2)),
    "transformer-2",
    "wavenet-2",
]
WINDOW = 4  # of the transformer: what is past it is in each test
SMALL: dict[str, Any] = {"hidden": 8, "window": 5, "batch_size": 3, "epochs": 3, "learning_rate": 0.02}


def net(name: str, levels: int = 3, context: int = 0) -> Any:
    """In float64, with weights far from their start."""
    cell, layers = name.split("-")
    with generators_kept():
        seed_torch(2)
        made: Any
        if cell == "transformer":
            made = TransformerConditioner(Categorical(levels), 8, int(layers), 2, WINDOW, context).double()
        elif cell == "wavenet":
            made = WaveNetConditioner(Categorical(levels), 6, 7, 2, (1, 2), int(layers), context).double()
        else:
            made = RecurrentConditioner(Categorical(levels), 6, int(layers), cell, context).double()  # type: ignore[arg-type]
        for parameter in made.parameters():
            parameter.data = 0.7 * torch.randn_like(parameter)
    return made


class Told(Categorical):
    """A site whose value is told as it is, so that there is a gradient to it."""

    one_hot = False

    def encode(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return x[..., None].to(dtype) * torch.ones(self.levels, dtype=dtype)


def tokens(rows: int, steps: int, levels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, levels, (rows, steps)))


# conditioners


@pytest.mark.parametrize("name", NETS)
def test_each_step_sees_all_before_it_and_nothing_else(name: str) -> None:
    made = net(name)
    made.site = Told(3)
    x = torch.rand(10, 9, dtype=torch.float64)
    seen = (torch.autograd.functional.jacobian(lambda x: made(x).abs().sum((0, 2)), x) != 0).any(1)
    t, s = np.ogrid[:9, :9]
    begin = np.where(
        t < WINDOW, 0, (t - WINDOW) // (WINDOW // 2) * (WINDOW // 2) + WINDOW // 2
    )  # of the window of x_t
    begin = (
        np.maximum(begin - 1, 0) if "transformer" in name else 0 * begin
    )  # its first step is told the one before
    if "wavenet" in name:
        assert made.receptive_field == 1 + 2 * (1 + 2)
        begin = np.maximum(t - made.receptive_field, 0)
    assert (seen.numpy() == ((s < t) & (s >= begin))).all()


@pytest.mark.parametrize("name", NETS)
def test_words_of_three_symbols_sum_to_one_and_draws_have_their_probabilities(name: str) -> None:
    """All 243 words of length 5; 20,000 draws, false-alarm rate 1e-6, which reversed words do not have."""
    p = Autoregressive(net(name), Categorical(3), (5,))
    words = p.enumerate_support()
    table = p.log_prob(words).exp().detach().numpy()
    assert table.sum() == pytest.approx(1, abs=1e-12)
    with generators_kept():
        seed_torch(0)
        draws = p.sample((20_000,)).numpy()
    weights = 3 ** np.arange(5)[::-1]
    assert g_test(np.bincount(draws @ weights, minlength=243), table) > FALSE_ALARM
    assert g_test(np.bincount(draws[:, ::-1] @ weights, minlength=243), table) < FALSE_ALARM


def numbers_by_hand(made: Any, x: np.ndarray, s: np.ndarray | None) -> np.ndarray:
    """The formulas at the head of `probgen.nn.recurrent`, a step at a time: (time, size)."""
    w = {name: value.numpy() for name, value in made.state_dict().items()}
    found = []
    if isinstance(made, TransformerConditioner):
        return np.stack([transformer_by_hand(made, w, x, s, t) for t in range(len(x))])
    if isinstance(made, WaveNetConditioner):
        return wavenet_by_hand(made, w, x, s)
    cell, H, L = made.net.cell, made.net.hidden, made.net.layers
    h, c = np.zeros((L, H)), np.zeros((L, H))
    for t in range(len(x)):
        below = np.zeros(made.site.levels)
        if t:
            below[x[t - 1]] = 1
        below = below if s is None else np.concatenate([below, s])
        for i in range(L):
            W, U, b, d = (
                w[f"net.net.{part}_l{i}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            a, r = W @ below + b, U @ h[i] + d
            if cell == "rnn":
                h[i] = np.tanh(a + r)
            elif cell == "gru":
                reset, z = sigmoid(a[:H] + r[:H]), sigmoid(a[H : 2 * H] + r[H : 2 * H])
                h[i] = (1 - z) * np.tanh(a[2 * H :] + reset * r[2 * H :]) + z * h[i]
            else:
                i_, f, g, o = (a + r).reshape(4, H)
                c[i] = sigmoid(f) * c[i] + sigmoid(i_) * np.tanh(g)
                h[i] = sigmoid(o) * np.tanh(c[i])
            below = h[i]
        found.append(w["out.weight"] @ below + w["out.bias"])
    return np.stack(found)


def transformer_by_hand(
    made: Any, w: dict[str, np.ndarray], x: np.ndarray, s: np.ndarray | None, t: int
) -> np.ndarray:
    """The formula at the head of the file, of one step: (size,)."""
    begin = 0 if t < WINDOW else (t - WINDOW) // (WINDOW // 2) * (WINDOW // 2) + WINDOW // 2
    told = np.zeros((t + 1 - begin, made.site.levels))
    for i in range(begin, t + 1):
        if i:
            told[i - begin, x[i - 1]] = 1
    if s is not None:
        told = np.concatenate([told, np.tile(s, (len(told), 1))], 1)

    def norm(h: np.ndarray, name: str) -> np.ndarray:
        z = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        return z * w[f"{name}.weight"] + w[f"{name}.bias"]

    h = told @ w["e.weight"].T + w["P"][: len(told)]
    for i in range(len(made.blocks)):
        b = f"blocks.{i}"
        parts = norm(h, f"{b}.norm") @ w[f"{b}.QKV.weight"].T + w[f"{b}.QKV.bias"]
        heads = []
        for q, k, v in zip(*(np.split(part, made.heads, 1) for part in np.split(parts, 3, 1)), strict=True):
            a = np.where(np.tri(len(q), dtype=bool), q @ k.T / np.sqrt(q.shape[1]), -np.inf)
            heads.append(special.softmax(a, 1) @ v)
        h = h + np.concatenate(heads, 1) @ w[f"{b}.out.weight"].T + w[f"{b}.out.bias"]
        a = norm(h, f"{b}.norm_2") @ w[f"{b}.hidden.0.weight"].T + w[f"{b}.hidden.0.bias"]
        h = h + a * special.ndtr(a) @ w[f"{b}.hidden.2.weight"].T + w[f"{b}.hidden.2.bias"]
    return norm(h, "norm")[-1] @ w["out.weight"].T


def wavenet_by_hand(made: Any, w: dict[str, np.ndarray], x: np.ndarray, s: np.ndarray | None) -> np.ndarray:
    """Equation 5 and figure 4, all steps of each layer: (time, size)."""
    h = np.zeros((len(x), made.channels))
    h[1:] = w["e.weight"].T[x[:-1]] + w["e.bias"]
    total = np.zeros((len(x), made.hidden.in_channels))
    for i, d in enumerate(made.dilations):
        W, b = w[f"layers.{i}.gates.weight"], w[f"layers.{i}.gates.bias"]
        a = np.zeros((len(x), len(b))) + b
        for t in range(len(x)):
            for k in range(W.shape[2]):
                back = t - (W.shape[2] - 1 - k) * d
                a[t] += W[:, :, k] @ h[back] if back >= 0 else 0
        if s is not None:
            a = a + w[f"layers.{i}.V.weight"] @ s
        f, g = np.split(a, 2, 1)
        y = (np.tanh(f) * sigmoid(g)) @ w[f"layers.{i}.out.weight"][:, :, 0].T + w[f"layers.{i}.out.bias"]
        h, total = h + y[:, : h.shape[1]], total + y[:, h.shape[1] :]
    y = np.maximum(total, 0) @ w["hidden.weight"][:, :, 0].T + w["hidden.bias"]
    return np.maximum(y, 0) @ w["out.weight"][:, :, 0].T + w["out.bias"]


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("name", NETS)
def test_whole_by_stretches_and_by_steps_are_the_formulas(name: str, context: int) -> None:
    made = net(name, 5, context)
    x = tokens(4, 9, 5)
    s = torch.from_numpy(np.random.default_rng(1).standard_normal((4, context))) if context else None
    with torch.no_grad():
        whole = made(x, s)
        for row in range(4):
            expected = numbers_by_hand(made, x[row].numpy(), None if s is None else s[row].numpy())
            np.testing.assert_allclose(whole[row].numpy(), expected, atol=1e-12)
        state = made.start(4, s)
        stretches = [made.scan(x[:, a:b], state) for a, b in pairwise((0, 1, 4, 9))]
        torch.testing.assert_close(torch.cat(stretches, 1), whole)
        for begun in (0, 3, 4, 5):  # a prompt, then steps
            state = made.start(4, s)
            if begun:
                made.scan(x[:, :begun], state)
            steps = [made.step(state, t, x[:, t - 1] if t > begun else None) for t in range(begun, 9)]
            torch.testing.assert_close(torch.stack(steps, 1), whole[:, begun:])


@pytest.mark.parametrize("name", NETS)
def test_draws_with_the_cache_are_those_without(name: str) -> None:
    made = net(name, 5)
    draws = []
    for conditioner in (made, Uncached(made)):
        with generators_kept():
            seed_torch(1)
            draws.append(Autoregressive(conditioner, Categorical(5), (30,)).sample((20,)))
    assert torch.equal(*draws)


# streams


def lengths(*each: int) -> xr.Dataset:
    """Rows of these lengths, with symbols that are numbered through."""
    x = np.zeros((len(each), max(each)), np.int32)
    for row, n in enumerate(each):
        x[row, :n] = sum(each[:row]) + np.arange(n)
    attrs = {"support": "token", "levels": sum(each)}
    return xr.Dataset({"x": (("row", "time"), x, attrs), "length": ("row", np.array(each))})


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("each", [(17,), (4, 1, 9), (5, 5)])
def test_an_epoch_of_streams_has_every_step_and_goes_on_where_it_was(
    each: tuple[int, ...], size: int
) -> None:
    data = lengths(*each)
    streams = Streams(Rows(data, event_of(data)), 4)
    epoch = -(-streams.n // size)
    seen: list[int] = []
    last = [-2] * size
    for t in range(epoch):
        batch = streams.batch(t, size)
        for i in range(size):
            part = batch["x"][i, : batch["length"][i]].tolist()
            starts = np.cumsum([0, *each[:-1]])
            assert bool(batch["first"][i]) == (part[0] in starts or t == 0)
            assert part[0] == last[i] + 1 or batch["first"][i]
            last[i] = part[-1]
            seen += part
    assert set(seen) == set(range(sum(each)))
    assert len(seen) < sum(each) + 4 * size  # streams of one length: the last may come round
    for t in (0, 1):
        again = streams.batch(t + epoch, size)
        assert torch.equal(again["x"], streams.batch(t, size)["x"])


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_what_is_carried_makes_the_losses_of_an_epoch_the_exact_score(cell: str) -> None:
    """In one stream, of weights that stand still."""
    data = text("abracadabra, and so on, abracadabra", "cab")
    fitted = probgen.fit("char-rnn", data, dtype="float64", **{**SMALL, "cell": cell})
    pair: Any = fitted.module.train()
    streams = Streams(Rows(data, fitted.event, dtype=torch.float64), 5)
    total = 0.0
    for t in range(streams.n):
        batch = streams.batch(t, 1)
        parts = pair.loss(n=1, **batch)
        pair.after(parts)
        total += float(parts["loss"].detach()) * int(batch["length"].sum())
    pair.eval()
    assert -total == pytest.approx(float(probgen.score(fitted, data).log_prob.sum()), rel=1e-9)


# behind the hooks


def test_a_long_text_is_scored_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = text("hello world " * 20, "held " * 7)
    fitted = probgen.fit("char-rnn", data, dtype="float64", **SMALL)
    whole = probgen.score(fitted, data, conditionals=True)
    monkeypatch.setattr("probgen.models.bases.sequences.AT_ONCE", 2 * 256 * 7)
    parts = probgen.score(fitted, data, conditionals=True)
    np.testing.assert_allclose(parts.log_prob, whole.log_prob, rtol=1e-12)
    np.testing.assert_allclose(whole.site_log_prob.sum("time"), whole.log_prob)
    assert (whole.site_log_prob.values[1, data.length.values[1] :] == 0).all()


def test_it_learns() -> None:
    """A text that is known by heart after a few epochs; prompts are gone on with as it goes on."""
    data = text("hello world, " * 60, "good bye, " * 30)
    fitted = probgen.fit(
        "char-rnn", data, valid=data, hidden=32, window=20, batch_size=4, epochs=30, learning_rate=0.01
    )
    scores = probgen.score(fitted, data)
    assert (scores.log_prob.values / data.length.values > -0.05).all()
    for prompt, rest in (("good", " bye, good bye"), ("hello w", "orld, hello w")):
        draws = probgen.sample(fitted, 3, given={"x": prompt}, length=len(rest), temperature=0.1)
        wanted = text(prompt + rest, symbols=list(fitted.event.symbols)).x.values[0]
        assert (draws.x.values == wanted).all()


@pytest.mark.parametrize("autocast", [False, True])
def test_a_fit_to_several_lengths_goes_on_in_its_folder(tmp_path: Path, autocast: bool) -> None:
    """From any of its steps, to the same bits: what is remembered between batches, too."""
    data = text("hello world " * 5, "held", "hold " * 3)
    options = SMALL | {"autocast": autocast, "epochs": 1 if autocast else 3}
    whole = probgen.fit("char-rnn", data, valid=data, **options)
    steps = whole.history.sizes["step"]
    for stop in range(1, steps):
        out = tmp_path / str(stop)
        with pytest.raises(Interrupted), probgen.observing(Stop(stop)):
            probgen.fit("char-rnn", data, valid=data, out=out, **options)
        again = probgen.fit("char-rnn", data, valid=data, out=out, resume=True, **options)
        assert digest_of(again.state) == digest_of(whole.state)
        assert digest_of(again.history) == digest_of(whole.history)
        assert probgen.load(out).event == whole.event


def test_labels_tell_texts_apart() -> None:
    data = text(*["aaaaaaaa", "bbbbbbbb"] * 20).assign(label=("row", np.arange(40) % 2, {"levels": 2}))
    fitted = probgen.fit("char-rnn", data, given=["label"], **{**SMALL, "epochs": 30})
    draws = probgen.sample(fitted, 20, given={"label": 1}, length=8)
    assert (draws.x.values == 1).mean() > 0.9


def test_gaps_are_filled_by_the_stated_method() -> None:
    data = text("abababababab" * 10)
    fitted = probgen.fit("char-rnn", data, **{**SMALL, "epochs": 40})
    x = np.array([0, 0, 0, 1, 0, 1])
    observed = np.array([1, 0, 1, 1, 0, 1])
    draws = probgen.sample(fitted, 5, given={"x": x, "observed": observed})
    assert (draws.x.values == [0, 1, 0, 1, 0, 1]).mean() > 0.9
    assert draws.ess.shape == (5,)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, [0, 1, 2, 3]),
        ({"top_k": 2}, [1, 3]),
        ({"top_p": 0.75}, [1, 3]),
        ({"top_p": 0.1}, [3]),
        ({"top_k": 9}, [0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_what_is_drawn_of_the_most_probable(
    options: dict[str, Any], left: list[int], temperature: float
) -> None:
    """20,000 draws have the probabilities to the power 1 / temperature of what is left; false-alarm rate 1e-6."""
    p = np.array([0.1, 0.3, 0.1, 0.5])
    chosen = CharRNN.SampleOptions.model_validate({"temperature": temperature, **options})
    numbers = torch.from_numpy(np.log(p)).expand(20_000, 4) + 3.0
    with generators_kept():
        seed_torch(0)
        draws = choose(Categorical(4), numbers, chosen).numpy()
    sharp = special.softmax(np.log(p) / temperature)
    if "top_p" in options and temperature == 0.5 and options["top_p"] == 0.75:
        left = [1, 3]  # 0.69 and 0.25
    expected = np.where(np.isin(np.arange(4), left), sharp, 0)
    counts = np.bincount(draws, minlength=4)
    assert counts[expected == 0].sum() == 0
    assert len(left) == 1 or g_test(counts, expected / expected.sum()) > FALSE_ALARM


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((4, 3), int), {}, "x is .*, not sequences"),
        (text("abc").assign(x=(("row", "time"), np.zeros((1, 3)))), {}, "needs symbols, at most 4096"),
        (text("abc"), {"cell": "cell"}, "cell = 'cell'"),
    ],
)
def test_bad_input_is_told_in_a_line(data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probgen.fit("char-rnn", data, **SMALL, **options)


def test_a_transformer_learns_and_goes_on_past_its_window() -> None:
    data = text("hello world, " * 60)
    fitted = probgen.fit(
        "transformer",
        data,
        width=16,
        layers=2,
        heads=2,
        window=16,
        batch_size=4,
        epochs=60,
        learning_rate=0.01,
    )
    assert probgen.score(fitted, data).log_prob.item() > -0.1 * data.length.item()
    draws = probgen.sample(fitted, 3, given={"x": "hello"}, length=60, temperature=0.1)
    wanted = text(("hello world, " * 6)[:65], symbols=list(fitted.event.symbols)).x.values[0]
    assert (draws.x.values == wanted).all()
    with pytest.raises(InputError, match="width = 15: it must be a multiple of heads = 2"):
        probgen.fit("transformer", data, width=15, heads=2)


def test_bad_requests_are_told_in_a_line() -> None:
    fitted = probgen.fit("char-rnn", text("abc" * 10), **SMALL)
    for given, message in (("", "x"), ("abd", "'d' is not in the vocabulary of the fit")):
        with pytest.raises(InputError, match=message):
            probgen.sample(fitted, given={"x": given})
    with pytest.raises(InputError, match="temperature = 0"):
        probgen.sample(fitted, temperature=0.0)
