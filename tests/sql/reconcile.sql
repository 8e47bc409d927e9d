-- The lost tail, decided row by row at the home.
SET client_min_messages = warning;
SELECT pg_create_logical_replication_slot('test', 'test_decoding') \g /dev/null
CREATE TABLE shop.notes (a int, b text, v numeric, j json, g int GENERATED ALWAYS AS (a * 2) STORED,
    i int GENERATED ALWAYS AS IDENTITY, "Odd col" bytea, t timestamptz, arr text[], PRIMARY KEY (a, b));

CREATE FUNCTION test.lost(lsn pg_lsn, n int, operation text, before shop.notes, after shop.notes) RETURNS void LANGUAGE sql AS $$
INSERT INTO meridian.reconcile_entry (origin, commit_lsn, seq, class, partition, epoch, committed_at, relation, operation, before, after)
VALUES ('eu', lsn, n, 'events', 'all', 2, now(), 'shop.notes', operation, to_jsonb(before), to_jsonb(after)) $$;
CREATE FUNCTION test.row(a int, v numeric) RETURNS shop.notes LANGUAGE sql AS $$
SELECT (a, 'b', v, '{"x": 1}', a * 2, a + 500, '\x00ff', '2026-01-02 03:04:05.678901+00', '{x,"y z",NULL}')::shop.notes $$;
CREATE FUNCTION test.state() RETURNS text LANGUAGE sql AS $$
SELECT string_agg(a || '=' || v, ' ' ORDER BY a) FROM shop.notes $$;

INSERT INTO shop.notes (a, b, v, j, i, "Odd col", t, arr) OVERRIDING SYSTEM VALUE
    SELECT x.a, x.b, x.v, x.j, x.i, x."Odd col", x.t, x.arr FROM generate_series(1, 5) s, test.row(s, s) x;

-- one transaction: an insert, an update, a delete; applied whole, in order
SELECT test.lost('0/100', 1, 'insert', NULL, test.row(10, 10));
SELECT test.lost('0/100', 2, 'update', test.row(1, 1), test.row(1, 100));
SELECT test.lost('0/100', 3, 'delete', test.row(2, 2), NULL);
SELECT test.is((SELECT string_agg(id || ' ' || status, ',' ORDER BY seq) FROM meridian.reconcile), 'eu:0/100:1 open,eu:0/100:2 open,eu:0/100:3 open', 'listed');
SELECT count(*) FROM pg_logical_slot_get_binary_changes('test', NULL, NULL) \g /dev/null
SELECT test.is((SELECT string_agg(entry || ' ' || outcome, ',') FROM meridian.reconcile_apply('eu:0/100')), 'eu:0/100:1 applied,eu:0/100:2 applied,eu:0/100:3 applied', 'outcome');
SELECT test.is(test.state(), '1=100 3=3 4=4 5=5 10=10', 'applied');
SELECT test.is((SELECT to_jsonb(n) FROM shop.notes n WHERE a = 10), to_jsonb(test.row(10, 10)), 'the image, whole');
SELECT test.is((SELECT string_agg(DISTINCT status || ' ' || decided_by, ',') FROM meridian.reconcile), 'applied postgres', 'who');

-- the decision is stamped and told to the others
SELECT test.is((SELECT string_agg(substring(encode(data, 'escape') FROM 'prefix: meridian\.(\w+)'), ' ') FROM pg_logical_slot_get_binary_changes('test', NULL, NULL)
    WHERE position('prefix: meridian'::bytea IN data) > 0), 'stamp resolve resolve resolve', 'messages');
SELECT test.lost('AB/CDEF0123', 7, 'insert', NULL, test.row(11, 11));
SELECT meridian.reconcile_discard('eu:AB/CDEF0123:7') \g /dev/null
SELECT test.is((SELECT encode(substr(data, position('content:'::bytea IN data) + 8), 'hex') FROM pg_logical_slot_get_binary_changes('test', NULL, NULL)
    WHERE position('meridian.resolve'::bytea IN data) > 0),
    '01' || '0200' || encode('eu', 'hex') || '2301efcdab000000' || '07000000' || '0900' || encode('discarded', 'hex') || '0800' || encode('postgres', 'hex'), 'resolve');

