"""What a file is that no decoder reads, told from its first bytes."""

import re
import zlib

from udml.formats.heif import is_heif

# Of formats that are read: with one of these heads, and yet no decoder's, the header is damaged.
_READ = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  \r\n",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL \r\n",
)
_RAW = "camera raw"
_HEADS = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"II\xbc", "JPEG XR"),
    (b"IIU\0", _RAW),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"FOVb", _RAW),
    (b"\0MRM", _RAW),
    (b"gimp xcf", "a GIMP image (XCF)"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"DDS ", "a DirectDraw surface (DDS)"),
    (b"\xabKTX ", "a KTX texture"),
    (b"qoif", "QOI"),
    (b"FLIF", "FLIF"),
    (b"BPG\xfb", "BPG"),
    (b"\x8bJNG", "JNG"),
    (b"\x8aMNG", "MNG"),
    (b"icns", "a Mac icon"),
    (b"\0\0\1\0", "a Windows icon"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"\x01\xda", "an SGI image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (b"SIMPLE  =", "FITS"),
    (b"AT&TFORM", "DjVu"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"fLaC", "a FLAC file"),
    (b"\0\0\1\xba", "an MPEG video"),
    (b"\0\0\1\xb3", "an MPEG video"),
    (b"PK\3\4", "a ZIP archive"),
    (b"PK\5\6", "a ZIP archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x89HDF", "HDF5"),
    (b"CDF\1", "NetCDF"),
    (b"CDF\2", "NetCDF"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\0\x05\x16\x07", "a Mac resource file (AppleDouble)"),
    (b"\0\x05\x16\0", "a Mac resource file (AppleSingle)"),
    (b"\0\0\0\1Bud1", "a folder's settings (.DS_Store)"),
    (b"\xd0\xcf\x11\xe0", "an OLE document (Thumbs.db, Office)"),
    (b"L\0\0\0\1\x14\2\0", "a Windows shortcut"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (fetch it by `git lfs pull`)"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself (fetch it by `git annex get`)"),
    (b"../.git/annex/", "a git-annex pointer, not the file itself (fetch it by `git annex get`)"),
    (b"outs:\n- md5:", "a DVC pointer, not the file itself (fetch it by `dvc pull`)"),
)
PHOTOS = ("HEIC (HEVC)", "JPEG XL", "JPEG XR", _RAW)  # what people take for photos, and rightly
_STILLS = "export frames of it as JPEG, for instance by `ffmpeg -i FILE -vf fps=1 frame-%05d.jpg`"
INSTEAD = {  # of what holds pictures without being one: how to get at them
    "a PDF document": "export its pages as JPEG, for instance by `pdftoppm -jpeg -r 150 FILE page`",
    "PostScript": "export its pages as JPEG",
    "a Matroska or WebM video": _STILLS,
    "an MPEG video": _STILLS,
    "a QuickTime video": _STILLS,
    "an MP4 video": _STILLS,
    "an AVI video": _STILLS,
    "an MP4 or QuickTime file": _STILLS,
}
_BRANDS = (
    (rb"heic|heix|heim|heis|hevc|hevx|hevm|hevs|mif1|msf1|miaf", "HEIC (HEVC)"),
    (rb"crx ", _RAW),
    (rb"jxl ", "JPEG XL"),
    (rb"qt  |mqt ", "a QuickTime video"),
    (rb"3g..|isom|iso\d|mp4.|mp7.|M4V.|avc1|dash|MSNV", "an MP4 video"),
    (rb"M4A |M4B ", "an MP4 sound file"),
)
_INNER_MARKS = (
    (4, b"moov", "a QuickTime video"),
    (4, b"mdat", "a QuickTime video"),
    (4, b"wide", "a QuickTime video"),
    (40, b" EMF", "a Windows metafile"),
    (128, b"DICM", "DICOM"),
    (257, b"ustar", "a tar archive"),
)
# Formats that begin with no mark of their own, by what their first bytes may be.
_SHAPES = (
    (rb"(?s)\x00\x00\x02\x00[^\x00]", "a Windows cursor"),
    (rb"(?s).[\x00\x01][\x01-\x03\x09-\x0b].{13}[\x08\x0f\x10\x18\x20].", "a Targa image (TGA)"),
    (rb"(?s)\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]", "PCX"),
)
_TEXTS = (
    (rb"<(?:svg:)?svg[\s/>]", "SVG"),
    (rb"<!doctype html|<html[\s>]|<head[\s>]|<body[\s>]", "an HTML page"),
    (rb"<x:xmpmeta|<\?xpacket", "XMP, the settings beside a photo"),
    (rb"^<\?xml|^<[a-z][\w:.-]*[\s>]", "XML"),
    (rb"^[{\[]", "JSON"),
)
_TEXT_HEAD_BYTES = 2048


def has_known_head(data: bytes) -> bool:
    """Whether the file begins as one of a format that is read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return True
    return (
        data.startswith(_READ) or is_heif(data) or (data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"))
    )


def name_of(data: bytes) -> str:
    """What the file seems to be, in words: "HEIC (HEVC)", "an HTML page", "212 bytes of something else"."""
    for head, name in _HEADS:
        if data.startswith(head):
            return name
    if data.startswith(b"\x1f\x8b"):
        return "SVG, compressed" if _text(_unzipped(data)) == "SVG" else "a gzip file"
    return _container(data) or _text(data) or _shape(data) or f"{len(data)} bytes of something else"


def _unzipped(data: bytes) -> bytes:
    """The first bytes of what a gzip file holds; none if it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data, _TEXT_HEAD_BYTES)
    except zlib.error:
        return b""


def _shape(data: bytes) -> str | None:
    for pattern, name in _SHAPES:
        if re.match(pattern, data):
            return name
    return "a Targa image (TGA)" if b"TRUEVISION-XFILE" in data[-26:] else None


def _container(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _by_brand(data[8 : min(64, int.from_bytes(data[:4], "big") or 64)])
    if data[:4] == b"RIFF":
        return {b"AVI ": "an AVI video", b"WAVE": "a WAVE sound file"}.get(data[8:12], "a RIFF file")
    for place, mark, name in _INNER_MARKS:
        if data.startswith(mark, place):
            return name
    return f"{len(data)} zero bytes, as a failed copy leaves them" if not any(data) else None


def _by_brand(brands: bytes) -> str:
    """Name of a file of boxes: its own brand and version, then the brands it is compatible with."""
    for pattern, name in _BRANDS:
        if re.match(pattern, brands) or re.match(b"(?s)(?:.{4})*?(?:" + pattern + b")", brands[8:]):
            return name
    return "an MP4 or QuickTime file"


def _text(data: bytes) -> str | None:
    """What kind of text it is; None if it isn't."""
    head = data[:_TEXT_HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "replace").encode()
    elif b"\0" in head:
        return None
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, name in _TEXTS:
        if re.search(pattern, head, re.IGNORECASE):
            return name
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 or len(data) <= _TEXT_HEAD_BYTES:
            return None
        text = head[: error.start].decode()
    return (
        f"text ({len(data)} bytes)"
        if all(letter.isprintable() or letter.isspace() for letter in text)
        else None
    )
