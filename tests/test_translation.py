"""Translation: sources of several lengths, the formulas in NumPy, a beam against all words, texts in and out, and the data."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import special

import probgen
from probgen import datasets
from probgen.codecs.texts import decode, texts_of
from probgen.contract.seeds import generators_kept, seed_torch
from probgen.distributions import Autoregressive, Categorical
from probgen.errors import FileError, InputError
from probgen.evaluation import bleu
from probgen.inference.beam import beam
from probgen.models.transformer import Encoder, TransformerConditioner
from probgen.recipes import execute, read
from tests.test_autoregressive import Uncached
from tests.test_sequences import tokens

SMALL: dict[str, Any] = {
    "width": 16,
    "heads": 2,
    "layers": 1,
    "encoder_layers": 1,
    "window": 16,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.01,
}


def net(levels: int = 3, sources: int = 4) -> TransformerConditioner:
    """In float64, with weights far from their start."""
    with generators_kept():
        seed_torch(3)
        encoder = Encoder(sources, 8, 2, 2, 0.0)
        made = TransformerConditioner(Categorical(levels), 8, 2, 2, 8, encoder=encoder).double()
        for parameter in made.parameters():
            parameter.data = 0.5 * torch.randn_like(parameter)
    return made


X = torch.tensor([[0, 1, 2, 2, 1, 0], [2, 2, 0, 1, 1, 1]])
SOURCE = torch.tensor([[3, 0, 1, 2, 2], [1, 1, 0, -1, -1]])  # of five steps, and of three


def by_hand(made: TransformerConditioner, x: np.ndarray, s: np.ndarray) -> np.ndarray:
    """The formulas of `probgen.nn.attention`, of one row without padding: (step, size)."""
    w = {name: value.numpy() for name, value in made.state_dict().items()}

    def norm(h: np.ndarray, name: str) -> np.ndarray:
        z = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        return z * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(h: np.ndarray, name: str) -> np.ndarray:
        return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> np.ndarray:
        heads = []
        for a, b, c in zip(*(np.split(part, 2, 1) for part in (q, k, v)), strict=True):
            score = a @ b.T / np.sqrt(a.shape[1])
            score = np.where(np.tri(len(a), dtype=bool), score, -np.inf) if causal else score
            heads.append(special.softmax(score, 1) @ c)
        return np.concatenate(heads, 1)

    def layers(h: np.ndarray, where: str, count: int, source: np.ndarray | None) -> np.ndarray:
        for i in range(count):
            b = f"{where}blocks.{i}"
            h = h + linear(
                attention(*np.split(linear(norm(h, f"{b}.norm"), f"{b}.QKV"), 3, 1), source is not None),
                f"{b}.out",
            )
            if source is not None:
                q = linear(norm(h, f"{b}.source.norm"), f"{b}.source.Q")
                k, v = np.split(linear(source, f"{b}.source.KV"), 2, 1)
                h = h + linear(attention(q, k, v, False), f"{b}.source.out")
            a = linear(norm(h, f"{b}.norm_2"), f"{b}.hidden.0")
            h = h + linear(a * special.ndtr(a), f"{b}.hidden.2")
        return h

    position = np.arange(len(s))[:, None] * 10000.0 ** (-np.arange(0, 8, 2) / 8)
    places = np.stack([np.sin(position), np.cos(position)], 2).reshape(len(s), 8)
    source = norm(layers(w["encoder.e.weight"][s] * np.sqrt(8) + places, "encoder.", 2, None), "encoder.norm")
    told = np.concatenate([np.zeros((1, 8)), w["e.weight"].T[x[:-1]]]) + w["P"][: len(x)]
    return norm(layers(told, "", 2, source), "norm") @ w["out.weight"].T


def test_whole_by_stretches_and_by_steps_are_the_formulas() -> None:
    made = net()
    with torch.no_grad():
        whole = made(X, SOURCE)
        for row, length in enumerate((5, 3)):
            expected = by_hand(made, X[row].numpy(), SOURCE[row, :length].numpy())
            np.testing.assert_allclose(whole[row].numpy(), expected, atol=1e-12)
        state = made.start(2, SOURCE)
        stretches = [made.scan(X[:, a:b], state) for a, b in pairwise((0, 1, 4, 6))]
        torch.testing.assert_close(torch.cat(stretches, 1), whole)
        for begun in (0, 3):
            state = made.start(2, SOURCE)
            if begun:
                made.scan(X[:, :begun], state)
            steps = [made.step(state, t, X[:, t - 1] if t > begun else None) for t in range(begun, 6)]
            torch.testing.assert_close(torch.stack(steps, 1), whole[:, begun:])


def test_what_is_seen_of_the_source_sums_to_one_and_is_none_of_its_padding() -> None:
    seen = net().attention(X, SOURCE)
    assert seen.shape == (2, 6, 5)
    torch.testing.assert_close(seen.sum(2), torch.ones(2, 6, dtype=torch.float64))
    assert (seen[1, :, 3:] == 0).all()
    assert (seen[0] > 0).all()


def test_draws_with_the_cache_are_those_without() -> None:
    made, draws = net(), []
    for conditioner in (made, Uncached(made)):
        with generators_kept():
            seed_torch(1)
            draws.append(Autoregressive(conditioner, Categorical(3), (12,), context=SOURCE).sample((10,)))
    assert torch.equal(*draws)


# the beam


@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("begun", [0, 2])
def test_a_beam_as_wide_as_all_words_finds_the_best(end: int | None, penalty: float, begun: int) -> None:
    made = net()
    words = Autoregressive(made, Categorical(3), (5,)).enumerate_support()
    for row in range(2):
        source = SOURCE[row : row + 1]
        with torch.no_grad():
            each = (
                made(words, source.expand(len(words), -1))
                .log_softmax(2)
                .gather(2, words[:, :, None])[:, :, 0]
            )
        prompt = X[row, :begun] % 2
        fits = (words[:, :begun] == prompt).all(1)
        counts = torch.full((len(words),), 5 - begun)
        if end is not None:
            ended = (words[:, begun:] == end).long().cumsum(1)
            counts = ((ended - (words[:, begun:] == end).long()) == 0).sum(1)
            fits &= ((words[:, begun:] == end) | (torch.cat([ended[:, :1] * 0, ended[:, :-1]], 1) == 0)).all(
                1
            )
        total = torch.stack([each[i, begun : begun + n].sum() for i, n in enumerate(counts.tolist())])
        best = words[torch.where(fits, total / counts**penalty, -torch.inf).argmax()]
        with torch.no_grad():
            found = beam(
                made,
                Categorical(3),
                prompt[None],
                5 - begun,
                beams=243,
                end=end,
                length_penalty=penalty,
                context=source,
            )
        assert found[0].tolist() == best.tolist()


def beam_by_hand(made: TransformerConditioner, source: torch.Tensor, beams: int, penalty: float) -> list[int]:
    """Hypotheses in a list, each scored anew; 2 ends one."""
    beam_of: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(6):
        grown = []
        for total, words in beam_of:
            if 2 in words:
                grown.append((total, words))
                continue
            with torch.no_grad():
                log_p = made(torch.tensor([[*words, 0]]), source)[0, -1].log_softmax(0)
            grown += [(total + float(log_p[x]), [*words, x]) for x in range(3)]
        beam_of = sorted(grown, key=lambda pair: -pair[0])[:beams]
    best = max(beam_of, key=lambda pair: pair[0] / len(pair[1]) ** penalty)[1]
    return best + [2] * (6 - len(best))


def test_a_narrow_beam_is_that_of_a_list_of_hypotheses() -> None:
    made, seen = net(), {}
    made.out.weight.data *= torch.tensor([[0.3], [0.3], [-0.02]])  # so that sentences have several lengths
    sources = tokens(30, 4, 4, seed=5)
    for beams in (2, 4):
        for penalty in (0.0, 1.0):
            expected = [beam_by_hand(made, source[None], beams, penalty) for source in sources]
            with torch.no_grad():
                found = beam(
                    made,
                    Categorical(3),
                    torch.zeros(30, 0, dtype=torch.int64),
                    6,
                    beams=beams,
                    end=2,
                    length_penalty=penalty,
                    context=sources,
                )
            assert found.tolist() == expected
            seen[beams, penalty] = expected
    assert seen[4, 0.0] != seen[4, 1.0]
    assert seen[2, 1.0] != seen[4, 1.0]


def test_a_beam_of_one_is_the_most_probable_symbol_at_each_step() -> None:
    data = datasets.pairs(["ab", "ba", "aab"], ["ba", "ab", "baa"])
    fitted = probgen.fit("seq2seq", data, **SMALL)
    given = {"source": ["ab", "aab"]}
    greedy = probgen.sample(fitted, given=given, top_k=1)
    assert (greedy.x == probgen.sample(fitted, given=given, beams=1).x).all()


# behind the hooks


CIPHER = {"eins ": "one ", "zwei ": "two ", "drei ": "three "}


def numerals(rows: int, seed: int = 0) -> xr.Dataset:
    """Numerals in German, and in English."""
    rng, german = np.random.default_rng(seed), list(CIPHER)
    chosen = [[german[i] for i in rng.integers(0, 3, rng.integers(1, 4))] for _ in range(rows)]
    return datasets.pairs(
        ["".join(words) for words in chosen],
        ["".join(CIPHER[word] for word in words) for words in chosen],
    )


@pytest.fixture(scope="module")
def translator() -> probgen.Fitted:
    options = {"width": 32, "epochs": 60, "batch_size": 16, "schedule": "cosine"}
    return probgen.fit("seq2seq", numerals(150), **{**SMALL, **options})


def test_it_learns_to_translate(translator: probgen.Fitted) -> None:
    sources = ["eins zwei ", "drei ", "zwei drei eins "]
    wanted = ["one two ", "three ", "two three one "]
    for how in ({"top_k": 1}, {"beams": 3}, {"temperature": 0.2}):
        draws = probgen.sample(translator, given={"source": sources}, **how)
        assert texts_of(draws["x"]) == wanted
        lengths = [len(row.nonzero()[0]) for row in draws.x.values[0] != draws.x.values[0, 0, -1]]
        assert (draws.length.values[0] == np.array(lengths) + 1).all()  # the line feed counts
    one = probgen.sample(translator, 2, given={"source": sources[0]}, top_k=1)
    assert texts_of(one["x"]) == wanted[:1] * 2
    begun = probgen.sample(translator, given={"source": sources[0], "x": "one"}, top_k=1)
    assert texts_of(begun["x"]) == wanted[:1]
    held_out = probgen.score(translator, numerals(50, seed=1))
    assert (held_out.log_prob / held_out.length).mean() > -0.1


def test_scores_are_of_what_counts(translator: probgen.Fitted) -> None:
    """Of a batch of several lengths as of each row alone; draws are scored as they come."""
    data = numerals(20, seed=2)
    together = probgen.score(translator, data).log_prob.values
    for i in range(5):
        row = data.isel(row=[i])
        cut = row.isel(time=slice(0, int(row.length[0])), source_time=slice(0, int(row.source_length[0])))
        assert probgen.score(translator, cut).log_prob.item() == pytest.approx(together[i], abs=1e-4)
    source = "eins zwei "
    draws = probgen.sample(translator, 30, given={"source": source}).rename(sample="row")
    texts = [text + "\n" for text in texts_of(draws["x"])]
    drawn = datasets.pairs([source] * 30, texts, (data.source.attrs["symbols"], data.x.attrs["symbols"]))
    assert (drawn.length.values >= 2).all()
    scores = probgen.score(translator, drawn).log_prob.values
    pair: Any = translator.module
    for i in range(30):
        x, s = (torch.from_numpy(part.values[i : i + 1].astype(np.int64)) for part in (drawn.x, drawn.source))
        n = int(drawn.length[i])
        with torch.no_grad():
            each = pair.conditioner(x[:, :n], s).log_softmax(2).gather(2, x[:, :n, None])
        assert scores[i] == pytest.approx(float(each.sum()), abs=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_an_accelerator_draws_as_well(translator: probgen.Fitted) -> None:
    for how in ({"top_k": 1}, {"beams": 3}):
        draws = probgen.sample(translator, given={"source": "eins zwei "}, device="cuda", **how)
        assert texts_of(draws["x"]) == ["one two "]


def test_texts_in_other_pieces_are_the_same_texts(translator: probgen.Fitted) -> None:
    data = numerals(20, seed=2)
    single = [sorted(set("".join(part.attrs["symbols"]))) for part in (data.source, data.x)]
    sources, targets = (
        [decode(row[:n], part.attrs["symbols"]) for row, n in zip(part.values, length.values, strict=True)]
        for part, length in ((data.source, data.source_length), (data.x, data.length))
    )
    other = datasets.pairs(sources, targets, (single[0], single[1]))
    assert other.sizes["time"] > data.sizes["time"]
    np.testing.assert_allclose(
        probgen.score(translator, other).log_prob, probgen.score(translator, data).log_prob, rtol=1e-5
    )


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"this model needs given=\{'source'"),
        ({"source": ""}, "'source' is an empty text"),
        ({"source": ["eins ", ""]}, "'source' is an empty text"),
        ({"source": ["eins ", "fünf "]}, "'source', row 1, character 0: 'f' is not in the vocabulary"),
        ({"source": np.zeros((2, 3, 4), int)}, "has shape"),
        (
            {"source": np.array([[0, 99]])},
            "source, row 0, position .1,. = 99: must be a whole number from 0",
        ),
        (
            {"source": np.array([[0, 1]]), "source_length": np.array([3])},
            "source_length, row 0 = 3: must be a whole number from 1 to 2",
        ),
        ({"source": ["eins ", "zwei "], "x": ["one", "three one"]}, "all texts must have one length"),
    ],
)
def test_bad_sources_are_told_in_a_line(
    translator: probgen.Fitted, given: dict[str, Any], message: str
) -> None:
    refusing = translator
    if "vocabulary" in message:  # these vocabularies have no symbol for all others
        data = numerals(30)
        for name in ("x", "source"):
            symbols = [s for s in data[name].attrs["symbols"] if s != "\N{REPLACEMENT CHARACTER}"]
            data[name].attrs |= {"symbols": symbols, "levels": len(symbols)}
        refusing = probgen.fit("seq2seq", data, **SMALL)
    with pytest.raises(InputError, match=message):
        probgen.sample(refusing, given=given or None)


def test_families_that_take_labels_refuse_a_sequence() -> None:
    for family in ("char-rnn", "wavenet"):
        with pytest.raises(
            InputError, match=r"given 'source' is .* conditioned only on labels and on arrays of numbers"
        ):
            probgen.fit(family, numerals(10), given=["source"], epochs=1)
    with pytest.raises(InputError, match="the model is conditioned on 'source', which is not in the data"):
        probgen.fit("seq2seq", numerals(10).drop_vars(["source", "source_length"]))
    with pytest.raises(InputError, match="not a sequence of symbols"):
        probgen.fit("seq2seq", numerals(10).assign(label=("row", np.arange(10) % 2)), given=["label"])
    with pytest.raises(InputError, match="source_length"):
        probgen.score(probgen.fit("seq2seq", numerals(10), **SMALL), numerals(10).drop_vars("source_length"))


def test_lengths_of_a_condition_that_has_one_length_are_refused() -> None:
    """Nothing is conditioned on padding without a word: in the data, in what is given, and where a sentence is alone."""
    data = numerals(10).drop_vars("source_length")
    fitted = probgen.fit("seq2seq", data, **SMALL)
    with pytest.raises(InputError, match="was fitted to source of the single length"):
        probgen.score(fitted, numerals(10))
    with pytest.raises(InputError, match=r"given 'source' .* all texts must have one length"):
        probgen.sample(fitted, given={"source": ["eins ", "zwei eins drei "]})
    with pytest.raises(InputError, match="rare = 2: x is not a text of characters"):
        probgen.fit("seq2seq", data, rare=2, **SMALL)


def test_diagnosis_and_looks_know_the_lengths_of_sources(
    translator: probgen.Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    monkeypatch.setattr(
        "probgen.api.diagnosing.sample",
        lambda *a, given, **k: seen.append(set(given)) or probgen.sample(*a, given=given, **k),
    )
    data = numerals(120)
    probgen.diagnose(translator, data, n=60, features=lambda x: x[:, :2].astype(float))
    assert seen == [{"source", "source_length"}]


# data


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (["a", "b"], ["c"], "source has 2 sentences, but target has 1"),
        ([], [], "there are no sentences"),
        (["a", " "], ["b", "c"], "source, row 1: the sentence is empty"),
        (["a"], [""], "target, row 0: the sentence is empty"),
        (["a"], ["b\nc"], "target, row 0: .* a line feed ends a sentence"),
    ],
)
def test_sentences_without_a_partner_are_told_in_a_line(
    source: list[str], target: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        datasets.pairs(source, target)


def test_a_file_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"eins {i}\tone {i}\n" for i in range(20)), encoding="utf-8")
    train, valid = (datasets.load(path, split) for split in ("train", "valid"))
    assert (train.sizes["row"], valid.sizes["row"]) == (18, 2)
    assert texts_of(valid.x)[0].rstrip() == "one 18"
    assert train.x.attrs == valid.x.attrs
    for content, error, message in (
        ("a\tb\nc\n", InputError, "line 2: 1 columns, but pairs need exactly source TAB target"),
        ("a\tb\nd\te\tf\n", InputError, "line 2: 3 columns"),
        ("", InputError, "is empty"),
    ):
        path.write_text(content)
        with pytest.raises(error, match=message):
            datasets.load(path)
    path.write_text("a\u2028b\tc\r\n", encoding="utf-8", newline="")
    assert texts_of(datasets.load(path).source) == ["a\u2028b"]
    path.write_bytes(b"a\t\xff\n")
    with pytest.raises(FileError, match="byte 2 is 0xff"):
        datasets.load(path)


def test_multi30k(real_data: Path) -> None:
    parts = {split: datasets.load("multi30k", split, real_data) for split in ("train", "valid", "test")}
    assert [part.sizes["row"] for part in parts.values()] == [29_000, 1_014, 1_000]
    raw = gzip.decompress((real_data / "multi30k" / "val.en.gz").read_bytes()).decode()
    valid, symbols = parts["valid"], parts["valid"].x.attrs["symbols"]
    assert (
        "".join(decode(row[:n], symbols) for row, n in zip(valid.x.values, valid.length.values, strict=True))
        == raw
    )
    assert len(symbols) <= 2_100
    assert parts["test"].x.attrs == parts["train"].x.attrs


# what is looked at


def test_bleu_of_a_corpus() -> None:
    """By hand: precisions 5/6, 3/5, 1/4 and, of no four words that agree, half of 1/3; no brevity penalty."""
    text, reference = "the cat sat on the mat", "the cat lay on the mat"
    expected = 100 * np.exp(np.mean(np.log([5 / 6, 3 / 5, 1 / 4, 1 / 2 / 3])))
    assert bleu([text], [reference]) == pytest.approx(expected, rel=1e-6)
    assert bleu([reference] * 2, [reference] * 2) == pytest.approx(100)
    with pytest.raises(InputError, match="2 translations and 1 references"):
        bleu([text, text], [reference])


def test_a_recipe_translates(tmp_path: Path) -> None:
    rows = ["eins zwei eins eins\tone two one one", "zwei eins zwei zwei\ttwo one two two"] * 20
    (tmp_path / "pairs.tsv").write_text("\n".join(rows) + "\n")
    recipe = f"""
