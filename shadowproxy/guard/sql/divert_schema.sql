-- Mode divert, concluded: the shadows of a whole schema.

-- The schemas where the shadows of a schema lie. Names are cut at 63 bytes by PostgreSQL; one that would be is refused.
CREATE OR REPLACE FUNCTION shadowproxy.prepare_shadows(target_schema text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  views constant text := 'shadow_' || target_schema;
  own_rows constant text := views || '_rows';
  one text;
BEGIN
  IF octet_length(own_rows) > 63 THEN
    RAISE EXCEPTION USING ERRCODE = 'name_too_long', MESSAGE = format('the name of schema %I leaves no room for that of its shadow', target_schema);
  END IF;
  FOREACH one IN ARRAY ARRAY[views, own_rows] LOOP
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = one) THEN
      EXECUTE format('CREATE SCHEMA %I', one);
      EXECUTE format('COMMENT ON SCHEMA %I IS %L', one, 'shadowproxy guard');
    ELSIF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = one AND obj_description(oid, 'pg_namespace') = 'shadowproxy guard') THEN
      RAISE EXCEPTION USING ERRCODE = 'duplicate_schema', MESSAGE = format('a schema %I exists that is not the guard''s', one);
    END IF;
    PERFORM shadowproxy.grant_alike(coalesce(nspacl, acldefault('n', nspowner)), '{USAGE}', '', 'SCHEMA', quote_ident(one))
    FROM pg_namespace WHERE nspname = target_schema;
  END LOOP;
  UPDATE shadowproxy.guarded_schemas SET view_schema = views, rows_schema = own_rows WHERE schema_name = target_schema;
END $guard$;

-- Make or mend the shadows of a schema's tables, and return these.
CREATE OR REPLACE FUNCTION shadowproxy.divert_schema(target_schema text, names text[]) RETURNS regclass[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  how shadowproxy.guarded_schemas;
  relation regclass;
  found regclass[];
  gone record;
BEGIN
  PERFORM shadowproxy.prepare_shadows(target_schema);
  SELECT * INTO how FROM shadowproxy.guarded_schemas WHERE schema_name = target_schema;
  -- Shadows of what is gone.
  FOR gone IN
    SELECT s.relname, s.relkind FROM pg_class s WHERE s.relkind IN ('r', 'S')
      AND s.relnamespace = to_regnamespace(quote_ident(CASE WHEN s.relkind = 'S' THEN how.view_schema ELSE how.rows_schema END))
      AND NOT EXISTS (
        SELECT FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident(target_schema)) AND c.relname = s.relname
          AND (c.relkind = 'S') = (s.relkind = 'S') AND c.relkind IN ('r', 'p', 'f', 'S'))
  LOOP
    IF gone.relkind = 'S' THEN
      EXECUTE format('DROP SEQUENCE %I.%I CASCADE', how.view_schema, gone.relname);
    ELSE
      EXECUTE format('DROP TABLE %I.%I CASCADE', how.rows_schema, gone.relname);
      EXECUTE format('DROP FUNCTION IF EXISTS %I.%I()', how.rows_schema, gone.relname);
    END IF;
  END LOOP;
  PERFORM shadowproxy.divert_sequence(c.oid, how.view_schema) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = target_schema AND c.relkind = 'S';
  -- Partitions are written to through their parents; a table without columns has nothing to divert.
  found := ARRAY(
    SELECT c.oid::regclass FROM shadowproxy.tables_of(target_schema, names) AS t JOIN pg_class c ON c.oid = t
    WHERE NOT c.relispartition AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped));
  FOREACH relation IN ARRAY found LOOP
    PERFORM shadowproxy.divert_reads(relation, how.view_schema, how.rows_schema);
  END LOOP;
  -- Writers look at each other's views, also in other schemas: they are made when all of these are there, and made again when one comes.
  PERFORM shadowproxy.divert_writes(t, g.view_schema, g.rows_schema)
  FROM shadowproxy.guarded_schemas g, shadowproxy.tables_of(g.schema_name) AS t
  WHERE shadowproxy.seen_as(t) <> t::text AND to_regclass(shadowproxy.shadow_of(t, g.rows_schema)) IS NOT NULL;
  RETURN found;
END $guard$;

