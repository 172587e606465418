"""The one error people see: what happened, where, and what to do about it."""


class UdmlError(Exception):
    """A problem the user can act on. The command line prints it without a traceback.

    Args:
        what: one sentence saying what is wrong and where (path, key, row).
        hint: one sentence saying what to do about it.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}\n  -> {hint}" if hint else what)
        self.what = what
        self.hint = hint


class BusyError(UdmlError):
    """Others are at it: the same will do later."""


class StoreLostError(UdmlError):
    """The store of the collection cannot be reached; nothing was done, and the same will do later."""


def reason(error: BaseException) -> str:
    """Why something failed, for a person: of the system's errors without their number and path."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def install_hint(extra: str) -> str:
    """How to get one of udml's extras. It is installed from its checkout: no package index has it."""
    return f"in a checkout of udml: `pip install '.[{extra}]'`"
