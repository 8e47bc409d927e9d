# Gaps are closed while their home commits all the time, over 50 ms each way: a commit that waits for
# its acknowledgements, here already and in nobody's snapshot, must neither hold that up nor be lost.
set -eu
. "$(dirname "$0")/streams/lib.sh"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; cleanup' EXIT

copying() { q "$1" "SELECT copying FROM meridian.links WHERE region = '$2'"; }
no_gaps() { wait_for "$1 holds all that it ought to" "$1" "SELECT count(*) = 0 FROM meridian.gaps"; }
writer() { # TABLE FROM: commits at us, one after the other, until told to stop
    local i=0
    while [ ! -e "$ROOT/stop" ]; do
        i=$((i + 1))
        echo "BEGIN; INSERT INTO $1 VALUES ($2 + $i, 'new'); UPDATE $1 SET body = 'changed $2 ' || $i WHERE id = 1 + ($2 + $i) % 997; DELETE FROM $1 WHERE id = $2 / 100 + $i; COMMIT;"
    done | PGOPTIONS="-c lock_timeout=30s" psql -X -q -h "$ROOT/us" -p "$(port us)" -U postgres -d app >/dev/null 2>>"$ROOT/writers" || true
}
load() { local w; rm -f "$ROOT/stop"; load=(); for w in 1 2 3 4 5 6; do writer "$1" $((w * 1000000)) & load+=($!); done; }
stop_load() { touch "$ROOT/stop"; wait "${load[@]}"; }

region_new us "synchronous_standby_names = 'ANY 1 (meridian_eu, meridian_ap)'"; region_new eu; region_new ap
VIA[us]=$((PORT_BASE + 100))
"$(dirname "$0")/streams/proxy" ${VIA[us]} "$(port us)" delay 50 >"$ROOT/proxy" & pids+=($!)
for _ in $(seq 100); do ! grep -q ready "$ROOT/proxy" || break; sleep 0.05; done
snap_all
for r in us eu ap; do region_up $r; done
for r in us eu ap; do configure $r; done
for r in eu ap; do TRIES=600 wait_for "$r streams from us" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, body text)" "CREATE TABLE shop.accounts (id bigint PRIMARY KEY, body text)"
TRIES=600 synced us eu ap

# --- a quorum class gets a table with rows that is written all the time
q us "CREATE SCHEMA late" "CREATE TABLE late.accounts (id bigint PRIMARY KEY, body text)" \
    "INSERT INTO late.accounts SELECT i, 'old' FROM generate_series(1, 100000) i"
export CONFIG=2 MORE_ACCOUNTS=', "late.accounts"'
configure us
load late.accounts
sleep 1
for r in eu ap; do configure $r; done
for r in eu ap; do TRIES=1200 wait_for "$r has the table" $r "SELECT to_regclass('late.accounts') IS NOT NULL"; done
begin=$(date +%s%3N) from=$(q us "SELECT count(*) FROM late.accounts WHERE id > 1000000")
for r in eu ap; do TRIES=600 no_gaps $r; done
to=$(q us "SELECT count(*) FROM late.accounts WHERE id > 1000000") end=$(date +%s%3N)
sleep 0.5; stop_load
echo "closed in $((end - begin)) ms, $((to - from)) commits meanwhile"
[ ! -s "$ROOT/writers" ] || die "writers: $(tail -3 "$ROOT/writers")"
TRIES=1200 synced us eu ap; same late.accounts
for r in eu ap; do expect "exactly, at $r" "$(q $r "SELECT count(*) FROM meridian.conflict_count WHERE kind <> 'update_missing' AND kind <> 'delete_missing'")" 0; done

# --- and again at a replica that had it: its marks are forgotten, its rows stay
q ap "DELETE FROM meridian.copied WHERE relid = 'late.accounts'::regclass"
load late.accounts
sleep 0.5; no_gaps ap
sleep 0.5; stop_load
TRIES=1200 synced us eu ap; same late.accounts
expect "exactly" "$(q ap "SELECT count(*) FROM meridian.conflict_count WHERE kind <> 'update_missing' AND kind <> 'delete_missing'")" 0
