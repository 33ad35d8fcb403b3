"""Carry metadata from a picture to one made of it: adjusted, in the terms of the target's format.

Nothing here raises an error for what a file says: what cannot be carried is named instead.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from liif.images.metadata import avif, exif, gif, jpeg, photoshop, plain, png, tiff, webp, xmp
from liif.images.metadata.record import Change, Metadata, Piece

Value = TypeVar("Value")

HOLDS: dict[str, frozenset[str]] = {
    "PNG": frozenset({"resolution", "icc", "exif", "xmp", "iptc", "comments", "colour", "texts"}),
    "JPEG": frozenset({"resolution", "icc", "exif", "xmp", "iptc", "comments"}),
    "TIFF": frozenset({"resolution", "icc", "exif", "xmp", "iptc", "comments", "tags"}),
    "WEBP": frozenset({"resolution", "icc", "exif", "xmp"}),
    "AVIF": frozenset({"resolution", "icc", "exif", "xmp", "cICP"}),
    "GIF": frozenset({"icc", "xmp", "comments"}),
    "BMP": frozenset({"resolution", "icc"}),
    "PPM": frozenset({"comments"}),
}
"""What each format can hold, by the fields of `Metadata`, beside pieces of its own."""


_PROFILES = {f"Raw profile type {name}" for name in ("iptc", "8bim")}
"""Texts of PNG that are carried as IPTC."""


def carried(
    source: Metadata, form: str, change: Change, icc: bytes | None
) -> tuple[Metadata, list[str]]:
    """Return the metadata of a result in a format, and what is lost, as short names.

    Args:
        source: of the picture that the result is made of.
        form: Pillow's name of the result's format.
        change: what became of the pixels.
        icc: the profile of the result's colours.
    """
    lost = list(source.dropped)
    kept = source._replace(icc=icc, dropped=(), orientation=1)
    if change.is_turned and (sides := source.resolution):
        kept = kept._replace(resolution=sides._replace(x=sides.y, y=sides.x))
    if source.icc and not icc:
        lost.append(f"ICC profile ({_space(source.icc)})")
    if kept.exif:
        new = _safely("EXIF", lambda: exif.adjusted(kept.exif or b"", change, lost), lost)
        kept = kept._replace(exif=new)
    if kept.xmp:
        new = _safely("XMP", lambda: xmp.adjusted(kept.xmp or b"", change, lost), lost)
        kept = kept._replace(xmp=new)
    if old := kept.photoshop:
        new = _safely("Photoshop data", lambda: photoshop.adjusted(old, change, lost), lost)
        kept = kept._replace(photoshop=new)
    tags = _safely("TIFF tags", lambda: tiff.adjusted(kept.tags, change, lost), lost)
    pieces = _safely("chunks", lambda: png.adjusted(kept.pieces, change), lost)
    kept = kept._replace(pieces=pieces or (), tags=tags or ())
    return _held(kept, form, lost), lost


def _space(icc: bytes) -> str:
    name = icc[16:20].decode("ascii", "replace").strip()
    return f"of {name}" if name in ("RGB", "GRAY", "CMYK", "Lab") else "damaged"


def _safely(name: str, act: Callable[[], Value], lost: list[str]) -> Value | None:
    try:
        return act()
    except Exception:  # odd data of which nobody has thought; the picture must not be lost
        lost.append(f"{name} (damaged)")
        return None


def _held(metadata: Metadata, form: str, lost: list[str]) -> Metadata:
    """Return what a format can hold of it."""
    holds = HOLDS.get(form, frozenset[str]())
    kept = metadata
    resolution = metadata.resolution
    if form in ("WEBP", "AVIF") and resolution and resolution.unit:
        new = _safely("resolution", lambda: exif.with_resolution(metadata.exif, resolution), lost)
        kept = kept._replace(exif=new or metadata.exif)
    elif resolution and "resolution" not in holds and resolution.unit:
        lost.append("resolution")
    if (metadata.photoshop or metadata.iptc) and "iptc" not in holds:
        lost.append("IPTC")
        kept = kept._replace(photoshop=None, iptc=None)
    elif metadata.iptc and form != "TIFF":
        resources = photoshop.with_iptc(metadata.photoshop or b"", metadata.iptc)
        kept = kept._replace(photoshop=resources)
    for name, text in {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP"}.items():
        if getattr(kept, name) and name not in holds:
            lost.append(text)
            kept = kept._replace(**{name: None})
    if metadata.colour and "colour" not in holds:
        colour = tuple(p for p in metadata.colour if p.kind.decode() in holds)
        lost += [p.kind.decode() for p in metadata.colour if p not in colour]
        kept = kept._replace(colour=colour)
    if metadata.tags and "tags" not in holds:
        tags = [tag for tag in metadata.tags if tag.code != tiff.PAGE_NUMBER]
        lost += [tiff.names_of(tags)] if tags else []
        kept = kept._replace(tags=())
    if metadata.pieces and form != metadata.form:
        lost += [_name(piece, metadata.form) for piece in metadata.pieces]
        kept = kept._replace(pieces=())
    return _with_held_texts(kept, holds, lost)


def _with_held_texts(metadata: Metadata, holds: frozenset[str], lost: list[str]) -> Metadata:
    if metadata.texts and "texts" not in holds:
        for chunk in metadata.texts:
            keyword = chunk.data.partition(b"\0")[0].decode("latin-1")
            is_held = keyword == "Comment" and "comments" in holds
            if not is_held and keyword not in _PROFILES:
                lost.append(f"text {keyword}")
        metadata = metadata._replace(texts=())
    elif metadata.comments and "comments" not in holds:
        lost.append("comment")
    return metadata if "comments" in holds else metadata._replace(comments=())


def _name(piece: Piece, form: str) -> str:
    if form == "JPEG":
        return f"APP{piece.kind[0] - 0xE0}"
    return piece.kind.decode("ascii", "replace").strip()


def png_chunks(metadata: Metadata, lost: list[str]) -> list[Piece]:
    """Return the chunks for a PNG file."""
    return _safely("metadata", lambda: png.chunks_of(metadata, lost), lost) or []


def embedded(
    form: str, data: bytes, metadata: Metadata, size: tuple[int, int], lost: list[str]
) -> bytes:
    """Return a file of (H, W) as Pillow writes it, with metadata; not for TIFF."""
    embed: dict[str, Callable[[], bytes]] = {
        "JPEG": lambda: jpeg.embed(data, metadata, lost),
        "PNG": lambda: png.embed(data, metadata, lost),
        "WEBP": lambda: webp.embed(data, metadata, size),
        "GIF": lambda: gif.embed(data, metadata, lost),
        "BMP": lambda: plain.embed_bmp(data, metadata, lost),
        "PPM": lambda: plain.embed_pnm(data, metadata),
        "AVIF": lambda: avif.embed(data, metadata),
    }
    if form not in embed:
        return data
    return _safely("metadata", embed[form], lost) or data


def pillow_options(form: str, metadata: Metadata, lost: list[str]) -> dict[str, bytes]:
    """Return options of Pillow, for formats whose metadata it has to write."""
    if form != "AVIF":
        return {}
    return _safely("metadata", lambda: avif.options(metadata), lost) or {}


def add_to_tiff(path: Path, pages: list[Metadata], lost: list[str]) -> None:
    """Add the metadata of its pages, except their profiles, to a TIFF file."""
    tags = [_safely("metadata", lambda m=each: tiff.tags_of(m), lost) or [] for each in pages]
    tiff.add_tags(path, tags, lost)
