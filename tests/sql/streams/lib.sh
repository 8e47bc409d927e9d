# Shell functions of the stream tests: regions as PostgreSQL servers of their own, joined over
# loopback. Source it inside tests/lib/pgenv. A region's server lives in $ROOT/REGION.
. "$(dirname "${BASH_SOURCE[0]}")/../../lib/pg.sh"
set -u
ROOT=$(mktemp -d -t pgstream-XXXXXX)
chmod 755 "$ROOT"
PG_TEMPLATE=${PG_TEMPLATE:-$ROOT/template}
# Runs beside each other take other ports, three each. The lock is held for as long as a process
# of the test lives, its servers too; below 32768 no connection's own end takes one of them.
PORT_BASE=
for base in $(seq 25450 3 25495); do
    exec {claim}>"${TMPDIR:-/tmp}/meridian-streams-ports-$base"
    if flock -n "$claim"; then PORT_BASE=$base; break; fi
    exec {claim}>&-
done
[ -n "$PORT_BASE" ] || { echo "no free ports" >&2; exit 1; }
PORT_us=$PORT_BASE PORT_eu=$((PORT_BASE + 1)) PORT_ap=$((PORT_BASE + 2))
REGIONS=()
declare -A LEASE ORDER PART VIA    # VIA[r]: the port where the others reach r
cleanup() { for r in "${REGIONS[@]}"; do pg_stop "$ROOT/$r" immediate || true; done; rm -rf "$ROOT"; }
trap cleanup EXIT
trap 'exit 1' INT TERM

die() {
    echo "failed: $*" >&2
    for r in "${REGIONS[@]}"; do
        echo "-- $r: $(q "$r" "SELECT meridian.stream_states()" 2>&1 | head -c 2000)" >&2
        grep -E 'ERROR|FATAL|PANIC|terminated by' "$ROOT/$r/log" | grep -v 'database system' | tail -20 >&2
    done
    exit 1
}
q() { # REGION SQL...
    local r=$1 a=(); shift
    for s in "$@"; do a+=(-c "$s"); done
    pg_sql "$ROOT/$r" -d app -p "$(port "$r")" "${a[@]}"
}
port() { local v=PORT_$1; echo "${!v}"; }
expect() { [ "$2" = "$3" ] || die "$1: got \"$2\", want \"$3\""; }
# What is lent or handed on counts up to a heartbeat, and an agent makes one every second: BEAT=REGION
# makes them here.
wait_for() { # DESCRIPTION REGION SQL: until it says t
    local i
    for i in $(seq "${TRIES:-200}"); do
        [ -z "${BEAT:-}" ] || [ $((i % 20)) != 1 ] || beat "$BEAT" >/dev/null
        [ "$(q "$2" "$3" 2>/dev/null)" != t ] || return 0
        sleep 0.05
    done
    die "never: $1"
}

# snap REGION: publish what the arrays LEASE, ORDER and PART say
snap() {
    local self=$1 r c
    {
        echo "self $self"; echo "session 5"; echo "lease_ms ${LEASE[$self]:-600000}"; echo "margin_ms 300"
        echo "config ${CONFIG:-1}"
        for r in us eu ap; do
            echo "region $r session=5 stream=${ORDER[$self/$r]:-$([[ " ${REGIONS[*]} " = *" $r "* ]] && echo run || echo none)}"
        done
        echo "class schema read-local async replicas=us,eu,ap allowed=us,eu,ap"
        echo "partition schema all ${PART[schema/all]:-home=us epoch=1}"
        echo "class accounts active-passive quorum replicas=us,eu,ap allowed=us,eu,ap acks=1"
        echo "partition accounts all ${PART[accounts/all]:-home=us epoch=1}"
        echo "class events active-passive async replicas=us,eu,ap allowed=us,eu,ap"
        echo "partition events all ${PART[events/all]:-home=us epoch=1}"
        echo "class orders partitioned async replicas=us,eu,ap allowed=us,eu,ap"
        for c in us eu ap; do echo "partition orders $c ${PART[orders/$c]:-home=$c epoch=1}"; done
    } | "$PG_BUILD/tests/lib/snapwrite" "$ROOT/$self/snapshot" >/dev/null || die "snapshot of $self"
    chmod 644 "$ROOT/$self/snapshot"
}
snap_all() { local r; for r in "${REGIONS[@]}"; do snap "$r"; done; }