-- a row that was touched since is left alone, and with it the whole transaction
SELECT test.lost('0/200', 1, 'update', test.row(3, 3), test.row(3, 300));
SELECT test.lost('0/200', 2, 'update', test.row(4, 4), test.row(4, 400));
UPDATE shop.notes SET v = 44 WHERE a = 4;
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/200'')', '55000', 'cannot apply eu:0/200:2: the row of "shop.notes" is not as this write found it', '"v": 44', 'force');
SELECT test.is(test.state(), '1=100 3=3 4=44 5=5 10=10', 'nothing changed');
SELECT test.is((SELECT count(*) FROM meridian.reconcile WHERE status = 'open'), 2::bigint, 'still open');
SELECT meridian.reconcile_apply('eu:0/200:1') \g /dev/null
SELECT test.is(test.state(), '1=100 3=300 4=44 5=5 10=10', 'one row of it');
SELECT meridian.reconcile_apply('eu:0/200:2', force => true) \g /dev/null
SELECT test.is(test.state(), '1=100 3=300 4=400 5=5 10=10', 'forced');

-- the other shapes of "changed since", and what force makes of them
SELECT test.lost('0/300', 1, 'insert', NULL, test.row(5, 50));
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/300'')', '55000', 'is not as this write found it');
SELECT meridian.reconcile_apply('eu:0/300', true) \g /dev/null
SELECT test.lost('0/301', 1, 'update', test.row(77, 7), test.row(77, 8));
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/301'')', '55000', 'absent');
SELECT meridian.reconcile_apply('eu:0/301', true) \g /dev/null
SELECT test.lost('0/302', 1, 'delete', test.row(10, 999), NULL);
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/302'')', '55000', 'is not as this write found it');
SELECT meridian.reconcile_apply('eu:0/302', true) \g /dev/null
SELECT test.lost('0/303', 1, 'delete', test.row(10, 10), NULL);
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/303'')', '55000', 'absent');
SELECT meridian.reconcile_apply('eu:0/303', true) \g /dev/null
SELECT test.is(test.state(), '1=100 3=300 4=400 5=50 77=8', 'forced');

-- a row that is already as the write would leave it: nothing to do, and so decided
SELECT test.lost('0/310', 1, 'update', test.row(4, 4), test.row(4, 400));
SELECT test.lost('0/310', 2, 'insert', NULL, test.row(77, 8));
SELECT test.is((SELECT string_agg(outcome, ',') FROM meridian.reconcile_apply('eu:0/310')), 'already there,already there', 'already there');
SELECT test.is((SELECT string_agg(status, ',') FROM meridian.reconcile WHERE commit_lsn = '0/310'), 'applied,applied', 'closed');
SELECT test.is(test.state(), '1=100 3=300 4=400 5=50 77=8', 'as it was');

-- a key that changes
SELECT test.lost('0/400', 1, 'update', test.row(5, 50), test.row(6, 60));
SELECT meridian.reconcile_apply('eu:0/400') \g /dev/null
SELECT test.is(test.state(), '1=100 3=300 4=400 6=60 77=8', 'key changed');

-- discarded changes nothing; decided entries are closed
SELECT test.lost('0/500', 1, 'delete', test.row(1, 100), NULL);
SELECT test.is((SELECT string_agg(entry || ' ' || outcome, ',') FROM meridian.reconcile_discard('eu:0/500')), 'eu:0/500:1 discarded', 'discard');
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/500'')', 'P0002', 'no open entry');
SELECT test.is(test.state(), '1=100 3=300 4=400 6=60 77=8', 'discarded');

-- malformed and impossible
SELECT test.fails('SELECT meridian.reconcile_apply(''nonsense'')', '22023', 'malformed entry', 'ORIGIN:COMMIT_LSN');
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/100:1:1'')', '22023', 'malformed entry');
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/999'')', 'P0002', 'no open entry');
SELECT test.lost('0/600', 1, 'truncate', NULL, NULL);
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/600'')', '0A000', 'no row image', 'discard');
SELECT meridian.reconcile_discard('eu:0/600') \g /dev/null

-- only at the home
SELECT test.lost('0/700', 1, 'delete', test.row(1, 100), NULL);
\! snap events/all=home=ap,epoch=5
SELECT test.fails('SELECT meridian.reconcile_apply(''eu:0/700'')', '25006', 'the home of events/all is "ap"');
SELECT test.fails('SELECT meridian.reconcile_discard(''eu:0/700'')', '25006', 'the home of events/all is "ap"');
\! snap
SELECT meridian.reconcile_apply('eu:0/700') \g /dev/null
SELECT test.is(test.state(), '3=300 4=400 6=60 77=8', 'at the home');
SELECT pg_drop_replication_slot('test');
