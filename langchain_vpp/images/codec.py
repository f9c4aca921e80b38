"""Bytes to picture and back: decode, orient, strip, bound, encode. Pillow, and simplejpeg where it is installed.

The header is read before any pixel: format, size and number of frames are judged first, so a bomb is cheap.
What comes out of :func:`decode_image` is built from pixels alone: no EXIF, ICC profile, comment, thumbnail or
hidden colour under a transparent pixel can travel on. No global Pillow setting is read or changed, so all
functions may run in several threads; what takes long in them lets other threads run.

Pillow reads every header and decides what is refused. With simplejpeg (extra ``fast``) a plain JPEG's pixels are
decoded and encoded without the copies between Pillow and numpy; whatever it can't do, Pillow does.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from typing import IO, TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.fast import fast_module

if TYPE_CHECKING:
    from collections.abc import Callable

_Plane: TypeAlias = npt.NDArray[np.uint8]
_T = TypeVar("_T")

ENCODED_MIME_TYPE: Final = "image/jpeg"
"""The MIME type of what :func:`encode_image` returns."""

MAX_PIXELS: Final = 64_000_000
"""Default bound on width x height: above the 50 MP of a telephone, below Pillow's own warning at 89 MP."""

# An allow-list: Pillow would otherwise hand PostScript to Ghostscript and try forty rarely used parsers.
_FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
_SIGNATURES: Final = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"))
# A progressive JPEG is decoded once per scan; encoders write about ten, an attacker thousands.
_MAX_SCANS: Final = 100
_JPEG_SCAN: Final = b"\xff\xda"
_GIF_END: Final = b";"
_PNG_END: Final = b"IEND\xaeB`\x82"
_HEIF_HEADER: Final = re.compile(rb"(?s)\A.{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)")
_GRAY_MODES: Final = ("L", "LA", "I;16", "I;16B", "I;16L")
_WHITE: Final = (255, 255, 255)
_PIECE_VALUES: Final = 131_072
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_FLIPS: Final = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
)

_REFUSED: Final = "The picture was not protected: "
_TOO_LARGE: Final = _REFUSED + "it has more than {:,} pixels. Make it smaller, or raise the limit."
_SEVERAL_FRAMES: Final = (
    _REFUSED + "it has several frames (animation, MPO or pages). Send the one that is meant."
)
_UNDECODABLE: Final = (
    _REFUSED + "it is cut off, corrupt or of an unknown format. Send a JPEG, PNG, WebP or GIF."
)
_HEIC: Final = (
    _REFUSED + "HEIC needs pillow-heif (extra heic); call pillow_heif.register_heif_opener(), or send a JPEG."
)
_DEEP_GRAY: Final = _REFUSED + "32-bit gray has no defined range. Scale it to 8 or 16 bits."


class ScaledImage(NamedTuple):
    """A picture that was made smaller while it was decoded."""

    image: Image.Image
    """Upright RGB, with an empty ``info``."""
    original_size: tuple[int, int]
    """Width and height of the whole picture, upright."""


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int | None = None) -> Image.Image:
    """Decode one still picture into upright RGB pixels and nothing else.

    EXIF orientation is applied, transparency is composited on white, 16-bit gray is scaled to 8 bits, and an
    embedded ICC profile is converted to sRGB (one that LittleCMS can't read is ignored, as browsers do).

    Args:
        data: The encoded file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, one frame; HEIC where ``pillow-heif``
            is registered as Pillow's opener.
        max_pixels: Bound on width x height, judged from the header. Pillow's own bound of 178,956,970 stays.
        max_side: How many pixels of the longest side the caller needs. A JPEG may then be decoded at 1/2, 1/4
            or 1/8 scale, which is several times cheaper; the result is never smaller than ``max_side``
            (unless the file is), and often larger. Other formats come at full size.

    Returns:
        A new image in mode ``RGB`` with an empty ``info``.

    Raises:
        ProtectionError: If the data are no such picture, are cut off or corrupt, hold several frames, or
            exceed ``max_pixels``. The error carries nothing of the data.
    """

    def decode(opened: Image.Image) -> Image.Image:
        if max_side is not None and 0 < max_side < max(opened.size):
            opened.draft(None, _scaled_to(opened.size, max_side))
        opened.load()
        return _upright(_srgb(opened), _turn(opened))

    return _opened(data, max_pixels, decode)


