# A failover goes on without a replica that is down and had applied more than anybody who was
# asked. When it is back, that is filed like any lost tail, its rows give way to the home's, and
# until then it is not fit to be home: whether the old home returns later, before it, or never.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

rows() { q "$1" "SELECT string_agg(id || ' ' || label, ', ' ORDER BY id) FROM shop.events"; }
entries() { q "$1" "SELECT string_agg(operation || ' ' || coalesce(before->>'label', '-') || ' ' || coalesce(after->>'label', '-'), ', ' ORDER BY commit_lsn, seq) FROM meridian.reconcile WHERE status = 'open' AND origin = '$2'"; }
status_of() { q "$1" "SELECT concat_ws(' ', p->>'compared_epoch', p->>'covered') FROM jsonb_array_elements(meridian.agent_status()->'partitions') p WHERE p->>'class' = '$2'"; }
past() { q "$1" "SELECT count(*) FROM jsonb_array_elements_text(to_jsonb(meridian.take_audit())) x WHERE x LIKE 'event=replica.past_cut %class=events %'"; }
whole() { TRIES=600 wait_for "$1 holds events" "$1" "SELECT p->>'compared_epoch' = '${EPOCH[events]}' AND (p->>'covered')::bool FROM jsonb_array_elements(meridian.agent_status()->'partitions') p WHERE p->>'class' = 'events'"; }
down() { pg_stop "$ROOT/$1" immediate; }
up() { snap "$1"; pg_start "$ROOT/$1"; }
settled() { unset 'CLOSED[events]'; }       # every region has said that it holds what counts

for r in us eu ap; do region_new $r; done
snap_all
for r in us eu ap; do region_up $r; configure $r; done
for a in us eu ap; do for b in us eu ap; do
    [ $a = $b ] || TRIES=600 wait_for "$a streams from $b" $a "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$b'"
done; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text, big text)" "CREATE TABLE shop.accounts (id int PRIMARY KEY)" \
    "INSERT INTO shop.events SELECT i, 'early', repeat(md5(i::text), 300) FROM generate_series(1, 4) i"
synced us eu ap; synced eu us ap; synced ap us eu

# --- the old home does not return: what it wrote last is only at ap, which was down
refuses eu us
q us "INSERT INTO shop.events VALUES (10, 'lost')" "BEGIN; UPDATE shop.events SET label = 'lost' WHERE id = 1; DELETE FROM shop.events WHERE id = 2; COMMIT"
synced us ap
down ap; down us
replace events us eu ap; snap eu
promote events eu
q eu "UPDATE shop.events SET label = 'by eu' WHERE id = 3"
expect "nobody else knows of it" "$(q eu "SELECT count(*) FROM meridian.reconcile")" 0
# its own WAL cannot be read for now, and that stops no stream
ORDER[ap/us]=refuse; snap ap
echo "max_replication_slots = 2" >>"$ROOT/ap/data/postgresql.auto.conf"; pg_start "$ROOT/ap"
TRIES=600 wait_for "it says why it is not fit" ap "SELECT meridian.agent_status()->>'problems' LIKE '%past a cut is not filed yet: all replication slots are in use%'"
wait_for "its stream runs" ap "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
synced eu ap
expect "it is not fit" "$(status_of ap events | cut -d' ' -f1)" 0
down ap; sed -i /max_replication_slots/d "$ROOT/ap/data/postgresql.auto.conf"; up ap
whole ap
expect "no problem is left" "$(q ap "SELECT meridian.agent_status()->>'problems' LIKE '%past a cut%'")" f
synced eu ap; synced ap eu
expect "filed at ap" "$(entries ap us)" "insert - lost, update early lost, delete early -"
expect "filed at eu" "$(entries eu us)" "insert - lost, update early lost, delete early -"
expect "the images are whole" "$(q eu "SELECT count(*) FROM meridian.reconcile WHERE before->>'big' IS NOT NULL AND (after IS NULL OR after->>'big' = before->>'big')")" 2
expect "ap has the home's rows" "$(rows ap)" "1 early, 2 early, 3 by eu, 4 early"
expect "it said so" "$(past ap)" 1
# and then it does, with more
up us
takes eu us; takes ap us
filed eu us 3; repaired eu
all_agree
expect "filed once" "$(entries us us)" "insert - lost, update early lost, delete early -"
expect "us has the home's rows" "$(rows us)" "1 early, 2 early, 3 by eu, 4 early"
decide eu

