# Three regions: joining late, quorum, rescue of a dead home's changes by way of another region,
# the lost tail of a home that returns, and its repair.
set -eu
. "$(dirname "$0")/streams/lib.sh"

stream() { q "$1" "SELECT x->>'$3' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$2'"; }
number() { q us "SELECT '$1'::pg_lsn - '0/0'::pg_lsn" 2>/dev/null || q eu "SELECT '$1'::pg_lsn - '0/0'::pg_lsn"; }

# --- us has a schema and rows before anybody joins; eu has rows before ap joins
REGIONS=()
region_new us "synchronous_standby_names = 'ANY 1 (meridian_eu, meridian_ap)'"
snap us; region_up us
configure us
q us "CREATE SCHEMA shop" "CREATE TYPE shop.mood AS ENUM ('sad', 'ok')" \
    "CREATE TABLE shop.events (id bigint PRIMARY KEY, label text, mood shop.mood, double bigint GENERATED ALWAYS AS (id * 2) STORED, n int GENERATED ALWAYS AS IDENTITY UNIQUE)" \
    "CREATE TABLE shop.orders (home text NOT NULL, id bigint, item text, PRIMARY KEY (home, id))" \
    "CREATE TABLE shop.accounts (id int PRIMARY KEY, balance int NOT NULL)" \
    "INSERT INTO shop.events (id, label, mood) SELECT i, E'tab\\tline\\n' || i, 'ok' FROM generate_series(1, 500) i" \
    "INSERT INTO shop.orders SELECT 'us', i, 'early' FROM generate_series(1, 50) i"
region_new eu; snap us; snap eu; region_up eu; configure eu
synced us eu; same shop.events; same shop.orders
q eu "INSERT INTO shop.orders SELECT 'eu', i, 'early' FROM generate_series(1, 50) i"
region_new ap; snap_all; region_up ap; configure ap
synced us ap; synced eu ap us; synced ap us eu
same shop.events; same shop.orders
expect "ap joined" "$(q ap "SELECT count(*) FROM shop.orders")" 100
expect "attached where copied" "$(q ap "SELECT count(*) FROM meridian.attachment")" 3

# --- quorum: a commit returns when one other region has it on disk, and waits while none takes it
q us "INSERT INTO shop.accounts VALUES (1, 10)"
expect "acknowledged is there" "$(q eu "SELECT count(*) FROM shop.accounts")$(q ap "SELECT count(*) FROM shop.accounts")" "$(
    q eu "SELECT count(*) FROM shop.accounts")$(q ap "SELECT count(*) FROM shop.accounts")"
[ "$(q eu "SELECT count(*) FROM shop.accounts")$(q ap "SELECT count(*) FROM shop.accounts")" != 00 ] || die "acknowledged by nobody"
ORDER[ap/us]=refuse LEASE[eu]=1; snap eu; snap ap
wait_for "ap refuses us" ap "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
sleep 0.1; q us "INSERT INTO shop.accounts VALUES (2, 20)" & w=$!
wait_for "the commit waits" us "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
wait_for "eu waits for its lease" eu "SELECT x->>'state' = 'paused' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
LEASE[eu]=600000; snap eu
wait $w || die "quorum commit failed"
synced us eu
expect "eu has it" "$(q eu "SELECT count(*) FROM shop.accounts")" 2
expect "ap has not" "$(q ap "SELECT count(*) FROM shop.accounts")" 1

# --- while ap lacks what us did, eu's slot for ap keeps it, however long eu goes on
slot() { q eu "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'meridian_ap'"; }
q us "INSERT INTO shop.events (id, label) SELECT i, 'rescued' FROM generate_series(1001, 1100) i"
synced us eu
before=$(slot)
for i in 1 2 3; do q eu "INSERT INTO shop.orders VALUES ('eu', 100 + $i, 'later')"; beat eu >/dev/null; done
synced eu ap
sleep 1.2; beat eu >/dev/null; synced eu ap
behind=$(q eu "SELECT '$(slot)'::pg_lsn < (SELECT (x->>'applied_lsn')::pg_lsn FROM jsonb_array_elements('$(q ap "SELECT meridian.stream_states()")'::jsonb) x WHERE x->>'origin' = 'eu')")
expect "the slot is held back" "$behind" t
expect "ap still lacks them" "$(q ap "SELECT count(*) FROM shop.events WHERE label = 'rescued'")" 0

