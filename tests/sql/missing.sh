# What a stream leaves out: a table with rows is attached to a quorum class at its home, and other
# regions acknowledge commits that they do not hold. None of them counts as whole, none opens as the
# next home, and none hands on as whole what it did not apply.
set -eu
. "$(dirname "$0")/streams/lib.sh"
. "$(dirname "$0")/streams/tail.sh"

covered() { q "$1" "SELECT p->>'covered' FROM jsonb_array_elements(meridian.agent_status()->'partitions') p WHERE p->>'class' = 'accounts'"; }
why() { q "$1" "SELECT string_agg(DISTINCT relation || ': ' || why, ' | ') FROM meridian.gaps WHERE class = 'accounts'"; }
refused() { case $(promote accounts "$1" 2>&1) in *'cannot open accounts/all here'*) ;; *) die "$1 opens" ;; esac; }

region_new us "synchronous_standby_names = 'ANY 1 (meridian_eu, meridian_ap)'"
region_new eu "synchronous_standby_names = 'ANY 1 (meridian_us, meridian_ap)'"
region_new ap "synchronous_standby_names = 'ANY 1 (meridian_us, meridian_eu)'"
snap_all
for r in us eu ap; do region_up $r; configure $r; done
for r in eu ap; do TRIES=600 wait_for "$r streams from us" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"; done
for r in us ap; do TRIES=600 wait_for "$r streams from eu" $r "SELECT x->>'state' = 'streaming' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'eu'"; done
q us "CREATE SCHEMA shop" "CREATE TABLE shop.accounts (id bigint PRIMARY KEY, body text)" "CREATE TABLE shop.events (id bigint PRIMARY KEY, body text)"
synced us eu ap
for r in eu ap; do expect "$r is whole" "$(covered $r)" true; done

# --- acknowledged by eu and ap, which have not the table: not whole, in the very transaction
q us "CREATE SCHEMA late" "CREATE TABLE late.notes (id bigint PRIMARY KEY, body text)" "INSERT INTO late.notes SELECT i, 'old' FROM generate_series(1, 500) i"
export CONFIG=2 MORE_ACCOUNTS=', "late.notes"'
configure us
q us "INSERT INTO late.notes VALUES (1001, 'acknowledged')"
# what changes it before it is there comes with it, and stops no stream
q us "ALTER TABLE late.notes ADD COLUMN more int" "CREATE INDEX notes_more ON late.notes (more)" "COMMENT ON COLUMN late.notes.more IS 'x'" \
    "GRANT SELECT ON late.notes TO PUBLIC" "CREATE TABLE shop.brief (id int)" "CREATE TABLE late.gone (id int)" "DROP INDEX late.notes_more" "DROP TABLE shop.brief, late.gone" \
    "CREATE INDEX notes_body ON late.notes (body)"
synced us eu ap
for r in eu ap; do
    expect "$r lacks it" "$(covered $r)" false
    expect "why at $r" "$(why $r)" "late.notes: missing table"
done

# --- ap gets the table; then us is lost while only eu, still without it, has acknowledged
configure ap
TRIES=600 wait_for "ap has it" ap "SELECT count(*) = 0 AND to_regclass('late.notes') IS NOT NULL FROM meridian.gaps"
expect "nothing is missing at ap" "$(q ap "SELECT count(*) FROM meridian.missing")$(covered ap)" 0true
same_notes() { expect "late.notes at $1" "$(q "$1" "SELECT count(*) || md5(string_agg(t::text, ',' ORDER BY id)) FROM late.notes t")" "$(q us "SELECT count(*) || md5(string_agg(t::text, ',' ORDER BY id)) FROM late.notes t")"; }
same_notes ap
definition() { q "$1" "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'late.notes'::regclass AND attnum > 0" "SELECT string_agg(indexdef, ',' ORDER BY 1) FROM pg_indexes WHERE tablename = 'notes'"; }
expect "its definition" "$(definition ap)" "$(definition us)"
refuses ap us
q us "INSERT INTO late.notes VALUES (1002, 'at eu alone')" "UPDATE late.notes SET body = 'changed' WHERE id < 10"
synced us eu
LEASE[us]=1; snap us
refuses eu us
replace accounts us eu; snap_all
refused eu
HOME_OF[accounts]=ap PART[accounts/all]="home=ap epoch=2 ${CLOSED[accounts]}" # with the same cut, say
ORDER[ap/us]="forward via=eu"; snap_all
BEAT=eu wait_for "ap is handed what eu has of us" ap "SELECT (x->>'applied_lsn')::pg_lsn >= '$(applied_of eu us)' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = 'us'"
expect "ap was not handed the rows" "$(q ap "SELECT count(*) FROM late.notes WHERE id = 1002")" 0
expect "and knows it" "$(covered ap)" false
refused ap
wait_for "ap says that nobody has it" ap "SELECT reason = 'not_lent' FROM meridian.gaps WHERE class = 'accounts' AND relation = 'late.notes'"

# --- us returns, with nothing lost: it lends ap what the others do not have, and ap opens
LEASE[us]=600000 ORDER[ap/us]=run ORDER[eu/us]=run; snap_all
BEAT=us TRIES=600 wait_for "ap holds all" ap "SELECT count(*) = 0 FROM meridian.gaps"
same_notes ap; expect "whole" "$(covered ap)" true
promote accounts ap
q ap "INSERT INTO late.notes VALUES (2000, 'by ap')"

# --- eu is configured at last, and copies from ap, the home, what us, the schema's home, defines
configure eu
TRIES=600 wait_for "eu has it" eu "SELECT count(*) = 0 AND to_regclass('late.notes') IS NOT NULL FROM meridian.gaps"
synced ap us eu; same late.notes
expect "nothing is missing at eu" "$(q eu "SELECT count(*) FROM meridian.missing")$(covered eu)" 0true

# --- eu is home next, and nobody claims to hold all: it opens when a person says so, and the others copy it
synced us ap eu; synced ap us eu; fence ap; replace accounts ap eu
open_at=${PART[accounts/all]} PART[accounts/all]="${PART[accounts/all]} state=fencing" # as the agent says until it is opened
snap_all
for r in us ap eu; do q $r "DELETE FROM meridian.copied"; done
unfence ap
wait_for "eu says that nobody has it" eu "SELECT bool_and(why LIKE '%no region that is connected holds all of it; see meridian.open_with_gaps') FROM meridian.gaps WHERE class = 'accounts'"
refused eu
case $(q us "SELECT meridian.open_with_gaps('accounts', 'all')" 2>&1) in *'is not the home of accounts/all'*) ;; *) die "us opens what is eu's" ;; esac
q eu "SELECT meridian.open_with_gaps('accounts', 'all')" 2>/dev/null
expect "no marks before it opens" "$(q eu "SELECT count(*) FROM meridian.copied c WHERE relid = 'late.notes'::regclass")" 0
promote accounts eu
PART[accounts/all]=$open_at; snap_all
q eu "INSERT INTO late.notes VALUES (3000, 'by eu')"
for r in us ap; do TRIES=600 wait_for "$r holds all of it" $r "SELECT count(*) = 2 FROM meridian.copied WHERE epoch = 3 AND relid IN ('late.notes'::regclass, 'shop.accounts'::regclass)"; done
synced eu us ap; same late.notes; same shop.accounts
