"""Files that somebody sent: each is refused in one line, quickly, and nothing outside it is read.

The catalog builds every file itself. A file is opened by the command line in a child that may take two seconds and
300 MB more than it has, while a canary beside it is watched by the kernel (inotify): no part of it may be opened.
"""

from __future__ import annotations

import ctypes
import gzip
import io
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import xarray as xr
from PIL import Image

import probgen
from probgen.contract.fitted import Fitted
from probgen.store.files import write_file
from tests.trust.child import Done, run
from tests.trust.crash import Tally, command, place
from tests.trust.processes import FITS

SECONDS, BYTES = 2.0, 300 << 20
Make = Callable[[Path], Path]


class Pickled:
    """What runs where something unpickles it."""

    def __reduce__(self) -> Any:
        return os.system, ("touch PWNED",)


def canary(folder: Path) -> Path:
    """A file beside the hostile one that nothing may read."""
    path = folder / "canary"
    if not path.exists():
        path.write_bytes(b"secret" * 100)
    return path


# HDF5: one thing wrong in a file that is otherwise good


def external(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (64,), "u1", external=[(str(canary(folder)), 0, 64)])


def external_relative(file: h5py.File, folder: Path) -> None:
    canary(folder)
    file.create_dataset("x", (64,), "u1", external=[("./canary", 0, 64)])


def external_in_a_group(file: h5py.File, folder: Path) -> None:
    file.create_dataset("a/b/x", (64,), "u1", external=[(str(canary(folder)), 8, 64)])


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.ones(4)
    os.replace(folder / "other.h5", canary(folder))
    file["x"] = h5py.ExternalLink(str(folder / "canary"), "/x")


