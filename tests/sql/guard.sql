-- The guard's answers when a statement touches a table.

INSERT INTO shop.events (body) VALUES ('allowed');
SELECT test.is(count(*), 1::bigint, 'home writes') FROM shop.events;
SELECT test.is(array_agg(tgname::text ORDER BY tgname), '{meridian_guard,meridian_guard_row}', 'triggers of a partitioned class')
    FROM pg_trigger WHERE tgrelid = 'shop.orders'::regclass;
SELECT test.is(bool_and(tgenabled = 'A'), true, 'triggers fire always')
    FROM pg_trigger WHERE tgname LIKE 'meridian%';
SELECT test.is(relreplident, 'f'::"char", 'replica identity') FROM pg_class WHERE oid = 'shop.events'::regclass;

-- every way to write is the same write
CREATE TABLE shop.remote (id int PRIMARY KEY, v text);
SELECT test.fails('INSERT INTO shop.remote VALUES (1)', '25006', 'cannot write foreign/all: this region is not the home of the data',
    'the home of foreign/all is "eu" (epoch 3)', 'Send writes to the home region.');
SELECT test.fails('UPDATE shop.remote SET v = 1', '25006', '"eu"');
SELECT test.fails('DELETE FROM shop.remote', '25006', '"eu"');
SELECT test.fails('TRUNCATE shop.remote', '25006', '"eu"');
SELECT test.fails('COPY shop.remote FROM PROGRAM ''printf "1\tx\n"''', '25006', '"eu"');
SELECT test.fails('MERGE INTO shop.remote r USING (VALUES (1)) v(i) ON r.id = v.i WHEN NOT MATCHED THEN INSERT VALUES (1)', '25006', '"eu"');
SELECT test.fails('WITH x AS (INSERT INTO shop.remote VALUES (2) RETURNING id) SELECT * FROM x', '25006', '"eu"');
SELECT test.fails('INSERT INTO shop.remote VALUES (1) ON CONFLICT DO NOTHING', '25006', '"eu"');
SET session_replication_role = replica;
SELECT test.fails('INSERT INTO shop.remote VALUES (1)', '25006', '"eu"');
RESET session_replication_role;
SET meridian.restoring = on;
SELECT test.fails('INSERT INTO shop.remote VALUES (1)', '25006', '"eu"');
RESET meridian.restoring;

-- cascades reach the other class's guard
CREATE TABLE shop.child (id int PRIMARY KEY, event bigint REFERENCES shop.events ON DELETE CASCADE);
SELECT test.fails('DELETE FROM shop.events', '25006', 'foreign/all');

-- rows of a partitioned class answer for themselves
INSERT INTO shop.orders VALUES ('us', 1, 'mine'), ('us', 2, 'mine too');
SELECT test.fails($$INSERT INTO shop.orders VALUES ('eu', 1)$$, '25006', 'the home of orders/eu is "eu" (epoch 3)');
SELECT test.fails($$INSERT INTO shop.orders VALUES ('us', 3), ('ap', 1)$$, '25006', 'orders/ap');
SELECT test.fails($$INSERT INTO shop.orders VALUES ('mars', 1)$$, '23514', 'no such partition', 'the partitions of orders are');
SELECT test.fails(format('INSERT INTO shop.orders VALUES (%L, 1)', repeat('x', 5000)), '23514', 'no such partition');
SELECT test.fails($$INSERT INTO shop.orders VALUES (NULL, 1)$$, '23502', 'partition column "home_region"');
SELECT test.fails($$UPDATE shop.orders SET home_region = 'eu' WHERE id = 1$$, '0A000', 'meridian.rehome');
SELECT test.fails('TRUNCATE shop.orders', '25006', 'orders/eu');
UPDATE shop.orders SET note = 'changed' WHERE id = 1;
UPDATE shop.orders SET home_region = 'us', id = 4 WHERE id = 2;
DELETE FROM shop.orders WHERE id = 4;
\! snap orders/eu=home=us orders/ap=home=us
INSERT INTO shop.orders VALUES ('eu', 1), ('ap', 1), ('us', 9);
TRUNCATE shop.orders;
\! snap

-- every reason, in the order of core
\! snap events/all=state=vacant
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'no region may write this data now', 'meridian events');
\! snap events/all=state=fencing
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'the home is being replaced', 'the home of events/all is "us"');
\! snap lease_ms=0
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'this region holds no lease', 'meridian leases');
\! snap lease_ms=250
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'this region''s lease has ended');
\! snap self=eu
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'belongs to another region');
\! snap
SET meridian.freeze_wait = '100ms';
\! snap events/all=state=frozen
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'the data is moving to another home', 'Retry in a moment');
RESET meridian.freeze_wait;

-- a snapshot file that is missing, cut short, garbage or replaced
\! cp $SNAP_FILE $SNAP_FILE.away; rm $SNAP_FILE
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'has published nothing yet', 'Start the agent');
\! snap
INSERT INTO shop.events (body) VALUES ('replaced');
\! rm $SNAP_FILE; head -c 100 $SNAP_FILE.away > $SNAP_FILE
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'has published nothing yet');
\! head -c $(stat -c %s $SNAP_FILE.away) /dev/urandom > $SNAP_FILE
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'has published nothing yet');
\! rm $SNAP_FILE $SNAP_FILE.away; snap
INSERT INTO shop.events (body) VALUES ('back');
\! mv $SNAP_FILE $SNAP_FILE.away
SELECT pg_sleep(1.1) \g /dev/null
SELECT test.fails('INSERT INTO shop.events DEFAULT VALUES', '25006', 'has published nothing yet');
\! rm $SNAP_FILE.away; snap

-- names that do not exist take no place in shared memory
DO $$
BEGIN
    FOR i IN 1..400 LOOP
        BEGIN
            EXECUTE format('INSERT INTO shop.orders VALUES (%L, 1)', 'nowhere' || i);
        EXCEPTION WHEN SQLSTATE '23514' THEN NULL;
        END;
    END LOOP;
END $$;
INSERT INTO shop.orders VALUES ('us', 77);

-- a transaction that has written cannot be prepared; one that has not, can
BEGIN;
INSERT INTO shop.events (body) VALUES ('x');
\set ON_ERROR_STOP off
PREPARE TRANSACTION 'refused';
\set ON_ERROR_STOP on
SELECT test.is(:'SQLSTATE'::text, '0A000', 'prepare after a write');
ROLLBACK;
BEGIN;
CREATE TABLE public.plain (i int);
INSERT INTO public.plain VALUES (1);
PREPARE TRANSACTION 'allowed';
COMMIT PREPARED 'allowed';

-- triggers cannot be called around, and only work as triggers
CREATE TABLE public.loose (i int);
CREATE TRIGGER t BEFORE INSERT ON public.loose EXECUTE FUNCTION meridian.guard();
SELECT test.fails('INSERT INTO public.loose VALUES (1)', '39P01', 'attached table');
DROP TABLE public.loose;
