# A replica's join: the schema of attached tables comes by pg_dump, guard and all, and is
# attached when it is asked for. Without meridian.restoring it is DDL like any other.
set -eu
q() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
die() { echo "failed: $*"; exit 1; }
out=$(mktemp); trap 'rm -f "$out" "$out.sql"; psql -X -q -d app -c "DROP DATABASE IF EXISTS replica WITH (FORCE)" >/dev/null 2>&1' EXIT

q -c "CREATE TABLE shop.order_lines (home_region text, id serial, FOREIGN KEY (home_region, id) REFERENCES shop.orders, PRIMARY KEY (home_region, id))" 2>/dev/null
pg_dump --schema-only --schema=shop >"$out.sql"
q -c "CREATE DATABASE replica"
q -d replica -c "CREATE EXTENSION meridian" -c "SELECT meridian.configure('$(q -c "SELECT document FROM meridian.config")')" >/dev/null
snap schema/all=home=eu

q -d replica -1 -f "$out.sql" >"$out" 2>&1 && die "restored as if it were the schema's home"
grep -q 'cannot write schema/all' "$out" || die "$(cat "$out")"

PGOPTIONS='-c meridian.restoring=on' q -d replica -1 -f "$out.sql" >"$out" 2>&1 || die "$(cat "$out")"
[ "$(q -d replica -c "SELECT count(*) FROM meridian.attachment")" = 0 ] || die "attached while restoring"
q -d replica -c "SELECT meridian.attach_all()" >/dev/null
what="SELECT string_agg(concat_ws(' ', a.relid::regclass, a.class, a.partition_by, t.n), ',' ORDER BY a.relid::regclass::text)
    FROM meridian.attachment a, LATERAL (SELECT count(*) AS n FROM pg_trigger WHERE tgrelid = a.relid AND tgname LIKE 'meridian%' AND tgenabled = 'A') t"
[ "$(q -d replica -c "$what")" = "$(q -c "$what")" ] || die "$(q -d replica -c "$what") is not $(q -c "$what")"
