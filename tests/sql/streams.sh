# Two regions: rows of every kind travel, DDL follows, crashes lose and repeat nothing.
set -eu
. "$(dirname "$0")/streams/lib.sh"

region_new us; region_new eu
snap_all
for r in us eu; do region_up $r; done
for r in us eu; do configure $r; done
# the schema is created at its home once both listen
wait_for "eu streams from us" eu "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
wait_for "us streams from eu" us "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, what text)" \
    "CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))" \
    "CREATE TABLE shop.accounts (id int PRIMARY KEY, balance int NOT NULL)"
synced us eu
q us "INSERT INTO shop.events SELECT i, 'event ' || i FROM generate_series(1, 1000) i" \
    "UPDATE shop.events SET what = upper(what) WHERE id % 3 = 0" "DELETE FROM shop.events WHERE id % 7 = 0" \
    "INSERT INTO shop.orders SELECT 'us', i, 'item' FROM generate_series(1, 10) i"
q eu "INSERT INTO shop.orders SELECT 'eu', i, 'item' FROM generate_series(1, 10) i"
synced us eu; synced eu us
same shop.events; same shop.orders
expect "events" "$(q eu "SELECT count(*) FROM shop.events")" 858
