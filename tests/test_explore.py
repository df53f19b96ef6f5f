"""The page of a model: what it shows is what the copied text gives, and only the page itself is answered."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
import xarray as xr
from typer.testing import CliRunner
from uvicorn.server import ServerState

import probgen
from probgen.cli import app as commands
from probgen.codecs.texts import decode
from probgen.contract.rows import evenly
from probgen.contract.state import digest_of
from probgen.errors import FileError
from probgen.explore.app import STATIC, application
from probgen.explore.asking import Moves
from probgen.explore.guard import MOST
from probgen.explore.live import Shown
from probgen.explore.model import Model
from probgen.explore.prompt import Prompt
from probgen.explore.serving import bound
from probgen.explore.spaces import boundaries_of
from probgen.explore.worker import Superseded, Worker
from probgen.store.journal import Journal, read_new
from probgen.store.trees import read_dataset, write_dataset

PORT, TOKEN = 8123, "a-token-of-the-tests"
HOST = f"127.0.0.1:{PORT}"


class Client:
    """A client in the same process: requests go to the ASGI application, byte for byte."""

    def __init__(self, shown: Shown):
        self.app = application(shown, PORT, TOKEN)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str | None] | None = None,
        parts: int = 1,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request with the headers of the page, changed by `headers`; None leaves a header out."""
        usual: dict[str, str | None] = {
            "host": HOST, "authorization": f"Bearer {TOKEN}", "content-type": "application/json",
            "content-length": str(len(body)), "origin": f"http://{HOST}", "sec-fetch-site": "same-origin",
        }  # fmt: skip
        sent = [(k.encode(), v.encode()) for k, v in (usual | dict(headers or {})).items() if v is not None]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path.partition("?")[0], "raw_path": path.encode(), "query_string": path.partition("?")[2].encode(),
            "root_path": "", "headers": sent, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", PORT),
        }  # fmt: skip
        return asyncio.run(self._ask(scope, body, parts))

    async def _ask(self, scope: dict[str, Any], body: bytes, parts: int) -> tuple[int, dict[str, str], bytes]:
        size = -(-len(body) // parts) if body else 1
        chunks = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        found: list[Any] = []

        async def receive() -> dict[str, Any]:
            if chunks:
                return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
            await asyncio.sleep(3600)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            found.append(message)

        await self.app(scope, receive, send)
        headers = {k.decode(): v.decode() for k, v in found[0]["headers"]}
        return found[0]["status"], headers, b"".join(part.get("body", b"") for part in found[1:])

    def post(self, name: str, **values: Any) -> tuple[int, dict[str, str], bytes]:
        return self.ask("POST", f"/api/{name}", json.dumps(values).encode())

    def array(self, name: str, **values: Any) -> np.ndarray:
        status, headers, body = self.post(name, **values)
        assert status == 200, body
        return np.frombuffer(body, headers["x-type"]).reshape(json.loads(headers["x-shape"]))

    def lines(self, **values: Any) -> list[dict[str, Any]]:
        status, _, body = self.post("stream", **values)
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]


def rows(name: str, n: int) -> Any:
    return evenly(probgen.datasets.load(name, "train"), n)


def story(place: Path) -> Path:
    (place / "story.txt").write_text("the cat sat on the mat; the dog ran.\n" * 30)
    return place / "story.txt"


