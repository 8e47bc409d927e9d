# One partition of one table is copied again from its home, in place of rows that differ, while
# the home is written; and what this server did to sessions waits for the agent to tell it.
set -eu
. "$(dirname "$0")/streams/lib.sh"

region_new us "meridian.lock_wait = '1s'"; region_new eu "meridian.lock_wait = '1s'"; snap_all
for r in us eu; do region_up $r; configure $r; done
wait_for "eu streams from us" eu "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text)" \
    "CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))" \
    "INSERT INTO shop.events SELECT i, 'l' || i FROM generate_series(1, 500) i" \
    "INSERT INTO shop.orders SELECT 'us', i, 'o' FROM generate_series(1, 50) i"
synced us eu; same shop.events; same shop.orders
refused() { expect "$1" "$(q eu "$2" 2>&1 | grep -c "$3")" 1; }

# --- rows changed in a way that no stream carries: as if another region had sent them
damage() { # REGION SQL
    q "$1" "SELECT pg_replication_origin_create('damage') WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'damage')" \
        "SELECT pg_replication_origin_session_setup('damage')" "SET meridian.restoring = on" "ALTER TABLE shop.events DISABLE TRIGGER ALL" "$2" "ALTER TABLE shop.events ENABLE ALWAYS TRIGGER meridian_guard" >/dev/null
}
damage eu "DELETE FROM shop.events WHERE id = 1; UPDATE shop.events SET label = 'bad' WHERE id = 2; INSERT INTO shop.events VALUES (9000, 'extra')"
expect "damaged" "$(q eu "SELECT count(*) FROM shop.events WHERE id IN (2, 9000) AND label IN ('bad', 'extra')")" 2
q us "UPDATE shop.events SET label = 'moved on' WHERE id = 3"; synced us eu
expect "still damaged" "$(q eu "SELECT count(*) FROM shop.events WHERE label IN ('bad', 'extra')")" 2
( for i in $(seq 1 40); do q us "UPDATE shop.events SET label = 'at $i' WHERE id = 4" >/dev/null; done ) & writer=$!
expect "a gap, until the copy that begins with the commit" "$(q eu BEGIN "DO 'BEGIN PERFORM meridian.copy_again(''shop.events'', ''all''); END'" \
    "SELECT relation || ' ' || partition FROM meridian.gaps WHERE partition <> 'ap'" COMMIT)" "shop.events all"
wait_for "the gap is closed" eu "SELECT count(*) = 0 FROM meridian.gaps WHERE partition <> 'ap'"
wait $writer
synced us eu; same shop.events; same shop.orders

# --- who asked for it is told, once
expect "waits" "$(q eu "SELECT meridian.agent_status()->>'audit'")" 1
expect "told" "$(q eu "SELECT meridian.take_audit()")" '{"event=copy.requested region=eu class=events partition=all from=us table=\"shop.events\" who=\"postgres\""}'
expect "once" "$(q eu "SELECT meridian.take_audit()")" "{}"

# --- the home has nobody to copy from, and neither has what is nobody's
expect "home" "$(q us "SELECT meridian.copy_again('shop.events', 'all')" 2>&1 | grep -c 'this region is the home of partition "all"')" 1
refused "no such partition" "SELECT meridian.copy_again('shop.orders', 'mars')" 'has no home to copy from'
refused "no such table" "SELECT meridian.copy_again('pg_class', 'all')" 'is attached to no class'
expect "nothing lost by it" "$(q eu "SELECT count(*) FROM meridian.gaps WHERE partition <> 'ap'")" 0

# --- a session whose lock holds up the stream is ended, and that is told with who and what
q eu "CREATE ROLE clerk SUPERUSER LOGIN"
(psql -X -q -U clerk -h "$ROOT/eu" -p "$(port eu)" -d app -c "BEGIN" -c "SELECT FROM shop.events WHERE id = 5 FOR UPDATE" -c "SELECT pg_sleep(30)" >/dev/null 2>&1 || true) & clerk=$!
wait_for "the clerk holds the row" eu "SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'clerk' AND query LIKE '%pg_sleep%'"
q us "UPDATE shop.events SET label = 'held up' WHERE id = 5"
wait_for "told" eu "SELECT meridian.audit_waits() = 1"
wait $clerk
expect "who and what" "$(q eu "SELECT regexp_replace(array_to_string(meridian.take_audit(), ''), 'pid=[0-9]+', 'pid=N')")" \
    'event=session.ended region=eu pid=N reason="its lock held up the changes of us for 1000 ms" table="shop.events" who="clerk"'
synced us eu; same shop.events

# --- one that is ended but does not go, because it is stopped, is told once
(psql -X -q -U clerk -h "$ROOT/eu" -p "$(port eu)" -d app -c "BEGIN" -c "SELECT FROM shop.events WHERE id = 6 FOR UPDATE" -c "SELECT pg_sleep(30)" >/dev/null 2>&1 || true) & clerk=$!
wait_for "the clerk holds the row" eu "SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'clerk' AND query LIKE '%pg_sleep%'"
backend=$(q eu "SELECT pid FROM pg_stat_activity WHERE usename = 'clerk'")
kill -STOP "$backend"
q us "UPDATE shop.events SET label = 'held up' WHERE id = 6"
wait_for "told" eu "SELECT meridian.audit_waits() > 0"
sleep 1
waits=$(q eu "SELECT meridian.audit_waits()")
kill -CONT "$backend"; wait $clerk
expect "told once while it is stopped" "$waits" 1
expect "logged once" "$(grep -c "ending the session of process $backend," "$ROOT/eu/log")" 1
q eu "SELECT meridian.take_audit()" >/dev/null
synced us eu; same shop.events

# --- lines that nobody takes push out the oldest; values cannot break out of their quotes
q eu 'CREATE ROLE "a"" b=""c" SUPERUSER'
q eu 'SET SESSION AUTHORIZATION "a"" b=""c"' "SELECT meridian.audit_note('event=x n=' || i) FROM generate_series(1, 40) i" >/dev/null
expect "the last 32" "$(q eu "SELECT t[1] || ' ... ' || t[32] || ' ' || cardinality(t) FROM meridian.take_audit() t")" \
    'event=x n=9 who="a? b=?c" ... event=x n=40 who="a? b=?c" 32'
