"""What a metric sees of an image file: RGB, upright, first frame; and what is refused instead of guessed."""

from __future__ import annotations

import gc
import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from croc.checks.decoding import decode, reuse_memory, to_bytes, to_rgb
from croc.errors import InputError


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(left: Any, right: Any, mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (8, 4), left)
    image.paste(right, (4, 0, 8, 4))
    return image


def test_a_plain_image_keeps_its_pixels() -> None:
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    got = decode(encoded(Image.fromarray(pixels)))
    assert got.mode == "RGB"
    assert np.array_equal(np.asarray(got), pixels)


def test_one_pixel_is_an_image() -> None:
    assert np.asarray(decode(encoded(Image.new("RGB", (1, 1), (1, 2, 3))))).tolist() == [[[1, 2, 3]]]


def test_transparency_lies_over_white() -> None:
    # (200·128 + 255·127)/255 = 227.4 for a half transparent red channel of 200.
    image = halves((200, 0, 0, 128), (9, 9, 9, 0), "RGBA")
    pixels = np.asarray(decode(encoded(image)))
    assert pixels[0, 0].tolist() == pytest.approx([227, 127, 127], abs=1)
    assert pixels[0, 7].tolist() == [255, 255, 255]


def test_a_transparent_palette_colour_lies_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert np.asarray(decode(encoded(image, transparency=0))).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_cmyk_becomes_rgb() -> None:
    pixels = np.asarray(decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)))
    assert pixels[4, 4].tolist() == pytest.approx([255, 0, 0], abs=4)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    grey = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    pixels = np.asarray(decode(encoded(Image.fromarray(grey))))
    # 65535 / 257 = 255: the standard scaling of 16 bits to 8.
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_image_stays_dark() -> None:
    pixels = np.asarray(decode(encoded(Image.fromarray(np.full((2, 2), 200, dtype=np.uint16)))))
    assert pixels.max() == 1


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(data))[0, 0].tolist() == pytest.approx([255, 0, 0], abs=1)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Shown turned a quarter clockwise: what was left is on top.
    got = decode(encoded(halves("black", "white"), exif=exif.tobytes()))
    assert got.size == (4, 8)
    assert np.asarray(got)[0, 0].tolist() == [0, 0, 0]
    assert np.asarray(got)[7, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "F", "I"])
def test_every_mode_comes_out_as_rgb(mode: str) -> None:
    image = Image.new("L" if mode in ("F", "I") else "RGB", (3, 3), "white").convert(mode)
    # Pillow 12 cannot read back the TIFF of a YCbCr image that it wrote; JPEG files hold that mode anyway.
    got = decode(encoded(image, "JPEG" if mode == "YCbCr" else "TIFF"))
    assert got.mode == "RGB"
    # A 32-bit integer of 255 is dark: its range is that of 16 bits.
    assert np.asarray(got)[1, 1].tolist() == ([1] * 3 if mode == "I" else [255] * 3)


def rotated_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(halves("red", "white"), "JPEG", exif=exif, quality=95)


def clear_palette_png() -> bytes:
    image = halves("red", "blue").quantize(4)
    return encoded(image, transparency=int(np.asarray(image)[0, 0]))


