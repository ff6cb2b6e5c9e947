# shellcheck shell=bash
# One PostgreSQL and one sidecar for all drivers, each with a database, a Connection and a policy of its own. To be
# sourced after hack/lib.sh, hack/postgres.sh and install.sh.
# shellcheck disable=SC2154 # what others set: hack/drivers.sh, install.sh

work=
sidecar=

world_up() { # world_up DRIVER...
  local driver
  work=$(mktemp -d)
  chmod 755 "$work"
  server_port=$((20000 + RANDOM % 5000))
  password=$(openssl rand -hex 12)
  postgres_start "$work/postgres" "$server_port"
  local admin=(psql -Xq -h "$work/postgres" -p "$server_port" -U postgres)
  "${admin[@]}" -c "CREATE ROLE app LOGIN PASSWORD '$password'"
  mkdir "$work/resources"
  for driver in "$@"; do
    "${admin[@]}" -c "CREATE DATABASE $driver OWNER app"
    "${admin[@]}" -d "$driver" -c 'SET ROLE app' -f "$drivers/schema.sql"
    CHAPERONE_SOCKET='' in_world "$driver" "$drivers/policy.sh" full
  done
  if [[ " $* " == *" pgbench "* ]]; then
    PGOPTIONS='-c role=app' pgbench -q -i -h "$work/postgres" -p "$server_port" -U postgres pgbench 2>/dev/null
  fi
  "$CHAPERONE_SIDECAR" run --standalone "$work/resources" --namespace drivers --service-account planner \
    --audit "$work/audit" --socket "$work/sidecar.sock" 2>"$work/sidecar.log" &
  sidecar=$!
  for driver in "$@"; do wait_until in_world "$driver" psql -Xqc 'SELECT 1' || fail "the sidecar does not come up: $(tail -n 5 "$work/sidecar.log")"; done
}

world_down() {
  [[ -z $sidecar ]] || { kill "$sidecar" 2>/dev/null && wait "$sidecar" 2>/dev/null; } || true
  [[ -z $work ]] || { postgres_stop "$work/postgres" || true; rm -rf "$work"; }
}

# The port of a driver's Connection: after the server's own, in the order of the names.
agent_port() { # agent_port DRIVER
  local index
  for index in "${!all[@]}"; do
    [[ ${all[$index]} != "$1" ]] || echo $((server_port + 10000 + index))
  done
}

in_world() { # in_world DRIVER COMMAND...: as an agent sees it, but for what policy.sh needs
  local driver=$1
  shift
  env -u PGPASSWORD -u PGSERVICE -u PGPASSFILE -u PGSSLMODE \
    PGHOST=127.0.0.1 PGPORT="$(agent_port "$driver")" PGUSER=agent PGDATABASE="$driver" PGCONNECT_TIMEOUT=10 \
    CHAPERONE_POLICY="$drivers/policy.sh" CHAPERONE_RESOURCES="$work/resources/$driver.yaml" \
    CHAPERONE_SOCKET="${CHAPERONE_SOCKET-$work/sidecar.sock}" SERVER_PORT="$server_port" SERVER_PASSWORD="$password" "$@"
}

wait_until() { # wait_until COMMAND...: up to 20 s
  local begun=$SECONDS
  until "$@" >/dev/null 2>&1; do
    ((SECONDS - begun < 20)) || return 1
    sleep 0.05
  done
}

wait_for_file() { # wait_for_file FILE
  until [[ -e $1 ]]; do sleep 0.1; done
}
