"""Trigrams as PostgreSQL's pg_trgm has them, for servers that come without that extension."""

from django.db import migrations

TRIGRAMS = r"""
CREATE FUNCTION issues_trigrams(value text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT coalesce(array_agg(DISTINCT substr('  ' || word || ' ', place, 3)), '{}')
  FROM regexp_split_to_table(lower(value), '[^[:alnum:]]+') AS word, generate_series(1, length(word) + 1) AS place
  WHERE word <> ''
$$
"""
SIMILARITY = """
CREATE FUNCTION issues_similarity(one text, other text) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT coalesce(count(*) FILTER (WHERE times = 2)::double precision / nullif(count(*), 0), 0)
  FROM (
    SELECT count(*) AS times
    FROM (SELECT unnest(issues_trigrams(one)) AS part UNION ALL SELECT unnest(issues_trigrams(other))) AS parts
    GROUP BY part
  ) AS counted
$$
"""


class Migration(migrations.Migration):
    dependencies = [("issues", "0001_cards")]

    operations = [
        migrations.RunSQL(TRIGRAMS, "DROP FUNCTION issues_trigrams(text)"),
        migrations.RunSQL(SIMILARITY, "DROP FUNCTION issues_similarity(text, text)"),
    ]
