"""What was published stays as it was, whoever writes to the table."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION personas_keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.asset_id, NEW.number, NEW.files, NEW.digest, NEW.size, NEW.note, NEW.published_at)
       IS NOT DISTINCT FROM (OLD.asset_id, OLD.number, OLD.files, OLD.digest, OLD.size, OLD.note, OLD.published_at)
    THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT 1 FROM personas_asset WHERE id = OLD.asset_id) THEN
        RAISE EXCEPTION 'A published version never changes: publish another one.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'version_never_changes';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER version_never_changes AFTER UPDATE OR DELETE ON personas_assetversion
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION personas_keep_version();
"""
BACKWARD = """
DROP TRIGGER version_never_changes ON personas_assetversion;
DROP FUNCTION personas_keep_version();
"""


class Migration(migrations.Migration):
    dependencies = [("personas", "0001_personas")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
