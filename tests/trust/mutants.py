"""One-line changes in the mathematics: each makes plausible numbers that are wrong, and the tests have to see it.

A mutant is a copy of the project with one line changed; it is killed if the tests that are named for it fail. Survivors
are listed, with the reason where the change turns out to be none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.trust.crash import Tally

ROOT = Path(__file__).parents[2]
AUTOREGRESSIVE = "tests/test_autoregressive.py tests/test_autoregressive_families.py"
LATENT = "tests/test_latent_inference.py"
VAE = "tests/test_vae.py"
CODES = "tests/test_code_families.py"
DISTRIBUTIONS = "tests/test_distributions.py tests/test_autoregressive.py"
MIXTURE = "tests/test_mixture.py"


@dataclass(frozen=True)
class Mutant:
    """`old` stands once in `file` and becomes `new`."""

    file: str
    old: str
    new: str
    tests: str

    def __str__(self) -> str:
        return f"{self.file}: {self.old.strip()}  ->  {self.new.strip()}"


def of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutant]:
    return [Mutant(f"probgen/{file}", old, new, tests) for old, new in changes]


def of_plugin(package: str, file: str, tests: str, *changes: tuple[str, str]) -> list[Mutant]:
    place = f"plugins/{package}"
    path = f"{place}/{package.replace('-', '_')}/{file}"
    return [Mutant(path, old, new, f"{place}/{tests}") for old, new in changes]


MUTANTS = [
    *of(
        "contract/descent.py", "tests/test_processes.py -k gradient+or+same_bits",
        ("run.part, run.share = m, 1 / run.parts", "run.part, run.share = 0, 1 / run.parts"),
        ("seed_torch(key(run.seed, run.stage, run.t, turn, m))", "pass"),
        ("        _put(buffers, before)\n        for weight", "        for weight"),
        ("weight.grad = None", "pass"),
        ("w.grad * share for w in weights", "w.grad / run.parts for w in weights"),
        ("buffers[i].copy_(before[i] + total", "buffers[i].copy_(total"),
        ("for m in range(run.parts)])", "for m in reversed(range(run.parts))])"),
    ),
    *of(
        "contract/world.py", "tests/test_processes.py -k sum+or+same_bits+or+refuse+or+stop",
        ("for i in range(n) if alone else self.share(n):", "for i in self.share(n):"),
        ("value = [a + b for a, b in zip(first, second, strict=True)]", "value = first"),
        ("raise error if error is not None and who == self.rank else kind(told", "return\n        raise kind(told"),
        ("return whole[:P].to(device)", "return part[:P].to(device)"),
        ("if what[name] != value:", "if False:"),
    ),
    *of(
        "contract/run.py", "tests/test_processes.py -k stop+or+same_bits",
        ("said = self.world.all(stop, due).any(0)", "said = self.world.all(stop, due)[self.world.rank].bool()"),
    ),
    *of(
        "readers/classes.py", "tests/test_tables.py tests/test_table_names.py",
        ("codes.get(RARE, -1))", "-1)"),
        ("if name in codes), codes", "if name in codes and name != name.strip()), codes"),
        ("        yield repr(float(value))\n", ""),
        ("yield name_of_class(value)", "yield str(value)"),
    ),
    *of(
        "readers/tables.py", "tests/test_table_names.py",
        ("[mark for mark in marks if mark not in classes]", "marks"),
        ("plain.where(~cells.isin(classes), cells)", "plain"),
        ("if cell or cell in known else", "if cell else"),
        ("[] if name in classes else marks for name", "marks for name"),
    ),
    *of(
        "readers/series.py", "tests/test_table_names.py",
        ("if np.array_equal(one, other, equal_nan=True):", "if True:"),
        ("return _typed(found.astype(numbers), column.dtype)", "return found.astype(numbers)"),
    ),
    *of(
        "api/framing.py", "tests/test_table_names.py",
        ("csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL", "csv.QUOTE_MINIMAL"),
    ),
    *of(
        "data/check.py", "tests/test_table_names.py",
        ("    _refuse_scale(x, seen.low, seen.high)\n", ""),
    ),
    *of(
        "inference/elbo.py", f"{LATENT} -k bound_is+or+parts+or+latents_one+or+without+or+scaled+or+another_order",
        ("return self.reconstruction - self.divergence", "return self.reconstruction + self.divergence"),
        ("return q.log_prob(n) - p.log_prob(n)", "return p.log_prob(n) - q.log_prob(n)"),
        ("kl.flatten(kl.ndim - a[1]).sum(-1)", "kl.flatten(kl.ndim - a[1]).mean(-1)"),
        ("(score - score.detach()) * found.bound.detach()", "(score.detach() - score) * found.bound.detach()"),
        ("in_order = list(q) == [name for name in p if name in q]", "in_order = True"),
    ),
    *of(
        "inference/importance.py", f"{LATENT} -k bound_is+or+iwae+or+error+or+memory+or+chosen+or+renyi",
        ("return log_p.reshape(k, n) - proposal.log_q", "return log_p.reshape(k, n) + proposal.log_q"),
        ("return log_p.reshape(k, n) - proposal.log_q", "return log_p.reshape(n, k).T - proposal.log_q"),
        (".logsumexp(0) - math.log(len(log_w))) / (1 - alpha)", ".logsumexp(0)) / (1 - alpha)"),
        ("- math.log(len(log_w))) / (1 - alpha)", "- math.log(len(log_w)))"),
        ("log_w.std(0) / math.sqrt(len(log_w))", "log_w.std(0) / len(log_w)"),
        ("return bound, (k - 1) / math.sqrt(k) * without.std(0)", "return bound, math.sqrt(k) * without.std(0)"),
        ("((1 - alpha) * log_w.T).softmax(1), followed", "(alpha * log_w.T).softmax(1), followed"),
        ("mean = log_weights(pair, x, some, **given).mean(0)", "mean = log_weights(pair, x, some, **given).sum(0)"),
        ("yield min(k - start, most)", "yield most"),
    ),
    *of(
        "inference/annealed.py", f"{LATENT} -k chains+or+weights_are",
        ("log_w = log_w + (now - before) * (at.target - at.start)", "log_w = log_w + (now - before) * at.target"),
        ("log_w = log_w + (now - before) * (at.target - at.start)", "log_w = log_w + now * (at.target - at.start)"),
        ("at.where(torch.rand_like(p) >= p, proposal), p", "at.where(torch.rand_like(p) >= 1, proposal), p"),
        ("- momentum.square().sum(-1) / 2 - begun", "+ momentum.square().sum(-1) / 2 - begun"),
        ("return (1 - b) * self.d_start + b * self.d_target", "return b * self.d_start + (1 - b) * self.d_target"),
        ("return -renyi(-self.log_w, 0)", "return renyi(self.log_w, 0)"),
        ("log_w = log_w + (b[t + 1] - b[t]) * (at.target - at.start)", "log_w = log_w - (b[t + 1] - b[t]) * (at.target - at.start)"),
        ("for t in range(steps - 1, -1, -1):", "for t in range(steps - 1, 0, -1):"),
    ),
    *of(
        "inference/pareto.py", f"{LATENT} -k pareto+or+smoothed",
        ("threshold = ordered[-M - 1].exp()", "threshold = ordered[-M].exp()"),
        ("return (n * k + 5) / (n + 10), -k / best", "return k, -k / best"),
        ("log_likelihood = n * (torch.log(-theta / k) - k - 1)", "log_likelihood = n * (torch.log(-theta / k) + k - 1)"),
        ("[:, None] + 0.5) / size", "[:, None] + 1.0) / (size + 1)"),
    ),
    *of("inference/active.py", f"{LATENT} -k active", ("mean.var(0, unbiased=False)", "mean.var(1, unbiased=False)")),
    *of(
        "inference/normal_moments.py", MIXTURE,
        ("P = inverse.mT @ inverse", "P = inverse @ inverse.mT"),
        ("log_det = L.diagonal(dim1=-2, dim2=-1).log().sum(-1)", "log_det = 0.0 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1)"),
        ("torch.where(i == j, -0.5, -1.0)", "torch.where(i == j, -0.5, -0.5)"),
        ("constant = (-0.5 * mu.square() * p - log_sigma", "constant = (-0.5 * mu.square() * p + log_sigma"),
        ("_unpacked(second, D) - cross - cross.mT +", "_unpacked(second, D) - cross - cross +"),
        ("second - 2 * mu * first + n * mu.square()", "second - 2 * mu * first - n * mu.square()"),
    ),
    *of(
        "contract/rows.py", "tests/test_rows.py",
        ("square + part_square + step.square() * total * part / both", "square + part_square"),
    ),
    *of(
        "models/mixture.py", MIXTURE,
        ("part.logsumexp(0) for part", "part.amax(0) for part"),
        ('sums["log_likelihood"] - jacobian', 'sums["log_likelihood"] + jacobian'),
        ("S = second - n[:, None, None] * d[:, :, None] * d[:, None]", "S = second"),
        ("sigma = S[alive] / n[alive, None, None] + torch.diag(ridge)", "sigma = (S[alive] + torch.diag(ridge)) / n[alive, None, None]"),
        ("self.log_pi.copy_((n / n.sum())", "self.log_pi.copy_((n / len(n))"),
        ("self.mu.add_(d)", "self.mu.sub_(d)"),
        ("pyro.factor(\"weight\", (weight - 1) * self.objective(x, observed))", "pyro.factor(\"weight\", weight * self.objective(x, observed))"),
        ("case \"spherical\":\n                return self.L[z].exp()[..., None] * self.scale", "case \"spherical\":\n                return self.L[z].exp()[..., None] / self.scale"),
        ("+ torch.einsum(\"kn,nkij->kij\", r, covariance)", ""),
    ),
    *of(
        "distributions/observed_normal.py", MIXTURE,
        ("log_det + o.sum(-1) * math.log(2 * math.pi)", "log_det + o.shape[-1] * math.log(2 * math.pi)"),
        ("return mean, free - explained", "return mean, free"),
        ("log_det = 2 * tril.diagonal", "log_det = tril.diagonal"),
        ("self._filled(value, self.rsample(), self.scale_tril @ self.scale_tril.mT, o)", "self._filled(value, self.loc, self.scale_tril @ self.scale_tril.mT, o)"),
    ),
    *of(
        "distributions/discretized_logistic.py", DISTRIBUTIONS,
        ("width = torch.log(-torch.expm1(-1 / self.s))", "width = -self.s.log()"),
        ("torch.where(left, logsigmoid(b), torch.where(right, logsigmoid(-a), inner))", "inner"),
    ),
    *of(
        "distributions/discretized.py", f"{DISTRIBUTIONS} tests/test_superresolution.py -k discretized+or+logistic+or+tails+or+decibels",
        (".round().clamp(0, self.levels - 1)", ".floor().clamp(0, self.levels - 1)"),
        ("self.log_cdf((self.mu - v - 0.5) / self.s)", "self.log_cdf((self.mu - v) / self.s)"),
        ("near, far = self.log_cdf(-a), self.log_cdf(-b)", "near, far = self.log_cdf(-b), self.log_cdf(-a)"),
        ("torch.where(value < 0.5, down, torch.where(value > self.levels - 1.5, up, inner))", "inner"),
    ),
    *of(
        "models/bases/scaling.py", "tests/test_superresolution.py -k kernel",
        ("torch.where(at < n, at, 2 * n - 1 - at)", "torch.where(at < n, at, 2 * n - 2 - at).clamp(min=0)"),
        ("border = -(-3 * scale // 2)", "border = 3 * scale // 2 - 1"),
    ),
    *of(
        "contract/patches.py", "tests/test_superresolution.py -k patches",
        ('side="right"', 'side="left"'),
        ("self._free[row]", "self._free[0]"),
    ),
    *of(
        "models/subscale.py", "tests/test_superresolution.py -k probability_one+or+loss_of_one",
        ("known = (rank[None] < turn[:, None])", "known = (rank[None] <= turn[:, None])"),
        ("known[:, phase] = True", "known[:, 0] = True"),
    ),
    *of(
        "distributions/vectors.py", f"tests/test_distributions.py {VAE} -k vector+or+normal+or+paper+or+posterior",
        ("return 0.5 * (r * r + d * d - 1) - r.log()", "return 0.5 * (r * r + d * d - 1) + r.log()"),
        ("r, d = self.scale / p.scale, (self.loc - p.loc) / p.scale", "r, d = p.scale / self.scale, (self.loc - p.loc) / self.scale"),
        ("return torch.addcmul(self.loc, self.scale, e)", "return torch.addcmul(self.loc, self.scale.square(), e)"),
    ),
    *of(
        "distributions/sites.py", DISTRIBUTIONS,
        ("DiscretizedLogistic(half * (1 + mu), half * _scale(s), levels)", "DiscretizedLogistic(half * (1 + mu), _scale(s), levels)"),
        ("p.probs @ torch.arange(self.levels,", "p.probs @ torch.arange(1, self.levels + 1,"),
        ("dist.Normal(mu, _scale(s)))", "dist.Normal(s, _scale(mu)))"),
        ("(x[..., None] * (2 / max(1, levels - 1)) - 1)", "(x[..., None] * (2 / levels) - 1)"),
    ),
    *of(
        "distributions/autoregressive.py", AUTOREGRESSIVE,
        ("log_prob = self._of_sites(numbers, x).sum(1)", "log_prob = self._of_sites(numbers, x).mean(1)"),
        ("numbers = numbers[:, self.ordering.argsort()]", "numbers = numbers[:, self.ordering]"),
        ("return x if self.ordering is None else x[:, self.ordering.argsort()]", "return x if self.ordering is None else x[:, self.ordering]"),
        ("found = self.conditioner(self.x, self.context)[:, i]", "found = self.conditioner(self.x, self.context)[:, i - 1]"),
    ),
    *of(
        "distributions/ensemble.py", f"{AUTOREGRESSIVE} tests/test_distributions.py",
        ("return each.logsumexp(0) - math.log(len(self.parts))", "return each.logsumexp(0)"),
        ("return each.logsumexp(0) - math.log(len(self.parts))", "return each.mean(0)"),
        ("chosen = torch.randint(len(self.parts), rows)", "chosen = torch.zeros(rows, dtype=torch.int64)"),
    ),
    *of(
        "models/fvsbn.py", AUTOREGRESSIVE,
        (".tril(-1)", ".tril(0)"),
        ("y = (e @ alpha.mT)", "y = (e @ alpha)"),
        ("self.alpha[i].flatten(1)[:, : i * features].mT)", "self.alpha[i - 1].flatten(1)[:, : i * features].mT)"),
    ),
    *of(
        "models/nade.py", AUTOREGRESSIVE,
        ("self.W[i - 1])", "self.W[i])"),
        ("self.c + context @ self.U", "self.c - context @ self.U"),
        ("running_sigmoid(e, self._a(len(x), context), self.W, self.V) + self.b", "running_sigmoid(e, self._a(len(x), context), self.W, self.V)"),
    ),
    *of(
        "nn/running_sigmoid.py", "tests/test_running_sigmoid.py",
        ("torch.arange(size, device=self.e.device) <= self.site[here, None]", "torch.arange(size, device=self.e.device) < self.site[here, None]"),
        ("grad_a.index_add_(0, block.rows, back[rows:])", "pass"),
        ("due = grad_a @ W_block.mT", "due = 0 * grad_a @ W_block.mT"),
        ("self.in_force[number, self.row, self.site + 1] = n + further", "self.in_force[number, self.row, self.site] = n + further"),
    ),
    *of(
        "models/made.py", AUTOREGRESSIVE,
        ("1 + torch.arange(units) * max(1, self.sites - 1) // units", "0 * torch.arange(units) + 1"),
        ("h[:, units] = torch.relu(a + ", "h[:, units] = torch.tanh(a + "),
        ("y = y.addmm(e, made.A[rows].mT)", "y = y"),
    ),
    *of(
        "nn/masked.py", "tests/test_pixels.py -k stack+or+sees+or+dilation",
        ('here = colors[:, None] > seen if mask == "A" else colors[:, None] >= seen', "here = colors[:, None] >= seen"),
        ("return torch.arange(channels) * colors // channels", "return torch.arange(channels) % colors"),
        ("reach += d * (kernel // 2)", "reach += d"),
        ("self.reach, self.own = kernel // 2 * dilation,", "self.reach, self.own = kernel // 2,"),
    ),
    *of(
        "models/pixelcnn.py", "tests/test_pixels.py -k papers+or+cache+or+goes_on+or+dropout",
        ("return f.tanh() * g.sigmoid()", "return g.tanh() * f.sigmoid()"),
        ('state[f"v{i + 1}"] = window[:, 1:]', 'state[f"v{i + 1}"] = window[:, :-1]'),
        ("told[:, column + reach] = h", "told[:, column] = h"),
        ("g = self.out(self.dropped(gated(b, 1)))", "g = self.dropped(self.out(gated(b, 1)))"),
    ),
    *of(
        "models/pixelrnn.py", "tests/test_pixels.py -k papers+or+cache+or+goes_on+or+sees",
        ("o, f, i, g = a.chunk(4, -1)", "f, o, i, g = a.chunk(4, -1)"),
        ("above = nn.functional.pad(h, (0, 0, 1, 0))[:, :-1]", "above = h"),
        ("nn.functional.pad(self.up_right(right), (0, 0, 1, 0))[:, :, :-1]", "self.up_right(right)"),
        ('state["before"], state["c"] = state["c"], torch.zeros_like(state["c"])', 'state["before"] = torch.zeros_like(state["c"])'),
    ),
    *of(
        "nn/recurrent.py", "tests/test_sequences.py -k formulas",
        ("h = torch.lerp(new, before, z)", "h = torch.lerp(before, new, z)"),
        ("c.mul_(f).addcmul_(i, g)", "c.mul_(i).addcmul_(f, g)"),
        ("b, d = b + d, torch.zeros_like(d)", "d = torch.zeros_like(d)"),
    ),
    *of(
        "models/bases/sequences.py", "tests/test_sequences.py -k exact_score+or+by_parts+or+probable+or+draws",
        ("ordered[ordered.cumsum(1) - ordered >= options.top_p] = 0", "ordered[ordered.cumsum(1) >= options.top_p] = 0"),
        ("first.reshape(-1, *(1,) * (fresh.dim() - 1)), fresh, before[stream].to(fresh)", "torch.zeros_like(first).reshape(-1, *(1,) * (fresh.dim() - 1)), fresh, before[stream].to(fresh)"),
        ('return {"loss": -(log_p * _within(x, length, 0)).sum() / length.sum(), **', 'return {"loss": -(log_p * _within(x, length, 0)).mean(), **'),
    ),
    *of(
        "nn/attention.py", "tests/test_translation.py -k formulas+or+source",
        ("/ q.shape[-1] ** 0.5", "* q.shape[-1] ** 0.5"),
        ("weights = a.masked_fill(~there", "weights = a.masked_fill(there"),
        ("h = h + seen", "h = seen"),
        ("mask = None if there is None else there[:, None, None, :]", "mask = None"),
    ),
    *of(
        "models/transformer.py", "tests/test_translation.py -k formulas",
        ("angle.sin(), angle.cos()", "angle.cos(), angle.sin()"),
        ("* self.e.embedding_dim**0.5", "* self.e.embedding_dim"),
        ("told + self.P[known : known + told.shape[1]]", "told + self.P[: told.shape[1]]"),
    ),
    *of(
        "inference/beam.py", "tests/test_translation.py -k beam",
        ("total[:, 0] = 0", "total[:] = 0"),
        ("total / length**length_penalty", "total * length**length_penalty"),
        ("length += ~ended", "length += 1"),
        ("only[end] = 0", "only[:] = 0"),
    ),
    *of(
        "models/ngram.py", "tests/test_ngram.py",
        ("(counts + alpha * lower)", "(counts + alpha)"),
        ("found = found * self.base + digit", "found = found + digit * self.base"),
        ("counts = statistics[\"counts\"].reshape(-1, base**known, levels).sum(0)", "counts = statistics[\"counts\"].reshape(base**known, -1, levels).sum(1)"),
    ),
    *of(
        "codecs/texts.py", "tests/test_symbols.py",
        ("heapq.heappush(queue, (-pairs[other], other))", "pass"),
        ("change[other] += times[i]", "change[other] += 1"),
        ("min(self.most, end - at), 0, -1", "1, min(self.most, end - at) + 1"),
    ),
    *of(
        "contract/streams.py", "tests/test_sequences.py -k epoch",
        ('found["first"] |= t % each == 0', 'found["first"] |= False'),
        ("chosen = (np.arange(size) * each + t % each) % self.n", "chosen = (np.arange(size) + t * size) % self.n"),
    ),
    *of(
        "models/bases/pixels.py", "tests/test_pixel_families.py -k chain+or+parts+or+memory",
        ("places[:, :, list(options.chain or range(colors))].flatten()", "places[:, :, list(range(colors))].flatten()"),
        ("{k: v[i : i + rows] for k, v in given.items()}", "{k: v[: len(x[i : i + rows])] for k, v in given.items()}"),
    ),
    *of(
        "inference/particles.py", "tests/test_completion.py",
        ("log_w = log_w + torch.where(given, site.log_prob(value), 0)", "log_w = log_w - torch.where(given, site.log_prob(value), 0)"),
        ("ess[rows] = (1 / families.double().square().sum(1))", "ess[rows] = (1 / w.double().square().sum(1))"),
        ("return torch.where(uneven, mean, log_w), ancestors.gather(0, chosen)", "return torch.where(uneven, 0 * mean, log_w), ancestors.gather(0, chosen)"),
        ("return (known.cummin(1).values == known).all(1)", "return (known.cummax(1).values == known).all(1)"),
    ),
    *of(
        "models/m2.py", CODES,
        ("return (q.probs.T * each).sum(0) + q.entropy()", "return (q.probs.T * each).sum(0) - q.entropy()"),
        ("return (q.probs.T * each).sum(0) + q.entropy()", "return each.mean(0) + q.entropy()"),
        ("y = torch.arange(K, device=x.device).repeat_interleave(n)", "y = torch.arange(K, device=x.device).repeat(n)"),
        ("rows = n * self.known if self.training else known.sum()", "rows = n"),
    ),
    *of(
        "models/bayesian_mixture.py", CODES,
        ('return {"loss": -(prior + q.entropy()) / self.N - likelihood / n}', 'return {"loss": -(prior - q.entropy()) / self.N - likelihood / n}'),
        ("scale_tril=L / math.sqrt(options.kappa)", "scale_tril=L * math.sqrt(options.kappa)"),
        ("return math.sqrt(self.psi) * torch.linalg.cholesky(torch.cholesky_inverse(A))", "return math.sqrt(self.psi) * torch.cholesky_inverse(A)"),
    ),
    *of(
        "models/independent.py", "tests/test_independent.py",
        ("0.5 * (variance + ridge).log()", "(variance + ridge).log()"),
        ("logits=self.log_theta[:, 1] - self.log_theta[:, 0]", "logits=self.log_theta[:, 0] - self.log_theta[:, 1]"),
    ),
    *of("models/bases/priors.py", f"{VAE} -k priors", ("parts = NormalVector(self.mu, self.log_sigma.exp())", "parts = NormalVector(self.mu, (2 * self.log_sigma).exp())")),
    *of(
        "models/vae.py", f"{VAE} -k beta+or+paper+or+learns+or+captured+or+warm",
        ('return {"loss": self.beta * paid - reconstruction,', 'return {"loss": paid - reconstruction,'),
        ("self.k = round(options.k**gone)", "self.k = options.k"),
        ("paid = kl.clamp(min=free).sum() if free else kl.sum()", "paid = kl.clamp(max=free).sum() if free else kl.sum()"),
        ("return NormalVector(mu, log_sigma.exp())", "return NormalVector(log_sigma, mu.exp())"),
    ),
    *of(
        "contract/scores.py", "tests/test_compare.py tests/test_cli.py",
        ('bits = -x / (x.attrs["event_size"] * math.log(2))', 'bits = -x / x.attrs["event_size"]'),
    ),
    *of(
        "evaluation/means.py", "tests/test_compare.py tests/test_doors.py",
        ("math.sqrt(n / (n - 1) * float(w**2 @ (x - m) ** 2))", "math.sqrt(n / (n - 1) * float(w @ (x - m) ** 2))"),
        ("w = w / w.sum()", "w = w / len(w)"),
    ),
    *of(
        "evaluation/comparison.py", "tests/test_compare.py",
        ("less = values[name] - best", "less = best - values[name]"),
        ('kinds[other] != "upper_bound"', 'kinds[other] != "lower_bound"'),
    ),
    *of(
        "latents/paths.py", "tests/test_latents.py",
        ("np.sqrt(1 - size**2) * walk[-1] + size * noise", "(1 - size) * walk[-1] + size * noise"),
        ("np.sin((1 - t) * angle) * u + np.sin(t * angle) * v", "np.sin(t * angle) * u + np.sin((1 - t) * angle) * v"),
    ),
    *of("latents/clusters.py", "tests/test_latents.py", ("linear_sum_assignment(-counts)", "linear_sum_assignment(counts)")),
    *of_plugin(
        "probgen-vqvae", "codebook.py", "tests/test_vqvae.py -k nearest+or+straight+or+averages+or+dead+or+perplexity+or+paper+or+looked_up",
        ("half = -0.5 * e.square().sum(1)", "half = -e.square().sum(1)"),
        ("self.e[used] += (1 - gamma) * away / self.N[used, None]", "self.e[used] += (1 - gamma) * away / n[used, None]"),
        ("dead = ~used & (self.restart * self.N.mean() > self.N)", "dead = self.restart * self.N.mean() > self.N"),
        ("dead = ~used & (self.restart * self.N.mean() > self.N)", "dead = ~used & (self.restart * self.N.mean() < self.N)"),
        ("return z + (q - z).detach()", "return q + (z - q).detach()"),
        ("torch.exp(-torch.special.xlogy(p, p).sum())", "torch.exp(torch.special.xlogy(p, p).sum())"),
    ),
    *of_plugin(
        "probgen-vqvae", "hierarchy.py", "tests/test_vqvae.py -k paper+or+exact_log",
        ("size * self.commitment * nn.functional.mse_loss(z, e.detach())", "self.commitment * nn.functional.mse_loss(z, e.detach())"),
        ("size * self.commitment * nn.functional.mse_loss(z, e.detach())", "size * self.commitment * nn.functional.mse_loss(z.detach(), e)"),
        ("size * nn.functional.mse_loss(e, z.detach())", "size * nn.functional.mse_loss(e, z)"),
    ),
    *of_plugin(
        "probgen-vqvae", "model.py", "tests/test_vqvae.py -k exact",
        ("found = log_prob(of_x + of_z,", "found = log_prob(of_x,"),
        ("p = self._fitted_prior().p(level, zs, c)", "p = self._fitted_prior().p(level, [0 * z for z in zs], c)"),
    ),
    *of_plugin(
        "probgen-vqvae", "prior.py", "tests/test_vqvae.py -k exact",
        ("each = [self.p(level, zs[:level], c).log_prob(z) for level, z in enumerate(zs)]", "each = [self.p(level, zs[:level], c).log_prob(z) for level, z in enumerate(zs)][-1:]"),
        ("said = larger(self.above[level - 1](beside(*maps)), (height, width))", "said = larger(self.above[level - 1](beside(*maps)), (height, width)).flip(2)"),
    ),
    *of(
        "models/bases/latent_class.py", "tests/test_latent_class.py",
        ("return self.log_joint(x, observed).logsumexp(1)", "return self.log_joint(x, observed).amax(1)"),
        ("paid = log_joint - self.columns.penalties()", "paid = log_joint"),
        ("r = weight[:, None] * paid.softmax(1)", "r = paid.softmax(1)"),
        ("parameters = K - 1 + K * self.columns.parameters_of_component", "parameters = K + K * self.columns.parameters_of_component"),
        ("dist.Categorical(probs=p).sample()", "dist.Categorical(logits=self.log_pi).sample((len(x),))"),
    ),
    *of(
        "models/bases/counts.py", "tests/test_latent_class.py",
        ("found += part if there is None else part * there[:, i, None]", "found += part"),
        ("0, self._index(x, there, i), r if there is None else r * there[:, i, None]", "0, self._index(x, there, i), r"),
        ("torch.full_like(seen[:1], self.smoothing)", "torch.full_like(seen[:1], 0.0)"),
    ),
    *of(
        "models/bases/blocks.py", "tests/test_latent_class.py",
        ('sums["second"] = sums["second"] + torch.einsum("nk,nkij->kij", r_part, covariance)', 'sums["second"] = sums["second"] + 0 * torch.einsum("nk,nkij->kij", r_part, covariance)'),
        ('paid = statistics["rows"][:, None] * self.ridge', "paid = n * self.ridge"),
        ("return D + (D * (D + 1) // 2 if self.full else D)", "return D + (D * (D - 1) // 2 if self.full else D)"),
    ),
    *of(
        "distributions/counts.py", "tests/test_distributions.py",
        ("return (self.logits + each).logsumexp(-1).to(self.dtype)", "return (self.logits.exp() * each).sum(-1).to(self.dtype)"),
        ("torch.distributions.Gamma(r, r / m)", "torch.distributions.Gamma(r, 1 / m)"),
    ),
    *of(
        "distributions/columns.py", "tests/test_laws.py tests/test_table_analyses.py -k Mixed+or+mixed+or+made",
        ("return ColumnSites(tuple(self.sites[i] for i in ordering.tolist()), self.gaps)", "return self"),
    ),
    *of(
        "readers/frames.py", "tests/test_tables.py",
        ("out[~gaps] = found[labels[~gaps]]", "out[~gaps] = labels[~gaps]"),
        ("return \"has numbers as text", "return \"has figures as text"),
        ("micro[~gaps].astype(np.int64) / DAY", "micro[~gaps].astype(np.int64) // DAY"),
    ),
    *of(
        "data/columns.py", "tests/test_tables.py",
        ("order = [names.index(name) for name in wanted]", "order = list(range(len(wanted)))"),
        ("            gaps |= (values == 0).any(0)", "            gaps |= (values == 1).any(0)"),
        ("np.array([numbers.get(name, other) for name in told], dtype=float)[inverse]", "np.array([numbers.get(name, other) for name in told], dtype=float)[np.sort(inverse)]"),
    ),
    *of(
        "data/check.py", "tests/test_tables.py -k counts",
        ("exact = 2 << np.finfo(count_dtype).nmant", "exact = 2 << np.finfo(dtype).nmant"),
    ),
    *of(
        "analyses/impute.py", "tests/test_table_analyses.py",
        ("return max(1, round((n + 1) * (1 - level) / 2))", "return max(1, round((n + 1) * (1 - level)))"),
        ("asked = drawn(known & ~hidden)", "asked = drawn(known)"),
    ),
    *of(
        "analyses/outliers.py", "tests/test_table_analyses.py",
        ("            if more[i, j] > NAMED:", "            if more[i, j] > -NAMED:"),
        ("                left[i, j] = np.nan", "                left[i, j] = 0.0"),
    ),
]  # fmt: skip


def check_places() -> list[str]:
    """Mutants whose line is not in the project exactly once."""
    return [str(m) for m in MUTANTS if (ROOT / m.file).read_text().count(m.old) != 1]


def survives(mutant: Mutant, place: Path) -> bool:
    """Whether the tests pass on the project as the mutant has it."""
    for name in ("probgen", "plugins", "tests", "recipes", "docs", "pyproject.toml", "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, place / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(source, place / name)
    path = place / mutant.file
    path.write_text(path.read_text().replace(mutant.old, mutant.new))
    try:
        done = _tested(mutant, place)
    except subprocess.TimeoutExpired:
        return False  # it hangs, which is seen
    if done.returncode not in (0, 1):  # nothing was tested
        raise RuntimeError(f"{mutant}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.returncode == 0


def _tested(mutant: Mutant, place: Path) -> subprocess.CompletedProcess[str]:
    paths = [place, *(place / "plugins").iterdir()]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *(part.replace("+", " ") for part in mutant.tests.split())],
        cwd=place, env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True,
        text=True, check=False, timeout=1800,
    )  # fmt: skip


def kill(mutants: list[Mutant] | None = None) -> Tally:
    """All mutants; the survivors. First, the tests that are named have to pass without any."""
    tally = Tally()
    for tests in dict.fromkeys(mutant.tests for mutant in mutants or MUTANTS):
        with tempfile.TemporaryDirectory() as place:
            none = Mutant("probgen/contract/scores.py", "import math", "import math", tests)
            if not survives(none, Path(place)):
                tally.faults.append(f"without any change these tests fail: {tests}")
    for mutant in mutants if mutants is not None else MUTANTS:
        with tempfile.TemporaryDirectory() as place:
            tally.points += 1
            survived = survives(mutant, Path(place))
            print(
                f"{tally.points} {'survived' if survived else 'killed'}: {mutant}",
                file=sys.stderr,
                flush=True,
            )
            if survived:
                tally.faults.append(str(mutant))
    return tally
