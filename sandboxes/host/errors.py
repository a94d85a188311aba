"""Refusals of the API, each with its HTTP status and a sentence for the caller."""


class Refused(Exception):
    """Answered as E2B's JSON error `{"code", "message"}` with the same HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def gone(sandbox_id: str) -> Refused:
    return Refused(404, f"sandbox {sandbox_id!r} doesn't exist or has ended")
