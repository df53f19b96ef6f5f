"""A training step of each family of sequences compared with the same network in a plain loop, and the speed of sampling.

Sampling is compared with the naive way, a full pass per step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probgen import Event
from probgen.distributions import Autoregressive
from probgen.inference.capture import eager
from probgen.models.char_rnn import CharRNN
from probgen.models.seq2seq import Seq2Seq
from probgen.models.transformer import Transformer
from probgen.models.wavenet import DILATIONS, WaveNet

V, ROWS, STEPS = 65, 32, 128
TEXT = Event(("time",), (None,), "token", V)
SOUND = Event(("time",), (None,), "integer", 256)
PAIRS = Event(("time",), (None,), "token", 2000, {"source": Event(("source_time",), (None,), "token", 2000)})


class PlainRNN(nn.Module):
    """torch's own layer."""

    def __init__(self, layer: type[nn.RNNBase], hidden: int = 256):
        super().__init__()
        self.net, self.out, self.state = layer(V, hidden, batch_first=True), nn.Linear(hidden, V), None

    def forward(self, x: Tensor) -> Tensor:
        told = F.one_hot(F.pad(x, (1, 0))[:, :-1], V).float()
        y, after = self.net(told, self.state)
        self.state = tuple(part.detach() for part in after) if isinstance(after, tuple) else after.detach()  # type: ignore[assignment]
        return F.cross_entropy(self.out(y).flatten(0, 1), x.flatten())


class PlainTransformer(nn.Module):
    """torch's own encoder layers with a causal mask; or, of a source, its own transformer."""

    def __init__(self, levels: int, width: int, layers: int, heads: int, source: bool = False):
        super().__init__()
        how: dict[str, Any] = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.e, self.P = nn.Embedding(levels, width), nn.Parameter(torch.randn(STEPS, width))
        self.source = nn.Embedding(levels, width) if source else None
        self.net: Any
        if source:
            self.net = nn.Transformer(width, heads, layers, layers, 4 * width, **how)
        else:
            layer = nn.TransformerEncoderLayer(width, heads, 4 * width, **how)
            self.net = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, levels, bias=False)

    def forward(self, x: Tensor, s: Tensor | None = None) -> Tensor:
        n = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(n)
        told = F.pad(self.e(x)[:, :-1], (0, 0, 1, 0)) + self.P[:n]
        if self.source is not None and s is not None:
            h = self.net(self.source(s) + self.P[: s.shape[1]], told, tgt_mask=mask, tgt_is_causal=True)
        else:
            h = self.net(told, mask, is_causal=True)
        return F.cross_entropy(self.out(h).flatten(0, 1), x.flatten())


