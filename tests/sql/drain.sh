# Moves under load: after a drain has answered, not one more commit of that epoch appears,
# whatever the writers were doing and however little patience the drain had.
set -eu
q() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
die() { echo "failed: $*"; exit 1; }
work=$(mktemp -d); trap 'rm -rf "$work"; kill $(jobs -p) 2>/dev/null || true' EXIT

cat >"$work/quick" <<'SQL'
INSERT INTO shop.events (body) VALUES ('quick');
SQL
cat >"$work/slow" <<'SQL'
BEGIN;
INSERT INTO shop.events (body) VALUES ('slow');
SELECT pg_sleep(0.3);
SAVEPOINT s;
INSERT INTO shop.events (body) VALUES ('slow, rolled back');
ROLLBACK TO s;
INSERT INTO shop.events (body) VALUES ('slow again');
COMMIT;
SQL
# a client that is refused reports an error and goes on: exactly what an application would do
client() { # FILE
    while [ ! -e "$work/stop" ]; do psql -X -q -v ON_ERROR_STOP=0 -c "SET meridian.freeze_wait = 0" -f "$1" -f "$1" -f "$1" >/dev/null 2>&1 || true; done
}
for f in quick quick slow slow; do client "$work/$f" & done

counts="SELECT count(*) || '+' || count(*) FILTER (WHERE body = 'slow, rolled back') FROM shop.events"
for epoch in $(seq 10 19); do
    snap events/all=epoch=$epoch
    sleep 0.15
    snap events/all=state=frozen,epoch=$epoch
    for _ in $(seq 200); do
        # in one session, so that no writer finishes between the two
        answer=$(q -c "SELECT coalesce(meridian.drain('events', 'all', $((epoch % 2 * 400)))::text, 'null')" -c "$counts" | tr '\n' ' ')
        [ "${answer%% *}" = null ] || break
    done
    [ "${answer%% *}" != null ] || die "epoch $epoch never drained"
    before=${answer#* }
    sleep 0.35
    after=$(q -c "$counts" | tr '\n' ' ')
    [ "$before" = "$after" ] || die "epoch $epoch: $before rows when drained, $after later"
done
touch "$work/stop"
wait
[ "$(q -c "SELECT count(*) > 30 AND count(*) FILTER (WHERE body = 'slow again') > 0 FROM shop.events")" = t ] || die "the writers hardly wrote"
[ "$(q -c "SELECT sum((x->>'in_flight')::int) FROM jsonb_array_elements(meridian.agent_partitions()) x")" = 0 ] || die "somebody is still in flight"
