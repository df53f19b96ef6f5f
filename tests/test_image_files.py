"""Image files of every kind: the pixels that were put in, a conversion that is reported, or one line that says what to do.

And the tables and texts that lie beside them.
"""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

from probgen import datasets
from probgen.data.describe import event_of
from probgen.data.ingest import as_dataset
from probgen.errors import FileError, InputError
from probgen.recipes.execution import execute
from probgen.recipes.plan import Recipe

RNG = np.random.default_rng(0)
H, W = 5, 7
GRAY = RNG.integers(0, 256, (H, W), dtype=np.uint8)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
BITS = RNG.integers(0, 2, (H, W)).astype(bool)
DEEP = RNG.integers(0, 65_536, (H, W)).astype(np.uint16)
DEEP[0, :2] = 0, 65_535
WHOLE = RNG.integers(-(2**31), 2**31, (H, W)).astype(np.int32)
REAL = (RNG.normal(size=(H, W)) * 1e4).astype(np.float32)
DEEP3 = RNG.integers(0, 65_536, (H, W, 3)).astype(np.uint16)
INDEX = RNG.integers(0, 5, (H, W), dtype=np.uint8)
COLORS = RNG.integers(0, 256, (5, 3), dtype=np.uint8)
OPAQUE, HALF = np.full((H, W), 255, np.uint8), np.full((H, W), 128, np.uint8)


Make = Callable[[Path], None]


def plain(array: np.ndarray, **options: Any) -> Make:
    return lambda path: Image.fromarray(array).save(path, **options)


def palette(**options: Any) -> Make:
    image = Image.frombytes("P", (W, H), INDEX.tobytes())
    image.putpalette(COLORS.tobytes())
    return lambda path: image.save(path, **options)


def oriented(orientation: int, array: np.ndarray = RGB, **options: Any) -> Make:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return plain(array, exif=exif, **options)


def frames(**options: Any) -> Make:
    several = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    return lambda path: several[0].save(path, save_all=True, append_images=several[1:], **options)


def mode(name: str, **options: Any) -> Make:
    return lambda path: Image.fromarray(RGB).convert(name).save(path, **options)


def png(
    kind: int, depth: int, rows: np.ndarray, *more: tuple[bytes, bytes], size: tuple[int, int] = (W, H)
) -> Make:
    """A PNG by its specification: rows of packed bytes, no filter."""
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    whole = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return lambda path: (path.write_bytes(b"\x89PNG\r\n\x1a\n" + whole), None)[1]


def tiff(array: np.ndarray, order: str = "<", **tags: int) -> Make:
    """An uncompressed TIFF by its specification, of one strip."""
    array = np.atleast_3d(array)
    bits, channels = array.dtype.itemsize * 8, array.shape[2]
    known = {
        "photometric": 2 if channels > 2 else 1,
        "format": {"u": 1, "i": 2, "f": 3}[array.dtype.kind],
    } | tags
    entries = [(256, 4, [W]), (257, 4, [H]), (258, 3, [bits] * channels), (259, 3, [1]), (262, 3, [known["photometric"]]), (273, 4, [8]),
               (277, 3, [channels]), (278, 4, [H]), (279, 4, [array.nbytes]), (339, 3, [known["format"]] * channels)]  # fmt: skip
    if "extra" in tags:
        entries.insert(9, (338, 3, [tags["extra"]]))
    body = array.astype(array.dtype.newbyteorder(order)).tobytes()
    body += b"\0" * (len(body) % 2)
    place, beside = 8 + len(body), b""
    after, table = place + 2 + 12 * len(entries) + 4, b""
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, beside = struct.pack(f"{order}I", after + len(beside)), beside + packed
        table += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", place)
    whole = head + body + struct.pack(f"{order}H", len(entries)) + table + bytes(4) + beside
    return lambda path: (path.write_bytes(whole), None)[1]


def upright(orientation: int, x: np.ndarray) -> np.ndarray:
    """EXIF 2.32, 4.6.4: what is done to the stored rows and columns for them to be seen as they were meant."""
    return {
        1: lambda: x, 2: lambda: x[:, ::-1], 3: lambda: x[::-1, ::-1], 4: lambda: x[::-1], 5: lambda: np.swapaxes(x, 0, 1),
        6: lambda: np.rot90(x, -1), 7: lambda: np.swapaxes(x[::-1, ::-1], 0, 1), 8: lambda: np.rot90(x),
    }[orientation]()  # fmt: skip


