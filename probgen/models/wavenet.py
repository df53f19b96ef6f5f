"""WaveNet (van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior & Kavukcuoglu 2016).

    z = tanh(W_f * x + V_f s) . sigmoid(W_g * x + V_g s)                     eq. 5; s is what the sound is conditioned on

in layers of dilated causal convolutions, of which each adds W_r z to what it was given and W_s z to what is summed up in the
end (figure 4). Drawn sample by sample, each layer keeps what it will be asked for again in a queue (Le Paine et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, Field, field_validator
from torch import Tensor, nn

from probgen.contract.options import refuse_unused
from probgen.distributions import Bernoulli, Categorical, LogisticMixture
from probgen.distributions.autoregressive import State, check_context
from probgen.distributions.sites import Site
from probgen.models.bases.choose import site_for
from probgen.models.bases.sequences import SequenceOptions, SequencePair

DILATIONS = tuple(2**i for i in range(10))
FURTHEST = 1 << 16  # samples that one layer reaches over


class Layer(nn.Module):
    """One dilated convolution with gates: (row, channels, step) to what it adds to both ways.

    kernel  steps that it sees, `dilation` apart
    given   numbers of s
    """

    def __init__(self, channels: int, skip: int, kernel: int, dilation: int, given: int):
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.gates = nn.Conv1d(channels, 2 * channels, kernel, dilation=dilation)
        self.V = nn.Linear(given, 2 * channels, bias=False) if given else None
        self.out = nn.Conv1d(channels, channels + skip, 1)

    def forward(self, x: Tensor, past: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """x, and the `reach` steps before it; returns x for the next layer, what is summed up, and the new past."""
        whole = torch.cat([past, x], 2)
        a = self.gates(whole)
        if self.V is not None and s is not None:
            a = a + self.V(s)[:, :, None]
        f, g = a.chunk(2, 1)
        r, skip = self.out(f.tanh() * g.sigmoid()).split([x.shape[1], self.out.out_channels - x.shape[1]], 1)
        return x + r, skip, whole[:, :, whole.shape[2] - self.reach :]


class WaveNetConditioner(nn.Module):
    """Numbers for each sample from `stacks` stacks of a layer for each dilation."""

    def __init__(
        self,
        site: Site,
        channels: int = 32,
        skip: int = 64,
        kernel: int = 2,
        dilations: Sequence[int] = DILATIONS,
        stacks: int = 2,
        context: int = 0,
    ):
        super().__init__()
        self.site, self.context, self.channels = site, context, channels
        self.e = nn.Linear(site.features, channels)
        each = [d for _ in range(stacks) for d in dilations]
        self.layers = nn.ModuleList(Layer(channels, skip, kernel, d, context) for d in each)
        self.dilations, self.kernel = each, kernel
        self.hidden, self.out = nn.Conv1d(skip, skip, 1), nn.Conv1d(skip, site.size, 1)

    @property
    def each(self) -> list[Layer]:
        """The layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    @property
    def receptive_field(self) -> int:
        """How many samples before it a sample is told: 1 + (kernel - 1) times the sum of the dilations."""
        return 1 + (self.kernel - 1) * sum(self.dilations)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(row, site), (row, context) -> (row, site, size)."""
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Before the first sample: silence, which is nothing at all."""
        check_context(context, self.context)
        w = self.e.weight
        state: State = {"last": w.new_zeros(rows, self.channels)}
        for i, layer in enumerate(self.each):
            state[f"q{i}"] = w.new_zeros(rows, self.channels, layer.reach)
        return state if context is None else {**state, "context": context}

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Numbers of the samples that follow, of which the values are x; in the state they are told."""
        e = self._told(x)
        h = torch.cat([state["last"][:, None], e[:, :-1]], 1).mT
        state["last"] = e[:, -1]
        total: Tensor | None = None
        for i, layer in enumerate(self.each):
            h, skip, state[f"q{i}"] = layer(h, state[f"q{i}"], state.get("context"))
            total = skip if total is None else total + skip
        assert total is not None
        return self.out(self.hidden(total.relu()).relu()).mT

    def step(self, state: State, i: int, previous: Tensor | None) -> Tensor:
        """The last value told, and the next sample asked for: (row,) -> (row, size)."""
        if "weights" not in state:
            self._lay_out(state)
        layers, (U, b), (W, c) = state["weights"]
        h = state["last"] if previous is None else self._told(previous)
        n, t = self.channels, state["t"][0]
        total: Tensor | None = None
        for k, (G, d, out, o, dilation) in enumerate(layers):
            queue, taps = state[f"q{k}"], [h]
            for tap in range(1, self.kernel):
                taps.insert(0, queue[:, (t - tap * dilation) % queue.shape[1]])
            a = torch.addmm(state.get(f"s{k}", d), torch.cat(taps, 1), G)
            queue[:, t % queue.shape[1]] = h
            y = torch.addmm(o, a[:, :n].tanh() * a[:, n:].sigmoid(), out)
            h = h + y[:, :n]
            total = y[:, n:] if total is None else total + y[:, n:]
        state["t"] = (t + 1,)
        assert total is not None
        return torch.addmm(c, torch.addmm(b, total.relu(), U).relu(), W)

    def _lay_out(self, state: State) -> None:
        """Weights for steps, and queues that go round: (row, reach, channels), the step t at t modulo their length."""
        layers = []
        for k, layer in enumerate(self.each):
            gates, out = layer.gates, layer.out
            if layer.V is not None:
                state[f"s{k}"] = layer.V(state["context"]) + gates.bias
            G = gates.weight.permute(2, 1, 0).flatten(0, 1).contiguous()
            layers.append(
                (G, gates.bias, out.weight[:, :, 0].mT.contiguous(), out.bias, int(gates.dilation[0]))
            )
            state[f"q{k}"] = state[f"q{k}"].mT.contiguous()
        head = tuple((part.weight[:, :, 0].mT.contiguous(), part.bias) for part in (self.hidden, self.out))
        state["weights"], state["t"] = (tuple(layers), *head), (0,)

    def _told(self, x: Tensor) -> Tensor:
        if self.site.one_hot:
            return nn.functional.embedding(x.long(), self.e.weight.mT) + self.e.bias
        return self.e(self.site.encode(x, self.e.weight.dtype))


class WaveNetOptions(SequenceOptions):
    """Options of `wavenet`."""

    likelihood: Literal["auto", "categorical", "logistic"] = Field(
        "auto",
        description="of one sample; auto: a softmax over all levels. logistic is a mixture of discretized ones",
    )
    components: int = Field(5, ge=1, description="logistics of each sample")
    channels: int = Field(32, ge=1, description="of each layer")
    skip: int = Field(64, ge=1, description="channels that all layers are summed up in")
    kernel: int = Field(2, ge=2, description="samples that a layer sees")
    dilations: tuple[int, ...] = Field(
        tuple(2**i for i in range(10)),
        min_length=1,
        description="how far apart they are, layer by layer of a stack",
    )
    stacks: int = Field(2, ge=1, le=100, description="of all these layers")
    window: int = Field(2048, ge=1, description="samples in a stretch that a gradient goes through")

    @field_validator("dilations")
    @classmethod
    def _positive(cls, dilations: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= d <= FURTHEST for d in dilations):
            raise ValueError(f"dilations = {dilations}: whole numbers from 1 to {FURTHEST} are needed")
        return dilations


class WaveNet(SequencePair):
    """WaveNet behind the hooks."""

    Options: ClassVar[type[BaseModel]] = WaveNetOptions

    def make_site(self) -> Site:
        """Errors: `InputError` where the likelihood does not suit the data."""
        made: dict[str, Callable[[int], Site]] = {
            "bernoulli": lambda levels: Bernoulli(),
            "categorical": Categorical,
        }
        if self.event.support == "integer":
            made["logistic"] = lambda levels: LogisticMixture(levels, self.options.components)
        site = site_for(self.event, made, self.options.likelihood)
        if not isinstance(site, LogisticMixture):
            refuse_unused(self.options, "it is of likelihood = 'logistic'", "components")
        return site

    def make_conditioner(self) -> WaveNetConditioner:
        """As the options say."""
        o = self.options
        return WaveNetConditioner(
            self.site, o.channels, o.skip, o.kernel, o.dilations, o.stacks, self.context_size
        )
