# What the lost tail of a home holds besides rows: DDL, rows that depend on it, and epochs that
# nobody remembers.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

problems() { q "$1" "SELECT p FROM jsonb_array_elements_text(meridian.agent_status()->'problems') p WHERE p NOT LIKE '%is not attached%'"; }
entries() { q "$1" "SELECT string_agg(operation || ' ' || relation, ', ' ORDER BY commit_lsn, seq) FROM meridian.reconcile WHERE status = 'open'"; }

REGIONS=()
region_new us; snap us; region_up us; configure us
q us "CREATE SCHEMA shop" "CREATE TYPE shop.mood AS ENUM ('sad', 'ok')" \
    "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text, mood shop.mood, at timestamptz)" \
    "CREATE TABLE shop.accounts (id int PRIMARY KEY, balance int NOT NULL)" \
    "INSERT INTO shop.events (id, label, mood) SELECT i, 'early', 'ok' FROM generate_series(1, 20) i"
for r in eu ap; do region_new $r; snap_all; region_up $r; configure $r; done
synced us eu ap; synced eu us ap; synced ap us eu

# --- DDL in a tail: filed with the rows that depend on it, and what comes behind it flows
fence us
q us "ALTER TABLE shop.events ADD COLUMN extra int[] DEFAULT '{1,2}'" \
    "UPDATE shop.events SET extra = '{3}', label = 'with the column', at = '2026-01-02 03:04:05.678901+00' WHERE id = 2" \
    "ALTER TYPE shop.mood ADD VALUE 'mad'" "UPDATE shop.events SET mood = 'mad' WHERE id = 3" \
    "CREATE TABLE shop.types (id int PRIMARY KEY, n numeric)" "INSERT INTO shop.types VALUES (1, 1.50)" \
    "DELETE FROM shop.events WHERE id = 4" "INSERT INTO shop.events (id, label) VALUES (1001, 'after the DDL')"
replace events us eu; replace schema us eu; snap_all; promote events eu; promote schema eu
q eu "UPDATE shop.events SET label = 'meanwhile' WHERE id = 3"
unfence us
filed eu us 8
want='ddl , update shop.events, ddl , update shop.events, ddl , insert shop.types, delete shop.events, insert shop.events'
expect "filed at eu" "$(entries eu)" "$want"
repaired eu; synced us eu ap; synced eu us ap; synced ap us eu
expect "filed at ap" "$(entries ap)" "$want"
expect "filed at us, too" "$(entries us)" "$want"
expect "images" "$(q ap "SELECT string_agg(after::text, ' ' ORDER BY commit_lsn, seq) FROM meridian.reconcile WHERE relation = 'shop.types' OR after->>'id' = '2'")" \
    '{"at": "2026-01-02T03:04:05.678901+00:00", "id": 2, "mood": "ok", "extra": [3], "label": "with the column"} {"n": 1.50, "id": 1}'
expect "the statement" "$(q us "SELECT after #>> '{}' FROM meridian.reconcile WHERE operation = 'ddl' ORDER BY commit_lsn LIMIT 1")" \
    "ALTER TABLE shop.events ADD COLUMN extra int[] DEFAULT '{1,2}'"
rows() { q "$1" "SELECT md5(string_agg(concat_ws(' ', id, label, mood, at), E'\n' ORDER BY id)) FROM shop.events"; }
expect "the home's rows, in the columns that it has" "$(rows us)" "$(rows eu)"
expect "us says what is to be done" "$(problems us | grep -c 'only here: .*(revert it here .*then discard us:')" 3
expect "the others have nothing to revert" "$(problems eu)$(problems ap)" ""

# --- an image with a column, or for a table, that is not there is not applied unasked
id() { q eu "SELECT id FROM meridian.reconcile WHERE $1 ORDER BY commit_lsn, seq LIMIT 1"; }
err=$(q eu "SELECT meridian.reconcile_apply('$(id "after->>'id' = '2'")')" 2>&1) && die "applied without the column"
[[ $err = *'"shop.events" has no column "extra"'* ]] || die "$err"
err=$(q eu "SELECT meridian.reconcile_apply('$(id "relation = 'shop.types'")')" 2>&1) && die "applied without the table"
[[ $err = *'there is no table "shop.types"'* ]] || die "$err"
q eu "SELECT meridian.reconcile_apply('$(id "after->>'id' = '2'")', true)" >/dev/null
synced eu us ap
expect "forced" "$(q us "SELECT label || ' ' || extra::text FROM shop.events WHERE id = 2")" "with the column {3}"
expect "and elsewhere" "$(q ap "SELECT label || ' ' || at FROM shop.events WHERE id = 2")" "with the column 2026-01-02 03:04:05.678901+00"

# --- a person reverts it, and the regions are alike
q us "SET meridian.restoring = on" "ALTER TABLE shop.events DROP COLUMN extra" "DROP TABLE shop.types" >/dev/null
decide eu
synced eu us ap; same shop.events
expect "no problem is left" "$(problems us)" ""
q eu "ALTER TABLE shop.events ADD COLUMN extra text" "UPDATE shop.events SET extra = 'now everywhere'"
synced eu us ap; same shop.events

