# The lost tail under failures: what a replaced home committed past its cut is filed in every
# region, and its copy becomes the others' again, whatever crashes or moves meanwhile.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

REGIONS=()
region_new us "synchronous_standby_names = 'ANY 2 (meridian_eu, meridian_ap)'"
snap us; region_up us; configure us
q us "CREATE SCHEMA shop" \
    "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text, double bigint GENERATED ALWAYS AS (id * 2) STORED, tags text[], doc json)" \
    "CREATE TABLE shop.accounts (id int PRIMARY KEY, balance int NOT NULL)" \
    "INSERT INTO shop.events (id, label, tags, doc) SELECT i, 'early', '{a,\"b c\"}', '{ \"a\":1,  \"a\":2 }' FROM generate_series(1, 350) i"
for r in eu ap; do region_new $r "synchronous_standby_names = 'ANY 1 (meridian_us, meridian_eu, meridian_ap)'"; snap_all; region_up $r; configure $r; done
synced us eu ap; synced eu us ap; synced ap us eu
q us "INSERT INTO shop.accounts VALUES (1, 10)"

# --- a commit of the old home still waits for its acknowledgements when the repair comes
refuses ap us
LEASE[eu]=1; snap eu; sleep 0.2
q us "INSERT INTO shop.accounts VALUES (2, 20)" >/dev/null 2>&1 & w=$!
wait_for "the commit waits" us "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
backend=$(q us "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
kill -STOP "$backend"               # or the launcher would end its wait
wait_for "eu is paused" eu "SELECT x->>'state' = 'paused' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
ORDER[eu/us]=refuse LEASE[eu]=600000; snap eu
refuses eu us
replace accounts us eu; snap_all; promote accounts eu
takes eu us
filed eu us 1; repaired eu
sleep 0.5
expect "the row is not to be seen yet" "$(q us "SELECT count(*) FROM shop.accounts WHERE id = 2")" 0
takes ap us
kill -CONT "$backend"
wait $w && die "a commit in doubt was reported as done"
all_agree
expect "the lost row is gone" "$(q us "SELECT string_agg(id::text, ' ') FROM shop.accounts")" 1
decide eu

# --- the new home is replaced itself while it takes the tail: its repair, made of a row that is
# lost as well, counts nowhere, and its successor sends its own
fence us
q us "UPDATE shop.events SET label = 'lost by us', tags = NULL WHERE id = 4" "INSERT INTO shop.events (id, label) VALUES (1001, 'lost by us')"
replace events us eu; snap_all; promote events eu
q eu "UPDATE shop.events SET label = 'by eu' WHERE id = 4"
synced eu us ap
fence eu
q eu "UPDATE shop.events SET label = 'lost by eu' WHERE id = 4" "INSERT INTO shop.events (id, label) VALUES (1002, 'lost by eu')"
takes eu us
filed eu us 2; repaired eu
replace events eu ap; snap_all; promote events ap
takes us eu
sleep 0.5
takes ap eu; takes ap us
filed ap us 2; filed ap eu 2; repaired ap
all_agree
expect "the row of the lineage" "$(q us "SELECT label || ' ' || tags::text || ' ' || doc::text FROM shop.events WHERE id = 4")" 'by eu {a,"b c"} { "a":1,  "a":2 }'
expect "lost rows" "$(q us "SELECT count(*) FROM shop.events WHERE id > 1000")" 0
expect "the mark of who counts" "$(q eu "SELECT string_agg(DISTINCT repaired_epoch::text, ' ') FROM meridian.reconcile WHERE class = 'events'")" 3
decide ap

# --- the home is killed between filing and repair, and finishes when it is back
fence ap
q ap "UPDATE shop.events SET label = 'lost by ap' WHERE id IN (5, 6)" "DELETE FROM shop.events WHERE id = 7"
replace events ap eu; snap_all; promote events eu
fault eu tail-filed:60000
takes eu ap
filed eu ap 3
crash eu; pg_start "$ROOT/eu"
expect "not repaired yet" "$(q us "SELECT count(*) FROM meridian.reconcile WHERE origin = 'ap' AND status = 'open'")" 0
expect "filed once" "$(q eu "SELECT count(*) FROM meridian.reconcile WHERE origin = 'ap' AND status = 'open' AND repaired_epoch IS NULL")" 3
fault eu ''; crash eu; pg_start "$ROOT/eu"
unfence ap
repaired eu; all_agree
expect "the home's rows" "$(q ap "SELECT string_agg(label, ' ') FROM shop.events WHERE id IN (5, 6, 7)")" "early early early"
decide eu

# --- the home moves on between filing and repair; who follows had the entries before it was home
fence eu
q eu "UPDATE shop.events SET label = 'lost by eu' WHERE id = 8"
replace events eu us; snap_all; promote events us
fault us tail-filed:3000
unfence eu
filed us eu 1; filed ap eu 1
replace events us ap; snap_all; promote events ap
repaired ap
fault us ''
all_agree
expect "repaired by the next home" "$(q us "SELECT string_agg(repaired_epoch::text, ' ') FROM meridian.reconcile WHERE status = 'open'")" "${EPOCH[events]}"

# --- the old home is killed while it applies the repair
decide ap
fence ap
q ap "UPDATE shop.events SET label = 'lost by ap' WHERE id = 9"
replace events ap us; snap_all; promote events us
fault ap repair-applied:60000
unfence ap
repaired us
wait_for "ap is applying the repair" ap "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'meridian apply' AND backend_xid IS NOT NULL"
expect "the lost row is still there" "$(q ap "SELECT label FROM shop.events WHERE id = 9")" "lost by ap"
crash ap; sed -i '/meridian.fault/d' "$ROOT/ap/data/postgresql.auto.conf"; pg_start "$ROOT/ap"
all_agree
decide us

# --- a lost TRUNCATE: every row the home has comes back, in more than one step
fence us
q us "TRUNCATE shop.events" "INSERT INTO shop.events (id, label) VALUES (3, 'after it'), (2001, 'after it')"
replace events us eu; snap_all; promote events eu
q eu "UPDATE shop.events SET label = 'meanwhile' WHERE id = 340"
unfence us
filed eu us 3; repaired eu; all_agree
expect "rows at us" "$(q us "SELECT count(*) || ' ' || count(*) FILTER (WHERE label = 'meanwhile') FROM shop.events")" "350 1"
decide eu

# --- a session holds a lock at the home, and then another one where the rows were lost: nobody says
# that they are repaired before they are
hold() { # AT SQL: a session that has run SQL and does not end its transaction
    q "$1" "BEGIN; $2; SELECT pg_sleep(600)" >/dev/null 2>&1 &
    wait_for "a session holds" "$1" "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
}
let_go() { q "$1" "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'" >/dev/null; }
unrepaired() { q "$1" "SELECT coalesce(sum((t->>'unrepaired')::int), 0) FROM jsonb_array_elements(meridian.agent_status()->'tail') t WHERE t->>'origin' = '$2'"; }
fence eu
q eu "UPDATE shop.events SET label = 'lost by eu' WHERE id = 11" "INSERT INTO shop.events (id, label) VALUES (3001, 'lost by eu')"
replace events eu us; snap_all; promote events us
hold us "LOCK TABLE shop.events IN ROW EXCLUSIVE MODE"
hold eu "SELECT FROM shop.events WHERE id = 11 FOR UPDATE"
unfence eu
filed us eu 2
synced eu us
expect "the position is past it, and it is not repaired" "$(unrepaired us eu)" 2
sleep 1.2
expect "nor in the end, while the lock is held" "$(unrepaired us eu)" 2
let_go us
wait_for "the repair is sent" us "SELECT sum((t->>'unrepaired')::int) = 0 FROM jsonb_array_elements(meridian.agent_status()->'tail') t WHERE t->>'origin' = 'eu'"
through=$(q us "SELECT meridian.agent_status()->>'through_lsn'")
sleep 0.5
expect "it is not applied where the rows were lost" "$(applied eu us "$through") $(q eu "SELECT label FROM shop.events WHERE id = 11")" "f lost by eu"
let_go eu
all_agree
expect "now it is" "$(applied eu us "$through") $(q eu "SELECT label FROM shop.events WHERE id = 11")" "t early"
decide us

# --- who repaired past its cut, is home again and has not met the origin since, knows that it is not repaired
fence us
q us "UPDATE shop.events SET label = 'lost by us' WHERE id = 12"
replace events us eu; snap_all; promote events eu
synced eu us ap
fence eu
takes eu us
filed eu us 1; repaired eu
refuses eu us
replace events eu ap; snap_all; promote events ap
unfence eu
filed ap us 1                       # as eu told it, in what it lost
synced eu ap; synced ap eu
expect "marked in vain" "$(unrepaired eu us) $(unrepaired ap us)" "0 1"
replace events ap eu; snap_all; promote events eu
expect "home again" "$(unrepaired eu us)" 1
unfence us
repaired eu; all_agree
expect "the home's row" "$(q us "SELECT label FROM shop.events WHERE id = 12")" early
decide eu