def jpeg_pixels(array: np.ndarray) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "JPEG", quality=95)
    return np.asarray(Image.open(content))


IN_COLOR = COLORS[INDEX]
RGBA = np.dstack([RGB, OPAQUE])
PALETTE, ALPHA, UPRIGHT = "palette to RGB", "fully opaque alpha", "turned upright"
EIGHT, SIXTEEN, BINARY, REALS = ("integer", 256), ("integer", 65_536), ("binary", None), ("real", None)

# of each file: how it is made, its pixels, support and levels, and what is reported of it
RIGHT: dict[str, tuple[Make, np.ndarray, tuple[str, int | None], list[str]]] = {
    "gray.png": (plain(GRAY), GRAY, EIGHT, []),
    "gray.bmp": (plain(GRAY), GRAY, EIGHT, []),
    "gray.tif": (plain(GRAY), GRAY, EIGHT, []),
    "gray.jpg": (plain(GRAY, quality=95), jpeg_pixels(GRAY), EIGHT, []),
    "gray.gif": (plain(GRAY), np.dstack([GRAY] * 3), EIGHT, [PALETTE]),
    "gray, white is 0.tif": (tiff(255 - GRAY, photometric=0), GRAY, EIGHT, []),
    "color.png": (plain(RGB), RGB, EIGHT, []),
    "color.bmp": (plain(RGB), RGB, EIGHT, []),
    "color.tiff": (plain(RGB, compression="tiff_lzw"), RGB, EIGHT, []),
    "color.webp": (plain(RGB, lossless=True), RGB, EIGHT, []),
    "color.jpeg": (plain(RGB, quality=95), jpeg_pixels(RGB), EIGHT, []),
    "COLOR.PNG": (plain(RGB), RGB, EIGHT, []),
    "1 bit.png": (plain(BITS), BITS, BINARY, []),
    "1 bit.tif": (plain(BITS, compression="group4"), BITS, BINARY, []),
    "1 bit.bmp": (plain(BITS), BITS, BINARY, []),
    "2 bits.png": (
        png(0, 2, np.array([[0b00011011, 0b11100100]] * H, np.uint8)),
        np.array([[0, 1, 2, 3, 3, 2, 1]] * H) * 85, EIGHT, []),
    "4 bits.png": (
        png(0, 4, np.array([[0x01, 0x23, 0x45, 0xF0]] * H, np.uint8)),
        np.array([[0, 1, 2, 3, 4, 5, 15]] * H) * 17, EIGHT, []),
    "16 bits.png": (plain(DEEP), DEEP, SIXTEEN, []),
    "16 bits by hand.png": (png(0, 16, DEEP.astype(">u2")), DEEP, SIXTEEN, []),
    "16 bits.tif": (plain(DEEP), DEEP, SIXTEEN, []),
    "16 bits packed.tif": (plain(DEEP, compression="tiff_lzw"), DEEP, SIXTEEN, []),
    "16 bits big-endian.tif": (tiff(DEEP, ">"), DEEP, SIXTEEN, []),
    "16 bits with a sign.tif": (tiff(WHOLE.astype(np.int16)), WHOLE.astype(np.int16), REALS, []),
    "32 bits.tif": (plain(WHOLE), WHOLE, REALS, []),
    "32 bits big-endian.tif": (tiff(WHOLE, ">"), WHOLE, REALS, []),
    "32 bits without a sign.tif": (tiff(abs(WHOLE // 2).astype(np.uint32)), abs(WHOLE // 2), REALS, []),
    "floats.tif": (plain(REAL), REAL, REALS, []),
    "floats big-endian.tiff": (tiff(REAL, ">"), REAL, REALS, []),
    "opaque.png": (plain(RGBA), RGB, EIGHT, [ALPHA]),
    "opaque.tif": (plain(RGBA), RGB, EIGHT, [ALPHA]),
    "opaque premultiplied.tif": (tiff(RGBA, extra=1), RGB, EIGHT, [ALPHA]),
    "opaque.webp": (plain(RGBA, lossless=True), RGB, EIGHT, []),  # WebP stores no alpha then
    "opaque gray.png": (mode("LA"), np.asarray(Image.fromarray(RGB).convert("L")), EIGHT, [ALPHA]),
    "palette.png": (palette(), IN_COLOR, EIGHT, [PALETTE]),
    "palette.gif": (palette(), IN_COLOR, EIGHT, [PALETTE]),
    "palette.bmp": (palette(), IN_COLOR, EIGHT, [PALETTE]),
    "palette.tif": (palette(), IN_COLOR, EIGHT, [PALETTE]),
    "palette, opaque.png": (palette(transparency=bytes([255] * 5)), IN_COLOR, EIGHT, [PALETTE, ALPHA]),
    "turned 16 bits.png": (oriented(6, DEEP), upright(6, DEEP), SIXTEEN, [UPRIGHT]),
    "turned floats.tif": (oriented(5, REAL), upright(5, REAL), REALS, [UPRIGHT]),
    "turned.webp": (oriented(8, lossless=True), upright(8, RGB), EIGHT, [UPRIGHT]),
    "turned.jpg": (oriented(6, quality=95), upright(6, jpeg_pixels(RGB)), EIGHT, [UPRIGHT]),
    "an orientation that is none.png": (oriented(9), RGB, EIGHT, []),
    **{f"turned {o}.png": (oriented(o), upright(o, RGB), EIGHT, [UPRIGHT][: o - 1]) for o in range(1, 9)},
    **{f"turned {o}.tif": (oriented(o), upright(o, RGB), EIGHT, [UPRIGHT][: o - 1]) for o in range(1, 9)},
    "photograph.jpg": (frames(format="MPO", quality=95), jpeg_pixels(RGB), EIGHT, ["first picture of several"]),
}  # fmt: skip

NPY, BACKGROUND = r"\.npy", "background"
REFUSED: dict[str, tuple[Make, str]] = {
    "animation.gif": (frames(), r"has 2 frames or pages\. Save each frame"),
    "animation.png": (frames(), "has 2 frames or pages"),
    "animation.webp": (frames(lossless=True), "has 2 frames or pages"),
    "pages.tif": (frames(), "has 2 frames or pages"),
    "transparent.png": (plain(np.dstack([RGB, HALF])), f"transparent pixels.*{BACKGROUND}"),
    "transparent.tif": (plain(np.dstack([RGB, HALF])), f"transparent pixels.*{BACKGROUND}"),
    "transparent.webp": (plain(np.dstack([RGB, HALF]), lossless=True), f"transparent pixels.*{BACKGROUND}"),
    "transparent gray.png": (lambda path: Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(HALF)]).save(path), BACKGROUND),
    "transparent in a palette.png": (palette(transparency=2), BACKGROUND),
    "transparent in a palette.gif": (palette(transparency=2), BACKGROUND),
    "transparent color.png": (plain(RGB, transparency=(1, 2, 3)), BACKGROUND),
    "transparent gray of 16 bits.png": (png(0, 16, DEEP.astype(">u2"), (b"tRNS", b"\0\7")), BACKGROUND),
    "cmyk.jpg": (mode("CMYK"), "has the colors CMYK.*Save the image as RGB"),
    "cmyk.tif": (mode("CMYK"), "has the colors CMYK"),
    "lab.tif": (mode("LAB"), "has the colors LAB"),
    "ycbcr.tif": (mode("YCbCr"), "has the colors YCbCr"),
    "16 bits a color.png": (png(2, 16, DEEP3.astype(">u2")), f"16 bits per channel.*{NPY}"),
    "16 bits a color and alpha.png": (png(6, 16, np.dstack([DEEP3, DEEP]).astype(">u2")), f"16 bits per channel.*{NPY}"),
    "16 bits of gray and alpha.png": (png(4, 16, DEEP3[..., :2].astype(">u2")), f"16 bits per channel.*{NPY}"),
    "16 bits a color.tif": (tiff(DEEP3), f"16 bits per channel.*{NPY}"),
    "8 bits with a sign.tif": (tiff(GRAY.view(np.int8)), f"signed 8-bit.*{NPY}"),
    "16 bits, white is 0.tif": (tiff(DEEP, photometric=0), "stores white as 0"),
    "a channel of no meaning.tif": (tiff(RGBA, extra=0), f"in addition to its colors.*{NPY}"),
    "large 32 bits.tif": (tiff(np.full((H, W), 3 << 30, np.uint32)), rf"of 2\^31 or more.*{NPY}"),
    "64-bit floats.tif": (tiff(REAL.astype(np.float64)), "cannot be read as an image"),
    "no image.png": (lambda path: (path.write_bytes(b"no"), None)[1], "cannot be read as an image"),
    "cut off.png": (lambda path: cut(path, plain(RGB)), "cannot be read as an image"),
    "cut off.jpg": (lambda path: cut(path, plain(RGB)), "cannot be read as an image"),
    "postscript.png": (mode("RGB", format="EPS"), "cannot be read as an image"),
    "absurd.png": (png(0, 8, GRAY, size=(1 << 20, 1 << 20)), "cannot be read as an image: .*pixels"),
}  # fmt: skip


def cut(path: Path, make: Make) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[:-40])


