"""A training step of a recurrent net against a plain loop around torch's own layer, and characters drawn a second."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from probgen import Event
from probgen.inference.capture import eager
from probgen.models.char_rnn import CharRNN

V, H, ROWS, STEPS = 65, 256, 32, 128


def training(turns: int) -> None:
    """The ratio of a step as `svi` takes it to one of the same net in a plain loop."""
    event = Event(("time",), (None,), "token", V)
    for cell, layer in (("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)):
        options = CharRNN.Options.model_validate({"cell": cell, "hidden": H, "batch_size": ROWS})
        pair: Any = CharRNN(options, event)
        plain, out = layer(V, H, batch_first=True), nn.Linear(H, V)
        ours = torch.optim.AdamW(pair.parameters(), fused=True)
        theirs = torch.optim.AdamW([*plain.parameters(), *out.parameters()], fused=True)
        x = torch.randint(V, (ROWS, STEPS))
        batch = {"x": x, "length": torch.full((ROWS,), STEPS), "first": torch.zeros(ROWS, dtype=torch.bool)}
        work, state, times = eager(pair), None, []
        for _ in range(turns + 1):
            begun = time.perf_counter()
            work(batch)
            ours.step()
            between = time.perf_counter()
            theirs.zero_grad()
            told = F.one_hot(F.pad(x, (1, 0))[:, :-1], V).float()
            y, after = plain(told, state)
            F.cross_entropy(out(y).flatten(0, 1), x.flatten()).backward()
            theirs.step()
            state = tuple(part.detach() for part in after) if cell == "lstm" else after.detach()
            times.append((between - begun, time.perf_counter() - between))
        a, b = (statistics.median(t) for t in zip(*times[1:], strict=True))
        ratio = statistics.median(a / b for a, b in times[1:])
        print(
            f"{cell} of {H}, {ROWS} x {STEPS}: ours {a * 1e3:.1f} ms, plain loop {b * 1e3:.1f} ms, ratio {ratio:.3f}",
            flush=True,
        )


def drawing(steps: int) -> None:
    """Characters a second of one text, and what torch's own layer gives step by step."""
    event = Event(("time",), (None,), "token", V)
    for cell in ("lstm", "gru", "rnn"):
        options = CharRNN.Options.model_validate({"cell": cell, "hidden": H})
        pair: Any = CharRNN(options, event).eval()
        asked = CharRNN.SampleOptions.model_validate({"length": steps})
        net = pair.conditioner.net.net
        with torch.no_grad():
            pair.draw(1, {}, asked)
            begun = time.perf_counter()
            pair.draw(1, {}, asked)
            ours = steps / (time.perf_counter() - begun)
            state, told = None, torch.zeros(1, 1, V)
            begun = time.perf_counter()
            for _ in range(steps // 4):
                y, state = net(told, state)
                chosen = torch.multinomial(pair.conditioner.out(y[:, 0]).softmax(1), 1)
                told = F.one_hot(chosen, V).float()
            theirs = steps // 4 / (time.perf_counter() - begun)
        print(
            f"{cell} of {H}: {ours:,.0f} characters a second, nn layer {theirs:,.0f}, {ours / theirs:.1f} times",
            flush=True,
        )


def main() -> None:
    """Print ratios."""
    training(20)
    drawing(4000)
