-- DDL: whose text is captured, where it is refused, and what cannot be repeated.
SET client_min_messages = warning;
SELECT pg_create_logical_replication_slot('test', 'test_decoding') \g /dev/null

-- Statements captured since the last call, each between brackets: the payload after its header.
CREATE FUNCTION test.captured() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    m bytea; data bytea; at int; n int; result text := '';
BEGIN
    FOR m IN SELECT x.data FROM pg_logical_slot_get_binary_changes('test', NULL, NULL) x
             WHERE position('prefix: meridian.ddl,'::bytea IN x.data) > 0 LOOP
        data := substr(m, position('content:'::bytea IN m) + 8);
        ASSERT get_byte(data, 0) = 1;
        at := 1;
        FOR i IN 1..2 LOOP      -- role, search_path
            n := get_byte(data, at) + 256 * get_byte(data, at + 1);
            IF i = 2 THEN result := result || '{' || convert_from(substr(data, at + 3, n), 'UTF8') || '}'; END IF;
            at := at + 2 + n;
        END LOOP;
        n := get_byte(data, at) + 256 * get_byte(data, at + 1);
        at := at + 4;
        ASSERT length(data) = at + n;
        result := result || '[' || convert_from(substr(data, at + 1, n), 'UTF8') || ']';
    END LOOP;
    RETURN replace(result, '{"$user", public}', '');
END $$;
SELECT test.captured() \g /dev/null

-- own text of each statement, also among several in one string
CREATE TABLE shop.a (i int PRIMARY KEY, t text);
SELECT test.is(test.captured(), '[CREATE TABLE shop.a (i int PRIMARY KEY, t text)]', 'one statement');
SELECT 1 \g /dev/null
CREATE TABLE shop.b (i int) \; /* between */ SELECT 'ü;' AS x \; -- comment
  ALTER TABLE shop.b ADD COLUMN "ü" text DEFAULT ';' \; DROP TABLE shop.b \g /dev/null
DO $$
DECLARE got text := test.captured();
BEGIN
    PERFORM test.has(got, '[CREATE TABLE shop.b (i int)]', 'first');
    PERFORM test.has(got, 'ALTER TABLE shop.b ADD COLUMN "ü" text DEFAULT '';''', 'middle');
    PERFORM test.has(got, '[DROP TABLE shop.b]', 'last');
    PERFORM test.is((length(got) - length(replace(got, '[', '')))::int, 3, 'three statements');
    IF strpos(got, 'SELECT') > 0 THEN RAISE EXCEPTION 'captured too much: %', got; END IF;
END $$;

-- inside functions, DO and EXECUTE
DO $$ BEGIN CREATE TABLE shop.c (i int); EXECUTE 'COMMENT ON TABLE shop.c IS ''two'''; DROP TABLE shop.c; END $$;
SELECT test.is(test.captured(), '[CREATE TABLE shop.c (i int)][COMMENT ON TABLE shop.c IS ''two''][DROP TABLE shop.c]', 'in a block');

-- the outermost statement alone, with what it contains
CREATE SCHEMA IF NOT EXISTS shop AUTHORIZATION postgres;
SELECT test.is(test.captured(), '', 'a schema that was there already');
SELECT count(*) FROM meridian.configure(jsonb_set(test.document(), '{classes,2,tables}', '["shop.events", "mall.t"]')) \g /dev/null
SELECT test.captured() \g /dev/null
CREATE SCHEMA mall CREATE TABLE t (i int PRIMARY KEY) CREATE VIEW v AS SELECT i FROM t;
SELECT test.is(test.captured(), '[CREATE SCHEMA mall CREATE TABLE t (i int PRIMARY KEY) CREATE VIEW v AS SELECT i FROM t]', 'outermost');
SELECT test.is(count(*), 1::bigint, 'attached inside') FROM meridian.attachment WHERE relid = 'mall.t'::regclass;
DROP SCHEMA mall CASCADE;
SELECT test.is(test.captured(), '[DROP SCHEMA mall CASCADE]', 'drop schema');

-- search_path and role travel with it
SET search_path = shop, public;
CREATE TABLE d (i int);
RESET search_path;
SELECT test.is(test.captured(), '{shop, public}[CREATE TABLE d (i int)]', 'search_path');

