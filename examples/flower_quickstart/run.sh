#!/bin/sh
# A server and two clients as processes on this machine, in any order: run.sh [ADDRESS]
cd "$(dirname "$0")" || exit
address=${1:-127.0.0.1:8080}
for partition in 0 1; do
    "${PYTHON:-python}" client.py "$partition" "$address" &
done
"${PYTHON:-python}" server.py "$address"
status=$?
wait
exit $status
