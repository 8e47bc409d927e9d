# What a region ought to hold and did not get with its first copies: a home that moved between two
# joins, a table that was attached with rows in it. It arrives while everybody goes on writing. And
# joins that are cut off at every step.
set -eu
. "$(dirname "$0")/streams/lib.sh"

number() { q us "SELECT '$1'::pg_lsn - '0/0'"; }
gaps() { q "$1" "SELECT count(*) FROM meridian.gaps"; }
no_gaps() { wait_for "$1 holds all that it ought to" "$1" "SELECT count(*) = 0 FROM meridian.gaps"; }
load() { # REGION SQL: again and again, with NUMBER for a number, until told to stop
    local i=0
    rm -f "$ROOT/stop"
    while [ ! -e "$ROOT/stop" ]; do i=$((i + 1)); echo "${2//NUMBER/$i}"; done |
        psql -X -q -h "$ROOT/$1" -p "$(port "$1")" -U postgres -d app >/dev/null 2>&1
}
stop_load() { touch "$ROOT/stop"; wait "$1" || true; }

region_new us; region_new eu; region_new ap
ORDER[ap/us]=none ORDER[ap/eu]=none
snap_all
for r in us eu; do region_up $r; configure $r; done
wait_for "eu streams from us" eu "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
wait_for "us streams from eu" us "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text)" \
    "CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))" \
    "INSERT INTO shop.events SELECT i, 'e' || i FROM generate_series(1, 500) i"
synced us eu
q eu "INSERT INTO shop.orders SELECT 'eu', i, 'of eu' FROM generate_series(1, 2000) i"
synced eu us
for r in us eu; do expect "a table that was created is whole" "$(q $r "SELECT count(*) FROM meridian.gaps WHERE partition <> 'ap'")" 0; done

# --- ap joins us; a partition moves from eu to us; ap joins eu, home of nothing by then
region_up ap; configure ap
ORDER[ap/us]=run; snap ap
wait_for "ap joined us" ap "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
expect "of eu nothing yet" "$(q ap "SELECT count(*) FROM shop.orders")" 0
expect "why" "$(q ap "SELECT DISTINCT reason || ': ' || why FROM meridian.gaps WHERE partition = 'eu'")" 'not_joined: region "eu" is not joined yet'
lsn=$(beat eu); synced eu us
PART[orders/eu]="home=us epoch=2 closed=1:eu:$(number "$lsn"):5:0"
snap us; snap eu
q us "SELECT meridian.promote('orders', 'eu', 2)" >/dev/null
load us "BEGIN; INSERT INTO shop.orders VALUES ('eu', 10000 + NUMBER, 'of us'); UPDATE shop.orders SET item = 'changed' || NUMBER WHERE home = 'eu' AND id = 1 + NUMBER % 50; DELETE FROM shop.orders WHERE home = 'eu' AND id = 100 + NUMBER; COMMIT;" & l=$!
snap ap
ORDER[ap/eu]=run; snap ap
wait_for "ap joined eu" ap "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
no_gaps ap
sleep 0.5; stop_load $l
TRIES=600 synced us eu ap
same shop.orders; same shop.events
[ "$(q us "SELECT count(*) > 50 FROM shop.orders WHERE id > 10000")" = t ] || die "the load did nothing"
expect "exactly" "$(q ap "SELECT count(*) FROM meridian.conflict_count WHERE kind <> 'update_missing' AND kind <> 'delete_missing'")" 0
expect "whole" "$(q ap "SELECT bool_and((p->>'covered')::bool) FROM jsonb_array_elements(meridian.agent_status()->'partitions') p")" t

# --- a table with rows that is attached when all have joined: its definition and its rows arrive
q us "CREATE SCHEMA late" "CREATE TABLE late.notes (id bigint PRIMARY KEY, body text)" \
    "INSERT INTO late.notes SELECT i, repeat('n', 100) FROM generate_series(1, 20000) i"
load us "BEGIN; INSERT INTO late.notes VALUES (100000 + NUMBER, 'new'); UPDATE late.notes SET body = 'changed' || NUMBER WHERE id = 1 + NUMBER % 50; DELETE FROM late.notes WHERE id = 100 + NUMBER; COMMIT;" & l=$!
export CONFIG=2 MORE_TABLES=', "late.notes"'
for r in us eu ap; do configure $r; done
for r in eu ap; do TRIES=400 wait_for "$r has the table" $r "SELECT to_regclass('late.notes') IS NOT NULL"; no_gaps $r; done
sleep 0.3; stop_load $l
TRIES=600 synced us eu ap
same late.notes
q us "ALTER TABLE late.notes ADD COLUMN more int" "UPDATE late.notes SET more = 1 WHERE id < 10"
synced us eu ap; same late.notes

# --- and one that existed everywhere, with other rows
for r in us eu ap; do q $r "CREATE TABLE late.marks (id int PRIMARY KEY, region text)" "INSERT INTO late.marks VALUES (1, '$r')" 2>/dev/null || q $r "SET meridian.restoring = on" "CREATE TABLE IF NOT EXISTS late.marks (id int PRIMARY KEY, region text)" "INSERT INTO late.marks VALUES (1, '$r')"; done
export CONFIG=3 MORE_TABLES=', "late.notes", "late.marks"'
for r in us eu ap; do configure $r; done
for r in eu ap; do no_gaps $r; done
synced us eu ap; same late.marks
expect "the home's" "$(q ap "SELECT region FROM late.marks")" us

# --- a join that either side leaves at any step starts over, with nothing left behind
joining() { wait_for "joining" ap "SELECT x->>'state' = 'joining' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; }
again() { # REGION: killed, started
    kill -9 "$(head -1 "$ROOT/$1/data/postmaster.pid")"
    for _ in $(seq 50); do sleep 0.1; ! pg_start "$ROOT/$1" 2>/dev/null || return 0; done
    die "$1 does not start"
}
for step in join-slot join-defined join-copied; do
    for victim in ap us; do
        q ap "ALTER SYSTEM SET meridian.fault = '$step:3000'" "SELECT pg_reload_conf()" >/dev/null
        wait_for "the fault is set" ap "SELECT current_setting('meridian.fault') <> ''"
        q ap "SELECT meridian.copy_again('us')" >/dev/null
        joining; sleep 0.4
        sed -i /meridian.fault/d "$ROOT/ap/data/postgresql.auto.conf"
        again $victim
        q ap "SELECT pg_reload_conf()" >/dev/null
        q us "INSERT INTO shop.events VALUES ((SELECT max(id) + 1 FROM shop.events), 'after $step of $victim')"
        TRIES=600 synced us eu ap
        no_gaps ap
        for t in shop.events shop.orders late.notes late.marks; do same $t; done
        expect "slots at us" "$(q us "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots")" "meridian_ap meridian_eu"
    done
done
