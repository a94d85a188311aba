"""Nudges: who changes a row tells its topic inside the same transaction, and every open page follows.

A nudge carries no data, only the name of what changed; listeners read the rows. PostgreSQL delivers it on
commit and folds equal ones of a transaction into one.
"""

from django.db import connection

CHANNEL = "codecourier"
# PostgreSQL refuses payloads of 8,000 bytes and more.
MAX_PAYLOAD = 7_900


def nudge(*topics: str) -> None:
    """Notify every listener of these topics, e.g. `sandbox:7`, once the transaction commits."""
    with connection.cursor() as cursor:
        for topic in topics:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, topic])