def decode_scaled(
    data: bytes, size: Callable[[int, int], tuple[int, int]], *, max_pixels: int = MAX_PIXELS
) -> ScaledImage:
    """Decode one still picture at a smaller size, without the pixels of the large one where the format allows it.

    As :func:`decode_image`, but a JPEG is decoded at the nearest cheaper scale, every picture is then brought to its
    size in one step (each pixel the mean of those that it stands for), and colours and orientation are seen to at
    the small size.

    Args:
        data: As in :func:`decode_image`.
        size: From the width and height of the upright picture to those that are wanted.
        max_pixels: As in :func:`decode_image`.

    Raises:
        ProtectionError: As :func:`decode_image`.
    """

    def decode(opened: Image.Image) -> ScaledImage:
        is_jpeg = opened.format == "JPEG"
        if not is_jpeg:
            opened.load()
        turn = _turn(opened)
        on_its_side = turn is not None and turn not in _FLIPS
        original = opened.size[::-1] if on_its_side else opened.size
        wanted = size(*original)[::-1] if on_its_side else size(*original)
        image = _fast_decoded(opened, data, wanted) if is_jpeg else opened
        if image is None:
            opened.draft(None, wanted)
            opened.load()
            image = opened
        return ScaledImage(_upright(_srgb(resized(image, wanted)), turn), original)

    return _opened(data, max_pixels, decode)


def encode_image(image: Image.Image, *, quality: int = 85) -> bytes:
    """Encode pixels as a baseline JPEG without metadata; the same pixels give the same bytes.

    Args:
        image: Any mode; transparency is composited on white. Nothing of ``image.info`` is written.
        quality: JPEG quality in [1, 95].

    Raises:
        ProtectionError: If the picture has no pixels, a side above 65,500, or a mode without an RGB meaning.
    """
    return _encoded(lambda: _pillow_jpeg(_flat_rgb(image), quality))


