# shellcheck shell=bash
# Installs what the drivers' checks need, once for each state of their lock files. To be sourced after hack/lib.sh.
# shellcheck disable=SC2154 # root and cache are of hack/lib.sh

drivers=$root/sidecar/tests/drivers
kept=$cache/drivers

# A folder for these files in this version of their tool; sets `home`. Fails when it has to be filled.
ready() { # ready NAME VERSION FILE...
  local name=$1 version=$2 key
  shift 2
  key=$( (echo "$version"; cd "$drivers" && cat "$@") | sha256sum | cut -c1-12)
  home=$kept/$name-$key
  [[ ! -e $home/.complete ]] || return 0
  note "installing what $name needs (once)"
  rm -rf "$kept/$name"-*
  mkdir -p "$home"
  return 1
}

need() { # need COMMAND...
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || fail "\`$command\` is missing; run make setup"
  done
}

install_python() {
  need python3
  ready python "$(python3 --version)" requirements.txt || {
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$drivers/requirements.txt"
    touch "$home/.complete"
  }
  python=$home/bin/python
}

install_node() {
  need node npm
  ready node "$(node --version)" package.json package-lock.json || {
    cp "$drivers/package.json" "$drivers/package-lock.json" "$home"
    (cd "$home" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    touch "$home/.complete"
  }
  modules=$home
}

install_pgx() {
  need go
  ready pgx "$(go version)" pgx/go.mod pgx/go.sum pgx/main.go || {
    (cd "$drivers/pgx" && GOTOOLCHAIN=local GOFLAGS=-buildvcs=false go build -mod=readonly -o "$home/pgx-checks" .)
    touch "$home/.complete"
  }
  pgx=$home/pgx-checks
}

install_jdbc() {
  local jar version
  need javac mvn
  jar=$(awk '{print $2}' "$drivers/jdbc.sha256")
  ready jdbc "$(javac -version 2>&1)" jdbc.sha256 Jdbc.java || {
    version=${jar#postgresql-}
    mvn -q -B dependency:copy -Dartifact="org.postgresql:postgresql:${version%.jar}" -DoutputDirectory="$home"
    (cd "$home" && sha256sum --check --quiet "$drivers/jdbc.sha256")
    javac -d "$home" -cp "$home/$jar" "$drivers/Jdbc.java"
    touch "$home/.complete"
  }
  classpath=$home:$home/$jar
}

install_sqlx() {
  ready sqlx "$(cargo --version)" sqlx/Cargo.toml sqlx/Cargo.lock sqlx/src/main.rs || {
    # Compiled dependencies are kept apart, so that a changed check builds quickly.
    (cd "$drivers/sqlx" && cargo build --quiet --locked --target-dir "$kept/sqlx.target")
    cp "$kept/sqlx.target/debug/sqlx-checks" "$home"
    touch "$home/.complete"
  }
  sqlx=$home/sqlx-checks
}

install() { # install DRIVER
  case $1 in
    psql | pgbench) need psql pgbench pg_dump ;;
    psycopg | asyncpg) install_python ;;
    *) "install_$1" ;;
  esac
}

driver_command() { # driver_command DRIVER: sets `command`
  case $1 in
    psql | pgbench) command=("$drivers/$1_checks.sh") ;;
    psycopg | asyncpg) command=("$python" "$drivers/$1_checks.py") ;;
    node) command=(env CHAPERONE_MODULES="$modules" node "$drivers/node_checks.mjs") ;;
    pgx) command=("$pgx") ;;
    jdbc) command=(java -XX:TieredStopAtLevel=1 -cp "$classpath" Jdbc) ;;
    sqlx) command=("$sqlx") ;;
  esac
}
