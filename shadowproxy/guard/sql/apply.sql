-- The guard's entry: guards what it is told to, and says what it did.

-- Guard tables of one schema as the register says.
CREATE OR REPLACE FUNCTION shadowproxy.guard_schema(target_schema text, names text[]) RETURNS TABLE (table_name text, did text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  how shadowproxy.guarded_schemas;
  relation regclass;
  diverted regclass[];
BEGIN
  SELECT * INTO how FROM shadowproxy.guarded_schemas WHERE schema_name = target_schema;
  IF how.mode = 'divert' THEN
    diverted := shadowproxy.divert_schema(target_schema, names);
  END IF;
  FOR relation, table_name IN
    SELECT c.oid, c.relname FROM shadowproxy.tables_of(target_schema, names) AS t JOIN pg_class c ON c.oid = t
    ORDER BY c.relispartition, c.relname  -- parents first: their partitions inherit triggers for rows
  LOOP
    IF how.mode = 'column' AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = how.tenant_column AND NOT attisdropped)
      AND (SELECT relkind FROM pg_class WHERE oid = relation) <> 'f'
    THEN
      PERFORM shadowproxy.guard_by_column(relation, how.tenant_column, how.live_value);
      did := 'partitioned by column';
    ELSE
      PERFORM shadowproxy.guard_by_refusal(relation);
      did := CASE WHEN relation = ANY (diverted) THEN 'diverted' ELSE 'refused' END;
    END IF;
    RETURN NEXT;
  END LOOP;
END $guard$;

CREATE OR REPLACE FUNCTION shadowproxy.apply(mode text, schemas text[], tables text[], tenant_column text, live_value text)
RETURNS TABLE (schema_name text, table_name text, did text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  one text;
  before shadowproxy.guarded_schemas;
BEGIN
  FOREACH one IN ARRAY schemas LOOP
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = one) THEN
      RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name', MESSAGE = format('there is no schema %I', one);
    END IF;
    SELECT * INTO before FROM shadowproxy.guarded_schemas g WHERE g.schema_name = one;
    IF (before.mode, before.tenant_column, before.live_value) IS DISTINCT FROM (apply.mode, apply.tenant_column, apply.live_value) AND before.mode IS NOT NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = format('schema %I is guarded otherwise, in mode %s: --remove that first', one, before.mode);
    END IF;
    INSERT INTO shadowproxy.guarded_schemas AS g VALUES (one, apply.mode, tables IS NULL, apply.tenant_column, apply.live_value)
    ON CONFLICT ON CONSTRAINT guarded_schemas_pkey DO UPDATE SET is_whole = g.is_whole OR excluded.is_whole;
    RETURN QUERY SELECT one, g.table_name, g.did FROM shadowproxy.guard_schema(one, tables) AS g;
  END LOOP;
  FOREACH one IN ARRAY coalesce(tables, '{}') LOOP
    IF NOT EXISTS (SELECT FROM unnest(schemas) AS s, shadowproxy.tables_of(s, ARRAY[one])) THEN
      RAISE EXCEPTION USING ERRCODE = 'undefined_table', MESSAGE = format('there is no table %I in the schemas to guard', one);
    END IF;
  END LOOP;
END $guard$;

-- Writers call functions of the guard, whoever writes. They change nothing that the caller could not.
GRANT USAGE ON SCHEMA shadowproxy TO PUBLIC;