FILES = {
    "rotated by EXIF": rotated_jpeg,
    "transparent": lambda: encoded(halves((255, 0, 0, 0), (0, 0, 255, 255), "RGBA")),
    "half transparent": lambda: encoded(halves((255, 0, 0, 100), (0, 0, 255, 200), "RGBA")),
    "transparent palette": clear_palette_png,
    "CMYK": lambda: encoded(halves("red", "white").convert("CMYK"), "JPEG"),
    "16 bit": lambda: encoded(Image.fromarray(np.array([[0, 30000], [60000, 65535]], dtype=np.uint16))),
    "bilevel": lambda: encoded(halves("black", "white").convert("1")),
    "plain JPEG": lambda: encoded(halves("red", "white"), "JPEG"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_looks_the_same_whichever_way_it_is_handed_over(name: str, tmp_path: Path) -> None:
    data = FILES[name]()
    path = tmp_path / "image"
    path.write_bytes(data)
    expected = np.asarray(decode(data))
    ways = {
        "path": str(path),
        "row": {"bytes": None, "path": str(path)},
        "row with bytes": {"bytes": data, "path": "elsewhere.png"},
        "opened": Image.open(path),
        "opened in memory": Image.open(io.BytesIO(data)),
        "decoded": decode(data),
    }
    for way, source in ways.items():
        assert np.array_equal(np.asarray(decode(to_bytes(source))), expected), way
        if isinstance(source, Image.Image):
            assert np.array_equal(np.asarray(to_rgb(source)), expected), way


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr", "HSV", "F", "PA", "RGBX", "La", "RGBa", "I;16"])
def test_an_image_in_memory_of_any_mode_becomes_a_file(mode: str) -> None:
    got = decode(to_bytes(Image.new(mode, (3, 2))))
    assert (got.mode, got.size) == ("RGB", (3, 2))
    # Colour 0 of each: Lab's and CMYK's, and what is transparent, lies at another end of the range.
    light = {"CMYK", "LAB", "PA", "La", "RGBa"}
    assert (np.asarray(got).mean() > 60) == (mode in light), np.asarray(got)[0, 0]


def test_an_upright_rgb_image_is_returned_itself() -> None:
    image = Image.new("RGB", (2, 2))
    assert to_rgb(image) is image
    assert to_rgb(to_rgb(Image.open(io.BytesIO(rotated_jpeg())))).size == (4, 8)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    # A PNG header that claims 30,000 × 30,000 pixels: 900 million, 2.7 GB decoded.
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(InputError, match="pixels"):
        decode(data)
    with pytest.raises(InputError, match="100 × 100 pixels, more than 9,999"):
        decode(encoded(Image.new("RGB", (100, 100))), max_pixels=9_999)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_a_truncated_file_is_an_error_and_never_half_grey(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InputError, match="image"):
        decode(data[: int(len(data) * share)])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_damage_is_an_input_error_or_an_image() -> None:
    chance = np.random.default_rng(1)
    noise = chance.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    broken = 0
    # The decoders of AVIF, DDS, SPIDER and QOI raise errors that those of other formats do not.
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "DDS", "SPIDER", "QOI"):
        if kind == "AVIF" and not features.check("avif"):
            continue
        data = encoded(Image.fromarray(noise).convert("F" if kind == "SPIDER" else "RGB"), kind)
        for _ in range(60):
            bad = bytearray(data)
            for place in chance.integers(0, min(len(bad), 400), 8):
                bad[place] = chance.integers(0, 256)
            try:
                assert decode(bytes(bad)).mode == "RGB"
            except InputError:
                broken += 1
    assert broken > 20


def test_a_decoder_that_is_not_implemented_is_one_sentence() -> None:
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "DDS"))
    data[80:84] = bytes(4)  # the flags of the pixel format
    with pytest.raises(InputError, match="cannot be decoded: Unknown pixel format flags 0"):
        decode(bytes(data))


def test_damaged_exif_of_an_opened_image_is_an_input_error() -> None:
    class Damaged(Image.Image):
        def getexif(self) -> Image.Exif:
            raise RuntimeError("the directory has no end")

    image = Damaged()
    image._mode = "RGB"
    with pytest.raises(InputError, match="cannot be decoded: the directory has no end"):
        to_rgb(image)


@pytest.mark.parametrize("data", [b"", b"not an image", b"<svg></svg>", b"\x00" * 100])
def test_what_is_no_image_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(InputError, match="the image"):
        decode(data)


def test_the_bytes_behind_an_image_are_found_wherever_they_are(tmp_path: Path) -> None:
    data = encoded(Image.new("RGB", (2, 2), "red"))
    path = tmp_path / "red.png"
    path.write_bytes(data)
    for source in (data, path, str(path), {"bytes": data, "path": None}, {"bytes": None, "path": str(path)}):
        assert to_bytes(source) == data
    assert np.array_equal(np.asarray(decode(to_bytes(Image.open(path)))), np.asarray(Image.open(path)))


@pytest.mark.parametrize(
    "source", [None, {"bytes": None, "path": None}, {"bytes": None, "path": "/nowhere"}, 7]
)
def test_an_image_that_is_not_there_is_one_sentence(source: Any) -> None:
    with pytest.raises(InputError, match="image"):
        to_bytes(source)


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_what_is_not_a_regular_file_is_not_read(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(InputError, match=re.escape(f"{path} is not a regular file")):
        to_bytes({"bytes": None, "path": str(path)})


@pytest.mark.parametrize("name", ["a\0.png", "a\ud83d.png"])
def test_a_name_that_no_file_can_have_is_one_sentence(name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        to_bytes(name)


def test_an_upright_rgb_image_is_no_file_object_and_keeps_its_info() -> None:
    got = decode(encoded(Image.new("RGB", (2, 2)), dpi=(72, 72)))
    assert type(got) is Image.Image
    assert got.info["dpi"] == pytest.approx((72, 72), abs=0.1)


def test_memory_of_freed_images_is_kept_while_a_block_is_open_whichever_is_left_first() -> None:
    gc.collect()  # scorers that other tests left open keep memory too
    before = Image.core.get_blocks_max()
    first, second = reuse_memory(before + 1_000), reuse_memory(before + 2_000)
    with first:
        second.__enter__()
        assert Image.core.get_blocks_max() == before + 2_000
        images = [Image.new("RGB", (8, 8)) for _ in range(before + 100)]
        images.clear()
        assert Image.core.get_stats()["blocks_cached"] >= before + 100
    assert Image.core.get_blocks_max() == before + 2_000
    second.__exit__(None, None, None)
    assert Image.core.get_blocks_max() == before
    assert Image.core.get_stats()["blocks_cached"] <= before
