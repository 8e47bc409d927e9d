/* postgres/meridian--0.1.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION meridian" to load this file. \quit

--
-- What the region's agent stored with meridian.configure()
--

CREATE TABLE meridian.config (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    region text NOT NULL,
    version bigint NOT NULL,
    schema_home text NOT NULL,
    document jsonb NOT NULL
);

CREATE TABLE meridian.region_config (
    name text PRIMARY KEY,
    conninfo text NOT NULL,
    position int NOT NULL
);

CREATE TABLE meridian.class_config (
    name text PRIMARY KEY,
    posture text NOT NULL,
    durability text NOT NULL,
    partition_by text,
    partitions text[] NOT NULL,
    replicas text[] NOT NULL,
    position int NOT NULL,
    CONSTRAINT partitioned_has_partition_by CHECK (posture <> 'partitioned' OR partition_by IS NOT NULL)
);

CREATE TABLE meridian.table_config (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    class text NOT NULL REFERENCES meridian.class_config (name) ON DELETE CASCADE,
    problem text,
    hint text,
    PRIMARY KEY (schema_name, table_name)
);

-- Tables in the classes' schemas that belong to no class: DDL on them is repeated in every region,
-- their rows stay where they are written.
CREATE VIEW meridian.unlisted AS
SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, c.oid AS relid
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname IN (SELECT schema_name FROM meridian.table_config)
  AND NOT EXISTS (SELECT FROM meridian.table_config t
                  WHERE t.schema_name = n.nspname AND t.table_name = c.relname)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');

-- Read under historic snapshots by the output plugin.
CREATE TABLE meridian.attachment (
    relid oid PRIMARY KEY,
    class text NOT NULL,
    partition_by text
) WITH (user_catalog_table = true);

-- Partitions of attached tables that this region holds whole, as of that epoch (gaps.c).
CREATE TABLE meridian.copied (
    relid oid NOT NULL,
    partition text NOT NULL,
    epoch bigint NOT NULL,          -- 0: since the table was created; -1: not, though this is the home
    copied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reached pg_lsn,                 -- nothing later of its home's WAL is in the copy; null: it is no copy
    PRIMARY KEY (relid, partition)
);

-- Tables that do not exist here yet, of which changes were left out (missing.c).
CREATE TABLE meridian.missing (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    class text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schema_name, table_name)
);

-- Attached tables that were dropped; what still arrives for them is left out (missing.c).
CREATE TABLE meridian.dropped (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    origin text NOT NULL,           -- the statement's own region ...
    lsn pg_lsn NOT NULL,            -- ... and the end of its commit there; 0/0: this one
    PRIMARY KEY (schema_name, table_name)
);

-- Which epochs this region was made fit to write under.
CREATE TABLE meridian.promotion (
    class text NOT NULL,
    partition text NOT NULL,
    opened_epoch bigint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (class, partition)
);

-- Epochs that a person lets begin from what is here, whatever that lacks.
CREATE TABLE meridian.opened_with_gaps (
    class text NOT NULL,
    partition text NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (class, partition, epoch)
);

--
-- Lost tail and replicas' corrections
--

CREATE TABLE meridian.reconcile_entry (
    origin text NOT NULL,
    commit_lsn pg_lsn NOT NULL,
    seq int NOT NULL,
    class text NOT NULL,
    partition text NOT NULL,
    epoch bigint NOT NULL,
    committed_at timestamptz,
    relation text NOT NULL,         -- schema.table, quoted where needed
    operation text NOT NULL,        -- insert, update, delete, truncate, ddl
    before jsonb,
    after jsonb,
    status text NOT NULL DEFAULT 'open'
        CHECK (status IN ('open', 'applied', 'discarded')),
    decided_by text,
    decided_at timestamptz,
    repaired_epoch bigint,          -- under which the home sent the origin its own rows; null: not known
    repaired_lsn pg_lsn,            -- where in our WAL, if we did
    problem text,                   -- why we cannot
    PRIMARY KEY (origin, commit_lsn, seq)
);
CREATE INDEX reconcile_unrepaired ON meridian.reconcile_entry (origin, class, partition, commit_lsn, seq)
    WHERE repaired_epoch IS NULL;

-- Before which epoch of a partition all that counts is here.
CREATE TABLE meridian.settled (
    class text NOT NULL,
    partition text NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (class, partition)
);

-- Closed epochs that a failover ended without this region, and where it was in their home's WAL
-- when it heard of the cut (unfenced.c).
CREATE TABLE meridian.past_cut (
    class text NOT NULL,
    partition text NOT NULL,
    epoch bigint NOT NULL,
    origin text NOT NULL,
    cut pg_lsn NOT NULL,
    reached pg_lsn NOT NULL,
    compared_at timestamptz,        -- null: what lies between the two is not filed yet
    problem text,                   -- why not, when it was tried last
    PRIMARY KEY (class, partition, epoch)
);

CREATE TABLE meridian.conflict_count (
    origin text NOT NULL,
    relation text NOT NULL,
    kind text NOT NULL,
    count bigint NOT NULL DEFAULT 0,
    last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (origin, relation, kind)
);

--
-- What the agent makes audit events of (audit.c)
--

CREATE FUNCTION meridian.audit_waits() RETURNS int
    AS 'MODULE_PATHNAME', 'meridian_audit_waits' LANGUAGE C STRICT;
CREATE FUNCTION meridian.audit_note(line text) RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_audit_note' LANGUAGE C STRICT;
CREATE FUNCTION meridian.take_audit() RETURNS text[]
    AS 'MODULE_PATHNAME', 'meridian_take_audit' LANGUAGE C STRICT;

--
-- Streams: tables and functions of the stream side
--

CREATE FUNCTION meridian.stream_states() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'meridian_stream_states' LANGUAGE C STRICT;
CREATE FUNCTION meridian.slot_states() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'meridian_slot_states' LANGUAGE C STRICT;
CREATE FUNCTION meridian.tail_states() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'meridian_tail_states' LANGUAGE C STRICT;

-- What this region ought to hold a copy of and does not yet, or not any more.
CREATE FUNCTION meridian.gap_states() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'meridian_gaps_sql' LANGUAGE C STRICT;
CREATE VIEW meridian.gaps AS
    SELECT g.relation, g.class, g.partition, g.reason, g.why
    FROM pg_catalog.jsonb_to_recordset(meridian.gap_states())
        AS g(relation text, class text, partition text, reason text, why text);

-- Another region was made home of the partition under this epoch, and lacks rows: may it have ours?
CREATE FUNCTION meridian.holds(class text, partition text, epoch bigint) RETURNS pg_lsn
    AS 'MODULE_PATHNAME', 'meridian_holds' LANGUAGE C STRICT;

-- It is open there, and has no rows of a table that was attached where the schema is defined: the same.
CREATE FUNCTION meridian.defines(class text, partition text, epoch bigint) RETURNS pg_lsn
    AS 'MODULE_PATHNAME', 'meridian_defines' LANGUAGE C STRICT;

-- Forget a region's position here, so that what it is home of is copied again.
CREATE FUNCTION meridian.copy_again(origin text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := 'meridian_' || replace(origin, '-', '_');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = name) THEN
        RAISE EXCEPTION 'region "%" was never copied here', origin USING ERRCODE = 'undefined_object';
    END IF;
    -- its worker holds the origin, and is started again at once
    FOR try IN 1..50 LOOP
        PERFORM pg_terminate_backend((s->>'pid')::int, 1000)
            FROM jsonb_array_elements(meridian.stream_states()) AS s
            WHERE s->>'origin' = copy_again.origin AND (s->>'pid')::int <> 0;
        BEGIN
            PERFORM pg_replication_origin_drop(name);
            DELETE FROM meridian.settled;       -- the copy says what is here from now on
            RETURN;
        EXCEPTION WHEN object_in_use THEN
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
    RAISE EXCEPTION 'the stream of region "%" does not stop', origin USING ERRCODE = 'object_in_use';
END $$;
REVOKE ALL ON FUNCTION meridian.copy_again(text) FROM PUBLIC;

-- Forget that this region has one partition of one table, so that its home's worker copies it
-- again in the midst of its stream, in place of the rows that are here (cover.c).
CREATE FUNCTION meridian.copy_again(relation regclass, partition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    p record;
BEGIN
    SELECT a.class, s.home INTO p FROM meridian.attachment a
        LEFT JOIN meridian.partitions s ON s.class = a.class AND s.partition = copy_again.partition
        WHERE a.relid = copy_again.relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table "%" is attached to no class', relation
            USING ERRCODE = 'undefined_object';
    ELSIF p.home IS NULL THEN
        RAISE EXCEPTION 'partition "%" of class "%" has no home to copy from', partition, p.class
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF p.home = current_setting('meridian.region') THEN
        RAISE EXCEPTION 'this region is the home of partition "%" of class "%"', partition, p.class
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Its rows are those that the others are compared with.';
    END IF;
    DELETE FROM meridian.copied c
        WHERE c.relid = copy_again.relation AND c.partition = copy_again.partition;
    PERFORM meridian.audit_note(format('event=copy.requested region=%s class=%s partition=%s from=%s table="%s"',
        current_setting('meridian.region'), p.class, partition, p.home, replace(relation::text, '"', '')));
END $$;

-- Part of meridian.agent_status()
CREATE FUNCTION meridian.stream_status() RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    -- in this order: what is counted is no older than the positions, and the end of the WAL is
    -- behind what was written on account of either
    SELECT jsonb_build_object('streams', meridian.stream_states(), 'slots', meridian.slot_states(),
                              'tail', meridian.tail_states(),
                              'through_lsn', pg_current_wal_insert_lsn())
$$;

-- WAL kept for a region that is away, and what comes of it when it is too much
CREATE FUNCTION meridian.slot_problems() RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(problem), '[]') FROM (
        SELECT format('slot "%s" holds %s of WAL; beyond %s its region must be copied anew',
                s->>'name', pg_size_pretty((s->>'retained_bytes')::bigint),
                current_setting('max_slot_wal_keep_size')) AS problem
            FROM jsonb_array_elements(meridian.slot_states()) AS s
            WHERE current_setting('max_slot_wal_keep_size') <> '-1'
                AND (s->>'retained_bytes')::bigint >
                    pg_size_bytes(current_setting('max_slot_wal_keep_size')) / 2
        UNION ALL
        SELECT format('region "%s" has removed WAL that this region lacks: its rows are copied anew',
                s->>'origin')
            FROM jsonb_array_elements(meridian.stream_states()) AS s WHERE (s->>'lost')::bool) p
$$;

-- How each region's changes arrive here, and how far it has taken ours.
CREATE VIEW meridian.links AS
    SELECT s.origin AS region, s.state, s.via, s.refused, s.applied_lsn, s.received_lsn, s.lag_bytes,
           s.transactions, s.error, pg_catalog.make_interval(secs => s.since_ms / 1000.0) AS since,
           t.active AS taking_ours, t.confirmed_lsn, t.retained_bytes, s.copying, s.blocked
    FROM pg_catalog.jsonb_to_recordset(meridian.stream_states())
        AS s(origin text, state text, via text, refused bool, applied_lsn pg_lsn, received_lsn pg_lsn,
             lag_bytes bigint, transactions bigint, error text, since_ms bigint, copying text, blocked text)
    LEFT JOIN pg_catalog.jsonb_to_recordset(meridian.slot_states())
        AS t(name text, active bool, confirmed_lsn pg_lsn, retained_bytes bigint)
        ON t.name = 'meridian_' || pg_catalog.replace(s.origin, '-', '_')
    ORDER BY 1;

-- (end of the stream side)

--
-- Guard and attachment
--

CREATE FUNCTION meridian.guard() RETURNS trigger
    AS 'MODULE_PATHNAME', 'meridian_guard' LANGUAGE C;
CREATE FUNCTION meridian.guard_row() RETURNS trigger
    AS 'MODULE_PATHNAME', 'meridian_guard_row' LANGUAGE C;

CREATE FUNCTION meridian.attach_all() RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_attach_all_sql' LANGUAGE C STRICT;

-- For functions below: the caller is about to write this partition.
CREATE FUNCTION meridian.touch(class text, partition text) RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_touch_sql' LANGUAGE C STRICT;

--
-- DDL
--

CREATE FUNCTION meridian.on_ddl_end() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'meridian_on_ddl_end' LANGUAGE C;
CREATE FUNCTION meridian.on_drop() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'meridian_on_drop' LANGUAGE C;

CREATE EVENT TRIGGER meridian_ddl_end ON ddl_command_end
    EXECUTE FUNCTION meridian.on_ddl_end();
ALTER EVENT TRIGGER meridian_ddl_end ENABLE ALWAYS;
CREATE EVENT TRIGGER meridian_drop ON sql_drop
    EXECUTE FUNCTION meridian.on_drop();
ALTER EVENT TRIGGER meridian_drop ENABLE ALWAYS;

--
-- The agent's functions
--

CREATE FUNCTION meridian.heartbeat(session bigint, boot_ms bigint) RETURNS pg_lsn
    AS 'MODULE_PATHNAME', 'meridian_heartbeat' LANGUAGE C STRICT;

CREATE FUNCTION meridian.late_commit() RETURNS text
    AS 'MODULE_PATHNAME', 'meridian_late_commit' LANGUAGE C STRICT;

-- The heartbeat, and what was late before it was written.
CREATE FUNCTION meridian.canary(session bigint, boot_ms bigint, OUT lsn pg_lsn, OUT late text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    late := meridian.late_commit();
    lsn := meridian.heartbeat(session, boot_ms);
END $$;

CREATE FUNCTION meridian.drain(class text, partition text, wait_ms int) RETURNS pg_lsn
    AS 'MODULE_PATHNAME', 'meridian_drain' LANGUAGE C STRICT;

CREATE FUNCTION meridian.configure(document jsonb)
RETURNS TABLE ("table" text, problem text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    want text;
BEGIN
    IF current_setting('meridian.region') <> document->>'region' THEN
        RAISE EXCEPTION 'cannot configure: this server''s region is "%", not "%"',
            current_setting('meridian.region'), document->>'region'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Set meridian.region and restart the server.';
    END IF;
    FOREACH want IN ARRAY '{region,version,schema_home,regions,classes}'::text[] LOOP
        IF document->want IS NULL THEN
            RAISE EXCEPTION 'cannot configure: the document has no "%"', want
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;

    LOCK TABLE meridian.config IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM meridian.config c WHERE c.document = configure.document) THEN
        DELETE FROM meridian.config;
        INSERT INTO meridian.config (region, version, schema_home, document)
            SELECT configure.document->>'region', (configure.document->>'version')::bigint,
                   configure.document->>'schema_home', configure.document;
        DELETE FROM meridian.region_config;
        INSERT INTO meridian.region_config (name, conninfo, position)
            SELECT r->>'name', coalesce(r->>'conninfo', ''), n - 1
            FROM jsonb_array_elements(configure.document->'regions') WITH ORDINALITY AS x(r, n);
        DELETE FROM meridian.class_config;
        INSERT INTO meridian.class_config
                (name, posture, durability, partition_by, partitions, replicas, position)
            SELECT c->>'name', c->>'posture', c->>'durability', nullif(c->>'partition_by', ''),
                   ARRAY(SELECT jsonb_array_elements_text(c->'partitions')),
                   ARRAY(SELECT jsonb_array_elements_text(c->'replicas')), n - 1
            FROM jsonb_array_elements(configure.document->'classes') WITH ORDINALITY AS x(c, n);
        INSERT INTO meridian.table_config (schema_name, table_name, class)
            SELECT split_part(t, '.', 1), substr(t, strpos(t, '.') + 1), c->>'name'
            FROM jsonb_array_elements(configure.document->'classes') AS x(c),
                 jsonb_array_elements_text(coalesce(c->'tables', '[]')) AS y(t);
    END IF;

    PERFORM meridian.attach_all();
    RETURN QUERY SELECT t.schema_name || '.' || t.table_name, t.problem
        FROM meridian.table_config t WHERE t.problem IS NOT NULL ORDER BY 1;
END $$;

-- Sequences that feed the columns of a class's tables, owned or named in a default.
CREATE VIEW meridian.class_sequence AS
    SELECT at.class, at.partition_by, at.relid, a.attname, q.seqrelid, q.seqincrement,
           q.seqmin, q.seqmax
    FROM meridian.attachment at
    JOIN pg_catalog.pg_attribute a ON a.attrelid = at.relid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN LATERAL (
        SELECT d.objid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = at.relid
          AND d.refobjsubid = a.attnum AND d.classid = 'pg_catalog.pg_class'::regclass
          AND d.deptype IN ('a', 'i')
        UNION
        SELECT d.refobjid FROM pg_catalog.pg_attrdef f
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
          AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
        WHERE f.adrelid = at.relid AND f.adnum = a.attnum) s ON true
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.objid;

-- Part of meridian.promote()
CREATE FUNCTION meridian.forget_lost_repairs() RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_forget_lost_repairs' LANGUAGE C STRICT;

CREATE FUNCTION meridian.emit_stamp(class text, partition text, epoch bigint) RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_emit_stamp' LANGUAGE C STRICT;
CREATE FUNCTION meridian.emit_left_out(class text, relation oid, partition text) RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_emit_left_out' LANGUAGE C STRICT;

-- The home has everything, under this epoch; with anew, others that may have more are to copy it.
CREATE FUNCTION meridian.hold_all(class text, partition text, epoch bigint, anew bool) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO meridian.copied AS c (relid, partition, epoch)
        SELECT a.relid, hold_all.partition, hold_all.epoch FROM meridian.attachment a
        WHERE a.class = hold_all.class
        ON CONFLICT (relid, partition)
        DO UPDATE SET epoch = excluded.epoch, copied_at = excluded.copied_at, reached = NULL;
    IF anew THEN
        -- not through the guard, which refuses until the partition is open
        PERFORM meridian.emit_stamp(hold_all.class, hold_all.partition, hold_all.epoch);
        PERFORM meridian.emit_left_out(hold_all.class, a.relid, hold_all.partition)
            FROM meridian.attachment a WHERE a.class = hold_all.class;
    END IF;
END $$;

-- Waits for the copy that is being made (cover.c); until the end of the transaction there is no other.
CREATE FUNCTION meridian.copy_lock() RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_copy_lock_sql' LANGUAGE C STRICT;

-- A person's decision: no other region will lend what this one, made home, lacks. What it has counts,
-- and when it opens (at once, if it is open without a table that came later), the others copy that.
CREATE FUNCTION meridian.open_with_gaps(class text, partition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    at record;
    lacks text;
BEGIN
    PERFORM meridian.copy_lock();
    SELECT p.home, p.epoch INTO at FROM meridian.partitions p
        WHERE p.class = open_with_gaps.class AND p.partition = open_with_gaps.partition;
    IF at.home IS DISTINCT FROM current_setting('meridian.region') THEN
        RAISE EXCEPTION 'this region is not the home of %/%', class, partition
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    SELECT string_agg(g.relation, ', ') INTO lacks FROM meridian.gaps g
        WHERE g.class = open_with_gaps.class AND g.partition = open_with_gaps.partition;
    IF lacks IS NULL THEN
        RAISE EXCEPTION 'this region holds all of %/%', class, partition
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM meridian.missing m WHERE m.class = open_with_gaps.class) THEN
        RAISE EXCEPTION 'a table of % does not exist here: %', class, lacks
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Create it with meridian.restoring on and call meridian.attach_all(), or take it out of the class.';
    END IF;
    IF EXISTS (SELECT FROM meridian.gaps g WHERE g.class = open_with_gaps.class
               AND g.partition = open_with_gaps.partition AND g.reason = 'past') THEN
        RAISE EXCEPTION 'what earlier homes of %/% wrote is not all here yet', class, partition
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'See meridian.links for the streams that are behind.';
    END IF;
    IF EXISTS (SELECT FROM meridian.promotion p WHERE p.class = open_with_gaps.class
               AND p.partition = open_with_gaps.partition AND p.opened_epoch >= at.epoch) THEN
        PERFORM meridian.hold_all(class, partition, at.epoch, true);
    ELSE
        INSERT INTO meridian.opened_with_gaps VALUES (class, partition, at.epoch) ON CONFLICT DO NOTHING;
    END IF;
    RAISE WARNING 'rows of % that are only in other regions will be replaced there by what is here', lacks;
END $$;

CREATE FUNCTION meridian.promote(class text, partition text, epoch bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    s record;
    furthest numeric;
    present numeric;
BEGIN
    IF EXISTS (SELECT FROM meridian.promotion p
               WHERE p.class = promote.class AND p.partition = promote.partition
                 AND p.opened_epoch >= promote.epoch) THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM meridian.gaps g
               WHERE g.class = promote.class AND g.partition = promote.partition) THEN
        RAISE EXCEPTION 'cannot open %/% here: this region does not hold all of it', class, partition
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = (SELECT string_agg(g.relation || ': ' || g.why, E'\n') FROM meridian.gaps g
                            WHERE g.class = promote.class AND g.partition = promote.partition),
                  HINT = 'See what it lacks, and why, with: SELECT * FROM meridian.gaps.';
    END IF;
    FOR s IN SELECT * FROM meridian.class_sequence q WHERE q.class = promote.class LOOP
        -- rows of other partitions do not collide: the key holds the partition column
        EXECUTE format('SELECT %s(%I)::numeric FROM %s %s',
                       CASE WHEN s.seqincrement > 0 THEN 'max' ELSE 'min' END, s.attname,
                       s.relid::regclass,
                       CASE WHEN s.partition_by IS NOT NULL
                            THEN format('WHERE %I = %L', s.partition_by, promote.partition)
                       END) INTO furthest;
        EXECUTE format('SELECT last_value FROM %s', s.seqrelid::regclass) INTO present;
        IF s.seqincrement > 0 AND furthest + 1000 > present THEN
            PERFORM setval(s.seqrelid, least(furthest + 1000, s.seqmax)::bigint);
        ELSIF s.seqincrement < 0 AND furthest - 1000 < present THEN
            PERFORM setval(s.seqrelid, greatest(furthest - 1000, s.seqmin)::bigint);
        END IF;
    END LOOP;
    PERFORM meridian.forget_lost_repairs();
    INSERT INTO meridian.promotion AS p VALUES (promote.class, promote.partition, promote.epoch)
        ON CONFLICT (class, partition)
        DO UPDATE SET opened_epoch = excluded.opened_epoch, opened_at = excluded.opened_at;
    DELETE FROM meridian.opened_with_gaps o
        WHERE o.class = promote.class AND o.partition = promote.partition AND o.epoch = promote.epoch;
    PERFORM meridian.hold_all(promote.class, promote.partition, promote.epoch, FOUND);
END $$;

CREATE FUNCTION meridian.agent_partitions() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'meridian_agent_partitions' LANGUAGE C STRICT;
CREATE FUNCTION meridian.database_size() RETURNS bigint
    AS 'MODULE_PATHNAME', 'meridian_database_size' LANGUAGE C STRICT;

-- What a person must see to after a lost tail.
CREATE FUNCTION meridian.tail_problems() RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(x.problem ORDER BY x.problem), '[]') FROM (
        SELECT format('a statement that was lost with the writes of this region still holds here, and only here: %s '
                      '(revert it here as superuser with meridian.restoring on, or repeat it at the home of the schema; '
                      'then discard %s:%s:%s)', left(e.after #>> '{}', 200), e.origin, e.commit_lsn, e.seq) AS problem
        FROM meridian.reconcile_entry e
        WHERE e.operation = 'ddl' AND e.status = 'open' AND (e.origin = current_setting('meridian.region')
            OR EXISTS (SELECT FROM meridian.past_cut c WHERE (c.class, c.partition, c.epoch, c.origin) =
                (e.class, e.partition, e.epoch, e.origin) AND e.commit_lsn > c.cut AND e.commit_lsn <= c.reached))
        UNION ALL
        SELECT format('what this region has of region "%s" past a cut is not filed yet: %s', c.origin, c.problem)
        FROM meridian.past_cut c WHERE c.compared_at IS NULL AND c.problem IS NOT NULL
        GROUP BY c.origin, c.problem
        UNION ALL
        SELECT format('%s changes of %s that region "%s" lost cannot be repaired there: %s',
                      count(*), e.relation, e.origin, min(e.problem))
        FROM meridian.reconcile_entry e
        WHERE e.problem IS NOT NULL AND e.repaired_epoch IS NULL AND e.status = 'open'
        GROUP BY e.relation, e.origin) AS x
$$;

CREATE FUNCTION meridian.agent_status() RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    -- positions first: what is said to be covered is so as of them, or later
    WITH streams AS MATERIALIZED (SELECT meridian.stream_status() AS status),
         gaps AS MATERIALIZED (SELECT meridian.gap_states() AS list FROM streams WHERE status IS NOT NULL),
         -- asked of the files and of these tables alone: no lock of a session here holds up the answer
         unlisted AS MATERIALIZED (SELECT * FROM meridian.unlisted)
    SELECT jsonb_build_object(
        'wal_lsn', pg_current_wal_insert_lsn(),
        'flush_lsn', pg_current_wal_flush_lsn(),
        'database_size', meridian.database_size(),
        'audit', meridian.audit_waits(),
        'partitions', (SELECT coalesce(jsonb_agg(x || jsonb_build_object('opened_epoch',
                coalesce(p.opened_epoch, 0), 'compared_epoch', CASE WHEN NOT EXISTS (
                    SELECT FROM jsonb_array_elements(x->'unfenced') AS u WHERE NOT EXISTS (
                        SELECT FROM meridian.past_cut c WHERE c.class = x->>'class'
                            AND c.partition = x->>'partition' AND c.epoch = u::bigint
                            AND c.compared_at IS NOT NULL)) THEN (x->>'epoch')::bigint ELSE 0 END, 'covered', NOT gaps.list @>
                jsonb_build_array(jsonb_build_object('class', x->'class', 'partition', x->'partition')))), '[]')
            FROM jsonb_array_elements(meridian.agent_partitions()) AS x
            LEFT JOIN meridian.promotion p
                ON p.class = x->>'class' AND p.partition = x->>'partition'),
        'problems', (SELECT coalesce(jsonb_agg(format('table "%s.%s" is not attached: %s',
                t.schema_name, t.table_name, t.problem)
                ORDER BY t.schema_name, t.table_name), '[]')
            FROM meridian.table_config t WHERE t.problem IS NOT NULL)
            || (SELECT coalesce(jsonb_agg(format('table "%s.%s" belongs to no class: its rows are only in this region',
                schema_name, table_name) ORDER BY schema_name, table_name), '[]')
            FROM unlisted WHERE (pg_stat_file(pg_relation_filepath(relid), true)).size > 0)
            || meridian.tail_problems() || meridian.slot_problems())
        || streams.status
    FROM streams, gaps
$$;

--
-- Reconciliation of the lost tail
--

CREATE FUNCTION meridian.emit_resolve(origin text, commit_lsn pg_lsn, seq int, status text,
                                      who text) RETURNS void
    AS 'MODULE_PATHNAME', 'meridian_emit_resolve' LANGUAGE C STRICT;

-- Open entries of ORIGIN:COMMIT_LSN[:SEQ], locked, in the order of the lost transaction.
CREATE FUNCTION meridian.reconcile_open(id text) RETURNS SETOF meridian.reconcile_entry
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := regexp_match(id, '^([^:]+):([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(?::([0-9]{1,9}))?$');
BEGIN
    IF part IS NULL THEN
        RAISE EXCEPTION 'malformed entry "%"', id
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The form is ORIGIN:COMMIT_LSN or ORIGIN:COMMIT_LSN:SEQ, as in meridian.reconcile.';
    END IF;
    RETURN QUERY SELECT * FROM meridian.reconcile_entry e
        WHERE e.origin = part[1] AND e.commit_lsn = part[2]::pg_lsn
          AND (part[3] IS NULL OR e.seq = part[3]::int) AND e.status = 'open'
        ORDER BY e.seq FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no open entry "%"', id
            USING ERRCODE = 'no_data_found',
                  HINT = 'List the entries with: meridian reconcile list; or SELECT * FROM meridian.reconcile.';
    END IF;
END $$;

CREATE FUNCTION meridian.reconcile_decide(e meridian.reconcile_entry, status text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE meridian.reconcile_entry r
        SET status = reconcile_decide.status, decided_by = session_user, decided_at = clock_timestamp()
        WHERE (r.origin, r.commit_lsn, r.seq) = ((e).origin, (e).commit_lsn, (e).seq);
    PERFORM meridian.emit_resolve((e).origin, (e).commit_lsn, (e).seq, status, session_user::text);
    RETURN format('%s:%s:%s', (e).origin, (e).commit_lsn, (e).seq);
END $$;

-- Repeat one lost change on the row as it is now. An image has the columns that the table had
-- where the change was made; the others, and generated ones, are not its business. false: there was
-- nothing to repeat, the row is as the write would leave it.
CREATE FUNCTION meridian.reconcile_repeat(e meridian.reconcile_entry, force bool) RETURNS bool
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rel regclass := to_regclass((e).relation);
    image jsonb := coalesce((e).before, (e).after);
    keys text; set_list text; columns text; known text[]; compared text[];
    matches text;
    expected jsonb; present jsonb; wanted jsonb;
BEGIN
    IF image IS NULL OR (e).operation NOT IN ('insert', 'update', 'delete') THEN
        RAISE EXCEPTION 'cannot apply a lost % of "%": it has no row image', (e).operation, (e).relation
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Repeat the statement yourself if it is still wanted, then discard the entry.';
    END IF;
    IF rel IS NULL THEN
        RAISE EXCEPTION 'cannot apply %:%:%: there is no table "%"', (e).origin, (e).commit_lsn, (e).seq, (e).relation
            USING ERRCODE = 'undefined_table',
                  HINT = 'Repeat the lost statements in meridian.reconcile first, or discard the entry.';
    END IF;
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum)
            FILTER (WHERE a.attnum = ANY (i.indkey::int2[])),
           string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum)
            FILTER (WHERE a.attgenerated = '' AND (e).after ? a.attname),
           string_agg(format('%1$I = r.%1$I', a.attname), ', ' ORDER BY a.attnum)
            FILTER (WHERE a.attgenerated = '' AND a.attidentity <> 'a' AND (e).after ? a.attname),
           array_agg(a.attname::text),
           array_agg(a.attname::text) FILTER (WHERE a.attgenerated = '' AND image ? a.attname)
        INTO keys, columns, set_list, known, compared
        FROM pg_index i JOIN pg_attribute a
            ON a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE i.indrelid = rel AND i.indisprimary;
    IF keys IS NULL THEN
        RAISE EXCEPTION 'table "%" has no primary key', rel USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT force AND NOT known @> ARRAY(SELECT jsonb_object_keys(image)) THEN
        RAISE EXCEPTION 'cannot apply %:%:%: "%" has no column "%"', (e).origin, (e).commit_lsn, (e).seq, rel,
            (SELECT k FROM jsonb_object_keys(image) AS k WHERE k <> ALL (known) LIMIT 1)
            USING ERRCODE = 'undefined_column',
                  HINT = 'Apply with force (--force) to leave out what the table does not have, or discard.';
    END IF;
    SELECT string_agg(format('t.%1$s = r.%1$s', k), ' AND ') INTO matches
        FROM unnest(string_to_array(keys, ', ')) AS k;

    EXECUTE format('SELECT to_jsonb(t.*) FROM ONLY %s t JOIN jsonb_populate_record(NULL::%s, $1) r ON %s FOR UPDATE OF t',
                   rel, rel, matches) INTO present USING image;
    IF (e).after IS NOT NULL AND present IS NOT NULL THEN
        EXECUTE format('SELECT to_jsonb(jsonb_populate_record(NULL::%s, $1))', rel)
            INTO wanted USING (e).after;
        -- somebody repeated the write since
        IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum > 0
                AND NOT a.attisdropped AND a.attgenerated = '' AND (e).after ? a.attname
                AND present->a.attname::text IS DISTINCT FROM wanted->a.attname::text) THEN
            RETURN false;
        END IF;
    END IF;
    IF (e).before IS NOT NULL THEN
        EXECUTE format('SELECT to_jsonb(jsonb_populate_record(NULL::%s, $1))', rel)
            INTO expected USING (e).before;
    END IF;
    IF NOT force AND (SELECT jsonb_object_agg(k, present->k) FROM unnest(compared) AS k WHERE present IS NOT NULL)
        IS DISTINCT FROM (SELECT jsonb_object_agg(k, expected->k) FROM unnest(compared) AS k WHERE expected IS NOT NULL) THEN
        RAISE EXCEPTION 'cannot apply %:%:%: the row of "%" is not as this write found it',
                (e).origin, (e).commit_lsn, (e).seq, rel
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('The row is now %s.', coalesce(present::text, 'absent')),
                  HINT = 'Compare the images (meridian reconcile show); apply with force (--force) to overwrite, or discard.';
    END IF;

    IF (e).after IS NULL THEN
        EXECUTE format('DELETE FROM ONLY %s t USING jsonb_populate_record(NULL::%s, $1) r WHERE %s',
                       rel, rel, matches) USING image;
    ELSIF present IS NOT NULL THEN
        EXECUTE format('UPDATE ONLY %s t SET %s FROM jsonb_populate_record(NULL::%s, $1) k, jsonb_populate_record(NULL::%s, $2) r WHERE %s',
                       rel, set_list, rel, rel, replace(matches, ' = r.', ' = k.'))
            USING image, (e).after;
    ELSE
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM jsonb_populate_record(NULL::%s, $1)',
                       rel, columns, columns, rel) USING (e).after;
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION meridian.reconcile_apply(id text, force bool DEFAULT false)
RETURNS TABLE (entry text, outcome text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e meridian.reconcile_entry;
BEGIN
    FOR e IN SELECT * FROM meridian.reconcile_open(id) LOOP
        PERFORM meridian.touch(e.class, e.partition);
        outcome := CASE WHEN meridian.reconcile_repeat(e, force) THEN 'applied' ELSE 'already there' END;
        entry := meridian.reconcile_decide(e, 'applied');
        RETURN NEXT;
    END LOOP;
END $$;

CREATE FUNCTION meridian.reconcile_discard(id text)
RETURNS TABLE (entry text, outcome text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e meridian.reconcile_entry;
BEGIN
    FOR e IN SELECT * FROM meridian.reconcile_open(id) LOOP
        PERFORM meridian.touch(e.class, e.partition);
        entry := meridian.reconcile_decide(e, 'discarded');
        outcome := 'discarded';
        RETURN NEXT;
    END LOOP;
END $$;

--
-- For people
--

CREATE FUNCTION meridian.snapshot() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'meridian_snapshot_sql' LANGUAGE C STRICT;

CREATE FUNCTION meridian.home_of(class text, key text DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'meridian_home_of' LANGUAGE C;

CREATE VIEW meridian.regions AS
    SELECT r.region, r.self, r.alive, r.health, r.witness, r.dial_percent, r.rtt_ms, r.session
    FROM pg_catalog.jsonb_to_recordset(meridian.snapshot()->'regions')
        AS r(region text, position int, self bool, alive bool, health text, witness bool,
             dial_percent int, rtt_ms numeric, session bigint)
    ORDER BY r.position;

CREATE VIEW meridian.classes AS
    SELECT c.class, c.posture, c.durability, c.remote_acks, c.replicas, c.allowed,
           ARRAY(SELECT t.schema_name || '.' || t.table_name FROM meridian.table_config t
                 WHERE t.class = c.class ORDER BY 1) AS tables
    FROM pg_catalog.jsonb_to_recordset(meridian.snapshot()->'classes')
        AS c(class text, posture text, durability text, remote_acks int, replicas text[],
             allowed text[]);

CREATE VIEW meridian.partitions AS
    SELECT p.class, p.partition, p.home, p.epoch, p.state, p.writable, p.why
    FROM pg_catalog.jsonb_to_recordset(meridian.snapshot()->'partitions')
        AS p(class text, partition text, home text, epoch bigint, state text, writable bool,
             why text);

CREATE VIEW meridian.reconcile AS
    SELECT e.origin || ':' || e.commit_lsn || ':' || e.seq AS id, e.*
    FROM meridian.reconcile_entry e;

CREATE VIEW meridian.conflicts AS
    SELECT c.origin, c.relation, c.kind, c.count, c.last_at FROM meridian.conflict_count c;

-- Receipts are made by the coordinator; the agent hands them over as they change.
CREATE TABLE meridian.receipt (
    id text PRIMARY KEY,
    document jsonb NOT NULL
);

CREATE FUNCTION meridian.record_receipts(documents jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO meridian.receipt AS r
        SELECT d->>'id', d FROM jsonb_array_elements(documents) AS x(d)
        ON CONFLICT (id) DO UPDATE SET document = excluded.document
            WHERE r.document <> excluded.document
$$;

CREATE VIEW meridian.receipts AS
    SELECT r.id, r.document->>'kind' AS kind, r.document->>'class' AS class,
           r.document->>'partition' AS partition, r.document->>'from' AS "from",
           r.document->>'to' AS "to", r.document
    FROM meridian.receipt r ORDER BY r.id;

--
-- Who may what
--

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA meridian FROM PUBLIC;
GRANT USAGE ON SCHEMA meridian TO PUBLIC;
GRANT EXECUTE ON FUNCTION meridian.snapshot(), meridian.home_of(text, text),
    meridian.holds(text, text, bigint), meridian.defines(text, text, bigint) TO PUBLIC;
GRANT SELECT ON meridian.regions, meridian.classes, meridian.partitions TO PUBLIC;
