"""What lies among photos without being one: known by its name, or by name and content."""

import fnmatch
from pathlib import Path

from udml.formats.names import PHOTOS, has_known_head, name_of

# Guesses; what a file really is, its bytes say.
_READ = (
    "jpg jpeg jpe jfif png apng webp gif tif tiff bmp dib ppm pgm pbm pnm jp2 j2k jpx avif heic heif hif jxl"
)
_UNREAD = "jxr psd svg dng cr2 cr3 nef arw orf rw2 raf pef srw x3f 3fr exr hdr tga ico"
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _READ.split())
PICTURE_SUFFIXES = IMAGE_SUFFIXES | {f".{suffix}" for suffix in _UNREAD.split()}
_MOVING = "mov mp4 m4v avi mkv mts m2ts mpg mpeg wmv 3gp 3g2 webm flv insv lrv"
_VIDEOS = frozenset(f".{suffix}" for suffix in _MOVING.split())
_HEAD_BYTES = 4096
_FOLDERS = (
    ("@eadir", "thumbnails of a Synology NAS (@eaDir)"),
    (".@__thumb", "thumbnails of a QNAP NAS (.@__thumb)"),
    ("@__thumb", "thumbnails of a QNAP NAS (.@__thumb)"),
    (".picasaoriginals", "originals kept by Picasa (.picasaoriginals)"),
    (".thumbnails", "thumbnails (.thumbnails)"),
    ("*.lrdata", "previews of Lightroom (.lrdata)"),
    ("#recycle", "recycle bins"),
    ("@recycle", "recycle bins"),
    ("$recycle.bin", "recycle bins"),
    (".trash*", "recycle bins"),
    ("__macosx", "resource files of a Mac (__MACOSX, ._*)"),
    ("system volume information", "folders of the system"),
    ("lost+found", "folders of the system"),
)
_FILES = (
    ("._*", "resource files of a Mac (__MACOSX, ._*)"),
    (".ds_store", "settings and thumbnails of file browsers (.DS_Store, Thumbs.db, desktop.ini)"),
    ("thumbs.db", "settings and thumbnails of file browsers (.DS_Store, Thumbs.db, desktop.ini)"),
    ("ehthumbs*.db", "settings and thumbnails of file browsers (.DS_Store, Thumbs.db, desktop.ini)"),
    ("desktop.ini", "settings and thumbnails of file browsers (.DS_Store, Thumbs.db, desktop.ini)"),
    ("synofile_thumb*", "thumbnails of a Synology NAS (@eaDir)"),
    (".picasa.ini", "notes of photo programs (.xmp, .aae, Takeout's .json, ...)"),
    ("picasa.ini", "notes of photo programs (.xmp, .aae, Takeout's .json, ...)"),
    ("*.json", "notes of photo programs (.xmp, .aae, Takeout's .json, ...)"),
    ("*.xmp", "notes of photo programs (.xmp, .aae, Takeout's .json, ...)"),
    ("*.aae", "notes of photo programs (.xmp, .aae, Takeout's .json, ...)"),
    ("*.thm", "thumbnails of videos (.thm)"),
)


def folder_kind(name: str) -> str | None:
    """What clutter a folder of this name holds, in words; None for any other."""
    return _kind(name, _FOLDERS)


def file_kind(name: str) -> str | None:
    """What clutter a file of this name is, in words; None for any other."""
    return "videos" if Path(name).suffix.lower() in _VIDEOS else _kind(name, _FILES)


def is_no_picture(path: str) -> bool:
    """Whether neither the name nor the content of a file says that it is, or was, a picture.

    A file that cannot be read is not known to be none.
    """
    if Path(path).suffix.lower() in PICTURE_SUFFIXES:
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return not (has_known_head(head) or head[:2] in (b"BM", b"P4", b"P5", b"P6") or name_of(head) in PHOTOS)


def _kind(name: str, patterns: tuple[tuple[str, str], ...]) -> str | None:
    lower = name.lower()
    return next((kind for pattern, kind in patterns if fnmatch.fnmatchcase(lower, pattern)), None)
