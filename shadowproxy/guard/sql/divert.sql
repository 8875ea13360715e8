-- Mode divert: beside schema S lie S's shadows, which test sessions put before it in their search_path.
--
--   shadow_S        a view for each table: production's rows, with the tenant's own laid over them; and sequences of their own
--   shadow_S_rows   what tenants wrote: a table for each table, the functions that read and write it
--
-- Nothing here depends on a production table, so that migrations of it meet no obstacle: readers are SQL functions,
-- whose text is looked up when it runs, and which the planner takes apart, so that indexes are used. Whoever writes
-- to the production table by its full name is refused by the trigger of mode refuse, which is there as well.

-- 'a, b' of {a,b}, each quoted and with a prefix.
CREATE OR REPLACE FUNCTION shadowproxy.listed(names text[], prefix text DEFAULT '') RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT string_agg(prefix || quote_ident(name), ', ' ORDER BY n) FROM unnest(names) WITH ORDINALITY AS t (name, n)
$guard$;

-- 'far.a = NEW.b AND ...' of {a,...} and {b,...}.
CREATE OR REPLACE FUNCTION shadowproxy.matched(names text[], prefix text, others text[], other_prefix text, glue text DEFAULT ' AND ') RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT string_agg(format('%s%I = %s%I', prefix, one, other_prefix, other), glue ORDER BY n)
  FROM unnest(names, others) WITH ORDINALITY AS t (one, other, n)
$guard$;

