# Tables and schemas of a class are dropped in every region, while other regions go on writing to
# them: what arrives too late is left out, and a table made anew under the name is another one.
set -eu
. "$(dirname "$0")/streams/lib.sh"

region_new us; region_new eu; region_new ap
snap_all
for r in us eu ap; do region_up $r; configure $r; done
for r in eu ap; do wait_for "$r streams from us" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; done
ORDERS="CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))"
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text)" "$ORDERS"
synced us eu ap
q eu "INSERT INTO shop.orders SELECT 'eu', i, 'old' FROM generate_series(1, 10) i"
synced eu us ap

# --- a table of no class goes everywhere, its rows do not: who makes it is told
said=$(q us "CREATE TABLE shop.own (id int PRIMARY KEY)" 2>&1)
case $said in *'WARNING:  table "shop.own" belongs to no class'*) ;; *) die "not warned: $said" ;; esac
expect "a table of a class" "$(q us "CREATE TABLE shop.big (id int PRIMARY KEY)" 2>&1)" ""
q us "DROP TABLE shop.own, shop.big"

# --- eu has not heard of it when it writes; us has dropped the table, ap too
LEASE[eu]=1; snap eu; sleep 0.2 # takes nothing
q us "DROP TABLE shop.orders"
synced us ap
LEASE[eu]=600000
ORDER[eu/us]=refuse; snap eu
q eu "INSERT INTO shop.orders VALUES ('eu', 11, 'too late')" "UPDATE shop.orders SET item = 'too late' WHERE id = 1" "DELETE FROM shop.orders WHERE id = 2"
synced eu us ap
expect "left out, and counted" "$(q us "SELECT sum(count) FROM meridian.conflict_count WHERE kind = 'table_dropped'")$(q ap "SELECT sum(count) FROM meridian.conflict_count WHERE kind = 'table_dropped'")" 33

# --- made anew: eu's rows in the new one wait at ap for it, the old ones do not
ORDER[ap/us]=refuse; snap ap
q us "$ORDERS" "INSERT INTO shop.orders VALUES ('us', 1, 'new')"
ORDER[eu/us]=run; snap eu
synced us eu
q eu "INSERT INTO shop.orders VALUES ('eu', 1, 'new')"
synced eu us
wait_for "ap waits for the table" ap "SELECT x->>'error' LIKE 'table \"shop.orders\" does not exist here yet%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
ORDER[ap/us]=run; snap ap
TRIES=600 synced us ap; TRIES=600 synced eu ap
same shop.orders
expect "rows" "$(q ap "SELECT count(*) FROM shop.orders")" 2
for r in us eu ap; do wait_for "nothing is missing at $r" $r "SELECT count(*) = 0 FROM meridian.gaps"; done

# --- with a schema, and all that is in it; then it all begins again
q us "DROP SCHEMA shop CASCADE"
synced us eu ap
for r in us eu ap; do expect "gone at $r" "$(q $r "SELECT count(*) FROM pg_namespace WHERE nspname = 'shop'")$(q $r "SELECT count(*) FROM meridian.attachment")" 00; done
expect "said" "$(q us "SELECT meridian.agent_status()->'problems' @> '[\"table \\\"shop.orders\\\" is not attached: it was dropped\"]'")" t
configure us
expect "said after a restart of the agent, too" "$(q us "SELECT meridian.agent_status()->'problems' @> '[\"table \\\"shop.orders\\\" is not attached: it was dropped\"]'")" t
q us "CREATE SCHEMA shop" "$ORDERS" "INSERT INTO shop.orders VALUES ('us', 1, 'again')"; synced us eu ap
q eu "INSERT INTO shop.orders VALUES ('eu', 1, 'again')"; synced eu us ap
same shop.orders
