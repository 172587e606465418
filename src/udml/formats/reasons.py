"""Why a file holds no usable image."""

from enum import StrEnum

from udml.errors import UdmlError


class Reason(StrEnum):
    """Why a file holds no usable image. The value is the code written to tables."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    TOO_COSTLY = "too_costly"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.MISSING: "the file is named by the annotations but is not there",
    Reason.UNREADABLE: "the file cannot be read from disk",
    Reason.EMPTY: "the file is empty",
    Reason.NOT_AN_IMAGE: "the file is not an image of a known format",
    Reason.CORRUPT: "the image is damaged",
    Reason.TRUNCATED: "the file ends before the image does",
    Reason.TOO_SMALL: "the image is smaller than allowed",
    Reason.TOO_LARGE: "the image is larger than allowed",
    Reason.TOO_COSTLY: "decoding the image takes more time or memory than one file may have",
}


class Undecodable(UdmlError):  # noqa: N818 - the name says what happened
    """No pixels: `reason` is the code, `detail` what was found."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.sentence}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["Undecodable"], tuple[Reason, str]]:
        return Undecodable, (self.reason, self.detail)  # crosses process pools


def unsupported(what: str, instead: str = "convert it to JPEG or PNG") -> Undecodable:
    """A sound file of a kind that is not read."""
    return Undecodable(Reason.NOT_AN_IMAGE, f"{what} is not supported; {instead}")


def too_costly(what: str) -> Undecodable:
    """A file that is not decoded, or not to its end, for what that takes."""
    return Undecodable(Reason.TOO_COSTLY, what)


def damage(error: Exception) -> Undecodable:
    """What a decoder's exception says about the file."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return too_costly("it does not fit into memory")
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return Undecodable(Reason.TRUNCATED, str(error) or "unexpected end of file")
    return Undecodable(Reason.CORRUPT, str(error) or type(error).__name__)
