-- What a server has built in, one thing per line, for servers 13 to 18: see catalog.tsv for the columns.
-- OIDs from 12000 differ from one installation to the next and become 0.
CREATE TEMP TABLE types AS
  SELECT t.oid, coalesce(b.typname, t.typname) AS name
  FROM pg_type t LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype;

CREATE TEMP TABLE lines AS
  SELECT concat_ws(E'\t', 't', t.typname, t.oid, t.typtype, coalesce(e.typname, '-'), format_type(t.oid, NULL)) AS line
  FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typlen = -1
  WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.oid < 12000 AND coalesce(e.typrelid, 0) = 0;

INSERT INTO lines
  SELECT concat_ws(E'\t', CASE WHEN p.pronamespace = 'pg_catalog'::regnamespace THEN 'f' ELSE 'F' END,
    p.proname, coalesce(a.names, '-'), r.name, CASE WHEN p.oid < 12000 THEN p.oid ELSE 0 END,
    p.prokind::text || CASE WHEN p.proretset THEN 's' ELSE '' END
      || CASE WHEN p.provariadic <> 0 THEN 'v' ELSE '' END
      || CASE WHEN has_function_privilege('public', p.oid, 'execute') THEN '' ELSE '!' END
      || CASE WHEN p.pronargdefaults > 0 THEN p.pronargdefaults::text ELSE '' END)
  FROM pg_proc p JOIN types r ON r.oid = p.prorettype
  CROSS JOIN LATERAL (SELECT string_agg(y.name, ' ' ORDER BY u.at) AS names
    FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u(type, at) JOIN types y ON y.oid = u.type) AS a
  WHERE p.pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace);

INSERT INTO lines
  SELECT concat_ws(E'\t', 'o', o.oprname, coalesce(l.name, '-'), coalesce(r.name, '-'), z.name, o.oprcode::oid)
  FROM pg_operator o LEFT JOIN types l ON l.oid = o.oprleft LEFT JOIN types r ON r.oid = o.oprright
  JOIN types z ON z.oid = o.oprresult
  WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprcode::oid <> 0;

INSERT INTO lines
  SELECT concat_ws(E'\t', 'c', s.name, t.name, c.castcontext, c.castfunc)
  FROM pg_cast c JOIN types s ON s.oid = c.castsource JOIN types t ON t.oid = c.casttarget
  WHERE c.oid < 12000;

INSERT INTO lines
  SELECT concat_ws(E'\t', CASE WHEN c.relnamespace = 'pg_catalog'::regnamespace THEN 'r' ELSE 'R' END,
    c.relname, CASE WHEN c.oid < 12000 THEN c.oid ELSE 0 END, c.relkind, a.columns)
  FROM pg_class c
  CROSS JOIN LATERAL (SELECT string_agg(k.attname || ':' || y.name, ' ' ORDER BY k.attnum) AS columns
    FROM pg_attribute k JOIN types y ON y.oid = k.atttypid WHERE k.attrelid = c.oid AND k.attnum > 0) AS a
  WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S');

COPY (SELECT line FROM lines ORDER BY line COLLATE "C") TO ':out' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02');