# --- us writes on, unseen; then the survivors give it up: cut, new home, and ap takes the rest by way of eu
ORDER[eu/us]=refuse; snap eu
wait_for "eu refuses us" eu "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q us "BEGIN; INSERT INTO shop.events (id, label) VALUES (2001, 'lost'); UPDATE shop.events SET label = 'lost update' WHERE id = 1; COMMIT" \
    "DELETE FROM shop.events WHERE id = 2" "UPDATE shop.events SET id = 3003 WHERE id = 3" "UPDATE shop.events SET label = 'lost too' WHERE id = 4"
cut=$(stream eu us applied_lsn)
ORDER[ap/us]="forward via=eu"; snap ap
BEAT=eu wait_for "ap has all that eu has of us" ap "SELECT (x->>'applied_lsn')::pg_lsn >= '$cut' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
expect "rescued" "$(q ap "SELECT count(*) FROM shop.events WHERE label = 'rescued'")" 100
expect "accounts rescued" "$(q ap "SELECT count(*) FROM shop.accounts")" 2
expect "by way of" "$(stream ap us via)" eu
PART[events/all]="home=eu epoch=2 closed=1:us:$(number "$cut"):5:0"; snap eu; snap ap
ORDER[ap/us]=refuse; snap ap
q eu "SELECT meridian.promote('events', 'all', 2)" >/dev/null
q eu "INSERT INTO shop.events (id, label) VALUES (4001, 'new home')" "UPDATE shop.events SET label = 'new home too' WHERE id = 4"
synced eu ap
sum() { q "$1" "SELECT md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM shop.events t"; }
expect "survivors agree" "$(sum eu)" "$(sum ap)"

# --- us returns: its tail is put aside everywhere, its copies are repaired, all agree
# (ap still takes us by way of eu at first: eu puts the tail aside, which is not taking it along)
snap us
ORDER[eu/us]=run ORDER[ap/us]="forward via=eu"; snap eu; snap ap
synced us eu
for _ in 1 2 3; do beat eu >/dev/null; sleep 0.1; done; synced eu ap
expect "by way of eu no further than the cut" "$(q ap "SELECT (x->>'applied_lsn')::pg_lsn <= '$cut' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'")" t
ORDER[ap/us]=run; snap ap
synced us eu ap; synced eu us ap; synced ap us eu
wait_for "the tail arrived" eu "SELECT count(*) >= 5 FROM meridian.reconcile_entry"
synced eu us ap
same shop.events; same shop.orders; same shop.accounts
expect "tail" "$(q eu "SELECT string_agg(operation || ' ' || coalesce(before->>'id', '-') || ' ' || coalesce(after->>'id', '-') || ' ' || coalesce(after->>'label', '') || ' ' || status, '; ' ORDER BY commit_lsn, seq) FROM meridian.reconcile_entry")" \
    "insert - 2001 lost open; update 1 1 lost update open; delete 2 -  open; update 3 3003 $(q eu "SELECT label FROM shop.events WHERE id = 3") open; update 4 4 lost too open"
same_queue ap eu
same_queue us eu # which lost it
expect "repaired by" "$(q us "SELECT string_agg(DISTINCT repaired_epoch::text, ' ') FROM meridian.reconcile")" 2
expect "tail status" "$(q eu "SELECT x->>'transactions' || ' ' || (x->>'rows') || ' ' || (x->>'open') FROM jsonb_array_elements(meridian.agent_status()->'tail') x")" "4 5 5"
expect "us has the home's row" "$(q us "SELECT label FROM shop.events WHERE id = 4")" "new home too"
expect "the lost insert is gone" "$(q us "SELECT count(*) FROM shop.events WHERE id IN (2001, 3003)")" 0
expect "the lost delete is back" "$(q us "SELECT count(*) FROM shop.events WHERE id = 2")" 1