[data]
path = "{tmp_path / "pairs.tsv"}"
split = "train"
[models.net]
family = "seq2seq"
width = 16
heads = 2
layers = 1
encoder_layers = 1
epochs = 40
batch_size = 8
learning_rate = 0.01
[models.unigram]
family = "ngram"
order = 0
[sample]
n = 2
prompt = "one"
given.source = ["eins zwei", "zwei eins"]
[score]
split = "valid"
[translate]
beams = 2
"""
    (tmp_path / "r.toml").write_text(recipe)
    (tmp_path / "out").mkdir()
    results = {result.model: result for result in execute(read(str(tmp_path / "r.toml")), tmp_path / "out")}
    figures = results["net"].figures
    assert figures["bleu_beam"] == figures["bleu_greedy"] == pytest.approx(100)
    assert figures["bleu_source"] < 50
    assert "bleu_beam" not in results["unigram"].figures
    lines = (tmp_path / "out" / "net" / "analyses" / "translate.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["source", "reference", "greedy", "beam"]
    assert lines[1].split("\t") == ["eins zwei eins eins", *["one two one one"] * 3]
    assert {path.stem for path in results["net"].pictures} >= {"attention", "history"}
    for bad, message in (
        ("given.source = [1]", "a list of texts is needed"),
        ('given.sauce = ["eins"]', "sample.given.sauce: did you mean 'source'"),
    ):
        (tmp_path / "r.toml").write_text(recipe.replace('given.source = ["eins zwei", "zwei eins"]', bad))
        with pytest.raises(InputError, match=message):
            list(execute(read(str(tmp_path / "r.toml")), tmp_path / "bad"))
