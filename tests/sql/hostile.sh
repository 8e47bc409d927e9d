# Between an apply worker and the region it streams from stands somebody who damages what passes.
# The worker ends with a clear error, PostgreSQL does not, and when the damage stops, nothing was
# lost or repeated.
set -eu
. "$(dirname "$0")/streams/lib.sh"

region_new us; region_new eu; snap_all
for r in us eu; do region_up $r; configure $r; done
echo pass >"$ROOT/mode"
python3 "$(dirname "$0")/streams/proxy" "$PORT_ap" "$PORT_us" "$ROOT/mode" >"$ROOT/proxy" 2>&1 & proxy=$!
trap 'kill $proxy 2>/dev/null; cleanup' EXIT
for _ in $(seq 100); do ! grep -q ready "$ROOT/proxy" || break; sleep 0.1; done
q eu "UPDATE meridian.region_config SET conninfo = 'host=127.0.0.1 port=$PORT_ap dbname=app user=meridian sslmode=disable gssencmode=disable' WHERE name = 'us'" \
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'meridian apply'" >/dev/null
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, what text)" "CREATE TABLE shop.accounts (id int PRIMARY KEY, balance int NOT NULL)" 2>/dev/null
wait_for "eu streams from us by the proxy" us "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'meridian_eu' AND state = 'streaming'"
synced us eu
started=$(q eu "SELECT pg_postmaster_start_time()")
q us "SET synchronous_commit = off" "INSERT INTO shop.events SELECT i, 'row ' || i FROM generate_series(1, 300) i"

# The last error of eu's workers since the log was that long: what `links` shows is gone again as
# soon as the worker has recovered.
error() { tail -c +"$(($1 + 1))" "$ROOT/eu/log" | grep -A 2 'ERROR: ' | tail -3; }
traffic() { # small transactions and one of several frames
    local i
    n=$((n + 1))
    for i in $(seq "${SMALL:-25}"); do
        echo "UPDATE shop.events SET what = what || '.' WHERE id = $i * 7; INSERT INTO shop.events VALUES ($n * 10000 + $i, 'new');"
    done | psql -X -q -h "$ROOT/us" -p "$PORT_us" -U postgres -d app
    q us "INSERT INTO shop.events SELECT $n * 10000 + i, repeat(md5(i::text), 20) FROM generate_series(1000, 1300) i"
}
n=0
alive() {
    [ "$(q eu "SELECT pg_postmaster_start_time()")" = "$started" ] || die "eu's server went down under $1"
    ! grep -E 'PANIC|TRAP|terminated by signal' "$ROOT/eu/log" || die "a process of eu crashed under $1"
}
damage() { # MODE...: until the stream complains, then let it recover
    local why='' since
    since=$(wc -c <"$ROOT/eu/log")
    echo "$*" >"$ROOT/mode.new"; mv "$ROOT/mode.new" "$ROOT/mode"
    traffic
    for _ in $(seq 300); do why=$(error "$since"); [ -z "$why" ] || break; sleep 0.05; done
    [ -n "$why" ] || die "nothing was said of $*"
    case $why in
    *'region "us"'*) ;;
    *) die "$*: the error names no region: $why" ;;
    esac
    sleep 0.3
    echo pass >"$ROOT/mode.new"; mv "$ROOT/mode.new" "$ROOT/mode"
    TRIES=600 synced us eu; same shop.events
    alive "$*"
}
compression() { # on or off
    q eu "ALTER SYSTEM SET meridian.compression = $1" "SELECT pg_reload_conf()" "SELECT pg_sleep(0.3)" "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'meridian apply'" >/dev/null
    synced us eu
}

# --- damage that must be noticed
for c in off on; do
    compression $c
    damage flip 0 12 5
    damage short 4
    damage cut 6
    damage junk 5
    damage type 5
    damage huge 7
done
compression off
damage twice 3
SMALL=0 damage twice 2 # within a transaction: PostgreSQL finds the rows there already

# --- damage anywhere: it may change a value, for TLS is what protects those, but nothing falls over,
# and a copy made anew is right
for c in off on; do
    compression $c
    echo "flip 0 100000 3" >"$ROOT/mode.new"; mv "$ROOT/mode.new" "$ROOT/mode"
    for _ in 1 2 3 4; do traffic; sleep 0.4; done
    alive "flips anywhere, compression $c"
    echo pass >"$ROOT/mode.new"; mv "$ROOT/mode.new" "$ROOT/mode"
    sleep 0.2; q eu "SELECT meridian.copy_again('us')" >/dev/null
    TRIES=600 synced us eu; same shop.events
done
