"""Translation by attention (Bahdanau, Cho & Bengio 2015; as a transformer: Vaswani et al. 2017).

    p(x | s) = prod_t p(x_t | x_<t, h),    h = encoder(s)                          s the source, x the target

In the encoder, every step of the source attends to all steps. The decoder is causal in x, and attends to all
of h. If x is a text, a line feed ends it. Sampling then stops at the line feed, and p(x | s) is a
distribution over texts of every length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import xarray as xr
from pydantic import BaseModel, Field, field_validator, model_validator
from torch import Tensor

from probgen.codecs.texts import END
from probgen.contract.event import Event
from probgen.contract.fitted import Fitted
from probgen.contract.options import SET, only
from probgen.contract.rows import Rows, evenly
from probgen.contract.run import Run
from probgen.distributions.sites import Categorical
from probgen.errors import InputError
from probgen.inference.beam import beam
from probgen.inference.svi import svi
from probgen.models.bases.sequences import ContinuationOptions, SequencePair
from probgen.models.transformer import Encoder, TransformerConditioner, TransformerOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS = 4  # rows in the figure of the attention


class TranslationOptions(ContinuationOptions):
    """Options of sampling or searching a translation; `top_k = 1` takes the best symbol at each step."""

    beams: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="size of a beam search for the most probable x; None: sample x",
    )
    length_penalty: float = Field(
        1.0,
        ge=0,
        description="beam search divides log p(x) by the length to this power; 0: the most probable x",
        json_schema_extra=only(beams=SET),
    )

    @model_validator(mode="after")
    def _searched(self) -> TranslationOptions:
        drawn = ("temperature", "top_k", "top_p")
        asked = [name for name in drawn if getattr(self, name) != type(self).model_fields[name].default]
        if self.beams is not None and asked:
            raise ValueError(
                f"beams = {self.beams}: beam search does not sample, so {', '.join(asked)} would have no "
                "effect. "
                "Leave one of them out."
            )
        return self


class Seq2SeqOptions(TransformerOptions):
    """Options of `seq2seq`."""

    given: tuple[str, ...] = Field(("source",), description="name of the sequence that x is conditioned on")
    encoder_layers: int = Field(3, ge=1, le=100, description="number of blocks of the encoder")
    layers: int = Field(3, ge=1, le=100, description="number of blocks of the decoder")
    window: int = Field(128, ge=2, description="most steps of x that the decoder sees")

    @field_validator("given")
    @classmethod
    def _one(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(given) != 1:
            raise ValueError("the model has one condition. Give the name of one sequence.")
        return given


class Seq2Seq(SequencePair):
    """A sequence-to-sequence transformer for translation: x given a source sequence.

    The source is `given={"source": ...}`: symbols, or a text if the event of the source has symbols.

    Args:
        options: The options of the family.
        event: The event that x is: sequences of symbols, conditioned on one sequence.
    """

    Options: ClassVar[type[BaseModel]] = Seq2SeqOptions
    SampleOptions: ClassVar[type[ContinuationOptions]] = TranslationOptions
    site: Categorical
    longest: Tensor

    def __init__(self, options: Any, event: Event):
        (self.name,) = options.given
        source = event.given[self.name]
        if source.support not in ("token", "integer", "binary") or len(source.dims) != 1:
            raise InputError(f"given {self.name!r} is {source}, not a sequence of symbols. Give symbols.")
        super().__init__(options, event)
        self.register_buffer("longest", torch.tensor(0))

    @property
    def end(self) -> int | None:
        """The number of the symbol that ends a text, or None."""
        return self.event.symbols.index(END) if END in self.event.symbols else None

    @property
    def steps(self) -> int | None:
        """The default number of sampled steps: the length of the longest row of the fit."""
        return int(self.longest) or super().steps

    def make_site(self) -> Categorical:
        """Return the site of one step.

        Returns:
            A categorical site with at least two levels.

        Raises:
            InputError: When x is not symbols.
        """
        if not self.event.discrete:
            raise InputError(f"x is {self.event}, not symbols. Give x as symbols.")
        return Categorical(max(2, self.event.levels or 2))

    def make_conditioner(self) -> TransformerConditioner:
        """Return the conditioner, by the options."""
        o = self.options
        levels = self.event.given[self.name].levels or 2
        encoder = Encoder(levels, o.width, o.encoder_layers, o.heads, o.dropout)
        return TransformerConditioner(
            self.site, o.width, o.layers, o.heads, o.window, dropout=o.dropout, encoder=encoder
        )

    def context(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the source of each row.

        Args:
            given: The conditions by name, with the source and optionally its length.

        Returns:
            Symbols, (row, source step), -1 past the end of a row.
        """
        source, length = given[self.name].long(), given.get(f"{self.name}_length")
        if length is None:
            return source
        source = source[:, : int(length.max())]
        there = torch.arange(source.shape[1], device=source.device) < length[:, None]
        return torch.where(there, source, -1)

    def learn(self, data: Rows, run: Run) -> None:
        """Fit to complete rows.

        Args:
            data: The rows of the fit.
            run: The run of the fit.

        Raises:
            InputError: When a row has symbols after its end.
        """
        x = data.dataset
        self._check_ends(data)
        self.longest.fill_(int(x["length"].max()) if "length" in x else x.sizes["time"])
        svi(self, data, run, self.training_plan())

    def _check_ends(self, data: Rows) -> None:
        if self.end is None:
            return
        first = 0
        for batch in data.chunks():
            x = batch["x"]
            ends = x == self.end
            later = (ends.cumsum(1) > ends.long()) & ~ends
            if "length" in batch:
                later &= torch.arange(x.shape[1], device=x.device) < batch["length"][:, None]
            if later.any():
                row = first + int(later.any(1).nonzero()[0])
                raise InputError(
                    f"x, row {row}: symbols come after {END!r}, which ends a text. Remove the symbols after "
                    "it."
                )
            first += len(x)

    def loss(
        self,
        x: Tensor,
        *,
        n: int,
        length: Tensor | None = None,
        first: Tensor | None = None,
        stream: Tensor | None = None,
        **given: Tensor,
    ) -> dict[str, Tensor]:
        """Return the mean of -log p(x | s) over time steps, for complete rows, in nats."""
        x = x if length is None else x[:, : int(length.max())]
        return super().loss(x, n=n, length=length, first=first, stream=stream, **given)

    def complete(self, x: Tensor, observed: Tensor, options: Any, **given: Tensor) -> dict[str, Tensor]:
        """Sample the missing steps of each row, and return also the length of each text."""
        found = super().complete(x, observed, options, **given)
        return found | self._counted(found["x"])

    def go_on(self, x: Tensor, given: dict[str, Tensor], options: Any, steps: int) -> dict[str, Tensor]:
        """Continue x by beam search, or by sampling; return also the length of each text."""
        if options.beams is None or not steps:
            return self._counted(super().go_on(x, given, options, steps)["x"])
        found = beam(
            self.with_end,
            self.site,
            x,
            steps,
            beams=options.beams,
            end=self.end,
            length_penalty=options.length_penalty,
            context=self.context(given),
        )
        return self._counted(found)

    def _counted(self, x: Tensor) -> dict[str, Tensor]:
        """Return x, and for texts also the length up to and including the end."""
        if self.end is None:
            return {"x": x}
        before = (x != self.end).long().cumprod(1).sum(1)
        return {"x": x, "length": (before + 1).clamp(max=x.shape[1])}

    @staticmethod
    def pictures(fitted: Fitted, data: xr.Dataset, *, seed: int, device: str | None) -> dict[str, Figure]:
        """Return the figure `attention`: the attention of each step of a few rows to their source.

        Args:
            fitted: The fitted family.
            data: Rows with their sources.
            seed: The seed; unused.
            device: The device; unused.

        Returns:
            Figures by name.
        """
        from probgen import figures  # here, because only figures need Matplotlib

        pair, event = fitted.module, fitted.event
        assert isinstance(pair, Seq2Seq)
        rows = Rows(evenly(data, MAPS), event, device=pair.longest.device)
        batch = next(rows.chunks())
        x, source = batch["x"], pair.context(batch)
        with torch.no_grad():
            seen = pair.conditioner.attention(x, source).cpu().numpy()
        length = batch.get("length", torch.full((rows.n,), x.shape[1]))
        maps = [
            (
                seen[i, : length[i], : (source[i] >= 0).sum()],
                _names(event, x[i, : length[i]]),
                _names(event.given[pair.name], source[i][source[i] >= 0]),
            )
            for i in range(rows.n)
        ]
        title = figures.of_model(fitted, "Attention of each symbol to the source")
        return {"attention": figures.attention(maps, title)}


def _names(event: Event, x: Tensor) -> list[str]:
    return [repr(event.symbols[i])[1:-1] if event.symbols else str(i) for i in x.tolist()]