-- kinds of statements that count
CREATE TYPE shop.mood AS ENUM ('sad');
ALTER TYPE shop.mood ADD VALUE 'happy';
CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER tr AFTER INSERT ON shop.a FOR EACH ROW EXECUTE FUNCTION shop.f();
CREATE INDEX ai ON shop.a (t);
CREATE POLICY po ON shop.a USING (true);
GRANT SELECT ON shop.a TO PUBLIC;
GRANT USAGE ON SCHEMA shop TO PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA shop FROM PUBLIC;
ALTER TABLE shop.a RENAME COLUMN t TO u;
ALTER TABLE shop.a OWNER TO postgres;
DROP TRIGGER tr ON shop.a;
DROP POLICY po ON shop.a;
DROP INDEX shop.ai;
ALTER TABLE shop.a DROP COLUMN u;
DROP FUNCTION shop.f();
SELECT test.is(regexp_count(test.captured(), '\[[A-Z]'), 16, 'sixteen statements');

-- and that do not
CREATE TEMP TABLE tt (i int);
CREATE TEMP TABLE tu AS SELECT 1 AS i;
DROP TABLE tt;
CREATE TABLE public.e (i int);
CREATE TABLE public.f AS SELECT 1 AS i;
CREATE INDEX CONCURRENTLY ON public.f (i);
DROP TABLE public.e, public.f;
CREATE ROLE walkon; DROP ROLE walkon;
REINDEX TABLE shop.a;
CLUSTER shop.a USING a_pkey;
VACUUM FULL shop.a;
ANALYZE shop.a;
SET meridian.restoring = on;
CREATE TABLE shop.g (i int);
DROP TABLE shop.g;
RESET meridian.restoring;
SELECT test.is(test.captured(), '', 'not captured');

-- rolled back is not captured
BEGIN; CREATE TABLE shop.h (i int); ROLLBACK;
SELECT test.is(test.captured(), '', 'rolled back');

-- stamped once, in the order of the transaction, before the text
BEGIN;
CREATE TABLE shop.h (i int);
INSERT INTO shop.events VALUES (1, 'x');
ALTER TABLE shop.h ADD COLUMN j int;
COMMIT;
SELECT test.is(string_agg(m, ' ' ORDER BY n), 'stamp ddl stamp row ddl', 'order') FROM
    (SELECT row_number() OVER () AS n, coalesce(substring(data FROM 'prefix: meridian\.(\w+)'), 'row') AS m
     FROM pg_logical_slot_get_changes('test', NULL, NULL) WHERE data !~ '^(BEGIN|COMMIT)') x;
DROP TABLE shop.h;

-- what every region could not repeat
SELECT test.fails('CREATE TABLE shop.i AS SELECT 1 AS i', '0A000', 'cannot run CREATE TABLE AS', 'INSERT ... SELECT');
SELECT test.fails('EXPLAIN ANALYZE CREATE TABLE shop.i AS SELECT 1 AS i', '0A000', 'CREATE TABLE AS');
\set ON_ERROR_STOP off
SELECT 1 AS i INTO shop.i;
SELECT test.has(:'LAST_ERROR_MESSAGE', 'cannot run SELECT INTO', 'select into');
CREATE INDEX CONCURRENTLY ON shop.a (i);
SELECT test.has(:'LAST_ERROR_MESSAGE', 'CREATE INDEX CONCURRENTLY', 'index');
DROP INDEX CONCURRENTLY shop.a_pkey;
SELECT test.has(:'LAST_ERROR_MESSAGE', 'DROP INDEX CONCURRENTLY', 'index');
\set ON_ERROR_STOP on
SELECT test.captured() \g /dev/null

-- new columns whose values each region would make up
INSERT INTO shop.events VALUES (2, 'a row that is there');
SELECT test.fails('ALTER TABLE shop.events ADD COLUMN at timestamptz DEFAULT now()', '0A000', 'column "at"', 'UPDATE');
SELECT test.fails('ALTER TABLE shop.events ADD COLUMN u uuid DEFAULT gen_random_uuid()', '0A000', 'column "u"');
SELECT test.fails('ALTER TABLE shop.events ADD COLUMN s serial', '0A000', 'column "s"');
SELECT test.fails('ALTER TABLE shop.events ADD COLUMN g int GENERATED ALWAYS AS IDENTITY', '0A000', 'column "g"');
ALTER TABLE shop.events ADD COLUMN k int DEFAULT 1 + 2, ADD COLUMN w int GENERATED ALWAYS AS (id * 2) STORED;
ALTER TABLE shop.events ADD COLUMN at timestamptz;
ALTER TABLE shop.events ALTER COLUMN at SET DEFAULT now();
SELECT test.fails('ALTER TABLE shop.events ALTER COLUMN body TYPE text USING body || id || clock_timestamp()', '0A000', 'column "body"', 'UPDATE');
ALTER TABLE shop.events ALTER COLUMN body TYPE varchar(100) USING upper(body);
-- what another region could not repeat
CREATE TABLE public.other (i int);
SELECT test.fails('DROP TABLE shop.events, public.other', '0A000', 'together with others', 'separate statements');
CREATE ROLE leaver;
ALTER TABLE shop.events OWNER TO leaver;
SELECT test.fails('DROP OWNED BY leaver', '2BP01', 'Drop the table first, with DROP TABLE.');
ALTER TABLE shop.events OWNER TO postgres;
DROP TABLE public.other;
DROP ROLE leaver;
TRUNCATE shop.events;
ALTER TABLE shop.events ADD COLUMN u uuid DEFAULT gen_random_uuid();

