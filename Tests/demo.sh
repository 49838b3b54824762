#!/bin/sh
# The main job as far as it is built: a real QEMU's device state leaves over a save disk and comes
# back, and damage on the way is found. Usage: demo.sh STUBSAVE
set -eu
stubsave=$(realpath "$1")
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
state=$root/fixtures/states/x06-pc-linux-2vcpu.dev

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m')
else bold= plain=; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ stubsave %s\n' "$*"; "$stubsave" "$@"; }
# Must fail, with that exit code.
refuse() {
  wanted=$1; shift
  printf '$ stubsave %s\n' "$*"
  code=0; "$stubsave" "$@" > output 2> message || code=$?
  sed 's/^/  /' message
  if [ "$code" -ne "$wanted" ] || [ -s output ]; then
    echo "demo: expected exit code $wanted and no output, got $code" >&2; exit 1
  fi
  echo "  (exit code $code, nothing on standard output)"
}

say "A device state that a real QEMU wrote"
ls -l "$state" | awk '{ print $5 " bytes: " $9 }'

say "dom0 allocates a disk; the stubdomain's writer streams the state into it"
run allocate save.disk --size 1MiB
printf '$ stubsave write save.disk < state\n'
"$stubsave" write save.disk < "$state"
run inspect save.disk

say "dom0 verifies everything, then hands the state on"
run read save.disk -o state
cmp state "$state"
sha256sum "$state" state | awk '{ print $1 "  " $2 }' | sed "s|$root/||"
echo "the same bytes"

say "One bit flipped: refused"
cp save.disk flipped.disk
# Bit 0 of byte 5000, within the first chunk.
byte=$(od -An -tu1 -j5000 -N1 flipped.disk)
printf "\\$(printf %o $((byte ^ 1)))" | dd of=flipped.disk bs=1 seek=5000 conv=notrunc status=none
refuse 2 read flipped.disk

say "Cut off: refused"
head -c 8192 save.disk > cut.disk
refuse 3 read cut.disk

say "A disk that is too small says how large it must be"
run allocate small.disk --size 8KiB
printf '$ stubsave write small.disk < state\n'
code=0; "$stubsave" write small.disk < "$state" 2> message || code=$?
sed 's/^/  /' message
[ "$code" -eq 7 ] || { echo "demo: expected exit code 7, got $code" >&2; exit 1; }
refuse 3 read small.disk

say "Done: the state came back byte for byte, and no damage was taken for a good state"
