# Shell functions for tests that need real PostgreSQL servers; source it from a script that
# runs inside tests/lib/pgenv. Servers run as user postgres, reachable over a unix socket in
# their own directory, and everything they are is under one directory that pg_drop removes.

# The psql that Debian has in the PATH is a Perl program, which finds this one: four fifths of the time of a short question.
case :$PATH: in *:$PG_BIN:*) ;; *) PATH=$PG_BIN:$PATH ;; esac

# pg_template: what new clusters are copies of, in $PG_TEMPLATE; made once
pg_template() {
    [ ! -e "$PG_TEMPLATE/data/PG_VERSION" ] || return 0
    mkdir -p "$PG_TEMPLATE"
    chown postgres: "$PG_TEMPLATE"
    su postgres -c "$PG_BIN/initdb -D $PG_TEMPLATE/data -A trust -E UTF8 --locale=C.UTF-8 --no-sync" >"$PG_TEMPLATE/initdb.log" 2>&1 ||
        { cat "$PG_TEMPLATE/initdb.log" >&2; return 1; }
}

# pg_new DIR [SETTING...]: a new, stopped cluster in DIR with the extension preloaded
pg_new() {
    pg_dir=$1; shift
    mkdir -p "$pg_dir"
    chown postgres: "$pg_dir"
    PG_TEMPLATE=${PG_TEMPLATE:-$pg_dir/template}
    pg_template && cp -a "$PG_TEMPLATE/data" "$pg_dir/data" || return 1
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$pg_dir'"
        echo "shared_preload_libraries = 'meridian'"
        echo "wal_level = logical"
        echo "track_commit_timestamp = on"
        echo "synchronous_commit = local"
        echo "shared_buffers = 16MB"
        echo "fsync = on"
        echo "max_worker_processes = 16"
        echo "max_wal_senders = 8"
        echo "max_replication_slots = 16"
        echo "meridian.snapshot_file = '$pg_dir/snapshot'"
        if [ -n "$(su postgres -c "$PG_BIN/postgres -D $pg_dir/data -C output_plugin_libraries" 2>/dev/null)" ]; then
            echo "output_plugin_libraries = 'pgoutput, test_decoding, meridian'"
        fi
        for pg_setting in "$@"; do echo "$pg_setting"; done
    } >>"$pg_dir/data/postgresql.conf"
}

pg_start() { # DIR
    su postgres -c "$PG_BIN/pg_ctl -D $1/data -l $1/log -w -t 30 start" >/dev/null || { tail -20 "$1/log" >&2; return 1; }
}

pg_stop() { # DIR [MODE]
    [ ! -e "$1/data/postmaster.pid" ] ||
        su postgres -c "$PG_BIN/pg_ctl -D $1/data -w -m ${2:-fast} stop" >/dev/null
}

pg_drop() { # DIR
    pg_stop "$1" immediate || true
    rm -rf "$1"
}

# pg_sql DIR [PSQL-ARG...]: psql as superuser, strict and quiet
pg_sql() {
    pg_dir=$1; shift
    psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$pg_dir" -U postgres "$@"
}
