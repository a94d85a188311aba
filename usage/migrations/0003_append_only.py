"""The ledger only grows, whoever writes to the table."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION usage_keep_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The ledger only grows: correct an entry by further ones.'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_only_grows';
END $$;
CREATE TRIGGER ledger_only_grows BEFORE UPDATE OR DELETE ON usage_entry
    FOR EACH STATEMENT EXECUTE FUNCTION usage_keep_entry();
"""
BACKWARD = """
DROP TRIGGER ledger_only_grows ON usage_entry;
DROP FUNCTION usage_keep_entry();
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_ledger")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
