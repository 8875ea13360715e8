-- Mode column: production and test rows share a table, told apart by a column; production never sees test rows.

-- Test sessions write rows of their tenant and no others; one that names no tenant gets it filled in.
CREATE OR REPLACE FUNCTION shadowproxy.keep_to_tenant() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  tenant constant text := current_setting('shadowproxy.tenant');
  tenant_column constant text := TG_ARGV[0];
  live constant text := TG_ARGV[1];
BEGIN
  IF tenant = live THEN
    RAISE EXCEPTION USING ERRCODE = 'SP001', MESSAGE = format('test tenant %L has the name that marks production rows', tenant);
  END IF;
  IF TG_OP <> 'INSERT' AND coalesce(to_jsonb(OLD) ->> tenant_column, live) <> tenant THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SP001',
      MESSAGE = format('test tenant %L may not write to rows of others in %I.%I', tenant, TG_TABLE_SCHEMA, TG_TABLE_NAME),
      SCHEMA = TG_TABLE_SCHEMA,
      TABLE = TG_TABLE_NAME;
  ELSIF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  IF coalesce(to_jsonb(NEW) ->> tenant_column, live) = live THEN
    NEW := jsonb_populate_record(NEW, jsonb_build_object(tenant_column, tenant));
  END IF;
  IF (to_jsonb(NEW) ->> tenant_column) IS DISTINCT FROM tenant THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SP001',
      MESSAGE = format('test tenant %L may not write rows of another tenant to %I.%I', tenant, TG_TABLE_SCHEMA, TG_TABLE_NAME),
      SCHEMA = TG_TABLE_SCHEMA,
      TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END $guard$;

CREATE OR REPLACE FUNCTION shadowproxy.guard_by_column(relation regclass, tenant_column text, live_value text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  tenant constant text := 'current_setting(''shadowproxy.tenant'', true)';
  owner_of_row constant text := format('coalesce(%I::text, %L)', tenant_column, live_value);
  own constant text := format('%s = coalesce(nullif(%s, ''''), %L)', owner_of_row, tenant, live_value);
  visible constant text := format('%s IN (%L, coalesce(nullif(%s, ''''), %L))', owner_of_row, live_value, tenant, live_value);
  was_enabled boolean;
  was_forced boolean;
BEGIN
  -- Nothing is locked where nothing is missing.
  IF (SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = relation)
    AND 4 = (SELECT count(*) FROM pg_policy WHERE polrelid = relation AND polname LIKE 'shadowproxy\_%' AND NOT polpermissive)
    AND 2 = (SELECT count(*) FROM pg_trigger WHERE tgrelid = relation AND tgname IN ('shadowproxy_tenant', 'shadowproxy_truncate') AND tgenabled = 'A')
  THEN
    RETURN;
  END IF;
  SELECT relrowsecurity, relforcerowsecurity INTO was_enabled, was_forced FROM pg_class WHERE oid = relation;
  INSERT INTO shadowproxy.security_before VALUES (relation, was_enabled, was_forced) ON CONFLICT DO NOTHING;
  SELECT b.was_enabled INTO was_enabled FROM shadowproxy.security_before b WHERE b.relation = guard_by_column.relation;
  EXECUTE format('DROP POLICY IF EXISTS shadowproxy_all ON %s', relation);
  IF NOT was_enabled THEN
    -- Without a permissive policy nothing is allowed; with policies of their own, tables keep them.
    EXECUTE format('CREATE POLICY shadowproxy_all ON %s USING (true) WITH CHECK (true)', relation);
  END IF;
  EXECUTE format('DROP POLICY IF EXISTS shadowproxy_select ON %s', relation);
  EXECUTE format('CREATE POLICY shadowproxy_select ON %s AS RESTRICTIVE FOR SELECT USING (%s)', relation, visible);
  EXECUTE format('DROP POLICY IF EXISTS shadowproxy_insert ON %s', relation);
  EXECUTE format('CREATE POLICY shadowproxy_insert ON %s AS RESTRICTIVE FOR INSERT WITH CHECK (%s)', relation, own);
  EXECUTE format('DROP POLICY IF EXISTS shadowproxy_update ON %s', relation);
  EXECUTE format('CREATE POLICY shadowproxy_update ON %s AS RESTRICTIVE FOR UPDATE USING (%s) WITH CHECK (%s)', relation, own, own);
  EXECUTE format('DROP POLICY IF EXISTS shadowproxy_delete ON %s', relation);
  EXECUTE format('CREATE POLICY shadowproxy_delete ON %s AS RESTRICTIVE FOR DELETE USING (%s)', relation, own);
  -- Forced: the owner of the table, as whom many services connect, is bound by it too.
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
  -- Policies do not bind superusers; triggers do.
  -- Partitions have the triggers for rows from their parent, and policies of their own.
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation AND tgname = 'shadowproxy_tenant' AND tgparentid <> 0) THEN
    EXECUTE format(
      'CREATE OR REPLACE TRIGGER shadowproxy_tenant BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
      'WHEN (%s <> '''') EXECUTE FUNCTION shadowproxy.keep_to_tenant(%L, %L)', relation, tenant, tenant_column, live_value);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER shadowproxy_tenant', relation);
  END IF;
  EXECUTE format(
    'CREATE OR REPLACE TRIGGER shadowproxy_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT '
    'WHEN (%s <> '''') EXECUTE FUNCTION shadowproxy.refuse()', relation, tenant);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER shadowproxy_truncate', relation);
END $guard$;
