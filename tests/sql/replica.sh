# What a replica does when its rows are not what the home thinks: it yields and counts. And what
# it does when it cannot go on: it waits, says why, and goes on when it can.
set -eu
. "$(dirname "$0")/streams/lib.sh"

region_new us; region_new eu; snap_all
for r in us eu; do region_up $r; configure $r; done
wait_for "eu streams from us" eu "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text, code int UNIQUE, body text)" "ALTER TABLE shop.events ALTER body SET STORAGE EXTERNAL" \
    "CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))" \
    "INSERT INTO shop.events SELECT i, 'l' || i, i, repeat('x', 5000) FROM generate_series(1, 20) i"
synced us eu; same shop.events

# what eu does behind its back is lost tail to us, which would repair it before we have looked
ORDER[us/eu]=refuse; snap us
wait_for "us takes nothing from eu" us "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
behind_its_back() { # SQL: at eu, past the guard
    q eu "SET meridian.restoring = on" "ALTER TABLE shop.events DISABLE TRIGGER ALL" "$1" "ALTER TABLE shop.events ENABLE ALWAYS TRIGGER meridian_guard"
}
conflicts() { q eu "SELECT string_agg(kind || ' ' || count, ', ' ORDER BY kind) FROM meridian.conflict_count"; }
error_of() { q eu "SELECT x->>'error' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; }

# --- update of a missing row with a value that did not travel: asked for again, whole
behind_its_back "DELETE FROM shop.events WHERE id IN (1, 2)"
q us "UPDATE shop.events SET label = 'back' WHERE id = 1" "DELETE FROM shop.events WHERE id = 2"
synced us eu; same shop.events
expect "missing" "$(conflicts)" "delete_missing 1, update_missing 1"

# --- insert of an existing one; a value of a unique index that another row has
behind_its_back "INSERT INTO shop.events VALUES (100, 'mine', 1000, NULL), (101, 'mine too', 1001, NULL), (102, 'in the way', 1002, NULL)"
q us "INSERT INTO shop.events VALUES (100, 'theirs', 1001, NULL)" "UPDATE shop.events SET code = 1002 WHERE id = 5" "INSERT INTO shop.events VALUES (102, 'last', 7000, NULL)"
synced us eu; same shop.events
expect "counted" "$(conflicts)" "delete_missing 1, insert_exists 1, unique_in_the_way 2, update_missing 1"
ORDER[us/eu]=run; snap us
synced eu us; synced us eu; same shop.events

# --- a table that cannot take a change holds its stream, which says so, and nothing is lost
q eu "SET meridian.restoring = on" "ALTER TABLE shop.events DROP COLUMN body"
q us "INSERT INTO shop.events VALUES (200, 'waits', 200, 'b')"
wait_for "the stream waits and says why" eu "SELECT x->>'state' = 'waiting' AND x->>'error' = 'table \"shop.events\" has no column \"body\" here yet' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q eu "SET meridian.restoring = on" "ALTER TABLE shop.events ADD COLUMN body text" "SELECT count(*) FROM shop.events" >/dev/null
TRIES=600 synced us eu
expect "went on" "$(q eu "SELECT body FROM shop.events WHERE id = 200")" b

# --- statements of a role that only the home has wait for the role
q us "CREATE ROLE builder" "GRANT CREATE, USAGE ON SCHEMA shop TO builder" 2>/dev/null
wait_for "eu asks for the role" eu "SELECT x->>'error' LIKE 'role \"builder\"%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q eu "CREATE ROLE builder"
q us "SET ROLE builder; CREATE TABLE shop.pair (a int PRIMARY KEY); RESET ROLE"
TRIES=600 synced us eu
expect "its owner" "$(q eu "SELECT tableowner FROM pg_tables WHERE tablename = 'pair'")" builder

# --- a slot that is gone: said, and cured by copying anew what that region is home of
q eu "INSERT INTO shop.orders VALUES ('eu', 1, 'ours')"; synced eu us
ORDER[eu/us]=refuse; snap eu
wait_for "refused" eu "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
wait_for "slot idle" us "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'meridian_eu'"
q us "SELECT pg_drop_replication_slot('meridian_eu')" "INSERT INTO shop.orders VALUES ('us', 1, 'missed')" "DELETE FROM shop.events WHERE id < 10" >/dev/null
ORDER[eu/us]=run; snap eu
wait_for "the gap is seen" eu "SELECT x->>'error' LIKE '%no longer has what this region lacks%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q eu "SELECT meridian.copy_again('us')" >/dev/null
TRIES=600 synced us eu
same shop.orders
expect "events copied anew" "$(q eu "SELECT count(*) FROM shop.events")" "$(q us "SELECT count(*) FROM shop.events")"

# --- a join says what it waits for: a slot begins only behind the transactions that run
q us "SELECT pg_current_xact_id(), pg_sleep(6)" >/dev/null &
sleep 0.5; q eu "SELECT meridian.copy_again('us')" >/dev/null
wait_for "what it waits for" eu "SELECT x->>'state' = 'joining' AND x->>'error' LIKE 'waits for the transactions that run at \"us\" to end%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
wait $!
TRIES=600 synced us eu
expect "nothing to complain about" "$(q eu "SELECT coalesce(x->>'error', '') FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'")" ""

# --- a join that is killed starts over
q us "CREATE TABLE shop.big (id int PRIMARY KEY, body text)" "INSERT INTO shop.big SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 60000) i"
synced us eu
q eu "ALTER SYSTEM SET meridian.fault = 'join-copied:20000'" "SELECT pg_reload_conf()" >/dev/null
wait_for "the fault is set" eu "SELECT current_setting('meridian.fault') <> ''"
sleep 0.2; q eu "SELECT meridian.copy_again('us')" >/dev/null
wait_for "joining" eu "SELECT x->>'state' = 'joining' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
sleep 1.5; server=$(head -1 "$ROOT/eu/data/postmaster.pid")
# all at once: whoever waits for a lock of one that was killed would outlive the server
kill -9 "$server" $(pgrep -P "$server")
sed -i /meridian.fault/d "$ROOT/eu/data/postgresql.auto.conf"
for _ in $(seq 200); do sleep 0.1; ! pg_start "$ROOT/eu" 2>/dev/null || break; done
TRIES=600 synced us eu
same shop.big; same shop.orders
expect "one slot" "$(q us "SELECT count(*) FROM pg_replication_slots")" 1

# --- rows whose index entries are many and mostly dead are found, and stay findable
q us "DROP TABLE shop.pair" "CREATE TABLE shop.pair (id bigint PRIMARY KEY, n int NOT NULL)" "CREATE INDEX ON shop.pair (n)" \
    "INSERT INTO shop.pair SELECT i, 0 FROM generate_series(1, 200) i"
for k in $(seq 1 40); do
    q us "BEGIN; UPDATE shop.pair SET n = n + 1 WHERE id % 4 = 0; UPDATE shop.pair SET n = n + 1 WHERE id <= 100; DELETE FROM shop.pair WHERE id = $k; INSERT INTO shop.pair VALUES ($k, $k); COMMIT"
done
synced us eu; same shop.pair
q eu "CREATE EXTENSION amcheck" "SELECT bt_index_check('shop.pair_pkey', true)" >/dev/null
expect "nothing went wrong" "$(grep -c 'could not find block' "$ROOT/eu/log")" 0
