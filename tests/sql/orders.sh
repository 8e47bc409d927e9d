# Orders take effect whatever holds a worker up, and the position beside "refused" is exact; a
# region whose data was put back to an earlier state is told so instead of missing changes.
set -eu
. "$(dirname "$0")/streams/lib.sh"

stream() { q "$1" "SELECT x->>'$3' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$2'"; }
is() { echo "SELECT x->>'$2' = '$3' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$1'"; }
now() { date +%s%3N; }
refused_within() { # MILLISECONDS AT ORIGIN: from now on it is ordered
    local begin; begin=$(now)
    ORDER[$2/$3]=refuse; snap "$2"
    wait_for "$2 refuses $3" "$2" "$(is "$3" refused true)"
    [ $(($(now) - begin)) -le "$1" ] || die "$2 took $(($(now) - begin)) ms to refuse $3"
}
progress() { q "$1" "SELECT remote_lsn FROM pg_replication_origin_status WHERE external_id = 'meridian_$2'"; }
hold() { # AT SQL: a session that has run SQL in a transaction and does not end it
    mkfifo "$ROOT/hold"
    pg_sql "$ROOT/$1" -d app -p "$(port "$1")" <"$ROOT/hold" >"$ROOT/held" 2>&1 & holder=$!
    exec 8>"$ROOT/hold"; rm "$ROOT/hold"
    echo "BEGIN; $2; SELECT 'held';" >&8
    for _ in $(seq 100); do ! grep -q held "$ROOT/held" || return 0; sleep 0.05; done
    die "nobody holds: $(cat "$ROOT/held")"
}
let_go() { echo "ROLLBACK;" >&8; exec 8>&-; wait $holder || die "$(cat "$ROOT/held")"; }
stuck() { # AT: an apply worker waits for a lock
    wait_for "$1 is held up" "$1" "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'meridian apply' AND wait_event_type = 'Lock'"
}

for r in us eu ap; do region_new $r; done
snap_all
for r in us eu ap; do region_up $r; configure $r; done
for r in eu ap; do wait_for "$r streams from us" $r "$(is us state streaming)"; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text)" \
    "CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))" \
    "INSERT INTO shop.events SELECT i, 'e' FROM generate_series(1, 100) i"
synced us eu ap; synced eu us ap; synced ap us eu

# --- a session here holds a row that the next change needs: the order to refuse does not wait for it
hold eu "SELECT FROM shop.events WHERE id = 7 FOR UPDATE"
q us "INSERT INTO shop.events VALUES (101, 'before')" "UPDATE shop.events SET label = 'held up' WHERE id = 7" "INSERT INTO shop.events VALUES (102, 'after')"
stuck eu
refused_within 1500 eu us
expect "the last before it is here" "$(q eu "SELECT max(id) FROM shop.events")" 101
expect "its position is the one that lasts" "$(stream eu us applied_lsn)" "$(progress eu us)"
let_go
sleep 0.3
expect "nothing of it came in" "$(q eu "SELECT label FROM shop.events WHERE id = 7")" e
ORDER[eu/us]=run; snap eu
synced us eu; same shop.events

# --- the same when the table is locked, and when the worker has committed what it has not yet reported
hold eu "LOCK TABLE shop.orders IN SHARE MODE"
q us "$(for i in $(seq 200); do echo "INSERT INTO shop.events VALUES (1000 + $i, 'burst');"; done)" "INSERT INTO shop.orders VALUES ('us', 1, 'locked')"
stuck eu
refused_within 1500 eu us
expect "all of the burst" "$(q eu "SELECT count(*) FROM shop.events WHERE label = 'burst'")" 200
expect "its position is the one that lasts" "$(stream eu us applied_lsn)" "$(progress eu us)"
said=$(stream eu us applied_lsn)
let_go
pg_stop "$ROOT/eu" immediate; pg_start "$ROOT/eu"
wait_for "eu is back" eu "$(is us refused true)"
expect "and is what a crash leaves" "$(stream eu us applied_lsn)" "$said"
ORDER[eu/us]=run; snap eu
synced us eu; same shop.events; same shop.orders

