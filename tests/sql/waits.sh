# Waiting: planned moves, drains, quorum commits, cancel; what happens while time passes.
set -eu
q() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
die() { echo "failed: $*"; exit 1; }
expect() { [ "$2" = "$3" ] || die "$1: got \"$2\", want \"$3\""; }
wait_for() { # DESCRIPTION SQL: until it says t, at most 5 s
    for _ in $(seq 100); do
        [ "$(q -c "$2")" != t ] || return 0
        sleep 0.05
    done
    die "never: $1"
}
out=$(mktemp); trap 'rm -f "$out"' EXIT

# --- a frozen partition lets a write wait, and it goes on when the move is called off
snap events/all=state=frozen
q -c "INSERT INTO shop.events VALUES (1, 'waited')" >"$out" 2>&1 & w=$!
wait_for "writer waits" "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'INSERT%waited%' AND wait_event = 'Extension'"
expect "nothing in flight while waiting" "$(q -c "SELECT x->>'in_flight' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'events'")" 0
snap
wait $w || die "after the freeze: $(cat "$out")"

# --- and is refused with the new home when the move succeeds
snap events/all=state=frozen
q -v VERBOSITY=verbose -c "INSERT INTO shop.events VALUES (2, 'too late')" >"$out" 2>&1 & w=$!
wait_for "writer waits" "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'INSERT%too late%' AND wait_event = 'Extension'"
snap events/all=home=ap,epoch=4
if wait $w; then die "wrote after the move"; fi
grep -q '25006' "$out" || die "$(cat "$out")"
grep -q 'the home of events/all is "ap" (epoch 4)' "$out" || die "$(cat "$out")"

# --- the wait can be cancelled and is bounded
snap events/all=state=frozen
q -c "SET statement_timeout = '100ms'" -c "INSERT INTO shop.events VALUES (3, 'x')" >"$out" 2>&1 && die "wrote while frozen"
grep -q 'statement timeout' "$out" || die "$(cat "$out")"
q -c "SET meridian.freeze_wait = '150ms'" -c "INSERT INTO shop.events VALUES (3, 'x')" >"$out" 2>&1 && die "wrote while frozen"
grep -q 'moving to another home' "$out" || die "$(cat "$out")"

# --- DDL away from home is refused before it waits for a lock, behind which others would queue
mkfifo "$out.in"; q <"$out.in" >"$out" 2>&1 & w=$!
exec 7>"$out.in"
echo "BEGIN; SELECT count(*) FROM shop.events; CREATE INDEX IF NOT EXISTS events_pkey ON shop.events (id);" >&7
wait_for "it is locked" "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'shop.events'::regclass AND mode = 'ShareLock'"
snap schema/all=home=eu,epoch=4
for s in "ALTER TABLE shop.events ADD COLUMN n int" "DROP TABLE shop.events" "DROP SCHEMA shop CASCADE" "CREATE INDEX n ON shop.events (body)" \
    "CREATE TRIGGER n BEFORE INSERT ON shop.events EXECUTE FUNCTION meridian.guard()" "DROP TRIGGER meridian_guard ON shop.events" "ALTER INDEX shop.events_pkey RENAME TO n"; do
    q -v VERBOSITY=verbose -c "SET lock_timeout = '2s'" -c "$s" >"$out.ddl" 2>&1 && die "ran: $s"
    grep -q '25006' "$out.ddl" || die "$s: $(cat "$out.ddl")"
done
q -c "SET client_min_messages = error" -c "CREATE INDEX IF NOT EXISTS events_pkey ON shop.events (id)" -c "DROP TABLE IF EXISTS shop.nothing" || die "what changes nothing is nobody's business"
echo "COMMIT;" >&7; exec 7>&-; wait $w; rm -f "$out.in" "$out.ddl"

