-- Which tables can be attached, and what they are told otherwise. The document names
-- shop.subject in an unpartitioned class and shop.part in the partitioned one.

CREATE FUNCTION test.with_tables(events text[], orders text[] DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
SELECT jsonb_set(jsonb_set(test.document(), '{classes,2,tables}', to_jsonb(events)), '{classes,4,tables}', to_jsonb(orders))
$$;
SET client_min_messages = warning;
DROP TABLE shop.accounts, shop.events, shop.orders;

CREATE FUNCTION test.refused(ddl text, part bool, VARIADIC words text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    p record; said text; word text;
BEGIN
    PERFORM meridian.configure(test.with_tables('{}', '{}'));
    DROP SCHEMA IF EXISTS shop CASCADE;
    CREATE SCHEMA shop;
    EXECUTE ddl;
    SELECT * INTO p FROM meridian.configure(CASE WHEN part THEN test.with_tables('{}', '{shop.subject}')
        ELSE test.with_tables('{shop.subject}') END) c WHERE c."table" = 'shop.subject';
    SELECT concat_ws(' | ', t.problem, t.hint) INTO said FROM meridian.table_config t
        WHERE t.table_name = 'subject' AND t.problem = p.problem;
    IF said IS NULL THEN
        RAISE EXCEPTION 'attached: %', ddl;
    END IF;
    FOREACH word IN ARRAY words LOOP
        PERFORM test.has(said, word, ddl);
    END LOOP;
    IF EXISTS (SELECT FROM meridian.attachment) OR EXISTS (SELECT FROM pg_trigger WHERE tgname LIKE 'meridian%') THEN
        RAISE EXCEPTION 'attached in part: %', ddl;
    END IF;
END $$;

SELECT test.refused('SELECT', false, 'does not exist yet', 'attached when it is created');
SELECT test.refused('CREATE TABLE shop.subject (i int)', false, 'no primary key', 'ADD PRIMARY KEY');
SELECT test.refused('CREATE TABLE shop.subject (i int UNIQUE NOT NULL)', false, 'no primary key');
SELECT test.refused('CREATE UNLOGGED TABLE shop.subject (i int PRIMARY KEY)', false, 'unlogged', 'SET LOGGED');
SELECT test.refused('CREATE TABLE shop.subject (i int PRIMARY KEY DEFERRABLE)', false, 'deferrable', 'NOT DEFERRABLE');
SELECT test.refused('CREATE TABLE shop.subject (i int PRIMARY KEY, c circle, EXCLUDE USING gist (c WITH &&))', false, 'exclusion constraint "subject_c_excl"');
SELECT test.refused('CREATE TABLE shop.subject (i int PRIMARY KEY) PARTITION BY RANGE (i)', false, 'partitioned table');
SELECT test.refused('CREATE TABLE shop.root (i int PRIMARY KEY) PARTITION BY RANGE (i); CREATE TABLE shop.subject PARTITION OF shop.root DEFAULT', false, 'inheritance');
SELECT test.refused('CREATE TABLE shop.subject (i int PRIMARY KEY); CREATE TABLE shop.heir () INHERITS (shop.subject)', false, 'inheritance');
SELECT test.refused('CREATE TABLE shop.root (i int); CREATE TABLE shop.subject (PRIMARY KEY (i)) INHERITS (shop.root)', false, 'inheritance');
SELECT test.refused('CREATE VIEW shop.subject AS SELECT 1 AS i', false, 'not a table');
SELECT test.refused('CREATE SEQUENCE shop.subject', false, 'not a table');
SELECT test.refused('CREATE TYPE shop.subject AS (i int)', false, 'not a table');
SELECT test.refused('CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE shop.subject (i int) SERVER s', false, 'foreign table');
DROP FOREIGN DATA WRAPPER w CASCADE;

-- a partitioned class
SELECT test.refused('CREATE TABLE shop.subject (i int PRIMARY KEY)', true, 'no column "home_region"');
SELECT test.refused('CREATE TABLE shop.subject (home_region int, i int, PRIMARY KEY (home_region, i))', true, 'of type integer', 'text or character varying');
SELECT test.refused('CREATE TABLE shop.subject (home_region char(8), i int, PRIMARY KEY (home_region, i))', true, 'of type character');
SELECT test.refused('CREATE TABLE shop.subject (home_region text, i int PRIMARY KEY)', true, 'may be null', 'SET NOT NULL');
SELECT test.refused('CREATE TABLE shop.subject (home_region text NOT NULL, i int PRIMARY KEY)', true, 'does not contain the partition column "home_region"', 'cannot collide');
SELECT test.refused('CREATE TABLE shop.subject (home_region text NOT NULL, i int, PRIMARY KEY (i) INCLUDE (home_region))', true, 'does not contain the partition column');
SELECT test.refused('CREATE TABLE shop.subject (home_region text, i int, n int UNIQUE, PRIMARY KEY (home_region, i))', true, 'unique index "subject_n_key" does not contain');
SELECT test.refused($$CREATE TABLE shop.subject (a text, home_region text NOT NULL GENERATED ALWAYS AS ('us' || a) STORED, i int, PRIMARY KEY (home_region, i))$$, true, 'generated');
SELECT test.refused('CREATE TABLE shop.subject (home_region text, i int, PRIMARY KEY (home_region, i)); CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NEW; END''; CREATE TRIGGER z BEFORE INSERT ON shop.subject FOR EACH ROW EXECUTE FUNCTION shop.f()', true, 'trigger "z" would run after the guard', 'sorts before');

-- what can be attached, is; twice is once; renamed columns are quoted; domains are what they stand for
DROP SCHEMA shop CASCADE;
SELECT count(*) FROM meridian.configure(test.with_tables('{shop.a,"shop.Odd name"}', '{shop.p}')) \g /dev/null
CREATE SCHEMA shop;
CREATE DOMAIN shop.place AS varchar(20) NOT NULL;
CREATE TABLE shop.a (i int PRIMARY KEY, n int UNIQUE, c text);
CREATE TABLE shop."Odd name" ("I ""x""" int PRIMARY KEY);
CREATE TABLE shop.p (home_region shop.place NOT NULL, i int, n int, PRIMARY KEY (i, home_region), UNIQUE (n, home_region));
SELECT test.is(array_agg("table"), '{shop.accounts,shop.child,shop.remote}', 'only the absent have problems') FROM meridian.configure(test.with_tables('{shop.a,"shop.Odd name"}', '{shop.p}'));
SELECT test.is(array_agg(relid::regclass::text || ' ' || class || coalesce(' ' || partition_by, '') ORDER BY relid::regclass::text COLLATE "C"),
    '{"shop.\"Odd name\" events","shop.a events","shop.p orders home_region"}', 'attachments') FROM meridian.attachment;
CREATE TEMP TABLE before AS SELECT xmin::text AS x, relid FROM meridian.attachment UNION SELECT xmin::text, oid FROM pg_trigger WHERE tgname LIKE 'meridian%';
SELECT count(*) FROM meridian.configure(test.with_tables('{shop.a,"shop.Odd name"}', '{shop.p}')) \g /dev/null
SELECT meridian.attach_all();
SELECT test.is(count(*), 0::bigint, 'attaching again changes nothing') FROM
    (SELECT xmin::text, relid FROM meridian.attachment UNION SELECT xmin::text, oid FROM pg_trigger WHERE tgname LIKE 'meridian%' EXCEPT SELECT * FROM before) d;
INSERT INTO shop.p VALUES ('us', 1, 1);
SELECT test.fails($$INSERT INTO shop.p VALUES ('eu', 1, 1)$$, '25006', 'orders/eu');

-- a table that changes its class, or leaves
SELECT count(*) FROM meridian.configure(test.with_tables('{"shop.Odd name"}', '{}')) \g /dev/null
SELECT test.is(array_agg(class), '{events}', 'let go') FROM meridian.attachment;
SELECT test.is(count(*), 0::bigint, 'no triggers left') FROM pg_trigger WHERE tgname LIKE 'meridian%' AND tgrelid IN ('shop.a'::regclass, 'shop.p'::regclass);
SELECT count(*) FROM meridian.configure(test.with_tables('{shop.a,shop.p}')) \g /dev/null
SELECT test.is(array_agg(relid::regclass::text || ' ' || class || coalesce(' ' || partition_by, '') ORDER BY relid::regclass::text COLLATE "C"), '{"shop.a events","shop.p events"}', 'another class') FROM meridian.attachment;
INSERT INTO shop.p VALUES ('eu', 2, 2);

-- an attached table stays what it was attached as
SELECT test.fails('ALTER TABLE shop.a DROP CONSTRAINT a_pkey', '55006', 'no longer belong to class "events": it has no primary key');
SELECT test.fails('ALTER TABLE shop.a SET UNLOGGED', '55006', 'unlogged');
SELECT test.fails('ALTER TABLE shop.a REPLICA IDENTITY DEFAULT', '55006', 'replica identity');
SELECT test.fails('ALTER TABLE shop.a DISABLE TRIGGER meridian_guard', '55006', 'guard');
SELECT test.fails('ALTER TABLE shop.a DISABLE TRIGGER ALL', '55006', 'guard');
SELECT test.fails('ALTER TABLE shop.a ENABLE TRIGGER meridian_guard', '55006', 'guard');
SELECT test.fails('DROP TRIGGER meridian_guard ON shop.a', '55006', 'guard');
SELECT test.fails('ALTER TRIGGER meridian_guard ON shop.a RENAME TO harmless', '55006', 'guard');
SELECT test.fails('CREATE OR REPLACE TRIGGER meridian_guard BEFORE INSERT ON shop.a EXECUTE FUNCTION meridian.guard(''accounts'')', '55006', 'guard');
SELECT test.fails('ALTER TABLE shop.a RENAME TO b', '55006', 'rename attached table');
SELECT test.fails('ALTER TABLE shop.a SET SCHEMA public', '55006', 'rename attached table');
SELECT test.fails('ALTER SCHEMA shop RENAME TO mall', '55006', 'rename attached table');
SELECT test.fails('CREATE TABLE public.heir () INHERITS (shop.a)', '55006', 'inheritance');
SELECT test.fails('DROP FUNCTION meridian.guard() CASCADE', '2BP01', 'extension meridian requires it');
DROP TABLE shop.a;
SELECT test.is(count(*), 1::bigint, 'a dropped table is forgotten') FROM meridian.attachment;

-- a restored schema is attached when asked
SET meridian.restoring = on;
CREATE TABLE shop.a (i int PRIMARY KEY);
SELECT test.is(count(*), 1::bigint, 'not attached while restoring') FROM meridian.attachment;
RESET meridian.restoring;
SELECT meridian.attach_all();
SELECT test.is(count(*), 2::bigint, 'attached when asked') FROM meridian.attachment;

-- documents that are not for us
SELECT test.fails($$SELECT meridian.configure('{"region": "eu"}')$$, '55000', 'this server''s region is "us"');
SELECT test.fails($$SELECT meridian.configure('{"region": "us"}')$$, '22023', 'has no "version"');
SELECT test.fails($$SELECT meridian.configure(jsonb_set(test.document(), '{classes,4,partition_by}', 'null'))$$, '23514', 'partition_by');

-- a user who owns a table but nothing else can create and fill it
CREATE ROLE shopkeeper;
GRANT ALL ON SCHEMA shop TO shopkeeper;
SELECT count(*) FROM meridian.configure(test.with_tables('{shop.own}')) \g /dev/null
SET ROLE shopkeeper;
CREATE FUNCTION shop.evil(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
CREATE OPERATOR shop.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shop.evil);
SET search_path = shop, pg_catalog;
CREATE TABLE own (i int PRIMARY KEY);
INSERT INTO own VALUES (1);
RESET search_path;
SELECT test.fails('SELECT meridian.configure(''{}'')', '42501', 'permission denied');
SELECT test.fails('SET meridian.restoring = on', '42501', 'permission denied');
SELECT test.fails('SET meridian.fault = ''before-commit:1''', '42501', 'permission denied');
SELECT test.fails('DELETE FROM meridian.attachment', '42501', 'permission denied');
RESET ROLE;
SELECT test.is(array_agg(relid::regclass::text), '{shop.own}', 'attached for its owner') FROM meridian.attachment;
DROP TABLE shop.own;
DROP OWNED BY shopkeeper;
DROP ROLE shopkeeper;
