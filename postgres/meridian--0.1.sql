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
    position int NOT NULL
);

CREATE TABLE meridian.table_config (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    class text NOT NULL REFERENCES meridian.class_config (name) ON DELETE CASCADE,
    problem text,
    hint text,
    PRIMARY KEY (schema_name, table_name)
);

-- Read under historic snapshots by the output plugin.
CREATE TABLE meridian.attachment (
    relid oid PRIMARY KEY,
    class text NOT NULL,
    partition_by text
) WITH (user_catalog_table = true);

-- Which epochs this region was made fit to write under.
CREATE TABLE meridian.promotion (
    class text NOT NULL,
    partition text NOT NULL,
    opened_epoch bigint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (class, partition)
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
    operation text NOT NULL,        -- insert, update, delete, truncate
    before jsonb,
    after jsonb,
    status text NOT NULL DEFAULT 'open'
        CHECK (status IN ('open', 'applied', 'discarded')),
    decided_by text,
    decided_at timestamptz,
    PRIMARY KEY (origin, commit_lsn, seq)
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
-- Streams: tables and functions of the stream side
--

-- (end of the stream side)

GRANT USAGE ON SCHEMA meridian TO PUBLIC;
