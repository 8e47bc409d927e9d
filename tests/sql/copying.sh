# While eu copies a table again, the rest of the stream goes on: changes of other tables arrive and
# are acknowledged, and what changes in the copied table meanwhile is done behind the copy. Whatever
# ends the copy, it is made again, and the table is the home's in the end.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

stream() { q "$1" "SELECT x->>'$3' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$2'"; }
worker() { q eu "SELECT coalesce((SELECT pid FROM pg_stat_activity WHERE query = '$1' AND backend_type = 'meridian apply'), 0)"; }
gap() { q eu "DELETE FROM meridian.copied WHERE relid = '$1'::regclass"; }
# eu copies TABLE from us, and stays just before the end for so long
slow_copy() { # TABLE MS
    fault eu "cover-copied:$2"; gap "$1"
    q eu "DELETE FROM meridian.conflict_count"
    wait_for "eu copies $1" eu "SELECT copying LIKE 'copies rows%' FROM meridian.links WHERE region = 'us'"
    wait_for "its rows" eu "SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.query = 'copying from us' AND l.relation = '$1'::regclass AND l.mode = 'RowExclusiveLock'"
    sleep 0.3; fault eu ''
}
no_gaps() { TRIES=600 wait_for "eu holds all that it ought to" eu "SELECT count(*) = 0 FROM meridian.gaps WHERE partition <> 'ap'"; }
whole() { no_gaps; synced us eu; same "$1"; }
exact() { # TABLE: copied, and nothing had to be guessed
    whole "$1"
    expect "exactly" "$(q eu "SELECT count(*) FROM meridian.conflict_count")" 0
}
dropped=
churn() { # NUMBER: every kind of change of rows that are being copied, some of them several times
    q us "INSERT INTO shop.events SELECT $1 * 10000 + i, 'new' FROM generate_series(1, 50) i" \
        "UPDATE shop.events SET body = 'changed $1', big = big WHERE id % 10 = $1 % 10" \
        "UPDATE shop.events SET id = id + 500 WHERE id BETWEEN $1 * 10000 + 1 AND $1 * 10000 + 5" \
        "UPDATE shop.events SET big = repeat(md5('$1'), 300) WHERE id = $1" \
        "DELETE FROM shop.events WHERE id % 100 = $1" \
        "INSERT INTO shop.events SELECT id + 1000000, 'again' FROM shop.events WHERE id % 997 = $1 ON CONFLICT DO NOTHING"
    [ -n "$dropped" ] || q us "INSERT INTO shop.parts SELECT 100000 + i * 100 + $1, $1 * 10000 + 40 + i FROM generate_series(1, 3) i"
}

region_new us "synchronous_standby_names = 'ANY 1 (meridian_eu, meridian_ap)'"
region_new eu "synchronous_standby_names = 'ANY 1 (meridian_us, meridian_ap)'" "log_min_messages = warning"
snap_all
for r in us eu; do region_up $r; configure $r; done
TRIES=600 wait_for "eu streams from us" eu "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
TRIES=600 wait_for "us streams from eu" us "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"
export CONFIG=2 MORE_TABLES=', "shop.parts"'
for r in us eu; do configure $r; done
q us "CREATE SCHEMA shop"
q us "CREATE TABLE shop.events (id bigint PRIMARY KEY, body text, big text)" "ALTER TABLE shop.events ALTER big SET STORAGE EXTERNAL" \
    "CREATE TABLE shop.parts (id bigint PRIMARY KEY, event bigint REFERENCES shop.events ON DELETE CASCADE)" \
    "CREATE TABLE shop.accounts (id int PRIMARY KEY, balance int NOT NULL)" \
    "INSERT INTO shop.events SELECT i, 'event ' || i, repeat(md5(i::text), 100) FROM generate_series(1, 5000) i" \
    "INSERT INTO shop.parts SELECT i, 5000 - i FROM generate_series(0, 500, 7) i"
synced us eu

