# Shell functions of the tests of lost tails: homes that are replaced, and what they lost. Source
# it after lib.sh.

number() { q eu "SELECT '$1'::pg_lsn - '0/0'::pg_lsn"; }
refuses() { # AT ORIGIN: AT takes nothing of ORIGIN any more
    ORDER[$1/$2]=refuse; snap "$1"
    wait_for "$1 refuses $2" "$1" "SELECT (x->>'refused')::bool FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$2'"
}
takes() { ORDER[$1/$2]=run; snap "$1"; }
fence() { local r; for r in us eu ap; do [ "$r" = "$1" ] || refuses "$r" "$1"; done; }
unfence() { local r; for r in us eu ap; do [ "$r" = "$1" ] || takes "$r" "$1"; done; }
applied_of() { q "$1" "SELECT x->>'applied_lsn' FROM jsonb_array_elements(meridian.stream_states()) x WHERE x->>'origin' = '$2'"; }
declare -A EPOCH HOME_OF CLOSED
replace() { # CLASS OLD NEW [UNFENCED]: NEW becomes its home; OLD counts up to where NEW has it
    local c=$1 e=${EPOCH[$1]:-1}
    CLOSED[$c]="${CLOSED[$c]:-} closed=$e:$2:$(number "$(applied_of "$3" "$2")"):5:0${4:+:$4}"
    EPOCH[$c]=$((e + 1)) HOME_OF[$c]=$3
    PART[$c/all]="home=$3 epoch=$((e + 1)) ${CLOSED[$c]}"
}
promote() { q "$2" "SELECT meridian.promote('$1', 'all', ${EPOCH[$1]})" >/dev/null; }
filed() { # AT ORIGIN NUMBER: so many entries of ORIGIN since the last time
    wait_for "$1 filed $3 of $2" "$1" "SELECT count(*) >= $3 FROM meridian.reconcile_entry WHERE origin = '$2' AND status = 'open'"
}
repaired() { # AT: nothing waits for a repair there
    wait_for "everything is repaired" "$1" "SELECT count(*) = 0 FROM meridian.reconcile_entry WHERE repaired_epoch IS NULL AND status = 'open'"
}
all_agree() {
    synced us eu ap; synced eu us ap; synced ap us eu
    same shop.events; same shop.accounts
    same_queue eu us; same_queue ap us
}
decide() { # AT: about all that is open, and everybody hears of it
    q "$1" "SELECT meridian.reconcile_discard(id) FROM (SELECT id FROM meridian.reconcile WHERE status = 'open' ORDER BY id) x" >/dev/null
    synced "$1" $(printf '%s\n' "${REGIONS[@]}" | grep -vx "$1")
}
fault() { q "$1" "ALTER SYSTEM SET meridian.fault = '$2'" "SELECT pg_reload_conf()" >/dev/null; sleep 0.3; }
crash() { # REGION: every process of its server at once
    local pid; pid=$(head -1 "$ROOT/$1/data/postmaster.pid")
    kill -9 "$pid" $(pgrep -P "$pid"); sleep 0.2
    rm -f "$ROOT/$1/data/postmaster.pid" "$ROOT/$1"/.s.PGSQL.*
}