# --- a transaction that holds up one move does not wait for another
snap
(echo "BEGIN; INSERT INTO shop.events VALUES (4, 'x');"; echo "\\! snap events/all=state=frozen orders/us=state=frozen"
 echo "INSERT INTO shop.orders VALUES ('us', 4);") | q >"$out" 2>&1 && die "wrote while frozen"
grep -q 'cannot write orders/us: the data is moving' "$out" || die "$(cat "$out")"

# --- drain: an open partition is refused, an idle one is drained at once
snap
q -c "SELECT meridian.drain('events', 'all', 10)" >"$out" 2>&1 && die "drained an open partition"
grep -q 'it is open for writes' "$out" || die "$(cat "$out")"
q -c "SELECT meridian.drain('events', 'nowhere', 10)" >"$out" 2>&1 && die "drained nowhere"
grep -q 'no such partition' "$out" || die "$(cat "$out")"
snap events/all=state=frozen
expect "drain of an idle partition" "$(q -c "SELECT meridian.drain('events', 'all', 0) <= pg_current_wal_flush_lsn()")" t

# --- drain waits for who is in flight, who may still commit
snap
mkfifo "$out.in"; trap 'rm -f "$out" "$out.in"' EXIT
q <"$out.in" >"$out" 2>&1 & w=$!
exec 7>"$out.in"
echo "BEGIN; INSERT INTO shop.events VALUES (5, 'drained');" >&7
wait_for "in flight" "SELECT x->>'in_flight' = '1' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'events'"
snap events/all=state=frozen
q -c "SELECT meridian.drain('events', 'all', 5000)" >"$out.lsn" & d=$!
sleep 0.2; kill -0 $d || die "drain did not wait"
echo "COMMIT;" >&7
wait $d || die "drain failed"
expect "drained after the commit" "$(q -c "SELECT '$(cat "$out.lsn")'::pg_lsn <= pg_current_wal_flush_lsn()" -c "SELECT count(*) FROM shop.events WHERE id = 5" | tr '\n' ' ')" "t 1 "
rm -f "$out.lsn"

# --- out of patience: those in flight lose their right to commit, and the move goes on
snap
echo "BEGIN; INSERT INTO shop.events VALUES (6, 'cut off');" >&7
wait_for "in flight" "SELECT x->>'in_flight' = '1' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'events'"
snap events/all=state=frozen
expect "drain gives up waiting" "$(q -c "SELECT meridian.drain('events', 'all', 50) IS NOT NULL")" t
echo "COMMIT;" >&7
exec 7>&-
if wait $w; then die "committed after it was cut off"; fi
grep -q 'the data is moving to another home' "$out" || die "$(cat "$out")"
expect "cut off" "$(q -c "SELECT count(*) FROM shop.events WHERE id = 6")" 0

# --- one that is past its last check is waited for, whatever the patience
snap
q -c "SET meridian.fault = 'before-commit:700'" -c "INSERT INTO shop.events VALUES (7, 'past the check')" >"$out" 2>&1 & w=$!
wait_for "in flight" "SELECT x->>'in_flight' = '1' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'events'"
sleep 0.1
snap events/all=state=frozen
expect "drain while one commits" "$(q -c "SELECT coalesce(meridian.drain('events', 'all', 50)::text, 'null')")" null
wait $w || die "$(cat "$out")"
expect "drain afterwards" "$(q -c "SELECT meridian.drain('events', 'all', 50) IS NOT NULL")" t

# --- a new move after one that was called off starts with patience again
snap
(echo "BEGIN; INSERT INTO shop.events VALUES (8, 'again');"; echo "\\! snap events/all=state=frozen"; echo "COMMIT;") | q || die "second freeze"

