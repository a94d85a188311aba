"""Django's own backend, but for how a database is emptied."""

from collections.abc import Sequence
from typing import Any

from django.db.backends.postgresql import base, operations

# What every migration makes anew and no test changes.
KEPT = {"django_content_type", "auth_permission"}


class DatabaseOperations(operations.DatabaseOperations):
    """Rows are deleted: TRUNCATE locks table after table against readers, and a web process that joins the same tables
    in another order is a deadlock. Tables are small here, so it is quicker, too.
    """

    def sql_flush(self, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        """No foreign key or trigger is asked: the order of the tables is not that of their keys."""
        names = [self.quote_name(table) for table in tables if table not in KEPT]
        return ["SET LOCAL session_replication_role = replica", *(f"DELETE FROM {name}" for name in names)]


class DatabaseWrapper(base.DatabaseWrapper):
    """Asked for by Django under this name."""

    ops_class = DatabaseOperations
