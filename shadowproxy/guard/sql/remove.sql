-- Undo everything that the guard did, and what the tenants wrote.

DO $guard$
DECLARE
  one record;
BEGIN
  IF to_regnamespace('shadowproxy') IS NULL THEN
    RETURN;
  ELSIF obj_description(to_regnamespace('shadowproxy'), 'pg_namespace') IS DISTINCT FROM 'shadowproxy guard' THEN
    RAISE EXCEPTION USING ERRCODE = 'duplicate_schema', MESSAGE = 'a schema "shadowproxy" exists that is not the guard''s';
  END IF;
  FOR one IN SELECT evtname FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid WHERE p.pronamespace = to_regnamespace('shadowproxy') LOOP
    EXECUTE format('DROP EVENT TRIGGER %I', one.evtname);
  END LOOP;
  FOR one IN
    SELECT t.tgname, t.tgrelid::regclass AS relation FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE p.pronamespace = to_regnamespace('shadowproxy') AND t.tgparentid = 0
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, one.relation);
  END LOOP;
  FOR one IN
    SELECT p.polname, p.polrelid::regclass AS relation FROM pg_policy p JOIN shadowproxy.security_before b ON b.relation = p.polrelid
    WHERE p.polname IN ('shadowproxy_all', 'shadowproxy_select', 'shadowproxy_insert', 'shadowproxy_update', 'shadowproxy_delete')
  LOOP
    EXECUTE format('DROP POLICY %I ON %s', one.polname, one.relation);
  END LOOP;
  FOR one IN SELECT b.* FROM shadowproxy.security_before b JOIN pg_class c ON c.oid = b.relation LOOP
    EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY, %s ROW LEVEL SECURITY', one.relation::regclass,
      CASE WHEN one.was_enabled THEN 'ENABLE' ELSE 'DISABLE' END, CASE WHEN one.was_forced THEN 'FORCE' ELSE 'NO FORCE' END);
  END LOOP;
  FOR one IN
    SELECT s.name FROM shadowproxy.guarded_schemas g, unnest(ARRAY[g.view_schema, g.rows_schema]) AS s (name)
    JOIN pg_namespace n ON n.nspname = s.name WHERE obj_description(n.oid, 'pg_namespace') = 'shadowproxy guard'
  LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', one.name);
  END LOOP;
  DROP SCHEMA shadowproxy CASCADE;
END $guard$;
