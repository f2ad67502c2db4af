# Installs the published packages of one line of Colyseus with the tests beside them: sourced by the scripts that play it.
# Owns: the folder of each line under target/colyseus. Does not own: what is run there. Invariant: what cannot be installed
# ends the script; packages are fetched again only when their list has changed.

install_colyseus() { # install_colyseus <0.16|0.17|0.18>: makes it the current folder
  local here=$root/cluster-tests/colyseus cache=${CARGO_TARGET_DIR:-$root/target}/colyseus/$1
  mkdir -p "$cache"
  cp "$here"/*.mjs "$here"/.npmrc "$cache/"
  cp "$here/packages/$1.json" "$cache/package.json"
  if ! cmp -s "$cache/package.json" "$cache/installed.json"; then
    (cd "$cache" && npm install --no-package-lock --legacy-peer-deps --silent >npm.log 2>&1) || {
      cat "$cache/npm.log" >&2
      echo "the packages of Colyseus $1 could not be installed" >&2
      exit 1
    }
    cp "$cache/package.json" "$cache/installed.json"
  fi
  cd "$cache" || exit 1
}
