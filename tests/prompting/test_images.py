"""Images are sent upright, opaque, small, without metadata, and equal pixels as equal bytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.errors import BadArguments
from mixmagic.prompting.images import LONGEST_SIDE, MOST_BYTES, encoded


def file(image: PIL.Image.Image, form: str = "PNG", **options) -> bytes:
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def sent(source) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(encoded(source, "x").image.data))


def halves() -> PIL.Image.Image:
    """An image that is red on the left and blue on the right."""
    image = PIL.Image.new("RGB", (40, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    return image


def test_a_photograph_is_turned_as_its_camera_was_held():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees
    image = sent(file(halves(), "JPEG", exif=exif, quality=95))
    assert image.size == (20, 40)
    assert image.getpixel((10, 4))[0] > 200
    assert image.getpixel((10, 36))[0] < 60


def test_metadata_is_removed():
    exif = PIL.Image.Exif()
    exif[0x010F] = "Camera of Ann"
    exif.get_ifd(0x8825)[1] = "N"
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("Author", "Ann")
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    for data in (
        file(halves(), "JPEG", exif=exif, comment=b"by Ann", icc_profile=profile),
        file(halves(), "PNG", exif=exif, pnginfo=info, icc_profile=profile, dpi=(99, 99)),
        file(halves(), "WEBP", exif=exif, xmp=b"<x>Ann</x>"),
    ):
        assert b"Ann" in data
        result = encoded(data, "x").image.data
        assert b"Ann" not in result
        assert b"Exif" not in result
        image = PIL.Image.open(io.BytesIO(result))
        assert not image.getexif()
        assert not {"icc_profile", "comment", "dpi", "Author"} & image.info.keys()


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("1", 1, 255),
        ("L", 80, 80),
        ("LA", (80, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBa", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (255, 128, 128), (255, 255, 255)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("I;16", 65_535, 255),
        ("I", 255, 255),
        ("I", 65_535, 255),
        ("F", 0.5, 127),
    ],
)
def test_every_mode_of_pixels_becomes_gray_or_colors(mode, color, seen):
    assert sent(PIL.Image.new(mode, (20, 20), color)).getpixel((3, 3)) == seen


def test_a_palette_with_a_transparent_color_is_laid_on_white():
    image = PIL.Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    assert sent(file(image, "GIF", transparency=1)).getpixel((0, 0)) == (255, 255, 255)
    assert sent(file(image, "PNG")).getpixel((0, 0)) == (9, 9, 9)


def test_deep_grays_keep_their_order():
    ramp = PIL.Image.fromarray(np.arange(0, 65_536, 256, dtype="uint16").reshape(16, 16))
    values = np.asarray(sent(file(ramp))).ravel().tolist()
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 254)


def test_of_an_animation_the_first_image_is_sent():
    frames = [PIL.Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    for form in ("GIF", "WEBP", "PNG"):
        data = file(frames[0], form, save_all=True, append_images=frames[1:])
        red, _, blue = sent(data).convert("RGB").getpixel((5, 5))
        assert (red > 200, blue < 60) == (True, True)


@pytest.mark.parametrize("size", [(4000, 3000), (30, 5000), (1569, 1569), (20_000, 1)])
def test_a_large_image_is_scaled_down(size):
    result = encoded(PIL.Image.new("RGB", size), "x")
    assert max(result.image.size) == LONGEST_SIDE
    assert result.scaled_from == size
    assert encoded(file(PIL.Image.new("L", size), "JPEG"), "x").scaled_from == size


def test_a_small_image_keeps_its_size():
    assert encoded(PIL.Image.new("RGB", (1568, 3)), "x").image.size == (1568, 3)
    assert encoded(PIL.Image.new("RGB", (1, 1)), "x").scaled_from is None


def test_an_image_of_noise_is_small_enough():
    noise = np.random.default_rng(0).integers(0, 256, (1568, 1568, 3), dtype="uint8")
    result = encoded(PIL.Image.fromarray(noise), "x").image
    assert result.type == "image/jpeg"
    assert len(result.data) <= MOST_BYTES


@given(st.integers(0, 2**32))
def test_equal_pixels_are_equal_bytes(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype="uint8")
    image = PIL.Image.fromarray(pixels)
    fast, best = (file(image, compress_level=level, dpi=(level, level)) for level in (1, 9))
    assert encoded(fast, "x") == encoded(best, "x") == encoded(image, "x")


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, and has no pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize("size", [(50_000, 50_000), (80_001, 1_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused(size):
    with pytest.raises(BadArguments, match="too large to decode"):
        encoded(png_of(*size), "x")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_damaged_file_is_refused_in_two_lines(form, part):
    noise = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype="uint8")
    whole = file(PIL.Image.fromarray(noise), form)
    with pytest.raises(BadArguments) as caught:
        encoded(whole[: int(len(whole) * part)], "x")
    assert "`x` is an image that cannot be read" in caught.value.message


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF", b"BM", b"II*\0"])
def test_other_files_are_never_decoded(data):
    with pytest.raises(BadArguments, match="neither PNG, JPEG, GIF nor WebP"):
        encoded(data, "x")


def test_a_damaged_file_is_said_to_be_damaged():
    with pytest.raises(BadArguments) as caught:
        encoded(b"\x89PNG\r\n\x1a\n", "x")
    assert caught.value.message == "`x` is an image that cannot be read: it is damaged."
