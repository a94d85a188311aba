"""How alike two texts are, by their trigrams: the embedded server's wheel comes without pg_trgm."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION courier_trigrams(said text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr(padded, place, 3)), '{}')
    FROM (
        SELECT '  ' || word || ' ' AS padded
        FROM regexp_split_to_table(lower(said), '[^[:alnum:]]+') AS word WHERE word <> ''
    ) AS words, generate_series(1, length(padded) - 2) AS place
$$;
CREATE FUNCTION courier_likeness(one text[], other text[]) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(shared::double precision / nullif(cardinality(one) + cardinality(other) - shared, 0), 0)
    FROM (SELECT count(*) AS shared FROM (SELECT unnest(one) INTERSECT SELECT unnest(other)) AS common) AS counted
$$;
"""
BACKWARD = """
DROP FUNCTION courier_likeness(text[], text[]);
DROP FUNCTION courier_trigrams(text);
"""


class Migration(migrations.Migration):
    dependencies = [("codecourier", "0006_git_keys")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