# --- what ap had was nothing but heartbeats: nothing is copied
settled; PART[events/all]="home=eu epoch=${EPOCH[events]}"; snap_all
copied=$(q ap "SELECT copied_at FROM meridian.copied WHERE relid = 'shop.events'::regclass")
refuses us eu
beat eu >/dev/null; synced eu ap
refuses ap eu
replace events eu us ap; snap_all
promote events us
whole ap
expect "not copied again" "$(q ap "SELECT copied_at FROM meridian.copied WHERE relid = 'shop.events'::regclass")" "$copied"
expect "though it was past the cut" "$(q ap "SELECT count(*) FROM meridian.past_cut WHERE epoch = 2 AND reached > cut AND compared_at IS NOT NULL") $(past ap)" "1 0"
takes us eu; takes ap eu
all_agree

# --- the old home is back before the replica: it has told of its tail already
settled; PART[events/all]="home=us epoch=${EPOCH[events]}"; snap_all
refuses eu us
q us "INSERT INTO shop.events VALUES (20, 'lost too')"
synced us ap
q us "INSERT INTO shop.events VALUES (21, 'never left us')"
down ap
replace events us eu ap; snap us; snap eu
promote events eu
takes eu us
filed eu us 2; repaired eu
q eu "INSERT INTO shop.events VALUES (22, 'by eu')"
synced eu us; synced us eu
expect "not before it has looked" "$(q eu "SELECT count(*) FROM meridian.past_cut")" 0
up ap
whole ap
all_agree
expect "filed once everywhere" "$(entries ap us)" "insert - lost too, insert - never left us"
expect "the home's rows" "$(rows ap)" "1 early, 2 early, 3 by eu, 4 early, 22 by eu"
decide eu

# --- it lives, and had not heard of the cut yet: it looks before it applies anything more; and a
# home in need is not lent what does not count
settled; PART[events/all]="home=eu epoch=${EPOCH[events]}"; snap_all
refuses us eu
q eu "INSERT INTO shop.events VALUES (30, 'lost three')"
synced eu ap
replace events eu us ap; snap us; snap eu
promote events us
q us "INSERT INTO shop.events VALUES (31, 'by us')"
fault ap cover-copied:4000          # a copy that takes its time is not begun again and again
expect "asked before it has looked" "$(snap ap; q ap "SELECT meridian.holds('events', 'all', ${EPOCH[events]}) IS NULL")" t
whole ap
fault ap ''
takes us eu
filed us eu 1; repaired us
all_agree
expect "the home's rows" "$(rows ap)" "1 early, 2 early, 3 by eu, 4 early, 22 by eu, 31 by us"

# --- it was away while the home moved twice: each cut is looked at
decide us
settled; PART[events/all]="home=us epoch=${EPOCH[events]}"; snap_all
refuses eu us
q us "INSERT INTO shop.events VALUES (40, 'lost four')"
synced us ap
down ap; down us
replace events us eu ap; snap eu
promote events eu
up us; takes eu us
filed eu us 1; repaired eu
synced eu us; synced us eu
refuses us eu
replace events eu us ap; snap us; snap eu
promote events us
takes us eu
up ap
whole ap
expect "both" "$(q ap "SELECT count(*) FROM meridian.past_cut WHERE compared_at IS NOT NULL AND epoch IN ($((EPOCH[events] - 2)), $((EPOCH[events] - 1)))")" 2
all_agree
expect "the home's rows" "$(rows ap)" "1 early, 2 early, 3 by eu, 4 early, 22 by eu, 31 by us"

