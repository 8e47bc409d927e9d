# Two regions lend a home what it lacks, both at once. Who comes second finds that nothing is lacking
# any more: what the home has written since it opened stays.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

beats=
trap 'kill $beats 2>/dev/null; cleanup' EXIT
copies() { q ap "SELECT count(*) FROM pg_stat_activity WHERE query = 'copying from $1' AND backend_type = 'meridian apply'"; }

region_new us "synchronous_standby_names = 'ANY 1 (meridian_eu, meridian_ap)'"
region_new eu "synchronous_standby_names = 'ANY 1 (meridian_us, meridian_ap)'"
region_new ap "synchronous_standby_names = 'ANY 1 (meridian_us, meridian_eu)'" "log_min_messages = log"
snap_all
for r in us eu ap; do region_up $r; configure $r; done
for r in eu ap; do TRIES=600 wait_for "$r streams from us" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; done
for r in us eu; do TRIES=600 wait_for "$r streams from ap" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'ap'"; done
for r in us ap; do TRIES=600 wait_for "$r streams from eu" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.accounts (id bigint PRIMARY KEY, body text)" "INSERT INTO shop.accounts SELECT i, 'old' FROM generate_series(1, 200) i"
synced us eu ap

while sleep 0.3; do for r in us eu ap; do beat $r; done; done >/dev/null 2>&1 & beats=$!

# --- ap becomes home, and nothing says that it has all rows
refuses ap us; refuses ap eu; refuses eu us
q ap "DELETE FROM meridian.copied WHERE relid = 'shop.accounts'::regclass"
replace accounts us ap
open_at=${PART[accounts/all]} PART[accounts/all]="${PART[accounts/all]} state=fencing"
snap_all
fault ap cover-started:12000
takes eu us; takes ap us
TRIES=400 wait_for "us lends" ap "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'copying from us'"
sleep 0.5; fault ap ''
takes ap eu
TRIES=100 wait_for "eu lends, and ap has it" ap "SELECT count(*) = 1 FROM meridian.copied WHERE relid = 'shop.accounts'::regclass AND epoch = 2"
promote accounts ap
PART[accounts/all]=$open_at; snap_all
q ap "INSERT INTO shop.accounts VALUES (1000, 'by ap')" "UPDATE shop.accounts SET body = 'changed' WHERE id = 1"
expect "what us lends is still to come" "$(copies us)" 1
TRIES=400 wait_for "us is done" ap "SELECT count(*) = 0 FROM pg_stat_activity WHERE query = 'copying from us'"
synced ap us eu; same shop.accounts
expect "what ap wrote stays" "$(q ap "SELECT string_agg(body, ' ' ORDER BY id) FROM shop.accounts WHERE id IN (1, 1000)")" "changed by ap"
expect "one copy was made" "$(grep -c 'copied .* rows of .* partitions' "$ROOT/ap/log")" "$(grep -c 'copied .* rows of .* from region "eu"' "$ROOT/ap/log")"
