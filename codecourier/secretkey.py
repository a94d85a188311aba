"""The secret key of a local installation: made once, kept readable to its owner only."""

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def load(state: Path) -> str:
    """The installation's key; ImproperlyConfigured when its folder can't be written."""
    path = state / "secret_key"
    try:
        if not path.exists():
            create(path)
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The state folder {state} can't be used ({error.strerror}). Make it writable, or set STATE to another."
        ) from error


def create(path: Path) -> None:
    """Write a new key; of several processes that try at once the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)  # others pass, e.g. the database's own user
    draft = path.with_name(f".secret_key.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(48))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
