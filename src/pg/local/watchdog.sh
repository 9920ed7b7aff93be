# Runs a program in a folder of its own and outlives whoever started it: when stdin closes, because they asked us to
# stop or because they were killed, the program ends at once and the folder goes.
#
# usage: sh -c "$(cat watchdog.sh)" watchdog FOLDER PROGRAM [ARGUMENT...]
folder=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
{
  read -r _ <&3
  : >"$folder/stopping"
  # SIGQUIT is PostgreSQL's immediate shutdown. A shell starts background programs with SIGQUIT ignored, so a server
  # that has not yet set up its handlers misses it: ask again until it is gone, and after two seconds do not ask.
  tries=0
  while kill -QUIT "$program" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 80 ] || kill -KILL "$program" 2>/dev/null
    sleep 0.02
  done
} &
reader=$!
wait "$program"
status=$?
if [ -e "$folder/stopping" ]; then
  # A child that is still on its way out may write once more.
  tries=0
  while [ -e "$folder" ] && [ "$tries" -lt 50 ]; do
    rm -rf "$folder" 2>/dev/null && [ ! -e "$folder" ] && break
    tries=$((tries + 1))
    sleep 0.02
  done
fi
kill "$reader" 2>/dev/null
wait "$reader" 2>/dev/null
exit "$status"
