-- What every mode needs: the schema that holds the guard's own functions and its register of what it guards.

DO $guard$
BEGIN
  -- Two that guard at once would meet in the middle.
  PERFORM pg_advisory_xact_lock(hashtextextended('shadowproxy guard', 0));
  IF current_setting('server_version_num')::int < 150000 THEN
    RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'the storage guard needs PostgreSQL 15 or later';
  END IF;
  IF to_regnamespace('shadowproxy') IS NULL THEN
    CREATE SCHEMA shadowproxy;
    COMMENT ON SCHEMA shadowproxy IS 'shadowproxy guard';
  ELSIF obj_description(to_regnamespace('shadowproxy'), 'pg_namespace') IS DISTINCT FROM 'shadowproxy guard' THEN
    RAISE EXCEPTION USING ERRCODE = 'duplicate_schema', MESSAGE = 'a schema "shadowproxy" exists that is not the guard''s';
  END IF;
END $guard$;

-- Which schemas are guarded, and how; new tables of those that are guarded whole belong to the guard too.
CREATE TABLE IF NOT EXISTS shadowproxy.guarded_schemas (
  schema_name text PRIMARY KEY,
  mode text NOT NULL,
  is_whole boolean NOT NULL,
  tenant_column text,
  live_value text,
  view_schema text,
  rows_schema text
);

-- How row-level security stood before, so that --remove puts it back.
CREATE TABLE IF NOT EXISTS shadowproxy.security_before (
  relation regclass PRIMARY KEY,
  was_enabled boolean NOT NULL,
  was_forced boolean NOT NULL
);

-- Writing to a production table from a test session ends here.
CREATE OR REPLACE FUNCTION shadowproxy.refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'SP001',
    MESSAGE = format('test tenant %L may not write to production table %I.%I', current_setting('shadowproxy.tenant'), TG_TABLE_SCHEMA, TG_TABLE_NAME),
    DETAIL = format('The storage guard refused the %s before it changed anything.', TG_OP),
    HINT = 'Test traffic has to be routed to a sink or a partition, or has to find the shadow schema in its search_path.',
    SCHEMA = TG_TABLE_SCHEMA,
    TABLE = TG_TABLE_NAME;
END $guard$;

-- One statement-level trigger refuses every form of write. Untagged statements only evaluate its condition.
CREATE OR REPLACE FUNCTION shadowproxy.guard_by_refusal(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  -- PostgreSQL 15 truncates foreign tables, but has no trigger for it.
  can_truncate constant boolean := current_setting('server_version_num')::int >= 160000 OR (SELECT relkind <> 'f' FROM pg_class WHERE oid = relation);
BEGIN
  -- Nothing is locked where nothing is missing. Bits of tgtype: 2 before, 4 insert, 8 delete, 16 update, 32 truncate.
  IF EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = relation AND tgname = 'shadowproxy_refuse' AND tgfoid = 'shadowproxy.refuse'::regproc
      AND tgtype = CASE WHEN can_truncate THEN 62 ELSE 30 END AND tgenabled = 'A'
  ) THEN
    RETURN;
  END IF;
  EXECUTE format(
    'CREATE OR REPLACE TRIGGER shadowproxy_refuse BEFORE INSERT OR UPDATE OR DELETE%s ON %s FOR EACH STATEMENT '
    'WHEN (current_setting(''shadowproxy.tenant'', true) <> '''') EXECUTE FUNCTION shadowproxy.refuse()', CASE WHEN can_truncate THEN ' OR TRUNCATE' ELSE '' END, relation);
  -- Always: session_replication_role does not switch it off.
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER shadowproxy_refuse', relation);
END $guard$;

-- The tables of a schema that hold rows of its own: plain, partitioned, partitions, foreign; not those of extensions.
CREATE OR REPLACE FUNCTION shadowproxy.tables_of(schema_name text, names text[] DEFAULT NULL) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT c.oid::regclass
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = tables_of.schema_name AND c.relkind IN ('r', 'p', 'f') AND (names IS NULL OR c.relname = ANY (names))
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  ORDER BY c.relname
$guard$;