def external_link_to_nothing(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.ExternalLink("/no/such/file.h5", "/x")


def soft_link(file: h5py.File, folder: Path) -> None:
    file["y"] = np.ones(4)
    file["x"] = h5py.SoftLink("/y")


def soft_link_to_itself(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.SoftLink("/x")


def hard_link_cycle(file: h5py.File, folder: Path) -> None:
    file.create_group("a")["up"] = file["/"]


def two_hard_links(file: h5py.File, folder: Path) -> None:
    file["x"] = np.ones(4)
    file["y"] = file["x"]


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(canary(folder)), "x", (4,))
    file.create_virtual_dataset("x", layout)


def virtual_of_itself(file: h5py.File, folder: Path) -> None:
    file["y"] = np.ones(4)
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(file["y"])
    file.create_virtual_dataset("x", layout)


def declares_petabytes(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (1 << 50,), "f8", chunks=(1 << 20,), compression="gzip")


def declares_terabytes(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (1 << 40,), "f8", chunks=(1 << 20,))


def declares_gigabytes(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (1 << 29,), "f8", chunks=(1 << 20,))


def declares_a_little_often(file: h5py.File, folder: Path) -> None:
    for i in range(40):
        file.create_dataset(f"x{i:02d}", (1 << 18,), "f8", chunks=(1 << 10,))


def declares_in_many_dimensions(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (1 << 12,) * 4, "u1", chunks=(1, 1, 1, 1 << 12))


def fill_value_bomb(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (1 << 30,), "u1", chunks=(1 << 20,), fillvalue=7)


def gzip_bomb(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(64 << 20, "u1"), chunks=(16 << 20,), compression="gzip")


def gzip_bomb_in_small_chunks(file: h5py.File, folder: Path) -> None:
    file.create_dataset(
        "x", data=np.zeros(64 << 20, "u1"), chunks=(1 << 20,), compression="gzip", compression_opts=9
    )


def deep(file: h5py.File, folder: Path) -> None:
    group: Any = file
    for _ in range(40):
        group = group.create_group("g")


def very_deep(file: h5py.File, folder: Path) -> None:
    group: Any = file
    for _ in range(3000):
        group = group.create_group("g")


def many_objects(file: h5py.File, folder: Path) -> None:
    for i in range(20_100):
        file.create_group(f"g{i}")


def many_attributes(file: h5py.File, folder: Path) -> None:
    for i in range(1_100):
        file.attrs[f"a{i}"] = i


def a_large_attribute(file: h5py.File, folder: Path) -> None:
    file.attrs["long"] = np.zeros(1 << 18)


def lzf(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.arange(64), chunks=(64,), compression="lzf")


def unknown_filter(file: h5py.File, folder: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((64,))
    plist.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    space = h5py.h5s.create_simple((64,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, plist)


def scale_offset(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.arange(64), chunks=(64,), scaleoffset=0)


def n_bit(file: h5py.File, folder: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((64,))
    plist.set_filter(h5py.h5z.FILTER_NBIT, 0, ())
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((64,)), plist)


def references(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=[file.ref], dtype=h5py.ref_dtype)


def region_references(file: h5py.File, folder: Path) -> None:
    file["y"] = np.ones(4)
    file.create_dataset("x", data=[file["y"].regionref[:2]], dtype=h5py.regionref_dtype)


def opaque(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.void(pickle.dumps(Pickled())))


def compound(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(3, dtype=[("a", "f8"), ("b", "i4")]))


def nested_lists(file: h5py.File, folder: Path) -> None:
    x = file.create_dataset("x", (2,), dtype=h5py.vlen_dtype(np.dtype("f8")))
    x[0] = np.ones(3)


def enumeration(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(3, "u1"), dtype=h5py.enum_dtype({"A": 0, "B": 1}, basetype="u1"))


def complex_numbers(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.ones(3, complex))


def named_type(file: h5py.File, folder: Path) -> None:
    file["x"] = np.dtype("f8")


def array_type(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (3,), dtype=np.dtype(("f8", (2, 2))))


def pickle_in_an_attribute(file: h5py.File, folder: Path) -> None:
    file.attrs["options"] = np.void(pickle.dumps(Pickled()))


def reference_in_an_attribute(file: h5py.File, folder: Path) -> None:
    file.attrs.create("a", file.ref, dtype=h5py.ref_dtype)


# what the refusal says of each
WORDS: dict[Callable[[h5py.File, Path], None], str] = {
    external: "has its data in another file", external_relative: "has its data in another file",
    external_in_a_group: "has its data in another file", external_link: "is a link to somewhere else",
    external_link_to_nothing: "is a link to somewhere else", soft_link: "is a link to somewhere else",
    soft_link_to_itself: "is a link to somewhere else", hard_link_cycle: "is linked more than once",
    two_hard_links: "is linked more than once", virtual: "is a virtual data set", virtual_of_itself: "is a virtual data set",
    declares_petabytes: "declares", declares_terabytes: "declares", declares_gigabytes: "declares",
    declares_a_little_often: "declares", declares_in_many_dimensions: "declares", fill_value_bomb: "declares",
    gzip_bomb: "declares", gzip_bomb_in_small_chunks: "declares", deep: "is nested more than", very_deep: "is nested more than",
    many_objects: "objects", many_attributes: "attributes", a_large_attribute: "is an attribute of more than",
    lzf: "uses the filter", unknown_filter: "uses the filter", scale_offset: "uses the filter", n_bit: "uses the filter",
    references: "not numbers or text", region_references: "not numbers or text", opaque: "not numbers or text",
    compound: "not numbers or text", nested_lists: "not numbers or text", enumeration: "not numbers or text",
    complex_numbers: "not numbers or text", named_type: "is neither a group nor an array", array_type: "not numbers or text",
    pickle_in_an_attribute: "not numbers or text", reference_in_an_attribute: "not numbers or text",
}  # fmt: skip
HDF5 = {build.__name__.replace("_", " "): build for build in WORDS}


def hdf5(build: Callable[[h5py.File, Path], None], sealed: bool) -> Make:
    """The one thing in a file of data that is good otherwise, or in a model that is, with a good seal."""

    def make(folder: Path) -> Path:
        path = folder / "raw.h5"
        if sealed:
            path.write_bytes(good_bytes())
        with h5py.File(path, "a", libver="latest" if build is a_large_attribute else None) as file:
            build(file, folder)
            if not sealed and "x" not in file:
                file["x"] = np.arange(8.0).reshape(4, 2)
        if not sealed:
            return path
        write_file(folder / "model.h5", path.read_bytes())
        path.unlink()
        return folder / "model.h5"

    return make


# models that are well-formed and wrong


def a_model() -> Fitted:
    x = np.random.default_rng(0).standard_normal((30, 2))
    return probgen.fit("mixture", x, components=2, steps=3)


def changed(**about: Any) -> Make:
    """A good model, in which attributes or arrays are others."""

    def make(folder: Path) -> Path:
        tree = a_model().to_tree()
        state = tree["/probgen/state"].to_dataset()
        for name, value in about.items():
            if name == "state":
                nodes = {n.path: n.to_dataset() for n in tree.subtree} | {"/probgen/state": value(state)}
                tree = xr.DataTree.from_dict(nodes)
            elif name == "schema":
                tree.attrs["probgen_schema"] = value
            else:
                tree["/probgen"].attrs[name] = value
        tree.attrs.setdefault("probgen_schema", 1)
        write_file(folder / "model.h5", tree.to_netcdf(engine="h5netcdf"))
        return folder / "model.h5"

    return make


def bytes_of(name: str, content: Callable[[], bytes], sealed: bool = False) -> Make:
    def make(folder: Path) -> Path:
        if sealed:
            write_file(folder / name, content())
        else:
            (folder / name).write_bytes(content())
        return folder / name

    return make


def good_bytes() -> bytes:
    tree = a_model().to_tree()
    tree.attrs["probgen_schema"] = 1
    return bytes(tree.to_netcdf(engine="h5netcdf"))


def torch_pickle() -> bytes:
    image = io.BytesIO()
    torch.save({"a": torch.ones(2)}, image)
    return image.getvalue()


def of_every_family(folder: Path, family: str) -> Path:
    """A model of a small fit, whose options say a million of whatever its state is made of."""
    data, options = FITS[family]
    tree = probgen.fit(family, data, **options | ({"epochs": 1} if "epochs" in options else {})).to_tree()
    said = json.loads(tree["/probgen"].attrs["options"])
    for name, value in said.items():
        if name in (
            "components",
            "latent",
            "hidden",
            "layers",
            "classes",
            "masks",
            "draws",
            "channels",
            "stacks",
        ):
            said[name] = [1_000_000] if isinstance(value, list) else 1_000_000
    tree["/probgen"].attrs["options"] = json.dumps(said)
    tree.attrs["probgen_schema"] = 1
    write_file(folder / "model.h5", tree.to_netcdf(engine="h5netcdf"))
    return folder / "model.h5"


MODELS: dict[str, Make] = {
    **{
        f"a million of everything, {family}": lambda folder, family=family: of_every_family(folder, family)
        for family in FITS
        if family not in ("independent", "ngram")  # which have none of these
    },
    "a family by a dotted path": changed(family="os:system"),
    "a family by a path": changed(family="../../evil"),
    "a family with escapes": changed(family="\x1b[31mmixture\x1b[0m\u202e"),
    "a family of two lines": changed(family="mix\nture"),
    "no family": changed(family=""),
    "options that are deep": changed(options="[" * 100_000),
    "options that are no object": changed(options="3"),
    "options that are not JSON": changed(options="{"),
    "an unknown option": changed(options='{"componets": 2}'),
    "an option out of range": changed(options='{"components": -2}'),
    "an option of a million": changed(options='{"components": 100000000}'),
    "an event of no support": changed(event='{"dims": ["a"], "shape": [2], "support": "os", "levels": null, "given": {}}'),
    "an event that is no event": changed(event="[]"),
    "an event of terabytes": changed(
        event='{"dims": ["a"], "shape": [1000000000000], "support": "real", "levels": null, "given": {}}'
    ),
    "an event of negative size": changed(
        event='{"dims": ["a"], "shape": [-2], "support": "real", "levels": null, "given": {}}'
    ),
    "provenance that is not JSON": changed(provenance="<xml/>"),
    "a newer schema": changed(schema=999),
    "a schema of text": changed(schema="one"),
    "a state without an array": changed(state=lambda s: s.drop_vars("mu")),
    "a state with an array more": changed(state=lambda s: s.assign(extra=1.0)),
    "a state of another shape": changed(state=lambda s: s.assign(mu=("a", [1.0]))),
    "a state of NaN": changed(state=lambda s: s * np.nan),
    "a state of infinities": changed(state=lambda s: s + np.inf),
    "a state of whole numbers": changed(state=lambda s: s.assign(mu=s.mu.astype(int))),
    "a state of text": changed(state=lambda s: s.assign(mu=s.mu.astype(str))),
    "a model cut off": bytes_of("model.h5", lambda: good_bytes()[:-200]),
    "a model cut off, and sealed": bytes_of("model.h5", lambda: good_bytes()[: len(good_bytes()) // 2], True),
    "a model without a seal": bytes_of("model.h5", good_bytes),
    "a seal alone": bytes_of("model.h5", lambda: b"\n# sha256 " + b"0" * 64 + b"\n"),
    "an empty file": bytes_of("model.h5", lambda: b""),
    "a torch pickle": bytes_of("model.h5", torch_pickle),
    "a torch pickle, sealed": bytes_of("model.h5", torch_pickle, True),
    "a pickle, sealed": bytes_of("model.h5", lambda: pickle.dumps(Pickled()), True),
    "HDF5's first bytes, and noise": bytes_of("model.h5", lambda: b"\x89HDF\r\n\x1a\n" + os.urandom(4000), True),
}  # fmt: skip


def toml(text: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / "recipe.toml").write_text(text)
        canary(folder)
        return folder / "recipe.toml"

    return make


RECIPES: dict[str, Make] = {
    "a recipe that is deep": toml("a = " + "[" * 100_000),
    "a recipe that is no TOML": toml("\x00\x01"),
    "a recipe with a key twice": toml("title = 'a'\ntitle = 'b'\n"),
    "a recipe with an unknown key": toml("title = 'a'\ncode = 'import os'\n[data]\nname = 'iris'\n[models.a]\nfamily = 'mixture'\n"),
    "a recipe with a model that leaves its folder": toml("title = 'a'\n[data]\nname = 'iris'\n[models.'../../x']\nfamily = 'mixture'\n"),
    "a recipe with an absolute model": toml("title = 'a'\n[data]\nname = 'iris'\n[models.'/var/x']\nfamily = 'mixture'\n"),
    "a recipe with a family by a dotted path": toml("title = 'a'\n[data]\nname = 'iris'\n[models.a]\nfamily = 'os:system'\n"),
}  # fmt: skip


# data


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def zipped(files: dict[str, bytes]) -> bytes:
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return image.getvalue()


def png_bomb() -> bytes:
    image = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(image, "PNG")
    return image.getvalue()


def folder_of(name: str, content: Callable[[], bytes]) -> Make:
    def make(folder: Path) -> Path:
        (folder / "images").mkdir()
        (folder / "images" / name).write_bytes(content())
        return folder / "images"

    return make


DATA: dict[str, Make] = {
    "an object array": bytes_of("x.npy", lambda: npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps(Pickled()))),
    "an .npy that declares terabytes": bytes_of("x.npy", lambda: npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }")),
    "an .npy with code in its header": bytes_of("x.npy", lambda: npy("__import__('os').system('touch PWNED')")),
    "an .npy that is deep": bytes_of("x.npy", lambda: b"\x93NUMPY\x02\x00" + struct.pack("<I", 90_000) + b"(" * 90_000),
    "an .npy cut off": bytes_of("x.npy", lambda: npy("{'descr': '<f8', 'fortran_order': False, 'shape': (100,), }", b"1234")),
    "an .npy that is a pickle": bytes_of("x.npy", lambda: pickle.dumps(Pickled())),
    "an .npz that is a bomb": bytes_of("x.npz", lambda: zipped({"x.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (268435456,), }", bytes(1 << 28))})),
    "an .npz with an object array": bytes_of("x.npz", lambda: zipped({"x.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps(Pickled()))})),
    "an .npz that declares terabytes": bytes_of("x.npz", lambda: zipped({"x.npy": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }")})),
    "an .npz with paths that leave it": bytes_of("x.npz", lambda: zipped({"../../x.txt": b"hello"})),
    "an .npz cut off": bytes_of("x.npz", lambda: zipped({"x.npy": b"1" * 1000})[:-30]),
    "an IDX file that declares terabytes": bytes_of("x-idx3-ubyte", lambda: struct.pack(">HBB3I", 0, 8, 3, 1 << 31, 1 << 31, 1 << 31)),
    "an IDX file of 255 dimensions": bytes_of("x-idx3-ubyte", lambda: struct.pack(">HBB", 0, 8, 255) + bytes(1020)),
    "an IDX file of an unknown type": bytes_of("x-idx3-ubyte", lambda: struct.pack(">HBBI", 0, 99, 1, 4) + b"1234"),
    "an IDX file that is a gzip bomb": bytes_of("x-idx3-ubyte.gz", lambda: gzip.compress(struct.pack(">HBBI", 0, 8, 1, 1 << 28) + bytes(1 << 28))),
    "a gzip file cut off": bytes_of("x-idx3-ubyte.gz", lambda: gzip.compress(bytes(1000))[:-12]),
    "a CSV of noise": bytes_of("x.csv", lambda: os.urandom(2000)),
    "a CSV of one endless line": bytes_of("x.csv", lambda: b"a," * 200_000),
    "a CSV of an open quotation": bytes_of("x.csv", lambda: b'a,b\n1,"2\n3,4\n'),
    "an image that is a bomb": folder_of("a.png", png_bomb),
    "an image cut off": folder_of("a.png", lambda: png_bomb()[:200]),
    "an image that is a script": folder_of("a.gif", lambda: b"#!/bin/sh\ntouch PWNED\n"),
    "a netCDF file that is none": bytes_of("x.nc", lambda: b"CDF\x01" + os.urandom(300)),
}  # fmt: skip

ALL: dict[str, tuple[Make, str, str]] = {
    **{f"data: {name}": (hdf5(build, False), "data", WORDS[build]) for name, build in HDF5.items()},
    **{f"model: {name}": (hdf5(build, True), "model", WORDS[build]) for name, build in HDF5.items()},
    **{name: (make, "model", "") for name, make in MODELS.items()},
    **{name: (make, "recipe", "") for name, make in RECIPES.items()},
    **{name: (make, "data", "") for name, make in DATA.items()},
}  # fmt: skip


def arguments_of(kind: str, path: Path) -> list[str]:
    if kind == "model":
        return ["sample", str(path), "--out", "draws.h5"]
    if kind == "recipe":
        return ["run", str(path), "--out", "runs"]
    return ["fit", "independent", "--data", str(path), "--out", "run"]


class Watch:
    """Whether a file is opened or read, told by the kernel."""

    OPENED_OR_READ = 0x20 | 0x1

    def __init__(self, path: Path):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.inotify_init1(os.O_NONBLOCK)
        if self.libc.inotify_add_watch(self.descriptor, os.fsencode(path), self.OPENED_OR_READ) < 0:
            raise OSError("inotify is not to be had")

    def seen(self) -> bool:
        try:
            return bool(os.read(self.descriptor, 4096))
        except BlockingIOError:
            return False
        finally:
            os.close(self.descriptor)


def limited(arguments: list[str], folder: Path) -> Done:
    """The command in a child that cannot have much more memory than it starts with."""

    def work(tell: Callable[[Any], None]) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
        command([*arguments, "--quiet"] if "--quiet" not in arguments else arguments, folder)

    return run(work, limit=120.0)


def refuse(name: str) -> list[str]:
    """What is wrong with how one file is met, or nothing."""
    make, kind, word = ALL[name]
    with place() as folder:
        path = make(folder)
        watch = Watch(canary(folder))
        before = {p.name for p in folder.iterdir()}
        done = limited(arguments_of(kind, path), folder)
        faults = []
        if done.code not in (2, 3) or (done.code == 3 and "family" not in name):
            faults.append(f"exit code {done.code}")
        lines = done.errors.strip().splitlines()
        if len(lines) != 1 or not lines[0].startswith("probgen: ") or len(lines[0]) > 1000:
            faults.append(f"said {done.errors[:600]!r}")
        if word not in done.errors:
            faults.append(f"refused for something else: {done.errors[:300]!r}")
        if any(ord(c) < 32 or c in "\u202e\u2066" for c in done.errors.rstrip("\n")):
            faults.append("escapes in the message")
        if done.seconds > SECONDS:
            faults.append(f"took {done.seconds:.1f} s")
        if watch.seen():
            faults.append("the canary was read")
        if "secret" in done.errors:
            faults.append("the canary was told")
        left = {p.name for p in folder.iterdir()} - before
        if left:
            faults.append(f"left {sorted(left)}")
        return [f"{name}: {fault}" for fault in faults]


def refuse_all(names: list[str] | None = None) -> Tally:
    """The whole catalog."""
    tally = Tally()
    for name in names or list(ALL):
        tally.points += 1
        tally.faults += refuse(name)
    return tally