# --- its rows past the cut are not in its WAL as transactions of the lost home: they came with a
# copy, or the slot that would keep them was made again since. Nothing shows them, so they are replaced
for how in copied remade; do
    decide us; takes eu us; takes ap us; takes us eu
    settled; PART[events/all]="home=us epoch=${EPOCH[events]}"; snap_all
    synced us eu ap
    refuses eu us
    [ $how = remade ] || refuses ap us
    q us "INSERT INTO shop.events VALUES (50, '$how')"
    if [ $how = copied ]; then
        q ap "SELECT meridian.copy_again('us')" >/dev/null; takes ap us
        TRIES=600 wait_for "ap has copied it" ap "SELECT count(*) = 1 FROM shop.events WHERE id = 50"
        TRIES=600 synced us ap
    else
        synced us ap; synced ap us
        refuses eu ap
        q eu "SELECT meridian.copy_again('ap')" >/dev/null; takes eu ap
        TRIES=600 synced ap eu
    fi
    down ap; down us
    replace events us eu ap; snap eu
    promote events eu
    ORDER[ap/us]=refuse; up ap
    whole ap
    expect "the home's rows, not what was $how" "$(rows ap)" "$(rows eu)"
    expect "it says that there may be more" "$(q ap "SELECT count(*) FROM jsonb_array_elements_text(to_jsonb(meridian.take_audit())) x WHERE x LIKE 'event=replica.past_cut %class=events %complete=no%'")" 1
    up us; takes eu us; takes ap us
    filed eu us 1; repaired eu
    all_agree
    decide eu
    # us is home again
    settled; PART[events/all]="home=eu epoch=${EPOCH[events]}"; snap_all
    replace events eu us; snap_all
    promote events us
done

# --- it was away for more than is remembered: nobody can say what it may be past
mark() { q ap "SELECT epoch FROM meridian.copied WHERE relid = 'shop.events'::regclass"; }
old=$(mark) first=$((EPOCH[events] + 5)) history=
us_at=$(number "$(applied_of ap us)") eu_at=$(number "$(applied_of ap eu)")
for e in $(seq $first 2 $((first + 14))); do history="$history closed=$e:us:$us_at:5:0$([ $e != $first ] || echo :ap) closed=$((e + 1)):eu:$eu_at:5:0"; done
EPOCH[events]=$((first + 16))
PART[events/all]="home=us epoch=${EPOCH[events]} $history"; snap us; snap eu; snap ap
wait_for "ap has looked" ap "SELECT count(*) = 1 FROM meridian.past_cut WHERE epoch >= $first"
promote events us
TRIES=600 wait_for "ap copies it again" ap "SELECT epoch = ${EPOCH[events]} AND epoch > $old FROM meridian.copied WHERE relid = 'shop.events'::regclass"
whole ap
expect "past none that is remembered" "$(q ap "SELECT count(*) FILTER (WHERE reached > cut) || ' ' || count(*) FROM meridian.past_cut WHERE epoch >= $first")" "0 1"

# --- a region that holds less than it should hands on a deletion all the same
settled; PART[events/all]="home=us epoch=${EPOCH[events]}"; snap_all
synced us eu ap; synced ap us eu
q ap "SELECT pg_replication_origin_create('damage')" >/dev/null
q ap "SELECT pg_replication_origin_session_setup('damage')" "SET meridian.restoring = on" "ALTER TABLE shop.events DISABLE TRIGGER ALL" \
    "DELETE FROM shop.events WHERE id = 4" "ALTER TABLE shop.events ENABLE ALWAYS TRIGGER meridian_guard" >/dev/null
refuses eu us
q us "DELETE FROM shop.events WHERE id = 4"
synced us ap
down us
ORDER[ap/us]=refuse; replace events us ap; snap ap
ORDER[eu/us]="forward via=ap"; snap eu
wait_for "eu is handed it" eu "SELECT count(*) = 0 FROM shop.events WHERE id = 4"
