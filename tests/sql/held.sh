# Rows are only ever removed in favour of a region that holds that very table and partition whole. A
# home may get a table after it opened the partition: then its rows come with it, not their absence.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

beats=
trap 'kill $beats 2>/dev/null; cleanup' EXIT
why() { q "$1" "SELECT string_agg(DISTINCT relation || ': ' || why, ' | ') FROM meridian.gaps WHERE class = '$2' AND partition <> 'ap'"; }
whole() { TRIES=600 wait_for "$1 holds $2" "$1" "SELECT count(*) = 0 AND to_regclass('$2') IS NOT NULL FROM meridian.gaps WHERE partition <> 'ap'"; }
rows() { expect "$3 at $1" "$(q "$1" "SELECT count(*) FROM $2 WHERE $3")" "$4"; }

region_new us "synchronous_standby_names = 'ANY 1 (meridian_eu)'"; region_new eu "synchronous_standby_names = 'ANY 1 (meridian_us)'"
snap_all
for r in us eu; do region_up $r; configure $r; done
TRIES=600 wait_for "eu streams from us" eu "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
TRIES=600 wait_for "us streams from eu" us "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
q us "CREATE SCHEMA shop" "CREATE TABLE shop.accounts (id bigint PRIMARY KEY, body text)" "CREATE TABLE shop.events (id bigint PRIMARY KEY, body text)" \
    "CREATE TABLE shop.orders (home text, id bigint, PRIMARY KEY (home, id))"
synced us eu
q us "CREATE SCHEMA late" "CREATE TABLE late.parts (home text, id bigint, PRIMARY KEY (home, id))" \
    "INSERT INTO late.parts SELECT h, i FROM generate_series(1, 100) i, unnest('{us,eu}'::text[]) h" \
    "CREATE TABLE late.notes (id bigint PRIMARY KEY, body text)" "INSERT INTO late.notes SELECT i, 'old' FROM generate_series(1, 500) i" \
    "CREATE TABLE late.more (id bigint PRIMARY KEY)" "INSERT INTO late.more SELECT generate_series(1, 50)"

while sleep 0.5; do beat us; beat eu; done >/dev/null 2>&1 & beats=$!

# --- a partitioned class: what was loaded where the schema is defined goes to its homes, and not away
export CONFIG=2 MORE_ORDERS=', "late.parts"'
configure us
synced us eu
expect "eu knows it at once, though nothing changed" "$(why eu orders)" "late.parts: missing table"
configure eu
whole eu late.parts; whole us late.parts
synced us eu; synced eu us; same late.parts
for r in us eu; do rows $r late.parts "home = 'us'" 100; rows $r late.parts "home = 'eu'" 100; done
q eu "INSERT INTO late.parts VALUES ('eu', 1001)"; synced eu us; same late.parts

# --- tables are still to come, and yet a statement about what should be here is not left out
q us "CREATE TABLE shop.side (id int)"; synced us eu
q eu "SET meridian.restoring = on" "DROP TABLE shop.side"
q us "ALTER TABLE shop.side ADD COLUMN n int"
wait_for "eu stops at it" eu "SELECT x->>'error' LIKE '%\"shop.side\" does not exist%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q eu "SET meridian.restoring = on" "CREATE TABLE shop.side (id int)"
synced us eu
expect "and goes on" "$(q eu "SELECT count(*) FROM pg_attribute WHERE attrelid = 'shop.side'::regclass AND attnum > 0")" 2

# --- attached with rows, and eu does not open without it
export CONFIG=3 MORE_ACCOUNTS=', "late.notes"'
configure us
synced us eu
refuses eu us; replace accounts us eu
snap_all
expect "eu knows it at once" "$(why eu accounts)" "late.notes: missing table"
case $(promote accounts eu 2>&1) in *'cannot open accounts/all here'*) ;; *) die "eu opens without late.notes" ;; esac
takes eu us
TRIES=100 wait_for "eu still does" eu "SELECT count(*) = 1 FROM meridian.missing"
configure eu
whole eu late.notes
rows eu late.notes true 500
promote accounts eu
q eu "INSERT INTO late.notes VALUES (1001, 'by eu')"; synced eu us; same late.notes

# --- attached at a home that does not know that it was replaced: its successor opens without the table
synced us eu; synced eu us
refuses us eu; replace accounts eu us; snap_all; takes us eu
promote accounts us
q us "INSERT INTO shop.accounts VALUES (1, 'us')"; synced us eu
PART_us=${PART[accounts/all]}
refuses eu us; replace accounts us eu; PART_eu=${PART[accounts/all]}
PART[accounts/all]=$PART_us; snap us
export CONFIG=4 MORE_ACCOUNTS=', "late.notes", "late.more"'
configure us
PART[accounts/all]=$PART_eu; snap eu
promote accounts eu
snap us
takes eu us
synced us eu
configure eu
whole eu late.more; whole us late.more
rows eu late.more true 50; rows us late.more true 50
q eu "INSERT INTO late.more VALUES (1001)"; synced eu us; same late.more

# --- a home that has the table and not its rows says so, lends nothing and empties nobody
q eu "DELETE FROM meridian.copied WHERE relid = 'late.more'::regclass" "SELECT pg_replication_origin_create('damage')" >/dev/null
q us "DELETE FROM meridian.copied WHERE relid = 'late.more'::regclass"
q eu "SELECT pg_replication_origin_session_setup('damage')" "SET meridian.restoring = on" "ALTER TABLE late.more DISABLE TRIGGER ALL" "DELETE FROM late.more WHERE id > 1" "ALTER TABLE late.more ENABLE ALWAYS TRIGGER meridian_guard" >/dev/null
sleep 4
rows us late.more true 51
expect "why at eu" "$(why eu accounts)" "late.more: its rows are to come from the schema's home, while there are none here; or see meridian.open_with_gaps"
# a person decides that what eu has counts
q eu "SELECT meridian.open_with_gaps('accounts', 'all')" 2>/dev/null
whole eu late.more; whole us late.more
rows us late.more true 1
q eu "INSERT INTO late.more VALUES (7)"; synced eu us; same late.more; same late.notes; same late.parts
