# A region that joins heeds its orders while pg_dump waits for a lock at the schema's home, and leaves
# no pg_dump behind.
set -eu
. "$(dirname "$0")/streams/lib.sh"

is() { echo "SELECT x->>'$2' = '$3' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$1'"; }
dumps() { echo "SELECT count(*) $1 FROM pg_stat_activity WHERE application_name = 'pg_dump'"; }

region_new us; region_new eu
ORDER[eu/us]=none
snap_all
for r in us eu; do region_up $r; configure $r; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text)" \
    "INSERT INTO shop.events SELECT i, 'e' FROM generate_series(1, 100) i"
mkfifo "$ROOT/hold"
pg_sql "$ROOT/us" -d app -p "$(port us)" <"$ROOT/hold" >"$ROOT/held" 2>&1 & holder=$!
exec 8>"$ROOT/hold"
# locked once the slot is there: to make one waits for whoever has locked
q eu "ALTER SYSTEM SET meridian.fault = 'join-slot:2000'" "SELECT pg_reload_conf()" >/dev/null
wait_for "the fault is set" eu "SELECT current_setting('meridian.fault') <> ''"
ORDER[eu/us]=run; snap eu
wait_for "the slot" us "SELECT confirmed_flush_lsn IS NOT NULL FROM pg_replication_slots WHERE slot_name = 'meridian_eu'"
echo "BEGIN; LOCK TABLE shop.events; SELECT 'held';" >&8
for _ in $(seq 100); do ! grep -q held "$ROOT/held" || break; sleep 0.05; done
q eu "ALTER SYSTEM RESET meridian.fault" "SELECT pg_reload_conf()" >/dev/null
wait_for "pg_dump waits" us "$(dumps "= 1") AND wait_event_type = 'Lock'"
begin=$(date +%s%3N)
ORDER[eu/us]=refuse; snap eu
wait_for "eu refuses us" eu "$(is us refused true)"
took=$(($(date +%s%3N) - begin))
[ $took -le 1500 ] || die "it took $took ms"
[ -z "$(pgrep -P "$(head -1 "$ROOT/eu/data/postmaster.pid")" -f pg_dump)" ] || die "a pg_dump is left"
echo "ROLLBACK;" >&8; exec 8>&-; wait $holder
wait_for "its session ends" us "$(dumps "= 0")"

ORDER[eu/us]=run; snap eu
synced us eu; same shop.events