def loaded(path: Path, reports: list[str], **options: Any) -> xr.Dataset:
    """What is read, once exactly these warnings were given."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        data = datasets.load(path, **options)
    texts = [str(w.message) for w in given if w.category is UserWarning]
    assert len(texts) == len(given) == len(reports), texts
    assert all(part in text for part, text in zip(reports, texts, strict=True)), texts
    return data


@pytest.mark.parametrize("name", RIGHT)
def test_pixels_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    make, pixels, kind, reports = RIGHT[name]
    make(tmp_path / name)
    data = loaded(tmp_path, reports)
    assert data.x.values[0].tolist() == (np.moveaxis(pixels, 2, 0) if pixels.ndim == 3 else pixels).tolist()
    event = event_of(data)
    assert (event.support, event.levels) == kind
    assert all(report in data.attrs.get("converted", "") for report in reports)
    assert loaded(tmp_path / name, reports).x.equals(data.x)


@pytest.mark.quick(every=1)
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_lost_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises((InputError, FileError), match=message) as caught:
        datasets.load(tmp_path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_tables_are_long_enough() -> None:
    assert len(RIGHT) + len(REFUSED) >= 30
    assert len(RIGHT) >= 30


# folders


def test_a_transparent_color_that_no_pixel_has_is_no_loss(tmp_path: Path) -> None:
    palette(transparency=200)(tmp_path / "a.gif")
    data = loaded(tmp_path, [PALETTE, ALPHA])
    assert (data.x.values[0] == np.moveaxis(IN_COLOR, 2, 0)).all()


def test_each_conversion_is_reported_once_with_the_number_of_files(tmp_path: Path) -> None:
    for i in range(3):
        oriented(3)(tmp_path / f"turned {i}.png")
    palette()(tmp_path / "palette.png")
    plain(GRAY)(tmp_path / "gray.png")
    plain(BITS)(tmp_path / "bits.png")
    (tmp_path / "photo.heic").write_bytes(b"?")
    (tmp_path / "notes.txt").write_text("not an image")
    data = loaded(tmp_path, [".heic is not supported, left out: 1 of 8", PALETTE, "upright by the orientation in EXIF: 3 of 6", "1 bit to gray", "gray to RGB"])  # fmt: skip
    assert data.attrs["converted"].endswith("gray to RGB, the same values: 2 of 6 files")
    bits, gray, color = data.x.values[:3]
    assert (bits == BITS * 255).all()
    assert (gray == GRAY).all()
    assert (color == np.moveaxis(IN_COLOR, 2, 0)).all()
    assert event_of(data).levels == 256


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (plain(GRAY), plain(DEEP), r"b\.tif has 16 bits of gray, but a\.tif has 8 bits of gray.* one depth"),
        (plain(REAL), plain(WHOLE), "32-bit whole numbers, .* 32-bit floating-point"),
        (plain(BITS), plain(REAL), "one depth"),
        (plain(DEEP), plain(RGB), "one depth"),
        (plain(RGB), plain(RGB[:4]), r"b\.tif is 7 x 4, but a\.tif is 7 x 5: all images must have one size.* size = \(height, width\)"),
        (plain(RGB), oriented(6, RGB), "is 5 x 7"),
    ],
)  # fmt: skip
def test_mixed_folders_are_refused(first: Make, second: Make, message: str, tmp_path: Path) -> None:
    first(tmp_path / "a.tif")
    second(tmp_path / "b.tif")
    with pytest.raises(InputError, match=message):
        datasets.load(tmp_path)


# size, crop, gray


def bicubic(x: np.ndarray, size: int, start: float, end: float) -> np.ndarray:
    """Keys' kernel with a = -1/2, as wide as a pixel of the result, along the first axis of what lies from start to end."""
    scale = (end - start) / size
    wide = max(scale, 1.0)
    d = (np.arange(len(x)) + 0.5 - (start + (np.arange(size)[:, None] + 0.5) * scale)) / wide
    d = abs(d)
    weight = np.where(
        d < 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0)
    )
    return np.tensordot(weight / weight.sum(1, keepdims=True), x, 1)


