# What lasts is said once: refusals of writes away from home, and a stream that cannot go on, which
# is also tried more and more seldom.
set -eu
. "$(dirname "$0")/streams/lib.sh"

region_new us "log_min_messages = log"; region_new eu
snap_all
for r in us eu; do region_up $r; configure $r; done
wait_for "eu streams from us" eu "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text)"
synced us eu
said() { grep -c "$2" "$ROOT/$1/log" || true; }

# --- a thousand refusals are one line, each caller has its answer, and a new reason is a new line
tries() { # SQL to try, how often
    for _ in $(seq "$2"); do echo "$1"; done | psql -X -q -h "$ROOT/eu" -p "$(port eu)" -U postgres -d app 2>&1 | grep -c 'ERROR:  cannot write events/all' || true
}
expect "answered" "$(tries "INSERT INTO shop.events VALUES (1, 'no');" 1000)" 1000
expect "said once" "$(said eu 'ERROR:  cannot write events/all')" 1
expect "caught" "$(q eu "DO \$\$ BEGIN INSERT INTO shop.events VALUES (1); EXCEPTION WHEN read_only_sql_transaction THEN NULL; END \$\$" "SELECT 1")" 1
q eu "SELECT 1/0" 2>/dev/null || true
expect "another error is not hushed" "$(said eu 'ERROR:  division by zero')" 1
number() { q us "SELECT '$1'::pg_lsn - '0/0'"; }
PART[events/all]="home=us epoch=2 closed=1:us:$(number "$(beat us)"):5:0"
snap us; snap eu
expect "answered under the next epoch" "$(tries "INSERT INTO shop.events VALUES (1, 'no');" 10)" 10
expect "said of it" "$(said eu 'ERROR:  cannot write events/all')" 2

# --- a change that does not fit here: said once, and tried seldom; what follows is not lost
synced us eu
q eu "SET meridian.restoring = on" "ALTER TABLE shop.events DROP COLUMN label"
before=$(said us 'starting logical decoding')
q us "INSERT INTO shop.events VALUES (2, 'parked')"
wait_for "links say why" eu "SELECT error LIKE '%has no column \"label\"%' FROM meridian.links WHERE region = 'us'"
sleep 6
expect "the failure is said once" "$(said eu 'ERROR:  table "shop.events" has no column')" 1
tried=$(($(said us 'starting logical decoding') - before))
[ "$tried" -ge 2 ] && [ "$tried" -le 8 ] || die "tried $tried times in 6 s"
q eu "SET meridian.restoring = on" "ALTER TABLE shop.events ADD COLUMN label text"
TRIES=600 synced us eu
expect "applied" "$(q eu "SELECT label FROM shop.events WHERE id = 2")" parked

# --- it got on, so the same failure is news again, though no minute has passed
q eu "SET meridian.restoring = on" "ALTER TABLE shop.events DROP COLUMN label"
q us "INSERT INTO shop.events VALUES (3, 'parked again')"
wait_for "links say why" eu "SELECT error LIKE '%has no column \"label\"%' FROM meridian.links WHERE region = 'us'"
sleep 1
expect "the failure is said again, once" "$(said eu 'ERROR:  table "shop.events" has no column')" 2
expect "as a new one" "$(said eu 'what follows has happened')" 0
