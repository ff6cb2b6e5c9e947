# shellcheck shell=bash
# A PostgreSQL of this machine's packages in a directory of its own. To be sourced.

# The server refuses to run as root.
as_server() { if [[ $EUID -eq 0 ]]; then runuser -u postgres -- "$@"; else "$@"; fi; }

postgres_bin() { find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1; }

postgres_start() { # postgres_start DIR PORT: password authentication over TCP, none for the machine's own user
  local dir=$1 port=$2 bin
  bin=$(postgres_bin)
  [[ -n $bin ]] || fail "PostgreSQL is not installed; run make setup"
  mkdir -p "$dir"
  [[ $EUID -ne 0 ]] || chown postgres "$dir"
  as_server "$bin/initdb" -D "$dir/data" -U postgres --encoding=UTF8 --locale=C.UTF-8 -A trust >/dev/null
  cat >>"$dir/data/postgresql.conf" <<CONF
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
log_statement = all
log_line_prefix = '%m '
fsync = off
max_connections = 300
CONF
  printf '%s\n' 'local all all trust' 'host all all 127.0.0.1/32 scram-sha-256' >"$dir/data/pg_hba.conf"
  as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -s start
}

postgres_stop() { # postgres_stop DIR
  [[ ! -f $1/data/postmaster.pid ]] || as_server "$(postgres_bin)/pg_ctl" -D "$1/data" -m immediate -w -s stop
}