@pytest.mark.parametrize("array", [REAL, DEEP, GRAY, RGB], ids=["floats", "16 bits", "gray", "color"])
@pytest.mark.parametrize("shape", [(10, 14), (3, 4)])
def test_images_are_scaled_without_aliases(array: np.ndarray, shape: tuple[int, int], tmp_path: Path) -> None:
    """By the formula of bicubic interpolation in NumPy; within the rounding of Pillow's weights."""
    plain(array)(tmp_path / "a.tif")
    data = loaded(tmp_path, ["enlarged"] if shape[0] > H else [], size=shape, crop="center")
    assert data.x.shape[-2:] == shape
    scale = min(H / shape[0], W / shape[1])
    ends = [
        ((full - scale * part) / 2, (full + scale * part) / 2)
        for full, part in zip((H, W), shape, strict=True)
    ]
    expected = array
    for axis in (1, 0):  # Pillow's order; whole numbers are rounded in between
        expected = np.swapaxes(bicubic(np.swapaxes(expected, 0, axis), shape[axis], *ends[axis]), 0, axis)
        if array.dtype.kind == "u":
            expected = expected.round().clip(0, np.iinfo(array.dtype).max)
    found = np.moveaxis(data.x.values[0], 0, 2) if array.ndim == 3 else data.x.values[0]
    np.testing.assert_allclose(found, expected, atol=1.001, rtol=1e-5)
    assert event_of(data).levels == {"f": None}.get(
        array.dtype.kind, np.iinfo(np.uint16 if array is DEEP else np.uint8).max + 1
    )


