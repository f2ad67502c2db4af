#!/usr/bin/env bash
# redis-cli as people and scripts use it. Owns: its modes against three nodes. Invariant: each check names itself.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
IFS=, read -r -a nodes <<<"${QUORATE_TEST_RESP:-127.0.0.1:6379}"
cli() { # cli <node> <arguments...>
  local address=${nodes[$(($1 % ${#nodes[@]}))]}
  timeout 30 redis-cli -h "${address%:*}" -p "${address#*:}" "${@:2}"
}
same() { # same <what> <expected> <found>
  if [[ $2 != "$3" ]]; then
    printf '%s:\nexpected %q\nfound    %q\n' "$1" "$2" "$3" >&2
    exit 1
  fi
}

same "a command as arguments" OK "$(cli 0 SET cli:s value)"
same "another node" value "$(cli 1 GET cli:s)"
same "commands through a pipe" $'OK\n"v w"\n(integer) 2\n1) "b"\n2) "a"' \
  "$(printf 'SET cli:q "v w"\nGET cli:q\nLPUSH cli:l a b\nLRANGE cli:l 0 -1\n' | cli 2 --no-raw)"
same "an error" "ERR unknown command 'nosuch', with args beginning with: " "$(cli 0 nosuch 2>&1 | head -1)"
same "a hash in RESP3" $'1# "f" => "v"' "$(cli 1 -3 --no-raw HSET cli:h f v >/dev/null; cli 1 -3 --no-raw HGETALL cli:h)"
same "nothing in RESP3" "(nil)" "$(cli 2 -3 --no-raw GET cli:none)"
same "another database" $'OK\n\nvalue' "$(cli 0 -n 9 SET cli:nine 9; cli 1 GET cli:nine; cli 1 GET cli:s)"
same "a value from standard input" OK "$(printf 'bytes\0more' | cli 0 -x SET cli:x)"
same "its length" 10 "$(cli 1 STRLEN cli:x)"
same "--raw" "value" "$(cli 2 --raw GET cli:s)"
same "a transaction" $'OK\nQUEUED\nQUEUED\n1\n2' "$(cli 1 DEL cli:n >/dev/null; printf 'MULTI\nINCR cli:n\nINCR cli:n\nEXEC\n' | cli 0)"

for i in $(seq 1 3000); do printf 'SET cli:pipe:%d %d\r\n' "$i" "$i"; done >"$work/pipe"
out=$(cli 0 --pipe <"$work/pipe" 2>&1)
same "--pipe" "errors: 0, replies: 3000" "$(tail -1 <<<"$out")"
same "--scan" 3000 "$(cli 1 --scan --pattern 'cli:pipe:*' | sort -u | wc -l | tr -d ' ')"
out=$(cli 2 --bigkeys 2>&1) || { echo "--bigkeys failed: $out" >&2; exit 1; }
grep -q 'Biggest string found' <<<"$out" || { echo "--bigkeys: $out" >&2; exit 1; }
# --stat and SUBSCRIBE run until they are stopped; the first lines show that they work.
endless() { # endless <lines> <node> <arguments...>
  local address=${nodes[$(($2 % ${#nodes[@]}))]}
  timeout 10 stdbuf -oL redis-cli -h "${address%:*}" -p "${address#*:}" "${@:3}" 2>&1 | head -"$1"
}
same "--stat" 3 "$(endless 3 0 --stat -i 0.1 | wc -l | tr -d ' ')"
endless 6 1 SUBSCRIBE cli:ch >"$work/messages" &
subscriber=$!
for _ in $(seq 1 200); do [[ $(cli 0 PUBSUB NUMSUB cli:ch | tail -1) == 1 ]] && break; done
same "PUBLISH" 1 "$(cli 2 PUBLISH cli:ch hello)"
# The second message makes the subscriber notice that nobody reads on.
cli 2 PUBLISH cli:ch again >/dev/null
wait "$subscriber"
same "SUBSCRIBE" $'subscribe\ncli:ch\n1\nmessage\ncli:ch\nhello' "$(cat "$work/messages")"
same "DEL of many" 3000 "$(cli 0 --scan --pattern 'cli:pipe:*' | xargs -n 500 redis-cli -h "${nodes[0]%:*}" -p "${nodes[0]#*:}" DEL | awk '{n += $1} END {print n}')"