# --- the origin's host is gone: nothing answers the worker that connects, not even a refusal
address=$(q eu "SELECT conninfo FROM meridian.region_config WHERE name = 'us'")
mkfifo "$ROOT/silent"
python3 -c '
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)  # a full backlog drops what else comes
full = [socket.socket() for _ in range(4)]
for f in full: f.setblocking(False); f.connect_ex(s.getsockname())
print(s.getsockname()[1], flush=True); time.sleep(60)' >"$ROOT/silent" & silent=$!
read -r port <"$ROOT/silent"
q eu "UPDATE meridian.region_config SET conninfo = 'host=127.0.0.1 port=$port dbname=app user=meridian sslmode=disable' WHERE name = 'us'" \
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'meridian apply'" >/dev/null
wait_for "eu connects" eu "$(is us state connecting)"
sleep 0.5
refused_within 1500 eu us
kill $silent
q eu "UPDATE meridian.region_config SET conninfo = '$address' WHERE name = 'us'"
ORDER[eu/us]=run; snap eu
synced us eu

# --- while the order is to run, a session here cannot hold up the changes of a home for ever
q eu "ALTER SYSTEM SET meridian.lock_wait = '3s'" "SELECT pg_reload_conf()" >/dev/null
hold eu "SELECT FROM shop.events WHERE id = 9 FOR UPDATE"
q us "UPDATE shop.events SET label = 'in the end' WHERE id = 9"
stuck eu
wait_for "it says who holds it up" eu "SELECT blocked ~ '^process [0-9]+ \\(psql, query of [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]+\\+00\\) holds a lock on shop.events\$' FROM meridian.links WHERE region = 'us'"
expect "the one that does" "$(q eu "SELECT blocked LIKE 'process ' || a.pid || ' %' FROM meridian.links, pg_stat_activity a WHERE region = 'us' AND a.query LIKE '%held%' AND a.state = 'idle in transaction'")" t
expect "it is given time" "$(q eu "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%held%' AND state = 'idle in transaction'")" 1
synced us eu; same shop.events
expect "nobody holds it up any more" "$(q eu "SELECT count(blocked) FROM meridian.links")" 0
echo "ROLLBACK;" >&8; exec 8>&-
if wait $holder; then die "the session was left alone"; fi

# --- and its time is its time, though the clock of this region is put forward meanwhile
clock() { python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("q", int(sys.argv[1]) * 10**9))' "$1" | dd of="$ROOT/clock" conv=notrunc status=none; }
clock 0; chmod 644 "$ROOT/clock"
pg_stop "$ROOT/eu"
LD_PRELOAD=$PG_BUILD/lab/lab-clockshim.so MERIDIAN_LAB_CLOCK=$ROOT/clock pg_start "$ROOT/eu"
q eu "ALTER SYSTEM SET meridian.lock_wait = '10s'" "SELECT pg_reload_conf()" >/dev/null
synced us eu
hold eu "SELECT FROM shop.events WHERE id = 10 FOR UPDATE"
q us "UPDATE shop.events SET label = 'after a while' WHERE id = 10"
stuck eu
clock 300; sleep 1
expect "the clock is wrong" "$(q eu "SELECT extract(epoch FROM clock_timestamp()) > $(date +%s) + 200")" t
expect "it is given time all the same" "$(q eu "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%held%' AND state = 'idle in transaction'")" 1
let_go
synced us eu; same shop.events
pg_stop "$ROOT/eu"; pg_start "$ROOT/eu"
q eu "ALTER SYSTEM RESET meridian.lock_wait" "SELECT pg_reload_conf()" >/dev/null
synced us eu

