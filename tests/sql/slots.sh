# A region that is away for too long: the WAL kept for it is bounded, that is said before and after,
# and it copies what it missed by itself.
set -eu
. "$(dirname "$0")/streams/lib.sh"

region_new us "max_slot_wal_keep_size = 64MB" "min_wal_size = 32MB" "max_wal_size = 48MB"; region_new eu; region_new ap
snap_all
for r in us eu ap; do region_up $r; configure $r; done
for r in eu ap; do wait_for "$r streams from us" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text)" \
    "CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))" \
    "INSERT INTO shop.events SELECT i, 'e' || i FROM generate_series(1, 500) i" \
    "INSERT INTO shop.orders SELECT 'us', i, 'of us' FROM generate_series(1, 500) i"
synced us eu ap
q eu "INSERT INTO shop.orders SELECT 'eu', i, 'of eu' FROM generate_series(1, 500) i"; synced eu us ap
problems() { q "$1" "SELECT meridian.agent_status()->>'problems'"; }
segments() { local i; for i in $(seq "$1"); do q us "SELECT pg_switch_wal()" "UPDATE shop.events SET label = 'changed $i' WHERE id = $i" >/dev/null; done; q us CHECKPOINT; }

ORDER[eu/us]=refuse; snap eu
wait_for "eu is away" us "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'meridian_eu'"
expect "no problem yet" "$(problems us | grep -c 'slot "meridian_eu\|slot \\"meridian_eu')" 0
segments 3
case $(problems us) in *meridian_eu*'must be copied anew'*) ;; *) die "more than half of the limit, and no problem: $(problems us)" ;; esac

# --- a partition moves meanwhile, on from us: what us wrote before is not lost to eu with the slot
q us "UPDATE shop.orders SET item = 'missed' WHERE home = 'us' AND id < 100"
lsn=$(beat us); synced us ap
cut=$(q us "SELECT '$lsn'::pg_lsn - '0/0'")
PART[orders/us]="home=ap epoch=2 closed=1:us:$cut:5:0"; snap us; snap ap
q ap "SELECT meridian.promote('orders', 'us', 2)" "INSERT INTO shop.orders VALUES ('us', 9000, 'of ap')" >/dev/null
segments 4
q us "ALTER TABLE shop.events ADD COLUMN more int DEFAULT 7" "CREATE INDEX events_label ON shop.events (label)" "UPDATE shop.events SET more = 1 WHERE id < 10"
expect "the slot is lost" "$(q us "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'meridian_eu'")" lost

q us "INSERT INTO shop.events VALUES (1000, 'after')" "DELETE FROM shop.events WHERE id = 400"
ORDER[eu/us]=run; snap eu
# it copies rows, but the statements that it missed a person must repeat
repeat() { q eu "SET meridian.restoring = on" "$1"; }
says() { TRIES=150 wait_for "eu says what it missed" eu "SELECT x->>'error' LIKE 'table \"shop.events\" is defined otherwise than at region \"us\"%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; }
says
repeat "ALTER TABLE shop.events ADD COLUMN more int DEFAULT 7"
wait_for "and says more" eu "SELECT pg_read_file('../log') LIKE '%Only there: CREATE INDEX events_label%'"
repeat "CREATE INDEX events_label ON shop.events (label)"
TRIES=800 synced us eu
TRIES=600 wait_for "eu holds all" eu "SELECT count(*) = 0 FROM meridian.gaps"
synced ap us eu; synced eu us ap
same shop.events; same shop.orders
expect "counted" "$(q eu "SELECT (x->>'lost_slots') || (x->>'lost') FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'")" 1false
grep -q 'its rows are copied anew' "$ROOT/eu/log" || die "eu does not say why"
expect "the problem is over" "$(problems us | grep -c 'meridian_eu\|copied anew')$(problems eu | grep -c 'copied anew')" 00