-- The columns that tell rows of a table apart: of its primary key, else of a unique index without NULLs; NULL for none.
CREATE OR REPLACE FUNCTION shadowproxy.key_of(relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT (SELECT array_agg(a.attname::text ORDER BY k.n)
          FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k.attnum
          WHERE k.n <= i.indnkeyatts)
  FROM pg_index i
  WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND i.indexprs IS NULL AND i.indpred IS NULL
    AND NOT EXISTS (
      SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k.attnum
      WHERE k.n <= i.indnkeyatts AND NOT a.attnotnull)
  ORDER BY i.indisprimary DESC, i.indexrelid
  LIMIT 1
$guard$;

-- What must be the same in a table and its shadow.
CREATE OR REPLACE FUNCTION shadowproxy.columns_of(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT string_agg(format('%I %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''), ', ' ORDER BY a.attnum)
  FROM pg_attribute a
  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attname NOT IN ('shadowproxy_tenant', 'shadowproxy_deleted')
$guard$;

-- Give the roles that may use one object the same right to another.
CREATE OR REPLACE FUNCTION shadowproxy.grant_alike(acl aclitem[], wanted text[], given text, kind text, name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  entry record;
BEGIN
  FOR entry IN SELECT DISTINCT grantee, privilege_type FROM aclexplode(acl) WHERE privilege_type = ANY (wanted) LOOP
    EXECUTE format('GRANT %s ON %s %s TO %s', coalesce(nullif(given, ''), entry.privilege_type), kind, name,
      CASE WHEN entry.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(entry.grantee)) END);
  END LOOP;
END $guard$;

-- A sequence of the tenants' own, far from production's numbers: ids of production are not used up, nor met.
CREATE OR REPLACE FUNCTION shadowproxy.divert_sequence(sequence regclass, view_schema text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  s pg_sequence;
  c pg_class;
  own text;
  first bigint;
BEGIN
  SELECT * INTO s FROM pg_sequence WHERE seqrelid = sequence;
  SELECT * INTO c FROM pg_class WHERE oid = sequence;
  own := format('%I.%I', view_schema, c.relname);
  IF to_regclass(own) IS NULL THEN
    -- 2^30 fits integer columns; where production is on its way there, 2^52, which JavaScript still counts exactly.
    first := CASE
      WHEN s.seqtypid = 'smallint'::regtype THEN 16384
      WHEN s.seqtypid = 'bigint'::regtype AND coalesce(pg_sequence_last_value(sequence), 0) >= 1 << 29 THEN 1::bigint << 52
      ELSE 1 << 30 END;
    IF s.seqincrement < 0 OR first NOT BETWEEN s.seqmin AND s.seqmax THEN
      first := s.seqstart;
    END IF;
    EXECUTE format('CREATE SEQUENCE %s AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s %s', own, s.seqtypid::regtype,
      s.seqincrement, s.seqmin, s.seqmax, first, s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE '' END);
  END IF;
  PERFORM shadowproxy.grant_alike(coalesce(c.relacl, acldefault('s', c.relowner)), '{USAGE,SELECT,UPDATE}', '', 'SEQUENCE', own);
END $guard$;

-- A column's default, with the tenants' sequences in place of production's; NULL for none.
CREATE OR REPLACE FUNCTION shadowproxy.default_of(relation oid, attribute int2, view_schema text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  found_default record;
  expression text;
  sequence oid;
BEGIN
  SELECT a.attidentity, a.attgenerated, d.oid, pg_get_expr(d.adbin, d.adrelid) AS said INTO found_default
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = relation AND a.attnum = attribute;
  IF found_default.attgenerated <> '' THEN
    RETURN NULL;
  END IF;
  IF found_default.attidentity <> '' THEN
    SELECT objid INTO sequence FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = relation AND refobjsubid = attribute AND deptype = 'i';
    RETURN format('nextval(%L::regclass)', shadowproxy.shadow_of(sequence, view_schema));
  END IF;
  expression := found_default.said;
  FOR sequence IN
    SELECT refobjid FROM pg_depend JOIN pg_class c ON c.oid = refobjid AND c.relkind = 'S'
    WHERE classid = 'pg_attrdef'::regclass AND objid = found_default.oid AND refclassid = 'pg_class'::regclass
  LOOP
    IF to_regclass(shadowproxy.shadow_of(sequence, view_schema)) IS NOT NULL THEN
      expression := replace(expression, quote_literal(sequence::regclass), quote_literal(shadowproxy.shadow_of(sequence, view_schema)));
    END IF;
  END LOOP;
  RETURN expression;
END $guard$;

-- The full name that something has in the schema of views.
CREATE OR REPLACE FUNCTION shadowproxy.shadow_of(relation oid, view_schema text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT format('%I.%I', view_schema, relname) FROM pg_class WHERE oid = relation
$guard$;

-- The tenants' rows of one table, and the view that lays them over production's. Rows are kept when nothing has changed.
CREATE OR REPLACE FUNCTION shadowproxy.divert_reads(relation regclass, view_schema text, rows_schema text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
  rows_name constant text := shadowproxy.shadow_of(relation, rows_schema);
  view_name constant text := shadowproxy.shadow_of(relation, view_schema);
  key constant text[] := shadowproxy.key_of(relation);
  columns text;
  of_production text;
  of_tenant text;
  one record;
BEGIN
  IF to_regclass(rows_name) IS NOT NULL AND (
    shadowproxy.columns_of(to_regclass(rows_name)) IS DISTINCT FROM shadowproxy.columns_of(relation)
    OR obj_description(to_regclass(rows_name), 'pg_class') IS DISTINCT FROM shadowproxy.shape_of(relation)
  ) THEN
    EXECUTE format('DROP TABLE %s CASCADE', rows_name);
  END IF;
  IF to_regclass(rows_name) IS NULL THEN
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE)', rows_name, relation);
    EXECUTE format(
      'ALTER TABLE %s ADD shadowproxy_tenant text NOT NULL, '
      'ADD shadowproxy_deleted boolean NOT NULL DEFAULT false', rows_name);
    IF key IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (shadowproxy_tenant, %s)', rows_name, shadowproxy.listed(key));
    END IF;
    FOR one IN
      SELECT * FROM shadowproxy.unique_indexes(relation) WHERE predicate <> 'true' OR array_to_string(expressions, ', ') IS DISTINCT FROM shadowproxy.listed(key)
    LOOP
      EXECUTE format('CREATE UNIQUE INDEX ON %s (shadowproxy_tenant, %s) %s WHERE NOT shadowproxy_deleted AND %s', rows_name,
        array_to_string(one.expressions, ', '), CASE WHEN one.nulls_are_equal THEN 'NULLS NOT DISTINCT' ELSE '' END, one.predicate);
    END LOOP;
    EXECUTE format('COMMENT ON TABLE %s IS %L', rows_name, shadowproxy.shape_of(relation));
  END IF;

  SELECT shadowproxy.listed(array_agg(attname::text ORDER BY attnum), 'p.'), shadowproxy.listed(array_agg(attname::text ORDER BY attnum), 's.'),
    shadowproxy.listed(array_agg(attname::text ORDER BY attnum))
  INTO of_production, of_tenant, columns
  FROM pg_attribute WHERE attrelid = to_regclass(rows_name) AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('shadowproxy_tenant', 'shadowproxy_deleted');
  -- The row type is that of the tenants' table, so that columns have their lengths and scales, as prepared statements expect.
  EXECUTE format('CREATE OR REPLACE FUNCTION %s(tenant text) RETURNS SETOF %s LANGUAGE sql STABLE AS %L', rows_name, rows_name, concat(
    format('SELECT %s, NULL::text, false FROM %s AS p', of_production, relation),
    -- Concatenating NULL leaves the condition out: of a table without a key no row can be hidden.
    ' WHERE NOT EXISTS (SELECT FROM ' || rows_name || ' AS s WHERE s.shadowproxy_tenant = $1 AND ' || shadowproxy.matched(key, 's.', key, 'p.') || ')',
    format(' UNION ALL SELECT %s, NULL::text, false FROM %s AS s WHERE s.shadowproxy_tenant = $1 AND NOT s.shadowproxy_deleted', of_tenant, rows_name)));
  IF to_regclass(view_name) IS NULL THEN
    EXECUTE format('CREATE VIEW %s AS SELECT %s FROM %s(current_setting(''shadowproxy.tenant'', true))', view_name, columns, rows_name);
  END IF;
  FOR one IN
    SELECT v.attname, shadowproxy.default_of(relation, t.attnum, view_schema) AS expression
    FROM pg_attribute t JOIN pg_attribute v ON v.attname = t.attname AND v.attrelid = to_regclass(view_name)
    WHERE t.attrelid = relation AND t.attnum > 0 AND NOT t.attisdropped
  LOOP
    EXECUTE format('ALTER VIEW %s ALTER COLUMN %I %s', view_name, one.attname, coalesce('SET DEFAULT ' || one.expression, 'DROP DEFAULT'));
  END LOOP;
  PERFORM shadowproxy.grant_alike(coalesce(c.relacl, acldefault('r', c.relowner)), '{SELECT,INSERT,UPDATE,DELETE}', '', 'TABLE', view_name),
    shadowproxy.grant_alike(coalesce(c.relacl, acldefault('r', c.relowner)), '{SELECT}', '', 'TABLE', rows_name),
    shadowproxy.grant_alike(coalesce(c.relacl, acldefault('r', c.relowner)), '{INSERT,UPDATE,DELETE}', 'SELECT, INSERT, UPDATE, DELETE', 'TABLE', rows_name)
  FROM pg_class c WHERE c.oid = relation;
  EXECUTE format('GRANT EXECUTE ON FUNCTION %s(text) TO PUBLIC', rows_name);
END $guard$;

-- Unique indexes, the key's among them: what they are over, and of which rows.
CREATE OR REPLACE FUNCTION shadowproxy.unique_indexes(relation oid)
RETURNS TABLE (name text, expressions text[], predicate text, nulls_are_equal boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT c.relname, (SELECT array_agg(pg_get_indexdef(i.indexrelid, n, false) ORDER BY n) FROM generate_series(1, i.indnkeyatts) AS n),
    coalesce('(' || pg_get_expr(i.indpred, i.indrelid) || ')', 'true'), i.indnullsnotdistinct
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND NOT i.indisexclusion
  ORDER BY i.indexrelid
$guard$;

-- What the shadow of a table was made of: when it changes, the shadow is made again.
CREATE OR REPLACE FUNCTION shadowproxy.shape_of(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $guard$
  SELECT 'shadowproxy ' || md5(jsonb_build_array(
    relation::regclass::text, shadowproxy.columns_of(relation), shadowproxy.key_of(relation),
    (SELECT jsonb_agg(to_jsonb(u)) FROM shadowproxy.unique_indexes(relation) AS u),
    (SELECT jsonb_agg(jsonb_build_array(conname, pg_get_constraintdef(oid)) ORDER BY conname) FROM pg_constraint
     WHERE conrelid = relation AND contype IN ('c', 'n'))
  )::text)
$guard$;