# --- refused means by nobody: a worker that takes the origin's changes by way of another region counts
refused_within 1500 ap us
q us "INSERT INTO shop.events VALUES (2001, 'by way of eu')" "UPDATE shop.events SET label = 'held up at ap' WHERE id = 8"
synced us eu
hold ap "SELECT FROM shop.events WHERE id = 8 FOR UPDATE"
ORDER[ap/us]="forward via=eu"; snap ap
stuck ap
expect "it says by whom" "$(stream ap us state) $(stream ap us via) $(stream ap us refused)" "forwarded eu false"
forwarder=$(stream ap eu pid)
refused_within 1500 ap us
[ "$(stream ap eu pid)" != "$forwarder" ] || die "refused while $forwarder still applies it"
expect "the position of what came by way of eu" "$(stream ap us applied_lsn)" "$(progress ap us)"
expect "what came" "$(q ap "SELECT (SELECT label FROM shop.events WHERE id = 8) || ' ' || (SELECT count(*) FROM shop.events WHERE id = 2001)")" "e 1"
let_go
sleep 0.3
expect "nothing more comes" "$(q ap "SELECT label FROM shop.events WHERE id = 8")" e
q eu "INSERT INTO shop.orders VALUES ('eu', 1, 'goes on')"; synced eu ap
ORDER[ap/us]="forward via=eu"; snap ap
wait_for "the rest by way of eu" ap "SELECT label = 'held up at ap' FROM shop.events WHERE id = 8"
# an idle one lets go without a new connection, and takes it up again
pid=$(stream ap eu pid)
refused_within 1500 ap us
ORDER[ap/us]="forward via=eu"; snap ap
q us "INSERT INTO shop.events VALUES (2002, 'taken up again')"; synced us eu
wait_for "taken up again" ap "SELECT count(*) = 1 FROM shop.events WHERE id = 2002"
expect "by the same worker" "$(stream ap eu pid)" "$pid"
ORDER[ap/us]=run; snap ap
synced us eu ap; synced eu ap; same shop.events; same shop.orders

# --- eu's data directory is put back to an earlier state: it does not go on as if nothing had happened
keep() { pg_stop "$ROOT/$1"; rm -rf "$ROOT/$1/kept"; cp -a "$ROOT/$1/data" "$ROOT/$1/kept"; pg_start "$ROOT/$1"; }
put_back() { pg_stop "$ROOT/$1" immediate; rm -rf "$ROOT/$1/data"; mv "$ROOT/$1/kept" "$ROOT/$1/data"; pg_start "$ROOT/$1"; }
lacks() { # AT ORIGIN WORDS: says that its stream from ORIGIN cannot go on
    wait_for "$1: $3" "$1" "SELECT x->>'error' LIKE 'region \"$2\" $3%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$2'"
}
keep eu; kept=$(progress eu us)
q us "INSERT INTO shop.events VALUES (3001, 'confirmed and forgotten')"; synced us eu
q eu "SELECT pg_switch_wal()" "INSERT INTO shop.orders VALUES ('eu', 2, 'lost with its disk')" >/dev/null; synced eu us ap
for _ in $(seq 50); do
    beat us >/dev/null; sleep 0.1
    [ "$(q us "SELECT confirmed_flush_lsn > '$kept' FROM pg_replication_slots WHERE slot_name = 'meridian_eu'")" != t ] || break
done
put_back eu
for r in us ap; do lacks $r eu "has gone back in time"; done
q us "INSERT INTO shop.events VALUES (3002, 'not over the gap')"
synced us eu; same shop.events
expect "eu said that it copies us anew" "$(grep -c 'this region.s data directory was put back' "$ROOT/eu/log")" 1
q eu "INSERT INTO shop.orders VALUES ('eu', 3, 'in a new time')"; sleep 0.5
expect "nothing comes over the gap" "$(q us "SELECT count(*) FROM shop.orders WHERE id > 2")" 0
for r in us ap; do q $r "SELECT meridian.copy_again('eu')" >/dev/null; done
for r in us ap; do wait_for "$r copied eu anew" $r "$(is eu state streaming)"; done
synced us eu ap; synced eu us ap; same shop.events; same shop.orders