# --- decisions at the home hold everywhere; what nobody touched can be repeated
first=$(q eu "SELECT origin || ':' || commit_lsn FROM meridian.reconcile_entry ORDER BY commit_lsn LIMIT 1")
last=$(q eu "SELECT origin || ':' || commit_lsn FROM meridian.reconcile_entry ORDER BY commit_lsn DESC LIMIT 1")
q eu "SELECT * FROM meridian.reconcile_apply('$first')" >/dev/null
if q eu "SELECT * FROM meridian.reconcile_apply('$last')" 2>/dev/null; then die "applied over the new home's change"; fi
q eu "SELECT * FROM meridian.reconcile_discard('$last')" >/dev/null
synced eu us ap
same shop.events
expect "applied" "$(q us "SELECT label FROM shop.events WHERE id = 2001")" lost
expect "decided at ap" "$(q ap "SELECT string_agg(status, ' ' ORDER BY commit_lsn, seq) FROM meridian.reconcile_entry")" "applied applied open open discarded"
same_queue us eu

# --- a region without a lease of its own takes nothing until it has one
LEASE[ap]=1; snap ap; sleep 0.2
q eu "INSERT INTO shop.events (id, label) VALUES (5001, 'while ap may not')"
lsn=$(beat eu); sleep 0.5
expect "paused" "$(stream ap eu state)$(q ap "SELECT count(*) FROM shop.events WHERE id = 5001")" paused0
LEASE[ap]=600000; snap ap
synced eu ap us; same shop.events

# --- a home moves on while ap lacks the last it wrote: what the next home writes waits for that
ORDER[ap/eu]=refuse; snap ap
wait_for "ap takes nothing from eu" ap "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
q eu "UPDATE shop.events SET label = 'before the move' WHERE id = 10"
synced eu us
ended=$(stream us eu applied_lsn)
PART[events/all]="home=us epoch=3 closed=1:us:$(number "$cut"):5:0 closed=2:eu:$(number "$ended"):5:0"; snap us; snap eu
q us "SELECT meridian.promote('events', 'all', 3)" >/dev/null
q us "UPDATE shop.events SET label = 'after the move' WHERE id = 10"
sleep 0.5
expect "ap has not heard of the epoch, and waits" "$(q ap "SELECT label IN ('before the move', 'after the move') FROM shop.events WHERE id = 10")" f
snap ap; sleep 0.7
expect "ap lacks the end of the epoch before, and waits" "$(q ap "SELECT label IN ('before the move', 'after the move') FROM shop.events WHERE id = 10")" f
wait_for "it says so" ap "SELECT x->>'error' LIKE '%earlier home%' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
ORDER[ap/eu]=run; snap ap
synced eu ap; synced us eu ap
expect "the newer value stays" "$(q ap "SELECT label FROM shop.events WHERE id = 10")" "after the move"
same shop.events

# --- a home is replaced whose last word was no change: its successor's first changes must not
# wait for a position that comes only behind them
ORDER[ap/us]=refuse; snap ap
wait_for "ap takes nothing from us" ap "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
q us "UPDATE shop.events SET label = 'unseen by ap' WHERE id = 11"
synced us eu
ORDER[eu/us]=refuse; snap eu
wait_for "eu takes nothing from us" eu "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
PART[events/all]="home=eu epoch=4 ${PART[events/all]#* epoch=3 } closed=3:us:$(number "$(stream eu us applied_lsn)"):5:0"; snap eu
q eu "SELECT meridian.promote('events', 'all', 4)" >/dev/null
q eu "UPDATE shop.events SET label = 'the successor' WHERE id = 11"
sleep 0.3
ORDER[ap/us]="forward via=eu"; snap ap
synced eu ap
expect "the successor's value" "$(q ap "SELECT label FROM shop.events WHERE id = 11")" "the successor"
snap us
ORDER[eu/us]=run ORDER[ap/us]=run; snap eu; snap ap
synced us eu ap; synced eu us ap
same shop.events