def encode_scaled(image: Image.Image, size: tuple[int, int], *, quality: int = 85) -> bytes:
    """Encode an image as a JPEG of another size, scaled linearly; otherwise as :func:`encode_image`, and faster.

    With simplejpeg, luma and the chroma that a JPEG keeps are scaled by themselves and nothing is held at full size
    in three colours. The bytes then differ from those without it; on one installation they are always the same.

    Args:
        image: As in :func:`encode_image`.
        size: Width and height of the JPEG.
        quality: JPEG quality in [1, 95].

    Raises:
        ProtectionError: As :func:`encode_image`.
    """

    def encode() -> bytes:
        flat, simplejpeg = _flat_rgb(image), fast_module("simplejpeg")
        options = {"quality": quality, "fastdct": True}
        if simplejpeg is None:
            same = size == flat.size
            return _pillow_jpeg(flat if same else flat.resize(size, Image.Resampling.BILINEAR), quality)
        # Of planes it reads an even number of rows and columns, and so past the end of odd ones: whatever lies there in
        # memory would be sent.
        if size == flat.size or size[0] % 2 or size[1] % 2:
            scaled = flat if size == flat.size else flat.resize(size, Image.Resampling.BILINEAR)
            return bytes(simplejpeg.encode_jpeg(np.asarray(scaled), colorsubsampling="420", **options))
        return bytes(simplejpeg.encode_jpeg_yuv_planes(*_scaled_planes(flat, size), **options))

    return _encoded(encode)


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Bring an image to a size, each pixel the mean of those that it stands for.

    Pixels are mixed in a mode in which that means mixing what they look like; the mode of the result is that one.
    """
    if image.size == size:
        return image
    if image.mode.startswith("I;16"):
        image = _gray_from_16_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("RGB", "L", "CMYK"):
        profile = image.info.get("icc_profile")
        image = _flat_rgb(image)
        image.info["icc_profile"] = profile
    return image.resize(size, Image.Resampling.BOX, reducing_gap=3.0)


def strip_metadata(image: Image.Image) -> Image.Image:
    """Give the pixels of an RGB image without anything that is attached to it, such as ``info``; they are shared.

    Pillow has no public way but to copy the pixels, which would hold up every other thread for long on a large picture.
    """
    image.load()
    return Image.Image()._new(image.im)  # noqa: SLF001


def _opened(data: bytes, max_pixels: int, decode: Callable[[Image.Image], _T]) -> _T:
    """Open a picture, judge its header, and decode it; whatever goes wrong is ours to say."""
    refusal: ProtectionError
    try:
        with Image.open(io.BytesIO(data), formats=_formats(data)) as opened:
            _check_header(opened, data, max_pixels)
            return decode(opened)
    except ProtectionError as ours:
        refusal = ours
    except Image.DecompressionBombError:
        refusal = ProtectionError(_TOO_LARGE.format(max_pixels))
    except Exception:  # noqa: BLE001 - Pillow raises a dozen types, some with content; ours is raised outside
        refusal = ProtectionError(_HEIC if _HEIF_HEADER.match(data) else _UNDECODABLE)
    raise refusal


def _fast_decoded(opened: Image.Image, data: bytes, wanted: tuple[int, int]) -> Image.Image | None:
    """Decode a plain JPEG at the cheapest scale that is not below ``wanted``; ``None`` leaves it to Pillow."""
    simplejpeg = fast_module("simplejpeg")
    if simplejpeg is None or opened.mode != "RGB":
        return None
    eighths = _cheapest_scale(opened.size, wanted)
    width, height = _at_scale(opened.size, eighths)
    try:
        pixels = simplejpeg.decode_jpeg(
            data,
            min_width=width,
            min_height=height,
            min_factor=8 // eighths,
            fastdct=True,
            fastupsample=True,
        )
    except ValueError:
        # Strict, it refuses much that is only untidy. Pillow, which knows cut off from untidy, has the last word.
        return None
    if pixels.shape != (height, width, 3):
        return None
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = opened.info.get("icc_profile")
    return image


def _cheapest_scale(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """At how many eighths of its size a JPEG of ``size`` is to be decoded.

    Those that are powers of two are the fastest, but one that gives just what is wanted saves a scaling afterwards.
    """
    for eighths in range(1, 8):
        reached = _at_scale(size, eighths)
        if reached == wanted:
            return eighths
        if eighths in (1, 2, 4) and reached[0] >= wanted[0] and reached[1] >= wanted[1]:
            return eighths
    return 8


def _at_scale(size: tuple[int, int], eighths: int) -> tuple[int, int]:
    return -(-size[0] * eighths // 8), -(-size[1] * eighths // 8)


def _encoded(encode: Callable[[], bytes]) -> bytes:
    refusal: ProtectionError
    try:
        return encode()
    except ProtectionError as ours:
        refusal = ours
    except Exception:  # noqa: BLE001 - as in _opened
        refusal = ProtectionError("The picture was not encoded: its size or mode doesn't fit JPEG.")
    raise refusal


def _pillow_jpeg(flat: Image.Image, quality: int) -> bytes:
    with _memory_file() as encoded:
        flat.save(encoded, "JPEG", quality=quality)
        encoded.seek(0)
        return encoded.read()


def _scaled_planes(image: Image.Image, size: tuple[int, int]) -> list[_Plane]:
    """Luma at an even ``size`` and chroma at half of it: what a JPEG keeps, at half the work of scaling colours."""
    width, height = size
    half = (width // 2, height // 2)
    planes = image.convert("YCbCr").split()
    return [_scaled_plane(plane, wanted) for plane, wanted in zip(planes, (size, half, half), strict=True)]


def _scaled_plane(plane: Image.Image, size: tuple[int, int]) -> _Plane:
    """Scale linearly, first along the rows, then along the columns; numpy mixes rows in half of Pillow's time."""
    width, height = size
    if height < plane.height or width < plane.width:
        return np.asarray(plane.resize(size, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(_more_rows(_more_rows(np.asarray(plane).T, width).T, height))


def _more_rows(plane: _Plane, count: int) -> _Plane:
    """Mix the rows of a plane linearly into as many or more, in pieces that stay in the cache."""
    if count == len(plane):
        return plane
    rows = plane.astype(np.int16, order="C")
    last, width = rows.shape[0] - 1, rows.shape[1]
    position = np.clip((np.arange(count) + 0.5) * (len(rows) / count) - 0.5, 0, last)
    above = np.minimum(position.astype(np.intp), max(last - 1, 0))
    # Seven bits: 255 * 128 + 64 is the largest sum, and fits 16 bits with a sign.
    weights = np.rint((position - above) * 128).astype(np.int16)[:, None]
    steps = np.diff(rows, axis=0, append=rows[-1:])
    rows *= np.int16(128)
    rows += np.int16(64)
    scaled = np.empty((count, width), np.uint8)
    piece = max(1, _PIECE_VALUES // width)
    mixed, base = np.empty((2, min(piece, count), width), np.int16)
    for start in range(0, count, piece):
        part = slice(start, start + piece)
        chosen = above[part]
        mixed, base = mixed[: len(chosen)], base[: len(chosen)]
        # The mode says what can't happen; without it numpy would copy the result once more.
        np.take(steps, chosen, axis=0, out=mixed, mode="clip")
        np.take(rows, chosen, axis=0, out=base, mode="clip")
        mixed *= weights[part]
        mixed += base
        mixed >>= 7
        scaled[part] = mixed
    return scaled


def _memory_file() -> IO[bytes]:
    """A file in memory, with a descriptor where there are such: only then Pillow encodes beside other threads."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.fdopen(os.memfd_create("vpp"), "w+b")
    return io.BytesIO()


def _formats(data: bytes) -> tuple[str, ...]:
    """Name the formats to try. Pillow fails on one that no plugin opens, and only pillow-heif opens HEIF.

    The commonest are known by their first bytes: for any but a few, Pillow would first import all of its plugins.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return (name,)
    return ("HEIF", *_FORMATS) if "HEIF" in Image.OPEN else _FORMATS


def _check_header(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse by what is known before the first pixel is decoded."""
    width, height = image.size
    if width < 1 or height < 1:
        raise ProtectionError(_UNDECODABLE)
    if width * height > max_pixels:
        raise ProtectionError(_TOO_LARGE.format(max_pixels))
    if getattr(image, "is_animated", False):
        raise ProtectionError(_SEVERAL_FRAMES)
    # Pillow is content with a file that ends after its last pixel. Cut off is cut off, wherever that is.
    if image.format == "PNG" and _PNG_END not in data:
        raise ProtectionError(_UNDECODABLE)
    if image.format == "GIF" and not data.rstrip(b"\0").endswith(_GIF_END):
        raise ProtectionError(_UNDECODABLE)
    if image.format == "JPEG" and image.info.get("progressive") and data.count(_JPEG_SCAN) > _MAX_SCANS:
        raise ProtectionError(_UNDECODABLE)


def _scaled_to(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    longest = max(size)
    return -(-size[0] * max_side // longest), -(-size[1] * max_side // longest)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Say what makes an image upright.

    But for a JPEG, ask after load(): a PNG's EXIF may follow its pixels, and load() turns a TIFF by itself.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _upright(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _srgb(image: Image.Image) -> Image.Image:
    """Make an RGB image of the visible pixels, through the embedded ICC profile if it is usable."""
    embedded = image.info.get("icc_profile")
    if not embedded:
        return _flat_rgb(image)
    from PIL import ImageCms  # noqa: PLC0415  LittleCMS, which few pictures need

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    except (ImageCms.PyCMSError, OSError):
        return _flat_rgb(image)
    colours = profile.profile.xcolor_space.strip()
    if colours == "CMYK" and image.mode == "CMYK":
        pixels = image
    elif colours == "GRAY" and image.mode in _GRAY_MODES:
        pixels = _flat_rgb(image).convert("L")
    elif (
        colours == "RGB"
        and image.mode != "CMYK"
        and "sRGB" not in (profile.profile.profile_description or "")
    ):
        pixels = _flat_rgb(image)
    else:
        return _flat_rgb(image)
    try:
        converted = ImageCms.profileToProfile(
            pixels, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return _flat_rgb(image)
    # Once more, because the conversion put the new profile into `info`.
    return _flat_rgb(converted or pixels)


def _flat_rgb(image: Image.Image) -> Image.Image:
    """Make an RGB image of the visible pixels, over white, with nothing attached."""
    if image.mode in ("I", "F"):
        raise ProtectionError(_DEEP_GRAY)
    if image.mode.startswith("I;16"):
        image = _gray_from_16_bits(image)
    alpha: Image.Image | None = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if alpha is None:
        return strip_metadata(rgb)
    flat = Image.new("RGB", image.size, _WHITE)
    flat.paste(rgb, mask=alpha)
    return flat


def _gray_from_16_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits (Pillow's own conversion saturates); its transparent value turns white."""
    bits = image.tag_v2.get(258, (16,))[0] if hasattr(image, "tag_v2") else 16
    peak = (1 << bits) - 1
    table = [min(255, round(value * 255 / peak)) for value in range(65_536)]
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        table[transparent] = 255
    # Only mode I takes a table of 65,536 entries.
    return image.convert("I").point(table, "L")