def test_size_takes_images_of_several_sizes(tmp_path: Path) -> None:
    for name, shape in (("a", (8, 12)), ("b", (16, 24)), ("c", (10, 12))):
        plain(np.full(shape, 100, np.uint8))(tmp_path / f"{name}.png")
    with pytest.raises(
        InputError, match=r'c\.png is 12 x 10, and scaling to 6 x 4 would distort it\. .*crop = "center"'
    ):
        datasets.load(tmp_path, size=(4, 6))
    data = datasets.load(tmp_path, size=(4, 6), crop="center")
    assert data.x.shape == (3, 4, 6)
    assert (data.x == 100).all()
    assert datasets.load(tmp_path, size=4, crop="center").x.shape == (3, 4, 4)
    assert as_dataset(tmp_path, size=[4, 4], crop="center").x.shape == (3, 4, 4)


def test_what_is_cut_off_is_beside_the_middle(tmp_path: Path) -> None:
    x = np.zeros((4, 8), np.uint8)
    x[:, 2:6] = 9
    plain(x)(tmp_path / "a.png")
    assert (datasets.load(tmp_path, size=4, crop="center").x == 9).all()


def test_bits_that_are_scaled_become_gray(tmp_path: Path) -> None:
    plain(np.repeat(np.repeat(BITS, 2, 0), 2, 1))(tmp_path / "a.png")
    data = loaded(tmp_path, ["1 bit to gray"], size=(H, W))
    assert event_of(data).levels == 256
    assert (abs(data.x.values[0].astype(int) - BITS * 255) < 128).all()