# --- other tables of the same home are applied and acknowledged, while rows of the copied one change
slow_copy shop.events 12000
copier=$(worker 'copying from us')
through=$(stream eu us through_boot_ms)
for i in 1 2 3 4 5; do q us "INSERT INTO shop.accounts VALUES ($i, 10)"; churn $i; done
lsn=$(beat us)
wait_for "eu is where us was" eu "SELECT (x->>'applied_lsn')::pg_lsn >= '$lsn' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
expect "beside the copier" "$(worker 'copying from us')" "$copier"
expect "the copy is not there yet" "$(q eu "SELECT count(*) FROM meridian.gaps WHERE relation = 'shop.events'")" 1
expect "what is not copied is there" "$(q eu "SELECT count(*) FROM shop.accounts")" 5
expect "to readers here it is not" "$(stream eu us through_boot_ms)" "$through"
exact shop.events; same shop.parts
wait_for "then it is" eu "SELECT (x->>'through_boot_ms')::bigint > $through FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"

# --- both of two tables that refer to each other
fault eu cover-copied:2000; q eu "DELETE FROM meridian.copied WHERE relid IN ('shop.events'::regclass, 'shop.parts'::regclass)"
wait_for "eu copies both" eu "SELECT copying = 'copies rows of 2 partitions of tables' FROM meridian.links WHERE region = 'us'"
fault eu ''
for i in 6 7; do churn $i; done
exact shop.events; same shop.parts

# --- either worker is ended in the midst of it
slow_copy shop.events 2000
churn 8
q eu "SELECT pg_terminate_backend($(worker 'copying from us'))" >/dev/null
churn 9
whole shop.events
slow_copy shop.events 2000
churn 10
copier=$(worker 'copying from us') applier=$(worker us)
q eu "SELECT pg_terminate_backend($applier)" >/dev/null
wait_for "another one streams" eu "SELECT x->>'state' = 'streaming' AND (x->>'pid')::int NOT IN (0, $applier) FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
wait_for "nobody copies for who has gone" eu "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $copier"
churn 11
whole shop.events
n=20
for victim in 'copying from us' us; do
    slow_copy shop.events 1000
    churn $((n += 1))
    kill -9 "$(worker "$victim")"
    wait_for "eu is back" eu "SELECT pg_postmaster_start_time() IS NOT NULL AND x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
    churn $((n += 1))
    whole shop.events
done

# --- the home is refused in the midst of it: at once, and nothing of the copy is left
slow_copy shop.events 3000
churn 14
ORDER[eu/us]=refuse; snap eu
TRIES=20 wait_for "eu refuses us" eu "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
wait_for "nobody copies" eu "SELECT count(*) = 0 FROM pg_stat_activity WHERE query = 'copying from us'"
expect "nothing is marked" "$(q eu "SELECT count(*) FROM meridian.copied WHERE relid = 'shop.events'::regclass")" 0
ORDER[eu/us]=run; snap eu
churn 15
whole shop.events

# --- what is more than its rows: the copy does not count, and holds nothing up for long
slow_copy shop.parts 1500
q us "TRUNCATE shop.parts" "INSERT INTO shop.parts VALUES (1, NULL)"
whole shop.parts
slow_copy shop.events 1500
q us "ALTER TABLE shop.events ADD COLUMN more int DEFAULT 1" "UPDATE shop.events SET more = 2 WHERE id % 3 = 0"
whole shop.events
slow_copy shop.parts 1500
q us "DROP TABLE shop.parts"; dropped=1
synced us eu; no_gaps
expect "dropped" "$(q eu "SELECT to_regclass('shop.parts') IS NULL")" t

# --- what is done to other tables ends no copy; statements may, but not for ever
slow_copy shop.events 4000
copier=$(worker 'copying from us')
q us "TRUNCATE shop.accounts" "INSERT INTO shop.accounts VALUES (1, 10)"
lsn=$(beat us)
TRIES=100 wait_for "eu has emptied it" eu "SELECT (x->>'applied_lsn')::pg_lsn >= '$lsn' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
expect "the same copier" "$(worker 'copying from us')" "$copier"
exact shop.events; same shop.accounts
next_copier() { # it has copied, and is not the one before
    wait_for "another copy" eu "SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.query = 'copying from us' AND a.pid <> $copier AND l.relation = 'shop.events'::regclass AND l.mode = 'RowExclusiveLock'"
    copier=$(worker 'copying from us')
}
fault eu cover-copied:5000; gap shop.events
for i in 1 2 3; do next_copier; q us "ALTER TABLE shop.accounts ADD COLUMN c$i int"; done
next_copier
begin=$(date +%s%3N)
q us "ALTER TABLE shop.accounts ADD COLUMN c4 int" "INSERT INTO shop.accounts VALUES (90, 1)"
[ $(($(date +%s%3N) - begin)) -gt 800 ] || die "the stream did not wait for the copy"
whole shop.events
fault eu ''

