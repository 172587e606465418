"""WebP: where the first frame of an animation lies."""

import struct


def first_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of an animation's first frame, px; None if the file has no frames."""
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"ANMF" and position + 20 <= len(data):
            left, top, width, height = (
                int.from_bytes(data[start : start + 3], "little")
                for start in range(position + 8, position + 20, 3)
            )
            return 2 * left, 2 * top, 2 * left + width + 1, 2 * top + height + 1
        position += 8 + length + length % 2
    return None
