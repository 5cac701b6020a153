"""Images in the form in which every provider takes them: upright, opaque, small, no metadata.

Pillow decodes and encodes them; it is imported at the first image.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

from mixmagic.core import lazy
from mixmagic.core.image_size import image_size, image_type
from mixmagic.core.values import Image
from mixmagic.errors import BadArguments, MissingPackage, MixmagicError, one_line

if TYPE_CHECKING:
    import PIL.Image

# Pixels of the longer side: Claude and GPT scale larger images down. Bytes: in Base64 they take a
# third more, and Groq takes requests of 4 MB.
LONGEST_SIDE, MOST_BYTES = 1_568, 2_900_000
# Pixels of a file that is decoded: a file of a few kB can claim billions.
_MOST_PIXELS = 80_000_000
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
_LOSSY = ("JPEG", "MPO", "WEBP")
_QUALITIES = (90, 75, 50)
_WHITE = (255, 255, 255)


class Encoded(NamedTuple):
    """An image that can be sent.

    Attributes:
        image: The image.
        scaled_from: Its width and height before it was scaled down; `None` if it was not.
    """

    image: Image
    scaled_from: tuple[int, int] | None = None


def encoded(source: bytes | PIL.Image.Image, name: str) -> Encoded:
    """Return an image in the form in which it is sent: the same bytes for the same pixels.

    It is turned as its camera was held, laid on white, scaled to at most `LONGEST_SIDE` pixels and
    `MOST_BYTES`, and written anew: as PNG, or as JPEG if it comes from a photograph or is too large
    otherwise. Nothing but pixels is left: no place, camera or program. Of an animation, it is the
    first image.

    Args:
        source: A PNG, JPEG, GIF or WebP file, or an image of Pillow.
        name: Its expression, for error messages.

    Raises:
        BadArguments: The file is damaged, or has too many pixels.
        MissingPackage: Pillow is not installed.

    Example:
        >>> encoded(Path("photo.jpg").read_bytes(), "photo").image.size
        (1568, 1176)
    """
    pillow()
    try:
        opened = _opened(source, name) if isinstance(source, bytes) else source
        before = (image_size(source) if isinstance(source, bytes) else None) or opened.size
        image = _written(
            _scaled(_flat(lazy.load("PIL.ImageOps").exif_transpose(opened))),
            lossy=getattr(opened, "format", None) in _LOSSY,
        )
    except MixmagicError:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged file may raise anything
        unknown = isinstance(error, lazy.load("PIL").UnidentifiedImageError)
        reason = "it is damaged" if unknown else one_line(error, 120)
        raise BadArguments(
            f"`{name}` is an image that cannot be read: {reason}.",
            "Save it again as PNG or JPEG.",
        ) from None
    return Encoded(image, before if max(before) > LONGEST_SIDE else None)


def pillow() -> Any:
    """Return the module `PIL.Image`.

    Raises:
        MissingPackage: Pillow is not installed.
    """
    try:
        return lazy.load("PIL.Image")
    except ImportError:
        raise MissingPackage("Images need Pillow.", "Run pip install pillow.") from None


def _opened(data: bytes, name: str) -> PIL.Image.Image:
    """Return a file as an image of Pillow, not yet decoded."""
    if not image_type(data):
        raise ValueError("it is neither PNG, JPEG, GIF nor WebP")
    width, height = image_size(data) or (0, 0)
    if width * height > _MOST_PIXELS:
        raise BadArguments(
            f"`{name}` is an image of {width:,}×{height:,} pixels, which is too large to decode.",
            f"Scale it down first, to at most {_MOST_PIXELS // 10**6} million pixels.",
        )
    image: PIL.Image.Image = pillow().open(io.BytesIO(data), formats=_FORMATS)
    # A photograph is decoded at a half, a quarter or an eighth, if that is still large enough.
    image.draft("RGB", (2 * LONGEST_SIDE, 2 * LONGEST_SIDE))
    return image


def _flat(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return an image with 8 bits for gray, or for each of red, green and blue, on white."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = pillow().new("RGB", image.size, _WHITE)
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    # A new image has no metadata.
    bare: PIL.Image.Image = pillow().new(image.mode, image.size)
    bare.paste(image)
    return bare


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return a gray image of 16 or 32 bits with 8 bits."""
    image = (image if image.mode == "F" else image.convert("I")).convert("F")
    low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]  # gray
    if low >= 0 and high <= 1:
        factor, offset = 255.0, 0.0
    elif low >= 0 and high <= 255:
        factor, offset = 1.0, 0.0
    elif low >= 0 and high <= 65_535:
        factor, offset = 255 / 65_535, 0.0
    else:
        factor = 255 / (high - low or 1)
        offset = -low * factor
    return image.point(lambda value: value * factor + offset).convert("L")


def _scaled(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return an image whose longer side has at most `LONGEST_SIDE` pixels."""
    longest = max(image.size)
    if longest <= LONGEST_SIDE:
        return image
    width, height = (max(round(side * LONGEST_SIDE / longest), 1) for side in image.size)
    return image.resize((width, height), pillow().Resampling.LANCZOS)


def _written(image: PIL.Image.Image, *, lossy: bool) -> Image:
    """Return an image as the bytes of a file."""
    if not lossy:
        data = _saved(image, format="PNG")
        if len(data) <= MOST_BYTES:
            return Image(data, "image/png")
    for quality in _QUALITIES:
        data = _saved(image, format="JPEG", quality=quality)
        if len(data) <= MOST_BYTES:
            break
    return Image(data, "image/jpeg")


def _saved(image: PIL.Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()