# --- a key that does not fit the home's table: that row cannot be repaired, which is said; the rest is
q eu "CREATE TABLE shop.pair (id int PRIMARY KEY, v text)" "INSERT INTO shop.pair VALUES (1, 'early'), (2, 'early')"
synced eu us ap
fence eu
q eu "ALTER TABLE shop.pair ALTER id TYPE text" "INSERT INTO shop.pair VALUES ('abc', 'lost')" "UPDATE shop.pair SET v = 'lost' WHERE id = '2'"
replace events eu us; replace schema eu us; snap_all; promote events us; promote schema us
unfence eu
filed us eu 3
wait_for "the row that fits is repaired" us "SELECT repaired_epoch IS NOT NULL FROM meridian.reconcile WHERE status = 'open' AND operation = 'update'"
synced us eu
expect "it is" "$(q eu "SELECT v FROM shop.pair WHERE id = '2'")" early
expect "the other is not, and us says so" "$(problems us | grep -c '1 changes of shop.pair that region "eu" lost cannot be repaired there: invalid input syntax for type integer: "abc"')" 1
# what a person does there behind the guard's back is nobody's change: it is filed, whatever the table is elsewhere
q eu "SET meridian.restoring = on" "ALTER TABLE shop.pair DISABLE TRIGGER ALL" "DELETE FROM shop.pair WHERE id = 'abc'" \
    "ALTER TABLE shop.pair ALTER id TYPE int USING id::int" "ALTER TABLE shop.pair ENABLE ALWAYS TRIGGER meridian_guard"
filed us eu 4
synced eu us
same shop.pair
decide us

# --- it costs the entries around it a step each, and those behind them nothing
fence us
q us "ALTER TABLE shop.pair ALTER id TYPE text" "INSERT INTO shop.pair SELECT CASE i WHEN 150 THEN 'abc' ELSE (1000 + i)::text END, 'lost' FROM generate_series(1, 1000) i"
replace events us eu; replace schema us eu; snap_all; promote events eu; promote schema eu
unfence us
filed eu us 1001
wait_for "all but one are repaired" eu "SELECT count(*) = 1000 FROM meridian.reconcile_entry WHERE status = 'open' AND repaired_epoch IS NOT NULL"
steps=$(q eu "SELECT count(DISTINCT repaired_lsn) FROM meridian.reconcile_entry WHERE status = 'open'")
[ "$steps" -le 120 ] || die "the repair of 1000 rows, one of which does not fit, took $steps steps"
q us "SET meridian.restoring = on" "ALTER TABLE shop.pair DISABLE TRIGGER ALL" "DELETE FROM shop.pair WHERE id = 'abc'" \
    "ALTER TABLE shop.pair ALTER id TYPE int USING id::int" "ALTER TABLE shop.pair ENABLE ALWAYS TRIGGER meridian_guard"
filed eu us 1002
synced us eu; synced eu us ap; synced ap us
same shop.pair
decide eu
synced eu us ap                     # or the decisions are lost with what eu loses
replace events eu us; replace schema eu us; snap_all; promote events us; promote schema us

# --- a tail of an epoch that is not remembered any more: who had all that counts of it knows that
# it is lost; who had not must not guess
replace events us eu; replace schema us eu; snap_all; promote events eu
refuses ap us                       # which will not have heard of any later epoch
fence eu
q eu "UPDATE shop.events SET label = 'long ago' WHERE id = 5"
replace events eu us; snap us; snap eu; promote events us
q us "UPDATE shop.events SET label = 'by us' WHERE id = 6"
wait_for "us is past it" us "SELECT epoch >= ${EPOCH[events]} FROM meridian.settled WHERE class = 'events'"
old=${CLOSED[events]}
CLOSED[events]=
for e in $(seq 10 25); do CLOSED[events]+=" closed=$e:$([ $((e % 2)) = 0 ] && echo us || echo eu):1:5:0"; done
EPOCH[events]=26 PART[events/all]="home=us epoch=26 ${CLOSED[events]}"
snap us; promote events us
takes us eu
filed us eu 1
expect "filed" "$(q us "SELECT after->>'label' FROM meridian.reconcile WHERE status = 'open'")" "long ago"
snap eu; ORDER[eu/us]=run; snap eu
repaired us; synced us eu
expect "repaired" "$(q eu "SELECT label FROM shop.events WHERE id = 5")" "early"
ORDER[ap/us]=run ORDER[ap/eu]=run; snap ap
wait_for "ap says that it must be copied anew" ap "SELECT x->>'error' LIKE '%older than is remembered%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
expect "ap files nothing that may count" "$(q ap "SELECT count(*) FROM meridian.reconcile WHERE status = 'open'")" 0

# --- what a region says of itself without the home's stamp is not taken, and stops no stream
q us "SELECT pg_logical_emit_message(true, 'meridian.entry', decode('01' || '0600' || encode('events', 'hex') || '0300' || encode('all', 'hex')
    || '0200' || encode('us', 'hex') || repeat('00', 8) || '07000000' || '0100000000000000' || repeat('00', 8) || '0600' || encode('shop.x', 'hex')
    || '0600' || encode('insert', 'hex') || '0400' || encode('open', 'hex') || '0000' || repeat('00', 8) || '0000', 'hex'))" >/dev/null
synced us eu
expect "nothing is filed" "$(q eu "SELECT count(*) FROM meridian.reconcile WHERE relation = 'shop.x'")" 0
