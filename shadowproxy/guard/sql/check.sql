-- What is not guarded, one row a finding. The catalogs alone are asked, so that it runs wherever one may read, guard or no guard.
-- `wanted` is defined above: the schemas, and the tables in them, or NULL for all.
SELECT wanted.schema_name, found.table_name, found.problem
FROM wanted LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema_name
CROSS JOIN LATERAL (
  SELECT NULL::text AS table_name, 'there is no such schema'::text AS problem WHERE n.oid IS NULL
  UNION ALL
  SELECT name, 'there is no such table' FROM unnest(wanted.tables) AS name
  WHERE NOT EXISTS (SELECT FROM wanted w JOIN pg_catalog.pg_namespace wn ON wn.nspname = w.schema_name JOIN pg_catalog.pg_class c ON c.relnamespace = wn.oid AND c.relname = name)
  UNION ALL
  SELECT c.relname, problem
  FROM pg_catalog.pg_class c
  CROSS JOIN LATERAL (
    -- Bits of tgtype: 1 for each row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate.
    SELECT coalesce(bool_or(t.tgname = 'shadowproxy_refuse' AND t.tgtype IN (62, CASE WHEN c.relkind = 'f' THEN 30 END)), false) AS is_refused,
      coalesce(bool_or(t.tgname = 'shadowproxy_tenant' AND t.tgtype = 31), false) AS is_kept_to_tenant,
      coalesce(bool_or(t.tgname = 'shadowproxy_truncate' AND t.tgtype = 34), false) AS is_kept_whole,
      coalesce(bool_or(t.tgenabled <> 'A'), false) AS is_switched_off
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace g ON g.oid = p.pronamespace
    WHERE t.tgrelid = c.oid AND g.nspname = 'shadowproxy'
  ) AS guard
  CROSS JOIN LATERAL (
    SELECT vn.oid AS shadows, v.oid AS shadow FROM (SELECT) AS one_row
    LEFT JOIN pg_catalog.pg_namespace vn ON vn.nspname = 'shadow_' || n.nspname AND pg_catalog.obj_description(vn.oid, 'pg_namespace') = 'shadowproxy guard'
    LEFT JOIN pg_catalog.pg_class v ON v.relnamespace = vn.oid AND v.relname = c.relname AND v.relkind = 'v'
  ) AS diverted
  CROSS JOIN LATERAL (
    SELECT 'test sessions can write to it' AS problem WHERE NOT guard.is_refused AND NOT guard.is_kept_to_tenant
    UNION ALL
    SELECT 'test sessions can truncate it' WHERE guard.is_kept_to_tenant AND NOT guard.is_kept_whole
    UNION ALL
    SELECT 'a trigger of the guard is disabled' WHERE guard.is_switched_off
    UNION ALL
    SELECT 'production sees rows of tenants' WHERE guard.is_kept_to_tenant AND (
      NOT c.relrowsecurity OR NOT c.relforcerowsecurity
      OR 4 > (SELECT count(*) FROM pg_catalog.pg_policy WHERE polrelid = c.oid AND polname LIKE 'shadowproxy\_%' AND NOT polpermissive))
    UNION ALL
    SELECT 'it has no shadow: test sessions are refused' WHERE diverted.shadows IS NOT NULL AND diverted.shadow IS NULL AND NOT c.relispartition
      AND EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
    UNION ALL
    SELECT 'its columns are not those of its shadow: apply again' WHERE diverted.shadow IS NOT NULL AND (
      SELECT array_agg(ROW(attname, atttypid, atttypmod)::text ORDER BY attname) FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    ) IS DISTINCT FROM (
      SELECT array_agg(ROW(attname, atttypid, atttypmod)::text ORDER BY attname) FROM pg_catalog.pg_attribute WHERE attrelid = diverted.shadow AND attnum > 0
    )
  ) AS problems
  WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f') AND (wanted.tables IS NULL OR c.relname = ANY (wanted.tables))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
) AS found
ORDER BY 1, 2 NULLS FIRST, 3
