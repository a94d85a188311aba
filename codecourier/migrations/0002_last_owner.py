"""A project keeps at least one owner, whoever writes to the table."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION codecourier_keep_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM codecourier_project WHERE id = OLD.project_id)
       AND NOT EXISTS (SELECT 1 FROM codecourier_membership WHERE project_id = OLD.project_id AND role = 'owner')
    THEN
        RAISE EXCEPTION 'A project needs an owner: make somebody else owner first.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'project_has_owner';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER project_has_owner AFTER UPDATE OR DELETE ON codecourier_membership
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.role = 'owner')
    EXECUTE FUNCTION codecourier_keep_owner();
"""
BACKWARD = """
DROP TRIGGER project_has_owner ON codecourier_membership;
DROP FUNCTION codecourier_keep_owner();
"""


class Migration(migrations.Migration):
    dependencies = [("codecourier", "0001_base")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
