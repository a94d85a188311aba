"""What can go wrong."""


class InstallError(Exception):
    """A tool can't be installed; the message says why and what to do."""
