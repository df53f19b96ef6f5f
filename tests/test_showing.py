"""A fitted model in a notebook: small, escaped, without a script, with the samples of `probgen.sample`."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import probgen

X = np.random.default_rng(0).standard_normal((20, 2))


class Tags(HTMLParser):
    """The names of tags and attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = set[str](), set[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def images(shape: tuple[int, ...], levels: int = 2) -> xr.Dataset:
    x = np.random.default_rng(0).integers(0, levels, (30, *shape))
    dims = ("channel", "height", "width")[-len(shape) :]
    data = xr.Dataset({"x": (("row", *dims), x)})
    data["x"].attrs["levels"] = levels
    return data


def test_facts_are_in_the_text_and_on_the_page() -> None:
    fitted = probgen.fit("mixture", "iris", components=3, covariance="diagonal")
    page = Tags(fitted._repr_html_())
    loss = float(fitted.history["log_likelihood"][-1])
    for fact in (
        "mixture",
        'covariance = "diagonal"',
        "components = 3",
        "iris, 150 rows",
        f"log_likelihood {loss:.5g}",
        "sepal length",
    ):
        assert fact in page.text, fact
        assert fact in repr(fitted), fact
    numbers = sum(v.size for v in fitted.state.data_vars.values())
    assert re.search(rf"parameters +{numbers:,}\n", repr(fitted))
    assert "restarts" not in repr(fitted), "an option with its default"
    assert "img" not in page.tags


@pytest.mark.parametrize(
    ("shape", "levels"), [((8, 8), 2), ((28, 28), 256), ((3, 8, 8), 256), ((3, 64, 64), 256), ((200, 300), 2)]
)
def test_images_have_samples_and_a_small_page(shape: tuple[int, ...], levels: int) -> None:
    fitted = (
        probgen.fit("independent", images(shape, levels))
        if np.prod(shape) <= 1024
        else _decoded(shape, levels)
    )
    before = torch.get_rng_state()
    page = fitted._repr_html_()
    assert torch.equal(torch.get_rng_state(), before), "a page changes no generator"
    assert len(page.encode()) < 30 * 1024
    found = Tags(page)
    assert found.tags <= {"div", "strong", "table", "tr", "th", "td", "img"}
    assert not any(name.startswith("on") for name in found.attributes)
    assert "img" in found.tags
    assert 'alt="' in page


def _decoded(shape: tuple[int, ...], levels: int) -> probgen.Fitted:
    data = images(shape, levels).isel(row=slice(0, 4))
    return probgen.fit("vae", data, latent=1, hidden=(2,), epochs=1, batch_size=4)


def test_the_samples_are_those_of_sample() -> None:
    """Ten bits images, pixel by pixel; ink on paper, and transparent gaps."""
    fitted = probgen.fit("independent", images((8, 8)))
    (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', fitted._repr_html_())
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
    assert picture.shape == (8, 89, 2)
    x = probgen.sample(fitted, 10, seed=0)["x"].values
    for i in range(10):
        np.testing.assert_array_equal(picture[:, 9 * i : 9 * i + 8, 0], 255 * (1 - x[i]))
    assert set(picture[:, 8::9, 1].ravel()) == {0}


def test_names_are_escaped() -> None:
    names = ["<script>alert(1)</script>", "a & b"]
    data = xr.Dataset({"x": (("row", "feature"), X)}, {"feature": names}, {"name": '"><img src=x onerror=1>'})
    page = probgen.fit("mixture", data, components=1)._repr_html_()
    found = Tags(page)
    assert "script" not in found.tags
    assert "onerror" not in found.attributes
    assert names[0] in found.text


def test_a_conditional_model_has_no_samples() -> None:
    data = images((4, 4)).assign(label=("row", np.arange(30) % 2))
    fitted = probgen.fit("made", data, given=("label",), epochs=1, hidden=(4,))
    assert "img" not in Tags(fitted._repr_html_()).tags


def test_scores_and_samples_show_their_kind() -> None:
    """They are Datasets, whose own page has all attributes and no script."""
    fitted = probgen.fit("mixture", "iris", components=2)
    page = probgen.score(fitted, "iris")._repr_html_()
    assert "exact" in page
    assert "lebesgue" in page
    for each in (page, probgen.sample(fitted, 5)._repr_html_()):
        assert "script" not in Tags(each).tags
        assert len(each.encode()) < 30 * 1024
