# A table with rows is attached while its partition is frozen: the home has said where it ends, and
# the next one begins from that. Wherever the rows count afterwards, every region has the same.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

whole() { TRIES=600 wait_for "$1 holds all that it ought to" "$1" "SELECT count(*) = 0 FROM meridian.gaps"; }
move() { # FROM TO EPOCH SQL: a planned move, and what happens when FROM has said where it ends
    local end
    PART[events/all]="home=$1 epoch=$(($3 - 1)) state=frozen${CLOSED[events]:-}"; snap_all
    end=$(q "$1" "SELECT meridian.drain('events', 'all', 1000)")
    eval "$4"
    CLOSED[events]="${CLOSED[events]:-} closed=$(($3 - 1)):$1:$(number "$end"):5:0"
    PART[events/all]="home=$2 epoch=$3${CLOSED[events]}"; LEASE=(); snap_all
    for r in us eu ap; do configure $r; done
    for _ in $(seq 150); do
        for r in us eu ap; do beat $r >/dev/null; done
        ! q "$2" "SELECT meridian.promote('events', 'all', $3)" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    die "$2 does not open: $(q "$2" "SELECT string_agg(relation || ' ' || partition || ': ' || why, ' | ') FROM meridian.gaps")"
}
agree() {
    for r in us eu ap; do whole $r; done
    synced us eu ap; synced eu us ap; synced ap us eu
    for t in "$@"; do same $t; done
    expect "no write is lost tail" "$(q ap "SELECT count(*) FROM meridian.reconcile_entry")" 0
}

for r in us eu ap; do region_new $r; done
snap_all
for r in us eu ap; do region_up $r; configure $r; done
for r in eu ap; do TRIES=600 wait_for "$r streams from us" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; done
for r in us eu; do TRIES=600 wait_for "$r streams from ap" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'ap'"; done
for r in us ap; do TRIES=600 wait_for "$r streams from eu" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, body text)"
synced us eu ap

tables() { # SUFFIX: one with rows that the others do not have, and one that everybody has, with other rows
    q us "CREATE SCHEMA IF NOT EXISTS late" "CREATE TABLE late.notes$1 (id bigint PRIMARY KEY, body text)" "INSERT INTO late.notes$1 SELECT i, 'old' FROM generate_series(1, 100) i"
    for r in us eu ap; do q $r "SET meridian.restoring = on" "CREATE SCHEMA IF NOT EXISTS late" "CREATE TABLE late.marks$1 (id bigint PRIMARY KEY, body text)" "INSERT INTO late.marks$1 VALUES (1, '$r')"; done
    CONFIG=$((${CONFIG:-1} + 1)) MORE_TABLES="${MORE_TABLES:-}, \"late.notes$1\", \"late.marks$1\""
}

# --- the others hear of it before they know the cut
tables 1
move us eu 2 'configure us; synced us eu ap'
q eu "INSERT INTO shop.events VALUES (1, 'by eu')"
agree shop.events late.notes1 late.marks1
expect "all rows" "$(q us "SELECT count(*) FROM late.notes1") $(q us "SELECT count(*) FROM late.marks1")" "100 1"

# --- and when they know it already
move eu us 3 true; agree shop.events
tables 2
move us eu 4 'LEASE[eu]=1 LEASE[ap]=1; snap_all; sleep 0.5; configure us'
q eu "INSERT INTO shop.events VALUES (2, 'by eu')"
agree shop.events late.notes2 late.marks2
expect "all rows" "$(q us "SELECT count(*) FROM late.notes2") $(q us "SELECT count(*) FROM late.marks2")" "100 1"