# --- more changes than may be kept: the stream waits for the copy, and no longer
q eu "ALTER SYSTEM SET meridian.kept_limit = '1MB'" "SELECT pg_reload_conf()" >/dev/null
slow_copy shop.events 24000
applier=$(worker us)
# more than fits between the two, and for longer than a sender commonly waits for who does not read
for n in 0 1 2 3; do
    q us "UPDATE shop.events SET big = (SELECT string_agg(md5(i::text || shop.events.id), '') FROM generate_series(1, 250) i) WHERE id % 4 = $n"
done
begin=$(date +%s%3N)
q us "INSERT INTO shop.accounts VALUES (100, 1)"
[ $(($(date +%s%3N) - begin)) -gt 800 ] || die "nothing waited"
exact shop.events
expect "it was one stream" "$(worker us)" "$applier"
q eu "ALTER SYSTEM RESET meridian.kept_limit" "SELECT pg_reload_conf()" >/dev/null

# --- a lock here: its session is ended; a statement of another region: the copy gives way
q eu "ALTER SYSTEM SET meridian.lock_wait = '3s'" "SELECT pg_reload_conf()" >/dev/null
q eu "BEGIN" "LOCK shop.events IN SHARE MODE" "SELECT pg_sleep(60)" >/dev/null 2>&1 & holder=$!
wait_for "locked" eu "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'shop.events'::regclass AND mode = 'ShareLock' AND granted"
gap shop.events
begin=$(date +%s%3N)
wait_for "it says who holds up the copy" eu "SELECT blocked LIKE 'process % (psql, query of %) holds a lock on shop.events' FROM meridian.links WHERE region = 'us'"
no_gaps
[ $(($(date +%s%3N) - begin)) -lt 30000 ] || die "the lock held up the copy"
wait $holder && die "its session went on" || true
exact shop.events

# --- ap was not connected: what eu acknowledged and could not do yet, it hands on when us is lost
region_new ap "synchronous_standby_names = 'ANY 1 (meridian_us, meridian_eu)'"
snap_all; region_up ap; configure ap
for r in us eu; do TRIES=600 wait_for "ap streams from $r" ap "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$r'"; done
TRIES=600 wait_for "ap is whole" ap "SELECT count(*) = 0 FROM meridian.gaps"
synced us ap eu; synced eu ap; same shop.events
slow_copy shop.events 8000
refuses ap us
q us "INSERT INTO shop.accounts VALUES (200, 1)"; churn 16; churn 17
lsn=$(beat us)
TRIES=40 wait_for "eu has acknowledged them" eu "SELECT (x->>'applied_lsn')::pg_lsn >= '$lsn' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
want=$(q us "SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY id)) FROM shop.events t")
LEASE[us]=1; snap us
refuses eu us
replace events us eu; replace accounts us eu; HOME_OF[events]=ap HOME_OF[accounts]=ap
PART[events/all]="home=ap epoch=2 ${CLOSED[events]}" PART[accounts/all]="home=ap epoch=2 ${CLOSED[accounts]}"
ORDER[ap/us]="forward via=eu"; snap_all
BEAT=eu wait_for "ap is handed what eu has of us" ap "SELECT (x->>'applied_lsn')::pg_lsn >= '$(applied_of eu us)' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
expect "all of it" "$(q ap "SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY id)) FROM shop.events t")" "$want"
expect "and ap is whole" "$(q ap "SELECT count(*) FROM meridian.gaps WHERE class IN ('events', 'accounts')")" 0
promote events ap
q ap "INSERT INTO shop.events VALUES (999999, 'by ap')"
no_gaps; synced ap eu
expect "eu has it from ap" "$(q eu "SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY id)) FROM shop.events t")" "$(q ap "SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY id)) FROM shop.events t")"