FITS: dict[str, Callable[[Path], probgen.Fitted]] = {
    "vae": lambda _: probgen.fit("vae", rows("digits-binary", 200), latent=3, hidden=8, epochs=2),
    "dcgan": lambda _: probgen.fit(
        "dcgan", rows("digits", 100), given=["label"], channels=[4], latent=5, steps=3, batch_size=16
    ),
    "stylegan": lambda _: probgen.fit(
        "stylegan", rows("digits", 100), channels=[8, 8], latent=6, style=6, d_channels=[4, 8], steps=3
    ),
    "mixture": lambda _: probgen.fit("mixture", rows("customers", 200), components=3, steps=5),
    "nade": lambda _: probgen.fit("nade", rows("digits-binary", 100), hidden=4, epochs=1),
    "char-rnn": lambda place: probgen.fit("char-rnn", story(place), hidden=8, epochs=1, window=16),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    place, made = tmp_path_factory.mktemp("explore"), set()

    def run(name: str) -> Path:
        if name not in made:
            (place / name).mkdir()
            FITS[name](place).save(place / name / "model.h5")
            made.add(name)
        return place / name

    return run


@pytest.fixture(scope="module")
def shown(runs: Callable[[str], Path]) -> Callable[[str], tuple[Model, Client]]:
    known: dict[str, tuple[Model, Client]] = {}

    def show(name: str) -> tuple[Model, Client]:
        if name not in known:
            found = Shown(runs(name), None)
            assert found.model is not None
            known[name] = found.model, Client(found)
        return known[name]

    return show


# what is shown is what is copied

MOVED = {"latent": "z", "by": [1.5, -0.7, 0.25]}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "vae by seed": ("vae", {"n": 5, "seed": 3}),
    "vae mean by sliders": ("vae", {"seed": 3, "moves": MOVED, "options": {"mean": True}}),
    "vae noise by sliders": ("vae", {"n": 4, "seed": 3, "moves": MOVED}),
    "vae of a code of whole numbers": ("vae", {"seed": 3, "given": {"z": [0, 1, -2]}}),
    "vae mixes two draws in no layers": ("vae", {"seed": 3, "options": {"mean": True, "particles": 16}}),
    "dcgan of a class": ("dcgan", {"seed": 9, "given": {"label": 7}, "moves": {"latent": "z", "by": [0, 3.0]}}),
    "stylegan layers": (
        "stylegan",
        {"options": {"truncation": 0.6, "mean": True}, "moves": {"latent": "styles", "by": [2.0], "layers": [1, 2]}},
    ),
    "stylegan mixes styles": (
        "stylegan",
        {"options": {"mean": True}, "moves": {"latent": "styles", "mix": 5, "mixed": [0, 1]}},
    ),
    "stylegan truncates": ("stylegan", {"n": 3, "seed": 1, "options": {"truncation": 0.5}}),
    "mixture component": ("mixture", {"n": 20, "seed": 2, "given": {"z": 1}}),
    "mixture given columns": ("mixture", {"n": 20, "given": {"x": [30.5, None, None, 3, 1, None, None, 0]}}),
    "nade by seed": ("nade", {"n": 16, "seed": 4}),
    "nade completes": ("nade", {"n": 4, "given": {"x": [[1] * 8] * 3 + [[None] * 8] * 5}}),
    "text by prompt": (
        "char-rnn",
        {"seed": 2, "given": {"x": "the cat "}, "options": {"length": 40, "temperature": 0.8, "top_k": 5}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_the_copied_python_gives_the_bytes_of_the_page(name: str, shown: Any) -> None:
    family, asked = ASKED[name]
    _, client = shown(family)
    page = client.array("draw", **asked)
    status, _, body = client.post("code", **asked)
    assert status == 200, body
    said: dict[str, Any] = {}
    exec(json.loads(body)["python"], said)  # noqa: S102 - the copied script is the subject
    assert page.dtype == said["x"].dtype
    assert page.shape == said["x"].shape
    assert page.tobytes() == said["x"].tobytes()


@pytest.mark.parametrize(
    "name",
    ["vae mean by sliders", "stylegan layers", "mixture given columns", "nade completes", "text by prompt"],
)
def test_the_copied_command_gives_the_bytes_of_the_page(name: str, shown: Any, tmp_path: Path) -> None:
    family, asked = ASKED[name]
    _, client = shown(family)
    words = shlex.split(json.loads(client.post("code", **asked)[2])["command"])
    assert words[:2] == ["probgen", "sample"]
    words[-1] = str(tmp_path / words[-1])
    done = CliRunner().invoke(commands, words[1:])
    assert done.exit_code == 0, done.output
    page, file = client.array("draw", **asked), read_dataset(tmp_path / "draws.h5", "samples")["x"].values
    assert page.tobytes() == file.astype(page.dtype).tobytes()


def test_a_slider_moves_along_what_changes_x_most(shown: Any) -> None:
    """The first direction changes the mean picture more than the last, by the same number of deviations."""
    model, client = shown("vae")
    first, *_, last = np.eye(len(model.spaces["z"].moves)).tolist()

    def change(by: list[float]) -> float:
        x = [
            client.array(
                "draw", options={"mean": True}, moves={"latent": "z", "by": (np.array(by) * k).tolist()}
            )
            for k in (-2, 2)
        ]
        return float(np.square(x[1] - x[0]).sum())

    assert change(first) > change(last)


def test_layers_that_do_not_move_stay(shown: Any) -> None:
    model, _ = shown("stylegan")
    space = model.spaces["styles"]
    code = np.arange(18.0).reshape(3, 6)
    moves = Moves(latent="styles", by=(1.0,), layers=(1, 1))
    moved = space.moved(code, None, moves)
    assert (moved[[0, 2]] == code[[0, 2]]).all()
    np.testing.assert_allclose(moved[1], code[1] + space.moves[0, 1], rtol=1e-4, atol=1e-4)
    mixed = space.moved(code, -code, Moves(latent="styles", mix=1, mixed=(0, 1)))
    assert (mixed == np.stack([-code[0], -code[1], code[2]])).all()


def planted(model: Model, run: Path) -> xr.Dataset:
    """Boundaries of three attributes in the styles, two of them classes of one."""
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((3, 3, 6))
    normals /= np.linalg.norm(normals.reshape(3, -1), axis=1)[:, None, None]
    found = xr.Dataset(
        {"normal": (("factor", "layer", "style"), normals), "deviation": ("factor", [0.5, 1.0, 2.0])},
        {"factor": ["light", "kind 0", "kind 1"], "of": ("factor", ["light", "kind", "kind"])},
        {"latent": "styles", "model_sha256": digest_of(model.fitted.state)},
    )
    (run / "analyses").mkdir(exist_ok=True)
    write_dataset(run / "analyses" / "boundaries.h5", "boundaries", found)
    return found


def test_an_attribute_moves_by_deviations_and_held_ones_stay(shown: Any, runs: Any) -> None:
    """n . c changes by its deviation, and n_j . c of a held attribute does not; classes of one attribute do not hold each other."""
    model, _ = shown("stylegan")
    planted(model, runs("stylegan"))
    known = boundaries_of(model.fitted, runs("stylegan"))
    assert known is not None
    space = replace(model.spaces["styles"], boundaries=known)
    code, n = np.zeros((3, 6)), known["normal"].values.reshape(3, -1)
    for hold, stays in ((("kind 0",), [1]), (("kind 0", "kind 1"), [1, 2]), ((), [])):
        moved = space.moved(code, None, Moves(latent="styles", attributes={"light": 2.0}, hold=hold))
        assert n[0] @ moved.ravel() == pytest.approx(2 * 0.5, abs=1e-3)
        np.testing.assert_allclose((n @ moved.ravel())[stays], 0, atol=1e-3)
    moved = space.moved(code, None, Moves(latent="styles", attributes={"kind 0": 1.0}, hold=("kind 1",)))
    assert n[1] @ moved.ravel() == pytest.approx(1.0, abs=1e-3)
    assert abs(n[2] @ moved.ravel()) > 0.01


def test_boundaries_of_another_model_are_not_offered(shown: Any, runs: Any, tmp_path: Path) -> None:
    model, _ = shown("stylegan")
    found = planted(model, runs("stylegan")).assign_attrs(model_sha256="another")
    (tmp_path / "analyses").mkdir()
    write_dataset(tmp_path / "analyses" / "boundaries.h5", "boundaries", found)
    assert boundaries_of(model.fitted, tmp_path) is None
    (tmp_path / "analyses" / "boundaries.h5").write_bytes(b"damaged")
    assert boundaries_of(model.fitted, tmp_path) is None


def test_a_neighbor_is_the_nearest_row(shown: Any) -> None:
    model, client = shown("vae")
    x = model.data.dataset["x"].values
    status, headers, body = client.post("nearest", x=x[17].ravel().tolist())
    assert status == 200
    nearest, far = json.loads(headers["x-rows"]), json.loads(headers["x-distances"])
    assert far[0] == 0
    assert far == sorted(far)
    assert np.array_equal(x[nearest[0]], x[17])
    assert body == x[nearest].tobytes()
    distances = np.sqrt(np.square(x.astype(float) - x[17]).sum((1, 2)))
    np.testing.assert_allclose(far, np.sort(distances)[: len(far)])


def test_codes_of_rows_are_the_codes_of_the_encoder(shown: Any) -> None:
    """In deviations along the first two directions, about the mean of the codes."""
    model, client = shown("vae")
    status, _, body = client.ask("GET", "/api/codes/z")
    assert status == 200
    found = json.loads(body)
    rows = model.data.dataset
    z = probgen.encode(model.fitted, rows)["z"].values.astype(float)
    assert found["row"] == list(range(len(z)))
    back = np.stack([found["a"], found["b"]], 1) @ model.spaces["z"].moves[:2]
    rest = z - z.mean(0) - back
    np.testing.assert_allclose(
        rest @ model.spaces["z"].moves[:2].T, 0, atol=5e-3
    )  # nothing is left in the plane


def test_the_pieces_of_a_text_are_the_text(shown: Any) -> None:
    """The pieces are results of one call with a growing length, so the last one is the call of the request."""
    model, client = shown("char-rnn")
    asked = {"seed": 2, "given": {"x": "the cat "}, "options": {"length": 60, "top_p": 0.9}}
    x: list[int] = []
    surprise: list[float] = []
    lines = client.lines(**asked)
    for line in lines:
        x[line["start"] :], surprise[line["start"] :] = line["x"], line["surprise"]
    assert len(lines) == 3
    assert [line["start"] for line in lines] == [0, 24, 40]
    assert x == client.array("draw", **asked)[0].tolist()
    text = decode(np.array(x), model.fitted.event.symbols)
    found = probgen.score(
        model.fitted,
        xr.Dataset({"x": (("row", "time"), [x]), "length": ("row", [len(x)])}),
        conditionals=True,
    )
    np.testing.assert_allclose(surprise, -found["site_log_prob"].values[0] / np.log(2), atol=1e-3)
    assert text.startswith("the cat ")


# who is answered

JSON = "application/json"
WHOLE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HOSTILE: dict[str, tuple[int, str, str, Any, dict[str, str | None]]] = {
    "no token": (403, "POST", "/api/draw", {}, {"authorization": None}),
    "another token": (403, "POST", "/api/draw", {}, {"authorization": "Bearer no"}),
    "a token of another scheme": (403, "POST", "/api/draw", {}, {"authorization": f"Basic {TOKEN}"}),
    "a token in a cookie": (403, "POST", "/api/draw", {}, {"authorization": None, "cookie": f"token={TOKEN}"}),
    "a token in the address": (403, "POST", f"/api/draw?token={TOKEN}", {}, {"authorization": None}),
    "a prefix of the token": (403, "POST", "/api/draw", {}, {"authorization": f"Bearer {TOKEN[:-1]}"}),
    "a token with letters beyond ASCII": (403, "POST", "/api/draw", {}, {"authorization": "Bearer \xe9"}),
    "describe without a token": (403, "GET", "/api/describe", None, {"authorization": None}),
    "another host (DNS rebinding)": (403, "POST", "/api/draw", {}, {"host": "evil.example", "origin": "http://evil.example"}),
    "another host with the port": (403, "POST", "/api/draw", {}, {"host": f"evil.example:{PORT}"}),
    "the page at another host": (403, "GET", "/", None, {"host": f"evil.example:{PORT}", "origin": None}),
    "another port": (403, "POST", "/api/draw", {}, {"host": "127.0.0.1:1"}),
    "no host": (403, "POST", "/api/draw", {}, {"host": None}),
    "another origin": (403, "POST", "/api/draw", {}, {"origin": "http://evil.example"}),
    "the origin null": (403, "POST", "/api/draw", {}, {"origin": "null"}),
    "the origin of another port": (403, "POST", "/api/draw", {}, {"origin": "http://127.0.0.1:1"}),
    "the origin by https": (403, "POST", "/api/draw", {}, {"origin": f"https://{HOST}"}),
    "a cross-site request": (403, "POST", "/api/draw", {}, {"sec-fetch-site": "cross-site"}),
    "a same-site request": (403, "POST", "/api/draw", {}, {"sec-fetch-site": "same-site"}),
    "a script tag of another site": (403, "GET", "/static/app.js", None, {"sec-fetch-site": "cross-site", "origin": None}),
    "a frame of another site": (
        403, "GET", "/", None,
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe", "origin": None},
    ),
    "a form": (415, "POST", "/api/draw", {}, {"content-type": "application/x-www-form-urlencoded"}),
    "plain text": (415, "POST", "/api/draw", {}, {"content-type": "text/plain"}),
    "no type": (415, "POST", "/api/draw", {}, {"content-type": None}),
    "no length": (411, "POST", "/api/draw", {}, {"content-length": None, "transfer-encoding": "chunked"}),
    "a length that is no number": (411, "POST", "/api/draw", {}, {"content-length": "-1"}),
    "a large length": (413, "POST", "/api/draw", {}, {"content-length": str(MOST + 1)}),
    "a length of many digits": (413, "POST", "/api/draw", {}, {"content-length": "9" * 5000}),
    "a body larger than its length": (413, "POST", "/api/draw", b"[" + b"0," * MOST, {"content-length": "10"}),
    "PUT": (405, "PUT", "/api/draw", {}, {}),
    "DELETE": (405, "DELETE", "/", None, {}),
    "OPTIONS, a preflight": (403, "OPTIONS", "/api/draw", None, {"origin": "http://evil.example"}),
    "POST to the page": (405, "POST", "/", {}, {}),
    "GET of a draw": (405, "GET", "/api/draw", None, {}),
    "a file beside": (404, "GET", "/static/../app.py", None, {}),
    "a file by percent signs": (404, "GET", "/static/%2e%2e%2fapp.py", None, {}),
    "a file of the system": (404, "GET", "/static/..%2f..%2f..%2fetc%2fpasswd", None, {}),
    "an absolute path": (404, "GET", "/static//etc/passwd", None, {}),
    "a name with a zero byte": (404, "GET", "/static/app.js\x00.css", None, {}),
    "another path": (404, "GET", "/model.h5", None, {}),
    "another route": (404, "POST", "/api/load", {"path": "/etc/passwd"}, {}),
    "a latent by path": (400, "GET", "/api/codes/..%2f..%2fmodel.h5", None, {}),
    "not JSON": (400, "POST", "/api/draw", b"{", {}),
    "nothing": (400, "POST", "/api/draw", b"", {}),
    "NaN": (400, "POST", "/api/draw", b'{"seed": NaN}', {}),
    "infinity": (400, "POST", "/api/draw", b'{"moves": {"latent": "z", "by": [Infinity]}}', {}),
    "deep nesting": (400, "POST", "/api/draw", b"[" * 200_000, {}),
    "deep lists": (400, "POST", "/api/draw", b'{"given": {"x": ' + b"[" * 900 + b"]" * 900 + b"}}", {}),
    "a number of many digits": (400, "POST", "/api/draw", b'{"seed": ' + b"9" * 5000 + b"}", {}),
    "bytes beyond UTF-8": (400, "POST", "/api/draw", b'{"seed": "\xff"}', {}),
    "a list": (400, "POST", "/api/draw", [1, 2], {}),
    "an unknown name": (400, "POST", "/api/draw", {"path": "/etc/passwd"}, {}),
    "a seed below 0": (400, "POST", "/api/draw", {"seed": -1}, {}),
    "a seed that is a text": (400, "POST", "/api/draw", {"seed": "0"}, {}),
    "no samples": (400, "POST", "/api/draw", {"n": 0}, {}),
    "too many samples": (400, "POST", "/api/draw", {"n": 10**9}, {}),
    "an unknown option": (400, "POST", "/api/draw", {"options": {"out": "/no/such/x"}}, {}),
    "the device as an option": (400, "POST", "/api/draw", {"options": {"device": "meta"}}, {}),
    "an option out of range": (400, "POST", "/api/draw", {"options": {"particles": 0}}, {}),
    "an option that takes hours": (400, "POST", "/api/draw", {"options": {"particles": 10**9}}, {}),
    "an option of another type": (400, "POST", "/api/draw", {"options": {"mean": "yes"}}, {}),
    "an option with a list": (400, "POST", "/api/draw", {"options": {"mean": [True]}}, {}),
    "an unknown latent": (400, "POST", "/api/draw", {"moves": {"latent": "../z", "by": [1.0]}}, {}),
    "moves too far": (400, "POST", "/api/draw", {"moves": {"latent": "z", "by": [1e9]}}, {}),
    "too many moves": (400, "POST", "/api/draw", {"moves": {"latent": "z", "by": [1.0] * 4}}, {}),
    "far too many moves": (400, "POST", "/api/draw", {"moves": {"latent": "z", "by": [1.0] * 9000}}, {}),
    "layers where there are none": (400, "POST", "/api/draw", {"moves": {"latent": "z", "by": [1.0], "layers": [0, 1]}}, {}),
    "attributes without boundaries": (400, "POST", "/api/draw", {"moves": {"latent": "z", "attributes": {"age": 1.0}}}, {}),
    "codes of another length": (400, "POST", "/api/draw", {"given": {"z": [1.0, 2.0]}}, {}),
    "codes of many rows": (400, "POST", "/api/draw", {"given": {"z": [[0.0] * 3] * 50_000}}, {}),
    "codes that are huge": (400, "POST", "/api/draw", {"given": {"z": [1e300, 0, 0]}}, {}),
    "codes that are texts": (400, "POST", "/api/draw", {"given": {"z": ["a", "b", "c"]}}, {}),
    "codes of unequal lengths": (400, "POST", "/api/draw", {"given": {"z": [[1, 2], 3, 4]}}, {}),
    "codes that are unknown": (400, "POST", "/api/draw", {"given": {"z": [None, 0, 0]}}, {}),
    "an unknown condition": (400, "POST", "/api/draw", {"given": {"file": "/etc/passwd"}}, {}),
    "a mask of another size": (400, "POST", "/api/complete", {"given": {"x": [[None] * 7] * 7}}, {}),
    "pixels out of range": (400, "POST", "/api/complete", {"given": {"x": [[255] * 8] * 8}}, {}),
    "a text for an image": (400, "POST", "/api/complete", {"given": {"x": "the cat"}}, {}),
    "a long text": (400, "POST", "/api/complete", {"given": {"x": "a" * 100_000}}, {}),
    "a stream of an image": (400, "POST", "/api/stream", {}, {}),
    "a row that is not there": (400, "POST", "/api/row", {"row": 10**9}, {}),
    "a row below 0": (400, "POST", "/api/row", {"row": -1}, {}),
    "neighbors beyond all numbers": (400, "POST", "/api/nearest", {"x": [1e308] * 64}, {}),
    "neighbors of x of another size": (400, "POST", "/api/nearest", {"x": [0.0]}, {}),
}  # fmt: skip


@pytest.mark.quick(every=1)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_in_one_line(name: str, shown: Any) -> None:
    _, client = shown("vae")
    status, method, path, values, headers = HOSTILE[name]
    body = values if isinstance(values, bytes) else b"" if values is None else json.dumps(values).encode()
    found, told, said = client.ask(method, path, body, headers, parts=8)
    assert found == status, said
    assert said.count(b"\n") <= 1
    assert b"Traceback" not in said
    assert TOKEN.encode() not in said
    assert "default-src 'none'" in told["content-security-policy"]
    assert client.ask("GET", "/api/describe")[0] == 200


def test_the_table_is_long_enough() -> None:
    assert len(HOSTILE) >= 40


def test_a_prompt_of_unknown_symbols_is_refused_before_the_stream_begins(shown: Any) -> None:
    _, client = shown("char-rnn")
    status, _, said = client.post("stream", given={"x": "the €"})
    assert status == 400
    assert "'€' is not in the vocabulary" in said.decode()


def test_a_folder_whose_name_is_not_text_is_shown(runs: Any, tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"run \xff")
    shutil.copytree(runs("nade"), place)
    client = Client(Shown(place, None))
    status, _, body = client.ask("GET", "/api/describe")
    assert status == 200
    assert json.loads(body)["run"] == place.name
    said: dict[str, Any] = {}
    exec(json.loads(client.post("code", seed=1)[2])["python"], said)  # noqa: S102 - as above
    assert said["x"].tobytes() == client.array("draw", seed=1).tobytes()


@pytest.mark.parametrize("length", [0, -5, True, "20"])
def test_a_stream_is_refused_where_its_call_is(length: Any, shown: Any) -> None:
    """The text that is shown is the result of the copied call."""
    _, client = shown("char-rnn")
    told = [client.post(name, options={"length": length})[0] for name in ("draw", "stream")]
    assert told == [400, 400]


def test_the_page_itself_is_answered(shown: Any) -> None:
    _, client = shown("vae")
    for path in ("/", *(f"/static/{name}" for name in STATIC)):
        status, headers, body = client.ask("GET", path, headers={"authorization": None, "origin": None})
        assert status == 200
        assert body
        assert headers["cache-control"] == "no-store"
        assert TOKEN.encode() not in body
    clicked = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
        "origin": None,
    }
    assert client.ask("GET", "/", headers=clicked)[0] == 200


def test_a_slow_body_is_refused(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = shown("vae")
    monkeypatch.setattr("probgen.explore.guard.SECONDS", 0.05)
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {}

    async def send(message: Any) -> None:
        told.append(message)

    headers = {
        "host": HOST, "authorization": f"Bearer {TOKEN}", "content-type": JSON, "content-length": "10",
    }  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": "/api/draw", "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))
    assert told[0]["status"] == 408


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", WHOLE, WHOLE + b"GET /"])
def test_a_request_that_does_not_arrive_ends_its_connection(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, connections without a token occupy the server; an answer may take longer."""
    monkeypatch.setattr("probgen.explore.prompt.SECONDS", 0.3)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.6)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def received() -> bytes:
        config = uvicorn.Config(slow, lifespan="off", ws="none", log_level="critical")
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: Prompt(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        found = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        server.close()
        return found

    found = asyncio.run(received())
    assert found.endswith(b"ok") if sent.startswith(WHOLE) else found == b""


# one at a time, the last value wins


def test_of_the_waiting_requests_only_the_newest_is_done() -> None:
    worker, begun, free, done = Worker(), threading.Event(), threading.Event(), []

    def first() -> str:
        begun.set()
        free.wait(10)
        return "first"

    async def all_() -> list[Any]:
        waiting = [asyncio.ensure_future(worker.do(worker.ticket("draw"), first))]
        await asyncio.to_thread(begun.wait)
        waiting += [
            asyncio.ensure_future(worker.do(worker.ticket("draw"), lambda i=i: done.append(i) or i))
            for i in range(5)
        ]
        waiting.append(asyncio.ensure_future(worker.do(worker.ticket("code"), lambda: "code")))
        await asyncio.sleep(0)
        free.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    found = asyncio.run(all_())
    assert found[0] == "first"
    assert [isinstance(each, Superseded) for each in found[1:5]] == [True] * 4
    assert found[5:] == [4, "code"]
    assert done == [4]


def test_a_failing_function_does_not_end_the_worker() -> None:
    worker = Worker()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(worker.do(worker.ticket("draw"), lambda: 1 / 0))
    assert asyncio.run(worker.do(worker.ticket("draw"), lambda: 1)) == 1


# a fit while it runs


class Stop:
    """An observer that ends the process of a fit after some steps, as a signal does."""

    def __init__(self, after: int):
        self.after = after

    @probgen.hookimpl
    def step(self, step: int) -> None:
        if step == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("family", "exact"), [("vae", True), ("dcgan", False)])
def test_an_unfinished_fit_shows_its_curves_and_its_weights(
    family: str, exact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The samples are those of a fit that ends at the same step, except that a GAN computes statistics at its end."""
    monkeypatch.setenv("PROBGEN_CHECKPOINT_SECONDS", "0")
    options: dict[str, Any] = {"vae": {"latent": 2, "hidden": 4}, "dcgan": {"channels": [4], "latent": 2}}[
        family
    ]
    data, run = rows("digits-binary", 64), tmp_path / "run"
    options |= {"steps": 9, "batch_size": 16}
    with probgen.observing(Stop(5)), pytest.raises(KeyboardInterrupt):
        probgen.fit(family, data, out=run, **options)
    found = Shown(run, None)
    client = Client(found)
    about = json.loads(client.ask("GET", "/api/describe")[2])
    assert about["event"]["view"] == "image"
    assert not about["ended"]
    stage, step = about["checkpoint"]
    history = json.loads(client.ask("GET", "/api/history?after=0")[2])
    assert [line["step"] for line in history["lines"]] == list(range(6))
    assert not history["ended"]
    assert history["checkpoint"] == [stage, step]
    x = client.array("draw", n=3, seed=1)
    assert x.shape == (3, 8, 8)
    ended = probgen.fit(family, data, **{**options, "steps": step})
    assert not exact or x.tobytes() == probgen.sample(ended, 3, seed=1)["x"].values.tobytes()
    status, _, said = client.post("code", n=3)
    assert (status, said.count(b"\n")) == (400, 1)
    fitted = probgen.fit(family, data, out=run, resume=True, **options)
    after = json.loads(client.ask("GET", f"/api/history?after={history['next']}")[2])
    assert after["ended"]
    assert [line["step"] for line in after["lines"]][-1] == 8
    assert (
        client.array("draw", n=3, seed=1).tobytes() == probgen.sample(fitted, 3, seed=1)["x"].values.tobytes()
    )
    assert json.loads(client.ask("GET", "/api/describe")[2])["checkpoint"] is None
    assert client.post("code", n=3)[0] == 200


def test_a_journal_is_read_line_by_line(tmp_path: Path) -> None:
    """Each line once, none before it is complete, and again from the beginning after another fit has begun."""
    path = tmp_path / "history.jsonl"
    assert read_new(path, 0) == ([], 0, False)
    journal, seen, end = Journal(path), [], 0
    for step in range(5):
        journal.write({"stage": "fit", "step": step, "loss": 1.0 / (step + 1)})
        lines, end, again = read_new(path, end)
        seen += lines
        assert not again
    journal.close()
    assert [line["step"] for line in seen] == list(range(5))
    whole = path.read_bytes()
    for cut in range(whole.rfind(b"\n", 0, -1) + 1, len(whole)):
        path.write_bytes(whole[:cut])
        assert [line["step"] for line in read_new(path, 0)[0]] == [0, 1, 2, 3]
    path.write_bytes(whole)
    assert read_new(path, end) == ([], end, False)
    assert len(read_new(path, 0, most=len(whole) // 2)[0]) == 2
    path.write_bytes(whole[: whole.find(b"\n") + 1])
    lines, _, again = read_new(path, end)
    assert again
    assert [line["step"] for line in lines] == [0]
    path.write_bytes(whole.replace(b"0.5", b"0.6"))
    with pytest.raises(FileError, match="damaged in line 2"):
        read_new(path, 0)


# the command


def test_a_condition_is_set_once(runs: Any, tmp_path: Path) -> None:
    """`--set` sets conditions, which a file of conditions excludes."""
    (tmp_path / "given.csv").write_text("label\n3\n")
    words = ["sample", str(runs("dcgan")), "--set", "label=3", "--out", str(tmp_path / "x.h5")]
    assert CliRunner().invoke(commands, words).exit_code == 0
    done = CliRunner().invoke(commands, [*words, "--given", str(tmp_path / "given.csv"), "--force"])
    assert done.exit_code == 2
    assert "--set label" in done.output


def refusal_of(*words: str) -> str:
    done = CliRunner().invoke(commands, ["explore", *words])
    assert done.exit_code == 2, done.output
    said = done.output.strip()
    assert "\n" not in said
    assert said.startswith("probgen: ")
    return said


def test_a_run_that_cannot_be_shown_is_refused_in_one_line(
    runs: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    assert "No such file" in refusal_of(str(tmp_path / "none"))
    assert "neither a fitted model" in refusal_of(str(tmp_path))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    content = bytearray((runs("nade") / "model.h5").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "model.h5").write_bytes(content)
    assert "damaged" in refusal_of(str(damaged))
    with bound(0) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port}: it cannot be used" in refusal_of(str(runs("nade")), "--port", port)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'probgen[explore]'" in refusal_of(str(runs("nade")))


def test_the_server_survives_many_requests_and_ends_with_ctrl_c(runs: Any) -> None:
    """A process of its own: the address comes after the first sample, and 1,000 requests at once do not end it."""
    words = [sys.executable, "-m", "probgen", "explore", str(runs("nade"))]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        url, _, token = address.partition("#token=")
        assert url.startswith("http://127.0.0.1:")
        assert len(token) > 40
        host = url.removeprefix("http://").rstrip("/")
        port = int(host.rpartition(":")[2])

        def ask(body: bytes, token: str = token) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            try:
                connection.request("POST", "/api/draw", body, headers)
                return connection.getresponse().status
            except OSError:
                return 0  # refused before it was read
            finally:
                connection.close()

        assert ask(b'{"n": 2}') == 200
        assert ask(b"{}", "another") == 403
        with ThreadPoolExecutor(100) as pool:
            found = Counter(pool.map(lambda _: ask(b'{"n": 1}'), range(1000)))
        assert set(found) <= {0, 200, 409, 503}
        assert found[200]
        leaving = socket.create_connection(("127.0.0.1", port))  # a browser that closes in the middle
        leaving.sendall(
            f"POST /api/draw HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            'Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"n": 64}'.encode()
        )
        leaving.close()
        assert ask(b'{"n": 2}') == 200
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=30)
        assert server.returncode == 0
        assert said.strip() == "ended"
    finally:
        server.kill()
        server.wait()