-- elsewhere than at the schema's home
\! snap schema/all=home=eu,epoch=4
SELECT test.captured() \g /dev/null
SELECT test.fails('CREATE TABLE shop.j (i int)', '25006', 'cannot write schema/all: this region is not the home', 'the home of schema/all is "eu" (epoch 4)');
SELECT test.fails('ALTER TABLE shop.events ADD COLUMN n int', '25006', '"eu"');
SELECT test.fails('DROP TABLE shop.events', '25006', '"eu"');
SELECT test.fails('DROP SCHEMA shop CASCADE', '25006', '"eu"');
SELECT test.fails('CREATE INDEX ON shop.events (body)', '25006', '"eu"');
SELECT test.fails('GRANT SELECT ON shop.events TO PUBLIC', '25006', '"eu"');
CREATE TABLE public.mine (i int);
DROP TABLE public.mine;
REINDEX TABLE shop.events;
SELECT test.is(test.captured(), '', 'nothing emitted elsewhere');
\! snap

-- the authority over the schema goes away before the commit
BEGIN;
CREATE TABLE shop.k (i int);
\! snap schema/all=home=eu,epoch=4
\set ON_ERROR_STOP off
COMMIT;
\set said :LAST_ERROR_MESSAGE
\set ON_ERROR_STOP on
\! snap
SELECT test.has(:'said', 'the write authority changed', 'ddl at commit');
SELECT test.is(to_regclass('shop.k')::text, NULL::text, 'not created');

-- a table that its class names but that does not fit is created, with a warning, and watched
SELECT count(*) FROM meridian.configure(test.document()) \g /dev/null
CREATE TABLE shop.notes (i int);
SELECT test.has((SELECT problem FROM meridian.table_config WHERE table_name = 'notes'), 'no primary key', 'recorded');
ALTER TABLE shop.notes ADD PRIMARY KEY (i);
SELECT test.is(count(*), 1::bigint, 'attached once it fits') FROM meridian.attachment WHERE relid = 'shop.notes'::regclass;
SELECT test.is((SELECT coalesce(problem, 'none') FROM meridian.table_config WHERE table_name = 'notes'), 'none', 'no problem any more');


-- a table of no class in a class's schema looks replicated: its rows are said to be here only
CREATE TABLE shop.unlisted (i int PRIMARY KEY);
SELECT test.is(meridian.agent_status()->'problems' @> '["table \"shop.unlisted\" belongs to no class: its rows are only in this region"]', false, 'nothing to lose yet');
INSERT INTO shop.unlisted VALUES (1);
SELECT test.is(meridian.agent_status()->'problems' @> '["table \"shop.unlisted\" belongs to no class: its rows are only in this region"]', true, 'rows of no class');
\! psql -X -q -c "BEGIN" -c "LOCK TABLE shop.unlisted, shop.events IN ACCESS EXCLUSIVE MODE" -c "SELECT pg_sleep(2)" -c "ROLLBACK" >/dev/null & sleep 0.7
SET statement_timeout = '1s';
SELECT count(meridian.agent_status()) \g /dev/null
RESET statement_timeout;

SELECT pg_drop_replication_slot('test');
-- the guards do not go by mistake, whatever takes them along
SELECT test.fails('DROP EXTENSION meridian CASCADE', '55006', 'us', 'guards', 'meridian.restoring');
SELECT test.fails('DROP SCHEMA meridian CASCADE', '55006', 'us', 'meridian.restoring');
-- everything goes on purpose, and the tables stay
SET meridian.restoring = on;
DROP EXTENSION meridian CASCADE;
RESET meridian.restoring;
INSERT INTO shop.events (body) VALUES ('plain again');
