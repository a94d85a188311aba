"""Nudges: who changes a row tells its topic inside the same transaction, and every open page follows.

A nudge carries no data, only the name of what changed; listeners read the rows. PostgreSQL delivers it on
commit and folds equal ones of a transaction into one.
"""

from typing import Any

from django.db import connection

CHANNEL = "codecourier"
# What Django puts among the parameters for its own cursors; libpq would refuse it.
NOT_LIBPQ = {"context", "cursor_factory", "prepare_threshold"}


def nudge(*topics: str) -> None:
    """Notify every listener of these topics, e.g. `sandbox:7`, once the transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, topic) FROM unnest(%s::text[]) AS topic", [CHANNEL, list(topics)])


def parameters() -> dict[str, Any]:
    """How to open a connection of one's own to the same database: LISTEN can't be shared with Django's."""
    return {name: value for name, value in connection.get_connection_params().items() if name not in NOT_LIBPQ}
