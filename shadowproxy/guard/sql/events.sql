-- Event triggers, for those who ask for them: new tables are guarded as they come, and test sessions change no definitions.

CREATE OR REPLACE FUNCTION shadowproxy.on_definition() RETURNS event_trigger
-- As the one who guards, who may do what a migration's role may not.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $guard$
DECLARE
  one record;
BEGIN
  IF current_setting('shadowproxy.guarding', true) = 'on' THEN
    RETURN;  -- The guard's own doing.
  END IF;
  FOR one IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
    IF current_setting('shadowproxy.tenant', true) <> '' THEN
      IF one.schema_name IS DISTINCT FROM 'pg_temp' THEN
        PERFORM shadowproxy.refuse_definition(one.command_tag);
      END IF;
    ELSIF one.classid = 'pg_class'::regclass AND one.object_type IN ('table', 'foreign table')
      AND EXISTS (SELECT FROM shadowproxy.guarded_schemas WHERE schema_name = one.schema_name AND is_whole)
    THEN
      BEGIN
        PERFORM set_config('shadowproxy.guarding', 'on', true);
        PERFORM shadowproxy.guard_schema(one.schema_name, ARRAY[(SELECT relname::text FROM pg_class WHERE oid = one.objid)]);
      EXCEPTION WHEN OTHERS THEN
        -- A migration must not fail for the guard's sake; `guard postgres --check` finds the table.
        RAISE WARNING 'shadowproxy guard: % is not guarded: %', one.object_identity, SQLERRM;
      END;
      PERFORM set_config('shadowproxy.guarding', '', true);
    END IF;
  END LOOP;
END $guard$;

CREATE OR REPLACE FUNCTION shadowproxy.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
  IF current_setting('shadowproxy.tenant', true) <> '' AND current_setting('shadowproxy.guarding', true) IS DISTINCT FROM 'on'
    AND EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary)
  THEN
    PERFORM shadowproxy.refuse_definition(TG_TAG);
  END IF;
END $guard$;

CREATE OR REPLACE FUNCTION shadowproxy.refuse_definition(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'SP003',
    MESSAGE = format('test tenant %L may not change definitions: %s', current_setting('shadowproxy.tenant'), tag);
END $guard$;

DROP EVENT TRIGGER IF EXISTS shadowproxy_definition;
CREATE EVENT TRIGGER shadowproxy_definition ON ddl_command_end EXECUTE FUNCTION shadowproxy.on_definition();
ALTER EVENT TRIGGER shadowproxy_definition ENABLE ALWAYS;
DROP EVENT TRIGGER IF EXISTS shadowproxy_drop;
CREATE EVENT TRIGGER shadowproxy_drop ON sql_drop EXECUTE FUNCTION shadowproxy.on_drop();
ALTER EVENT TRIGGER shadowproxy_drop ENABLE ALWAYS;
