"""PNG: what of a file the pixels need."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def pixels_only(data: bytes) -> bytes | None:
    """The file without every chunk that the pixels don't need: texts, profiles, times, animation.

    Decoders refuse a file for a long text or a wrong checksum in one of these. Checksums of the chunks
    that stay are left as they are. Orientation stays if its chunk is whole.

    Returns:
        None if there is nothing to leave out, or the chunks can't be told apart.
    """
    if not data.startswith(_SIGNATURE):
        return None
    kept, position = [_SIGNATURE], len(_SIGNATURE)
    left_out = False
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if name in _NEEDED or (name == b"eXIf" and _is_whole(data, position, end)):
            kept.append(data[position:end])
        else:
            left_out = True
        position = end
        if name == b"IEND":
            break
    return b"".join(kept) if left_out else None


def _is_whole(data: bytes, start: int, end: int) -> bool:
    return data[end - 4 : end] == struct.pack(">I", zlib.crc32(data[start + 4 : end - 4]))
