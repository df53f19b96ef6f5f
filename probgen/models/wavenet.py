"""WaveNet (van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior & Kavukcuoglu 2016).

    z = tanh(W_f * x + V_f s) . sigmoid(W_g * x + V_g s)               eq. 5; s is the condition of the sound

The layers are dilated causal convolutions. Each layer adds W_r z to its input, and W_s z to the sum of all
layers at the output (figure 4). When a sound is sampled step by step, each layer stores its last inputs in a
queue (Le Paine et al. 2016). In this module, a sample is one value of a sound.
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
FURTHEST = 1 << 16  # largest dilation, in samples


class Layer(nn.Module):
    """One gated, dilated convolution, with a residual and a skip output.

    Args:
        channels: Channels of the input.
        skip: Channels of the skip output.
        kernel: Number of steps that the convolution reads, `dilation` apart.
        dilation: Distance between these steps.
        given: Number of context numbers s.
    """

    def __init__(self, channels: int, skip: int, kernel: int, dilation: int, given: int):
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.gates = nn.Conv1d(channels, 2 * channels, kernel, dilation=dilation)
        self.V = nn.Linear(given, 2 * channels, bias=False) if given else None
        self.out = nn.Conv1d(channels, channels + skip, 1)

    def forward(self, x: Tensor, past: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs of the layer.

        Args:
            x: The input, (row, channel, step).
            past: The `reach` steps before x, (row, channel, reach).
            s: The context, (row, given), or None.

        Returns:
            The input of the next layer, the skip output, and the new past.
        """
        whole = torch.cat([past, x], 2)
        a = self.gates(whole)
        if self.V is not None and s is not None:
            a = a + self.V(s)[:, :, None]
        f, g = a.chunk(2, 1)
        r, skip = self.out(f.tanh() * g.sigmoid()).split([x.shape[1], self.out.out_channels - x.shape[1]], 1)
        return x + r, skip, whole[:, :, whole.shape[2] - self.reach :]


class WaveNetConditioner(nn.Module):
    """WaveNet as a conditioner of sequences of any length.

    Args:
        site: The site of one sample.
        channels: Channels of each layer.
        skip: Channels of the sum of all layers.
        kernel: Samples that each layer reads.
        dilations: Dilation of each layer of a stack.
        stacks: Number of stacks.
        context: Number of context numbers per row.
    """

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
        """All layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    @property
    def receptive_field(self) -> int:
        """The number of earlier samples that a sample depends on: 1 + (kernel - 1) * sum(dilations)."""
        return 1 + (self.kernel - 1) * sum(self.dilations)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the site parameters of all samples.

        Args:
            x: The rows, (row, step).
            context: The context, (row, context), or None.

        Returns:
            Site parameters, (row, step, size).
        """
        return self.scan(x, self.start(len(x), context))

    def start(self, rows: int, context: Tensor | None) -> State:
        """Return the state before the first sample: all inputs are zero."""
        check_context(context, self.context)
        w = self.e.weight
        state: State = {"last": w.new_zeros(rows, self.channels)}
        for i, layer in enumerate(self.each):
            state[f"q{i}"] = w.new_zeros(rows, self.channels, layer.reach)
        return state if context is None else {**state, "context": context}

    def scan(self, x: Tensor, state: State) -> Tensor:
        """Return the site parameters of the next samples, with values x (row, step); add x to the state."""
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
        """Return the site parameters of the next sample (row, size), given the previous value (row,)."""
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
        """Prepare weights for steps, and circular queues (row, reach, channels), step t at t mod reach."""
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
        description="distribution of each value; auto: softmax over all levels; logistic: mixture of "
        "logistics",
    )
    components: int = Field(5, ge=1, description="logistics in the mixture (likelihood = logistic only)")
    channels: int = Field(32, ge=1, description="channels of each layer")
    skip: int = Field(64, ge=1, description="channels of the sum of all layers")
    kernel: int = Field(2, ge=2, description="values of the sound that each layer reads")
    dilations: tuple[int, ...] = Field(
        tuple(2**i for i in range(10)),
        min_length=1,
        description="distance between the values that a layer reads, for each layer of a stack",
    )
    stacks: int = Field(2, ge=1, le=100, description="number of stacks of layers, one layer per dilation")
    window: int = Field(2048, ge=1, description="time steps that gradients are propagated through")

    @field_validator("dilations")
    @classmethod
    def _positive(cls, dilations: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= d <= FURTHEST for d in dilations):
            raise ValueError(f"a dilation is out of range. Give whole numbers from 1 to {FURTHEST}.")
        return dilations


class WaveNet(SequencePair):
    """WaveNet: dilated causal convolutions over sounds or other sequences.

    Args:
        options: The options of the family.
        event: The event that x is: sequences of levels.
    """

    Options: ClassVar[type[BaseModel]] = WaveNetOptions

    def make_site(self) -> Site:
        """Return the site of one sample, by the event and the options.

        Returns:
            The site.

        Raises:
            InputError: When the likelihood does not suit the data.
        """
        made: dict[str, Callable[[int], Site]] = {
            "bernoulli": lambda levels: Bernoulli(),
            "categorical": Categorical,
        }
        if self.event.support == "integer":
            made["logistic"] = lambda levels: LogisticMixture(levels, self.options.components)
        site = site_for(self.event, made, self.options.likelihood)
        if not isinstance(site, LogisticMixture):
            refuse_unused(self.options, "it needs likelihood = 'logistic'", "components")
        return site

    def make_conditioner(self) -> WaveNetConditioner:
        """Return the conditioner, by the options."""
        o = self.options
        return WaveNetConditioner(
            self.site, o.channels, o.skip, o.kernel, o.dilations, o.stacks, self.context_size
        )
