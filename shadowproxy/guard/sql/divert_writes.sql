-- Mode divert, continued: what becomes of a write to a view. Each gets a function of its own, made of the columns and constraints
-- of its table, so that writers meet the errors that they would meet in production: NEW and OLD below are those of that function.

-- Such an error, as PostgreSQL itself would raise it.
CREATE OR REPLACE FUNCTION shadowproxy.violate(code text, schema_name text, table_name text, constraint_name text, message text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
  RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, SCHEMA = schema_name, TABLE = table_name, CONSTRAINT = constraint_name;
END $guard$;

-- A write to a view by nobody's session: the search_path says test, the tenant says production. Neither is believed.
CREATE OR REPLACE FUNCTION shadowproxy.require_tenant() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
  IF coalesce(current_setting('shadowproxy.tenant', true), '') = '' THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SP002',
      MESSAGE = 'shadow tables are for test sessions, and this session names no tenant',
      HINT = 'Set shadowproxy.tenant, or take the shadow schema out of the search_path.';
  END IF;
END $guard$;

-- Code that looks whether NEW collides with another row that the tenant sees, production's or its own.
CREATE OR REPLACE FUNCTION shadowproxy.code_for_uniqueness(relation regclass, view_name text, key text[], is_update boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  code text := '';
  one record;
  values_of_index text;
  rows_key text;
  is_same text;
  is_itself text;
BEGIN
  IF is_update AND key IS NULL THEN
    RETURN '';  -- No telling which row is the one that is changed; the tenants' own index still holds.
  END IF;
  FOR one IN SELECT * FROM shadowproxy.unique_indexes(relation) LOOP
    SELECT string_agg(format('%s AS k%s', e, n), ', '),
      string_agg(format(CASE WHEN one.nulls_are_equal THEN 'held.k%1$s IS NOT DISTINCT FROM fresh.k%1$s' ELSE 'held.k%1$s = fresh.k%1$s' END, n), ' AND ')
    INTO values_of_index, is_same FROM unnest(one.expressions) WITH ORDINALITY AS t (e, n);
    SELECT string_agg(format('%I AS o%s', k, n), ', '), string_agg(format('held.o%s = OLD.%I', n, k), ' AND ')
    INTO rows_key, is_itself FROM unnest(key) WITH ORDINALITY AS t (k, n);
    code := code || format(
      E'IF EXISTS (\nSELECT FROM (SELECT %s%s FROM %s WHERE %s) AS held,\n(SELECT %s FROM (SELECT %s) AS row_of_now WHERE %s) AS fresh\nWHERE %s%s)\nTHEN\n%s\nEND IF;\n',
      values_of_index, CASE WHEN is_update THEN ', ' || rows_key ELSE '' END, view_name, one.predicate,
      values_of_index, shadowproxy.new_columns(relation), one.predicate,
      is_same, CASE WHEN is_update THEN format(' AND NOT (%s)', is_itself) ELSE '' END,
      shadowproxy.code_for_violation('unique_violation', relation, one.name, format('duplicate key value violates unique constraint "%s"', one.name)));
  END LOOP;
  RETURN code;
END $guard$;

CREATE OR REPLACE FUNCTION shadowproxy.code_for_violation(code text, relation oid, constraint_name text, message text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT format('PERFORM shadowproxy.violate(%L, %L, %L, %L, %L);', code, n.nspname, c.relname, constraint_name, message)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation
$guard$;

-- 'NEW.a AS a, NEW.b AS b'
CREATE OR REPLACE FUNCTION shadowproxy.new_columns(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT string_agg(format('NEW.%1$I AS %1$I', attname), ', ' ORDER BY attnum) FROM pg_attribute
  WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$guard$;

CREATE OR REPLACE FUNCTION shadowproxy.names_of(relation oid, attributes int2[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT array_agg(a.attname::text ORDER BY t.n) FROM unnest(attributes) WITH ORDINALITY AS t (attnum, n)
  JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = t.attnum
$guard$;

-- Foreign keys of a table, or those that refer to it. Deferrable ones are left out: what they ask for may come later.
CREATE OR REPLACE FUNCTION shadowproxy.foreign_keys(relation oid, is_referenced boolean)
RETURNS TABLE (name text, near_columns text[], far oid, far_columns text[], on_update text, on_delete text, set_columns text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT c.conname, names.near, CASE WHEN is_referenced THEN c.conrelid ELSE c.confrelid END, names.far, c.confupdtype, c.confdeltype,
    shadowproxy.names_of(c.conrelid, coalesce(c.confdelsetcols, c.conkey))
  FROM pg_constraint c, LATERAL (
    SELECT shadowproxy.names_of(c.confrelid, c.confkey) AS near, shadowproxy.names_of(c.conrelid, c.conkey) AS far WHERE is_referenced
    UNION ALL
    SELECT shadowproxy.names_of(c.conrelid, c.conkey), shadowproxy.names_of(c.confrelid, c.confkey) WHERE NOT is_referenced
  ) AS names
  WHERE c.contype = 'f' AND c.conparentid = 0 AND NOT c.condeferrable
    AND CASE WHEN is_referenced THEN c.confrelid ELSE c.conrelid END = relation
    -- Columns of PostgreSQL 18: NOT ENFORCED and PERIOD.
    AND coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) AND NOT coalesce((to_jsonb(c) ->> 'conperiod')::boolean, false)
  ORDER BY c.conname
$guard$;

-- The view of a table where it is diverted, else the table.
CREATE OR REPLACE FUNCTION shadowproxy.seen_as(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT coalesce((
    SELECT v.oid::regclass::text FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    JOIN shadowproxy.guarded_schemas g ON g.schema_name = n.nspname
    JOIN pg_namespace vn ON vn.nspname = g.view_schema JOIN pg_class v ON v.relnamespace = vn.oid AND v.relname = t.relname AND v.relkind = 'v'
    WHERE t.oid = relation), relation::regclass::text)
$guard$;

-- Code that looks whether what NEW refers to is there.
CREATE OR REPLACE FUNCTION shadowproxy.code_for_references(relation regclass, is_update boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  code text := '';
  fk record;
BEGIN
  FOR fk IN SELECT * FROM shadowproxy.foreign_keys(relation, false) LOOP
    code := code || format(E'IF ROW(%s) IS NOT NULL%s AND NOT EXISTS (SELECT FROM %s AS far WHERE %s) THEN\n%s\nEND IF;\n',
      shadowproxy.listed(fk.near_columns, 'NEW.'),
      CASE WHEN is_update THEN ' AND ' || shadowproxy.changed(fk.near_columns) ELSE '' END,
      shadowproxy.seen_as(fk.far), shadowproxy.matched(fk.far_columns, 'far.', fk.near_columns, 'NEW.'),
      shadowproxy.code_for_violation('foreign_key_violation', relation, fk.name, format(
        'insert or update on table "%s" violates foreign key constraint "%s"', (SELECT relname FROM pg_class WHERE oid = relation), fk.name)));
  END LOOP;
  RETURN code;
END $guard$;

-- 'ROW(NEW.a) IS DISTINCT FROM ROW(OLD.a)'
CREATE OR REPLACE FUNCTION shadowproxy.changed(names text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT format('ROW(%s) IS DISTINCT FROM ROW(%s)', shadowproxy.listed(names, 'NEW.'), shadowproxy.listed(names, 'OLD.'))
$guard$;

-- Code that does to the rows which refer to OLD what their foreign keys say: refuse, cascade, or set.
CREATE OR REPLACE FUNCTION shadowproxy.code_for_referrers(relation regclass, is_update boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  code text := '';
  fk record;
  far text;
  refers text;
  reaction text;
BEGIN
  FOR fk IN SELECT * FROM shadowproxy.foreign_keys(relation, true) LOOP
    far := shadowproxy.seen_as(fk.far);
    refers := shadowproxy.matched(fk.far_columns, 'far.', fk.near_columns, 'OLD.');
    reaction := CASE CASE WHEN is_update THEN fk.on_update ELSE fk.on_delete END
      WHEN 'c' THEN CASE WHEN is_update
        THEN format('UPDATE %s AS far SET %s WHERE %s;', far, shadowproxy.matched(fk.far_columns, '', fk.near_columns, 'NEW.', ', '), refers)
        ELSE format('DELETE FROM %s AS far WHERE %s;', far, refers) END
      WHEN 'n' THEN format('UPDATE %s AS far SET %s WHERE %s;', far, (SELECT string_agg(format('%I = NULL', s), ', ') FROM unnest(fk.set_columns) AS s), refers)
      WHEN 'd' THEN format('UPDATE %s AS far SET %s WHERE %s;', far, (SELECT string_agg(format('%I = DEFAULT', s), ', ') FROM unnest(fk.set_columns) AS s), refers)
      ELSE format(E'IF EXISTS (SELECT FROM %s AS far WHERE %s) THEN\n%s\nEND IF;', far, refers,
        shadowproxy.code_for_violation('foreign_key_violation', fk.far, fk.name, format('update or delete on table "%s" violates foreign key constraint "%s" on table "%s"',
          (SELECT relname FROM pg_class WHERE oid = relation), fk.name, (SELECT relname FROM pg_class WHERE oid = fk.far)))) END;
    code := code || format(E'IF ROW(%s) IS NOT NULL%s THEN\n%s\nEND IF;\n', shadowproxy.listed(fk.near_columns, 'OLD.'),
      CASE WHEN is_update THEN ' AND ' || shadowproxy.changed(fk.near_columns) ELSE '' END, reaction);
  END LOOP;
  RETURN code;
END $guard$;

-- The function that takes the writes to one view, and the trigger that calls it.
CREATE OR REPLACE FUNCTION shadowproxy.divert_writes(relation regclass, view_schema text, rows_schema text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  rows_name constant text := shadowproxy.shadow_of(relation, rows_schema);
  view_name constant text := shadowproxy.shadow_of(relation, view_schema);
  key constant text[] := shadowproxy.key_of(relation);
  writable text[];
  every text[];
  set_all text;
  remove_old text;
  write_inserted text;
  write_updated text;
BEGIN
  SELECT array_agg(attname::text ORDER BY attnum) FILTER (WHERE attgenerated = ''), array_agg(attname::text ORDER BY attnum) INTO writable, every
  FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped;
  set_all := (SELECT string_agg(format('%1$I = EXCLUDED.%1$I', name), ', ') FROM unnest(writable) AS name);
  write_inserted := format('INSERT INTO %s AS own (shadowproxy_tenant, shadowproxy_deleted, %s) VALUES (pg_catalog.current_setting(''shadowproxy.tenant''), false, %s)',
    rows_name, shadowproxy.listed(writable), shadowproxy.listed(writable, 'NEW.'));
  IF key IS NULL THEN
    -- Without a key a row can only be told by all that is in it, and one of production's cannot be hidden.
    remove_old := format(E'DELETE FROM %1$s WHERE ctid = (SELECT own.ctid FROM %1$s AS own WHERE own.shadowproxy_tenant = pg_catalog.current_setting(''shadowproxy.tenant'')'
      ' AND ROW(%2$s)::text = ROW(%3$s)::text LIMIT 1);\nIF NOT FOUND THEN\n%4$s\nEND IF;\n',
      rows_name, shadowproxy.listed(every, 'own.'), shadowproxy.listed(every, 'OLD.'),
      shadowproxy.code_for_violation('SP001', relation, '', format('production rows of %s cannot be changed for a test tenant: the table has no key', relation)));
    write_updated := remove_old || write_inserted;
  ELSE
    remove_old := format(E'INSERT INTO %s AS own (shadowproxy_tenant, shadowproxy_deleted, %s) VALUES (pg_catalog.current_setting(''shadowproxy.tenant''), true, %s) '
      'ON CONFLICT (shadowproxy_tenant, %s) DO UPDATE SET shadowproxy_deleted = true;\n',
      rows_name, shadowproxy.listed(writable), shadowproxy.listed(writable, 'OLD.'), shadowproxy.listed(key));
    write_inserted := write_inserted || format(' ON CONFLICT (shadowproxy_tenant, %s) DO UPDATE SET shadowproxy_deleted = false, %s', shadowproxy.listed(key), set_all);
    write_updated := format(E'IF %s THEN\n%sEND IF;\n%s', shadowproxy.changed(key), remove_old, write_inserted);
    -- Two sessions of a tenant may insert the same key at once: the second is told.
    write_inserted := write_inserted || ' WHERE own.shadowproxy_deleted';
  END IF;
  EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS %L', rows_name, concat(
    E'#variable_conflict use_column\nBEGIN\nPERFORM shadowproxy.require_tenant();\n',
    E'IF TG_OP = ''DELETE'' THEN\n', remove_old, shadowproxy.code_for_referrers(relation, false), E'RETURN OLD;\n',
    E'ELSIF TG_OP = ''INSERT'' THEN\n', shadowproxy.code_for_uniqueness(relation, view_name, key, false),
    write_inserted, ' RETURNING ', shadowproxy.listed(every, 'own.'), E' INTO NEW;\nIF NOT FOUND THEN\n',
    shadowproxy.code_for_violation('unique_violation', relation, '', 'duplicate key value: another session of this tenant has inserted it'), E'\nEND IF;\n',
    shadowproxy.code_for_references(relation, false),
    E'ELSE\n', shadowproxy.code_for_uniqueness(relation, view_name, key, true),
    write_updated, ' RETURNING ', shadowproxy.listed(every, 'own.'), E' INTO NEW;\n',
    shadowproxy.code_for_references(relation, true), shadowproxy.code_for_referrers(relation, true),
    E'END IF;\nRETURN NEW;\nEND'));
  EXECUTE format('CREATE OR REPLACE TRIGGER shadowproxy_divert INSTEAD OF INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s()',
    view_name, rows_name);
END $guard$;