def test_colors_become_gray(tmp_path: Path) -> None:
    """ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B, to the nearest level."""
    plain(RGB)(tmp_path / "a.png")
    plain(GRAY)(tmp_path / "b.png")
    data = loaded(tmp_path, [], gray=True)
    assert (abs(data.x.values[0] - RGB @ [0.299, 0.587, 0.114]) <= 0.501).all()
    assert (data.x.values[1] == GRAY).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size = 0: must be a whole number of at least 1"),
        ({"size": (4, 4, 3)}, r"size = \(4, 4, 3\)"),
        ({"size": 4.5}, "size = 4.5"),
        ({"size": True}, "size = True"),
        ({"size": "big"}, "size = 'big'"),
        ({"crop": "center"}, "requires the size"),
        ({"size": 4, "crop": "left"}, "crop = 'left': must be 'center'"),
        ({"rate": 8000}, "rate is only for WAV files, but .* is of another kind"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    plain(RGB)(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        datasets.load(tmp_path, **options)


@pytest.mark.parametrize("options", [{"size": 4}, {"gray": True}, {"size": 4, "crop": "center"}])
def test_options_of_images_are_refused_for_other_data(options: dict[str, Any], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", REAL)
    for data in (tmp_path / "a.npy", "digits", REAL):
        with pytest.raises(InputError, match="is only for images, "):
            as_dataset(data, **options)


def test_a_recipe_scales_its_images(tmp_path: Path) -> None:
    for i in range(4):
        plain(RGB, format="PNG")(tmp_path / f"{i}.png")
    data = {"path": str(tmp_path), "size": [2, 3], "crop": "center", "gray": True}
    recipe = Recipe.model_validate({"data": data, "models": {"m": {"family": "independent"}}})
    (result,) = execute(recipe, tmp_path / "out")
    assert result.fitted.event.shape == (2, 3)


# tables, texts and tensors

TABLE = "a,b,kind\n1,2.5,x\n3,4.5,y\n"
TABS = TABLE.replace(",", "\t")
TABLES: dict[str, bytes] = {
    "a.csv": TABLE.encode(),
    "bom.csv": TABLE.encode("utf-8-sig"),
    "packed.csv.gz": gzip.compress(TABLE.encode()),
    "packed.tab.gz": gzip.compress(TABS.encode("utf-8-sig")),
    "tabs.csv": TABS.encode(),
    "a.tab": TABS.encode(),
    "semicolons.csv": TABLE.replace(",", ";").encode(),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(TABLES[name])
    data = datasets.load(tmp_path / name, table={"label": "kind"})
    assert data.x.values.tolist() == [[1, 2.5], [3, 4.5]]
    assert data.feature.values.tolist() == ["a", "b"]
    assert data.label.attrs["symbols"] == ["x", "y"]


def test_a_tsv_of_numbers_is_a_table_and_one_of_texts_is_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\tc\n1\t2\t\n3\t4\t5\n")
    np.testing.assert_array_equal(datasets.load(tmp_path / "a.tsv").x, [[1, 2, np.nan], [3, 4, 5]])
    (tmp_path / "b.tsv").write_bytes(b"\xef\xbb\xbfone\tun\ntwo\tdeux\n")
    data = datasets.load(tmp_path / "b.tsv")
    assert data.sizes["row"] == 2
    assert "\N{ZERO WIDTH NO-BREAK SPACE}" not in data.source.attrs["symbols"]


def test_a_mark_of_utf8_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("abc".encode("utf-8-sig"))
    assert datasets.load(tmp_path / "a.txt").x.attrs["symbols"] == ["a", "b", "c"]


@pytest.mark.quick(every=1)
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "abc".encode("utf-16"), r"not a text in UTF-8: byte 0 is 0xff\. Save the file as UTF-8"),
        ("a.txt", b"\xef\xbb\xbfab\xff", r"byte 5 is 0xff\. Save the file as UTF-8"),
        ("a.csv", b"a,b\n1,\xff\n", r"not a text in UTF-8\. .*--encoding latin-1"),
        ("a.csv.gz", b"\x1f\x8b no", "cannot be read"),
        ("a.csv.gz", gzip.compress(bytes(32 << 20)), "unpacks to more than"),
        ("a.tsv", b"1\t2\n3\t4\n", "Name the columns in the first line"),
        ("a.tsv", b"a\tb\n1\t2\tx\nq\tr\n", r"line 2: 3 columns, .*the suffix \.tab"),
        ("a.npy.gz", b"", "Unpack the file with gunzip"),
        ("a.zarr", b"", "is a file, but a Zarr store is a folder"),
        ("a.tab", b"\t".join([b"a"] * 40_000), "more than 32768 columns"),
    ],
)  # fmt: skip
def test_tables_and_texts_that_are_not_read(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((InputError, FileError), match=message) as caught:
        datasets.load(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("kind", ["to_sparse", "to_sparse_csr"])
def test_sparse_tensors_are_named(kind: str) -> None:
    with pytest.raises(
        InputError, match=r"a sparse tensor \(torch.sparse_.*Convert the tensor with \.to_dense\(\)"
    ):
        as_dataset(getattr(torch.eye(3), kind)())