class PlainWaveNet(nn.Module):
    """Convolutions that are padded on the left."""

    def __init__(self, channels: int = 32, skip: int = 64, stacks: int = 2):
        super().__init__()
        self.each = [d for _ in range(stacks) for d in DILATIONS]
        self.e = nn.Embedding(256, channels)
        self.gates = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 2, dilation=d) for d in self.each)
        self.mixed = nn.ModuleList(nn.Conv1d(channels, channels + skip, 1) for _ in self.each)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(skip, skip, 1), nn.ReLU(), nn.Conv1d(skip, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.pad(self.e(x)[:, :-1], (0, 0, 1, 0)).mT
        total: Any = 0
        for d, gates, mixed in zip(self.each, self.gates, self.mixed, strict=True):
            f, g = gates(F.pad(h, (d, 0))).chunk(2, 1)
            y = mixed(f.tanh() * g.sigmoid())
            h, total = h + y[:, : h.shape[1]], total + y[:, h.shape[1] :]
        return F.cross_entropy(self.head(total), x)


def step(
    name: str, pair: Any, batch: dict[str, Tensor], net: nn.Module, plain: Callable[[], Tensor], turns: int
) -> None:
    """The ratio of a step as `svi` takes it to one of the same net in a plain loop, turn about."""
    ours = torch.optim.AdamW(pair.parameters(), fused=True)
    theirs = torch.optim.AdamW(net.parameters(), fused=True)
    work, times = eager(pair), []
    for _ in range(turns + 1):
        begun = time.perf_counter()
        work(batch)
        ours.step()
        between = time.perf_counter()
        theirs.zero_grad()
        plain().backward()
        theirs.step()
        times.append((between - begun, time.perf_counter() - between))
    a, b = (statistics.median(t) for t in zip(*times[1:], strict=True))
    ratio = statistics.median(a / b for a, b in times[1:])
    print(
        f"step of {name}: ours {a * 1e3:.1f} ms, plain loop {b * 1e3:.1f} ms, ratio {ratio:.3f}", flush=True
    )


def stretch(rows: int, steps: int, levels: int) -> dict[str, Tensor]:
    """A batch as `Streams` cuts one."""
    length, first = torch.full((rows,), steps), torch.zeros(rows, dtype=torch.bool)
    return {"x": torch.randint(levels, (rows, steps)), "length": length, "first": first}


def training(turns: int) -> None:
    """All families."""
    batch = stretch(ROWS, STEPS, V)
    for cell, layer in (("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)):
        options = CharRNN.Options.model_validate({"cell": cell, "hidden": 256, "batch_size": ROWS})
        net: Any = PlainRNN(layer)
        step(
            f"{cell} of 256, {ROWS} x {STEPS}",
            CharRNN(options, TEXT),
            batch,
            net,
            lambda net=net: net(batch["x"]),
            turns,
        )
    options = Transformer.Options.model_validate({"width": 128, "layers": 4, "heads": 4, "window": STEPS})
    net = PlainTransformer(V, 128, 4, 4)
    step(
        f"transformer, 4 layers of 128, {ROWS} x {STEPS}",
        Transformer(options, TEXT),
        batch,
        net,
        lambda: net(batch["x"]),
        turns,
    )
    options = Seq2Seq.Options.model_validate(
        {"width": 128, "layers": 3, "heads": 4, "dropout": 0.0, "window": STEPS}
    )
    net, pairs = PlainTransformer(2000, 128, 3, 4, source=True), stretch(64, 20, 2000)
    given = {"x": pairs["x"], "source": torch.randint(2000, (64, 20))}
    step(
        "seq2seq, 3 and 3 layers of 128, 64 x 20",
        Seq2Seq(options, PAIRS),
        given,
        net,
        lambda: net(*given.values()),
        turns,
    )
    sounds = stretch(8, 2048, 256)
    made: Any = WaveNet(WaveNet.Options(), SOUND)
    net, sounds["x"] = PlainWaveNet(), sounds["x"].float()
    made.loss(n=8, **{**sounds, "first": ~sounds["first"]})  # something is remembered
    step(
        "wavenet, two stacks of ten, 8 x 2048",
        made,
        sounds,
        net,
        lambda: net(sounds["x"].long()),
        max(3, turns // 4),
    )


def drawn(pair: Any, rows: int, steps: int) -> float:
    """Seconds for so many rows and steps."""
    options = pair.SampleOptions.model_validate({"length": steps})
    begun = time.perf_counter()
    pair.draw(rows, {}, options)
    return time.perf_counter() - begun


def naive(pair: Any, rows: int, steps: int) -> float:
    """The same, the whole net being asked anew at every step; at the end of so many steps, of which a few are taken."""
    x, few = torch.zeros(rows, steps, dtype=torch.int64), 10
    begun = time.perf_counter()
    for _ in range(few):
        p = Autoregressive(pair.conditioner, pair.site, (steps,)).conditionals(x)
        p.sample()
    return (time.perf_counter() - begun) / few * steps


def drawing() -> None:
    """Steps a second, and how much faster than the naive way; the naive transformer sees what is there so far, half of it on average."""
    with torch.no_grad():
        for cell in ("lstm", "gru", "rnn"):
            options = CharRNN.Options.model_validate({"cell": cell, "hidden": 256})
            pair: Any = CharRNN(options, TEXT).eval()
            drawn(pair, 1, 100)
            print(f"{cell} of 256: {4000 / drawn(pair, 1, 4000):,.0f} characters a second", flush=True)
        options = Transformer.Options.model_validate({"width": 128, "layers": 4, "heads": 4, "window": 256})
        pair = Transformer(options, TEXT).eval()
        drawn(pair, 1, 100)
        cached, begun = drawn(pair, 1, 250), time.perf_counter()
        for i in range(250):
            pair.conditioner(torch.zeros(1, i + 1, dtype=torch.int64))
        anew = time.perf_counter() - begun
        print(
            f"transformer, 250 characters: {250 / cached:,.0f} a second, {anew / cached:.1f} times as fast as without a cache",
            flush=True,
        )
        pair = WaveNet(WaveNet.Options(), SOUND).eval()
        for rows in (1, 8):
            drawn(pair, rows, 100)
            short, long = drawn(pair, rows, 2000), drawn(pair, rows, 8000)
            ratio = naive(pair, rows, 8000) / long
            print(
                f"wavenet, {rows} x 8,000 samples: {long:.2f} s, {long / 8:.3f} ms per sample, {short / 2:.3f} for 2,000; "
                f"{ratio:.0f} times as fast as the naive way",
                flush=True,
            )


def main() -> None:
    """Print ratios."""
    training(20)
    drawing()
