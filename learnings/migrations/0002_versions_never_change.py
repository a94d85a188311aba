"""What was compiled stays as it was, whoever writes to the table."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION learnings_keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
       AND (NEW.project_id, NEW.number, NEW.documents, NEW.digest, NEW.left_out, NEW.note, NEW.made_at)
       IS NOT DISTINCT FROM
           (OLD.project_id, OLD.number, OLD.documents, OLD.digest, OLD.left_out, OLD.note, OLD.made_at)
    THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT 1 FROM codecourier_project WHERE id = OLD.project_id) THEN
        RAISE EXCEPTION 'A compiled version never changes: compile another one.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'learnings_version_never_changes';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER learnings_version_never_changes AFTER UPDATE OR DELETE ON learnings_version
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION learnings_keep_version();
"""
BACKWARD = """
DROP TRIGGER learnings_version_never_changes ON learnings_version;
DROP FUNCTION learnings_keep_version();
"""


class Migration(migrations.Migration):
    dependencies = [("learnings", "0001_learnings")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
