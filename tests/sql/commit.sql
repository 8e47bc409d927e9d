-- What is asked again just before commit, and what is stamped.

SELECT pg_create_logical_replication_slot('test', 'test_decoding') \g /dev/null
TRUNCATE shop.events;
SELECT count(*) FROM test.messages() \g /dev/null

-- stamp before the first row, once per partition and transaction
BEGIN;
INSERT INTO shop.events VALUES (1, 'a');
INSERT INTO shop.events VALUES (2, 'b');
INSERT INTO shop.orders VALUES ('us', 1, 'c');
COMMIT;
CREATE TEMP TABLE seen AS SELECT row_number() OVER () AS n, m FROM test.messages() m;
SELECT test.is(string_agg(left(m, 38), '; ' ORDER BY n),
    'BEGIN; message: transactional: 1 prefix: meri; table shop.events: INSERT: id[bigint]:; table shop.events: INSERT: id[bigint]:; message: transactional: 1 prefix: meri; table shop.orders: INSERT: home_region; COMMIT',
    'order of stamps and rows') FROM (SELECT n, CASE WHEN m ~ '^(BEGIN|COMMIT)' THEN split_part(m, ' ', 1) ELSE m END AS m FROM seen) s;
SELECT test.has(m, 'prefix: meridian.stamp', 'prefix') FROM seen WHERE n = 2;
DROP TABLE seen;

-- the bytes of the stamp: version, one entry, class, partition, epoch (control bytes show as they are)
BEGIN;
INSERT INTO shop.events VALUES (3, 'c');
COMMIT;
SELECT test.is((SELECT encode(substr(data, position('content:'::bytea IN data) + 8), 'hex')
        FROM pg_logical_slot_get_binary_changes('test', NULL, NULL)
        WHERE position('prefix: meridian.stamp,'::bytea IN data) > 0),
    '01' || '0100' || '0600' || encode('events', 'hex') || '0300' || encode('all', 'hex') || '0300000000000000', 'stamp');

-- a stamp dies with its savepoint and is written again
BEGIN;
SAVEPOINT a;
INSERT INTO shop.events VALUES (10, 'x');
ROLLBACK TO a;
INSERT INTO shop.events VALUES (11, 'y');
SAVEPOINT b;
INSERT INTO shop.events VALUES (12, 'z');
SAVEPOINT c;
INSERT INTO shop.orders VALUES ('us', 2);
RELEASE c;
ROLLBACK TO b;
INSERT INTO shop.orders VALUES ('us', 3);
COMMIT;
SELECT test.is(count(*) FILTER (WHERE m LIKE '%meridian.stamp%'), 2::bigint, 'stamps that live') FROM test.messages() m;

-- rolled back and not touched again: the partition does not matter at commit
BEGIN;
INSERT INTO shop.orders VALUES ('us', 4);
SAVEPOINT a;
INSERT INTO shop.events VALUES (20, 'x');
ROLLBACK TO a;
\! snap events/all=home=eu,epoch=4
COMMIT;
\! snap

\set ON_ERROR_STOP off
-- the lease ends between the statement and the commit
BEGIN;
INSERT INTO shop.events VALUES (30, 'x');
\! snap lease_ms=0
COMMIT;
\set state :SQLSTATE
\set said :LAST_ERROR_MESSAGE
\! snap
SELECT test.is(:'state'::text, '25006', 'lease ended before commit');
SELECT test.has(:'said', 'this region holds no lease', 'lease ended before commit');
SELECT test.is(count(*), 0::bigint, 'not committed') FROM shop.events WHERE id = 30;

-- the lease is shorter than the commit margin
BEGIN;
INSERT INTO shop.events VALUES (31, 'x');
\! snap lease_ms=200
COMMIT;
\set said :LAST_ERROR_MESSAGE
\! snap
SELECT test.has(:'said', 'lease has ended', 'margin');

-- the authority went and came back: same home, another epoch
BEGIN;
INSERT INTO shop.events VALUES (32, 'x');
\! snap events/all=epoch=5
COMMIT;
\set said :LAST_ERROR_MESSAGE
\! snap
SELECT test.has(:'said', 'the write authority changed during the transaction', 'epoch');

-- it went elsewhere
BEGIN;
INSERT INTO shop.events VALUES (33, 'x');
\! snap events/all=home=eu,epoch=4
COMMIT;
\set said :LAST_ERROR_MESSAGE
\! snap
SELECT test.has(:'said', 'the write authority changed during the transaction', 'moved');

-- the snapshot is gone
BEGIN;
INSERT INTO shop.events VALUES (34, 'x');
\! rm $SNAP_FILE
COMMIT;
\set said :LAST_ERROR_MESSAGE
\! snap
SELECT test.has(:'said', 'published nothing', 'no snapshot at commit');
\set ON_ERROR_STOP on
SELECT test.is(count(*), 0::bigint, 'none of them committed') FROM shop.events WHERE id BETWEEN 30 AND 39;

-- frozen after the write: the move waits for us, so we may finish
BEGIN;
INSERT INTO shop.events VALUES (40, 'x');
\! snap events/all=state=frozen
COMMIT;
\! snap
SELECT test.is(count(*), 1::bigint, 'finished while frozen') FROM shop.events WHERE id = 40;

-- deferred triggers run before the last check, so what they write is checked too
CREATE FUNCTION test.late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.orders VALUES ('us', 500); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER a_late AFTER INSERT ON shop.events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION test.late();
\! snap orders/us=home=eu,epoch=4
BEGIN;
INSERT INTO shop.events VALUES (50, 'x');
\set ON_ERROR_STOP off
COMMIT;
\set said :LAST_ERROR_MESSAGE
\set ON_ERROR_STOP on
\! snap
SELECT test.has(:'said', 'cannot write orders/us', 'deferred trigger');
DROP TRIGGER a_late ON shop.events;
SELECT pg_drop_replication_slot('test');

-- a quorum class refuses to commit when the server would wait for nobody
SELECT test.is(current_setting('synchronous_standby_names'), '', 'nobody to wait for');
\set ON_ERROR_STOP off
INSERT INTO shop.accounts VALUES (1, 1);
\set state :SQLSTATE
\set said :LAST_ERROR_MESSAGE
\set ON_ERROR_STOP on
SELECT test.is(:'state'::text, '55000', 'no standbys');
SELECT test.has(:'said', 'needs 1 remote acknowledgements but the server waits for 0', 'no standbys');