region_new() { # REGION [SETTING...]
    local r=$1; shift
    REGIONS+=("$r")
    pg_new "$ROOT/$r" "meridian.region = '$r'" "port = $(port "$r")" "listen_addresses = '127.0.0.1'" \
        "max_worker_processes = 16" "wal_receiver_status_interval = 1s" "log_min_messages = error" "$@" || exit 1
}
configure() { # REGION
    local r list=
    for r in us eu ap; do
        list="$list, {\"name\": \"$r\", \"conninfo\": \"host=127.0.0.1 port=${VIA[$r]:-$(port $r)} dbname=app user=meridian\"}"
    done
    q "$1" "SELECT meridian.configure('{\"region\": \"$1\", \"version\": ${CONFIG:-1}, \"schema_home\": \"us\", \"regions\": [${list#, }],
        \"classes\": [
        {\"name\": \"accounts\", \"posture\": \"active-passive\", \"durability\": \"quorum\", \"partitions\": [\"all\"], \"replicas\": [\"us\",\"eu\",\"ap\"], \"tables\": [\"shop.accounts\"${MORE_ACCOUNTS:-}]},
        {\"name\": \"events\", \"posture\": \"active-passive\", \"durability\": \"async\", \"partitions\": [\"all\"], \"replicas\": [\"us\",\"eu\",\"ap\"], \"tables\": [\"shop.events\", \"shop.types\", \"shop.big\", \"shop.pair\"${MORE_TABLES:-}]},
        {\"name\": \"orders\", \"posture\": \"partitioned\", \"durability\": \"async\", \"partition_by\": \"home\", \"partitions\": [\"us\",\"eu\",\"ap\"], \"replicas\": [\"us\",\"eu\",\"ap\"], \"tables\": [\"shop.orders\"${MORE_ORDERS:-}]}]}')" >/dev/null
}
region_up() { # REGION: running, with the extension, not configured
    pg_start "$ROOT/$1" || exit 1
    pg_sql "$ROOT/$1" -d postgres -p "$(port "$1")" -c "CREATE DATABASE app" \
        -c "CREATE ROLE meridian LOGIN REPLICATION IN ROLE pg_read_all_data" || exit 1
    q "$1" "CREATE EXTENSION meridian"
}
beat() { q "$1" "SELECT meridian.heartbeat(5, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"; }
applied() { # AT ORIGIN LSN: has AT applied ORIGIN up to LSN?
    q "$1" "SELECT coalesce((SELECT (x->>'applied_lsn')::pg_lsn >= '$3' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$2'), false)"
}
synced() { # FROM TO...: everything committed at FROM is applied at each TO
    local from=$1 lsn to; shift
    lsn=$(beat "$from")
    for to in "$@"; do
        for i in $(seq "${TRIES:-400}"); do
            [ "$(applied "$to" "$from" "$lsn" 2>/dev/null)" != t ] || continue 2
            sleep 0.05
        done
        die "$to never applied $from up to $lsn"
    done
}
same() { # TABLE: the same rows everywhere
    local r first= sum
    for r in "${REGIONS[@]}"; do
        sum=$(q "$r" "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') FROM $1 t")
        [ -n "$first" ] || first=$sum
        [ "$sum" = "$first" ] ||
            die "$1 differs: $(diff <(q "${REGIONS[0]}" "SELECT t::text FROM $1 t ORDER BY 1") <(q "$r" "SELECT t::text FROM $1 t ORDER BY 1") | cut -c1-200 | head -20)"
    done
}
queue() { q "$1" "SELECT concat_ws(' ', id, class, partition, epoch, committed_at, relation, operation, before, after, status, repaired_epoch) FROM meridian.reconcile ORDER BY origin, commit_lsn, seq"; }
same_queue() { # AT AS: the same entries, word for word
    local differ
    differ=$(diff <(queue "$2") <(queue "$1")) || die "the queue at $1 is not that at $2: $(echo "$differ" | cut -c1-300 | head -20)"
}