# --- quorum: with nobody connected a write is refused before it begins, and not at once
snap
q -c "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (meridian_eu, meridian_ap)'" -c "SELECT pg_reload_conf()" >/dev/null
wait_for "reload" "SELECT current_setting('synchronous_standby_names') <> ''"
sleep 0.3
q -c "INSERT INTO shop.events VALUES (9, 'async is not held up')" || die "async class waits"
q -c "SET synchronous_commit = on" -c "INSERT INTO shop.events VALUES (90, 'nor does the session count')" || die "async class waits"
begin=$(date +%s%3N)
q -c "SET meridian.quorum_wait = '300ms'" -c "INSERT INTO shop.accounts VALUES (1, 100)" >"$out" 2>&1 && die "wrote with nobody to acknowledge"
grep -q 'it needs 1 other regions to acknowledge and 0 are connected' "$out" || die "$(cat "$out")"
[ $(($(date +%s%3N) - begin)) -ge 300 ] || die "it did not wait"

# --- with a standby that has stopped answering the commit waits, and neither cancel nor timeout lets it out
w=$(mktemp -d); chown postgres "$w"
PGAPPNAME=meridian_eu pg_receivewal -D "$w" --synchronous --no-loop >/dev/null 2>&1 & r=$!
wait_for "standby" "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'meridian_eu' AND sync_state = 'quorum'"
kill -STOP $r
q -c "SET synchronous_commit = off" -c "INSERT INTO shop.accounts VALUES (1, 100)" >"$out" 2>&1 & b=$!
wait_for "waits for standbys" "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO shop.accounts%' AND wait_event = 'SyncRep'"
pid=$(q -c "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
q -c "SELECT pg_cancel_backend($pid)" >/dev/null
sleep 0.3
expect "cancel does not release" "$(q -c "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid")" SyncRep
expect "nobody sees it" "$(q -c "SELECT count(*) FROM shop.accounts")" 0
q -c "SELECT pg_terminate_backend($pid)" >/dev/null
if wait $b; then die "terminated session reported success"; fi
grep -q 'INSERT' "$out" && die "success was reported: $(cat "$out")"

# --- a wait that ends after the authority was taken away is no acknowledgement
q -c "INSERT INTO shop.accounts VALUES (4, 100)" >"$out" 2>&1 & b=$!
wait_for "waits for standbys" "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO shop.accounts%' AND wait_event = 'SyncRep'"
snap accounts/all=home=ap,epoch=4
kill -CONT $r
if wait $b; then die "success was reported for a commit in doubt"; fi
wait_for "it committed all the same" "SELECT count(*) = 1 FROM shop.accounts WHERE id = 4"
snap

# --- and one that nobody will ever acknowledge does not wait for ever: at once when another region
# was granted the authority, a while after the lease has ended; its client is told nothing
in_doubt() { q -c "SELECT x->>'in_doubt' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'accounts'"; }
kill -STOP $r
waiting() { # ID: a commit that waits, in the background as $b
    q -c "INSERT INTO shop.accounts VALUES ($1, 100) RETURNING 'inserted'" >"$out" 2>&1 & b=$!
    wait_for "waits for standbys" "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO shop.accounts%' AND wait_event = 'SyncRep'"
}
ended() { # WHAT [TRIES]: the session has ended, soon and without success
    for _ in $(seq "${2:-40}"); do kill -0 $b 2>/dev/null || break; sleep 0.05; done
    kill -0 $b 2>/dev/null && die "$1: still waiting"
    if wait $b; then die "$1: success was reported"; fi
    grep -q 'INSERT 0\|^inserted' "$out" && die "$1: $(cat "$out")"
    grep -q "the transaction has already committed locally\|server closed the connection" "$out" || die "$1: $(cat "$out")"
}
before=$(in_doubt)
waiting 5
snap accounts/all=home=ap,epoch=4
ended "authority taken away"
snap
q -c "ALTER SYSTEM SET meridian.quorum_wait = '700ms'" -c "SELECT pg_reload_conf()" >/dev/null
sleep 0.2; waiting 6
snap lease_ms=1; sleep 0.4
kill -0 $b 2>/dev/null || die "not given time: $(cat "$out")"
ended "lease ended"
# neither no session nor a new one without a lease yet makes that end earlier than it was
snap lease_ms=4000
waiting 7
snap session=0 lease_ms=0; sleep 0.5
kill -0 $b 2>/dev/null || die "ended with the session: $(cat "$out")"
snap session=6 lease_ms=0; sleep 0.5
kill -0 $b 2>/dev/null || die "ended by the next session: $(cat "$out")"
ended "the lease of the session before ended" 160
snap
expect "told as in doubt" "$(($(in_doubt) - before))" 3
q -c "ALTER SYSTEM RESET meridian.quorum_wait" -c "SELECT pg_reload_conf()" >/dev/null
grep -q 'the outcome of the commit is in doubt: its session was ended while it waited' "$PGDIR/log" || die "the log does not say so"
kill -CONT $r
kill $r; wait $r 2>/dev/null || true
rm -rf "$w"

# --- with a standby that confirms it ends; the session's own setting comes back
w=$(mktemp -d); chown postgres "$w"
PGAPPNAME=meridian_eu pg_receivewal -D "$w" --synchronous --no-loop >/dev/null 2>&1 & r=$!
wait_for "standby" "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'meridian_eu' AND sync_state = 'quorum'"
expect "acknowledged" "$(q -c "SET synchronous_commit = off" -c "INSERT INTO shop.accounts VALUES (2, 100) RETURNING id" -c "SHOW synchronous_commit" | tr '\n' ' ')" "2 off "
(echo "BEGIN; INSERT INTO shop.accounts VALUES (3, 1); COMMIT; BEGIN; INSERT INTO shop.events VALUES (91, 'mixed'); COMMIT;"
 echo "SHOW synchronous_commit;") | q >"$out"
expect "restored" "$(cat "$out")" local
kill $r; wait $r 2>/dev/null || true
rm -rf "$w"
q -c "ALTER SYSTEM RESET synchronous_standby_names" -c "SELECT pg_reload_conf()" >/dev/null

# --- first write per epoch is remembered for the receipt
snap events/all=epoch=60
before=$(date +%s%3N)
q -c "INSERT INTO shop.events VALUES (60, 'first')"
first=$(q -c "SELECT x->>'first_write_ms' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'events'")
[ "$first" -ge "$before" ] && [ "$first" -le "$(date +%s%3N)" ] || die "first write at $first"
q -c "INSERT INTO shop.events VALUES (61, 'second')"
expect "first write stays" "$(q -c "SELECT x->>'first_write_ms' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'events'")" "$first"

# --- a backend stopped between check and commit finishes under its old epoch, with its old stamp
snap
q -c "SET meridian.fault = 'before-commit:2500'" -c "INSERT INTO shop.events VALUES (70, 'slipped through')" >"$out" 2>&1 & w=$!
wait_for "in flight" "SELECT x->>'in_flight' = '1' FROM jsonb_array_elements(meridian.agent_partitions()) x WHERE x->>'class' = 'events'"
sleep 0.1
pid=$(q -c "SELECT pid FROM pg_stat_activity WHERE query LIKE '%slipped through%' AND pid <> pg_backend_pid()")
kill -STOP "$pid"
snap events/all=home=eu,epoch=4
expect "what is late" "$(q -c "SELECT late FROM meridian.canary(5, 1)")" "a commit that wrote events/all as its home has not ended"
sleep 0.6
kill -CONT "$pid"
wait $w || die "$(cat "$out")"
expect "nothing is late" "$(q -c "SELECT late IS NULL AND lsn > '0/0' FROM meridian.canary(5, 1)")" t
expect "it did commit: apply elsewhere must catch it by its epoch" "$(q -c "SELECT count(*) FROM shop.events WHERE id = 70")" 1

# --- nothing is left in flight
snap
expect "in flight at the end" "$(q -c "SELECT sum((x->>'in_flight')::int) FROM jsonb_array_elements(meridian.agent_partitions()) x")" 0
