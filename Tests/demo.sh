#!/bin/sh
# The main job, without Xen: a real QEMU's device state leaves over a save disk, comes back into a
# fresh QEMU, and the guest goes on counting where it stopped; and damage on the way is found.
# Usage: demo.sh STUBSAVE. As root it goes over a loop device, if there are any (in a plain chroot there
# are none), else over a disk in a plain file.
set -eu
stubsave=$(realpath "$1")
work=$(mktemp -d)
qemu=
finish() {
  [ -z "$qemu" ] || kill "$qemu" 2> /dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
cd "$work"
# QEMU's and ours: a plain chroot may have no /var/tmp.
export TMPDIR="$work"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m')
else bold= plain=; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ stubsave %s\n' "$*"; "$stubsave" "$@"; }
fail() { echo "demo: $*" >&2; exit 1; }
# Must fail, with that exit code.
refuse() {
  wanted=$1; shift
  printf '$ stubsave %s\n' "$*"
  code=0; "$stubsave" "$@" > output 2> message || code=$?
  sed 's/^/  /' message
  [ "$code" -eq "$wanted" ] && [ ! -s output ] \
    || fail "expected exit code $wanted and no output, got $code"
  echo "  (exit code $code, nothing on standard output)"
}

# A guest of 510 bytes: at each tick of the timer it counts in a register, stores the count at
# 0x8000 and prints the next letter. It goes on only if processor, interrupt controller and timer
# are what they were.
#   7c00  cli; xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00     fa 31c0 8ed8 8ed0 bc007c
#   7c0a  xor esi,esi; mov bl,'A'; sti                            6631f6 b341 fb
#   7c10  hlt; mov eax,[0x46c]; cmp eax,edi; je 7c10              f4 66a16c04 6639f8 74f6
#   7c1a  mov edi,eax; inc esi; mov [0x8000],esi                  6689c7 6646 6689360080
#   7c24  mov dx,0x3f8; mov al,bl; out dx,al                      baf803 88d8 ee
#   7c2a  inc bl; cmp bl,'Z'+1; jb 7c10; mov bl,'A'; jmp 7c10     fec3 80fb5b 72df b341 ebdb
boot='\372\061\300\216\330\216\320\274\000\174'
boot="$boot"'\146\061\366\263\101\373'
boot="$boot"'\364\146\241\154\004\146\071\370\164\366'
boot="$boot"'\146\211\307\146\106\146\211\066\000\200'
boot="$boot"'\272\370\003\210\330\356'
boot="$boot"'\376\303\200\373\133\162\337\263\101\353\333'
printf "$boot" > guest.disk
truncate -s 510 guest.disk
printf '\125\252' >> guest.disk
truncate -s 1M guest.disk
truncate -s 16M guest.ram
mkfifo serial.in serial.out

# Settings that stand in for Xen's QEMU; guest RAM in a file stands in for the RAM that Xen keeps.
start_qemu() {
  rm -f monitor pid
  qemu-system-x86_64 -M pc,suppress-vmdesc=on,memory-backend=ram -accel tcg -m 16 \
    -object memory-backend-file,id=ram,size=16M,mem-path=guest.ram,share=on \
    -nodefaults -no-user-config -display none -rtc clock=vm \
    -global migration.send-section-footer=off -global migration.send-configuration=off \
    -global migration.store-global-state=off -global apic.vapic=off \
    -device VGA -netdev user,id=net -device e1000,netdev=net,romfile= -device ahci \
    -drive file=guest.disk,format=raw,if=ide,snapshot=on \
    -chardev pipe,id=serial,path=serial -serial chardev:serial \
    -qmp unix:monitor,server=on,wait=off -daemonize -pidfile pid "$@"
  qemu=$(cat pid)
}
stop_qemu() {
  kill "$qemu"
  tail --pid="$qemu" -f /dev/null
  qemu=
}
count() { od -An -tu4 -j$((0x8000)) -N4 guest.ram | tr -d ' '; }

has_loop_devices() {
  [ "$(id -u)" = 0 ] && truncate -s 4096 probe \
    && device=$(losetup --find --show probe 2> /dev/null) && losetup --detach "$device"
}
over=
if has_loop_devices; then
  where="a loop device over memory"
else
  where="a disk in a plain file (as root, where there are loop devices, it would be one over memory)"
  over="--disk save.disk"
fi

say "A real QEMU; its guest counts the timer's ticks and prints letters"
exec 3<> serial.out
start_qemu
# Blocks until the guest has printed so many.
letters=$(head -c 5 <&3)
echo "the guest prints: $letters..."

say "Its device state leaves over $where; the guest stays stopped"
[ -z "$over" ] || run allocate save.disk
run dump --qmp monitor --pause --keep-paused -o state $over
stop_qemu
# What had been printed by then.
echo > serial.out
letters=$letters$(head -n 1 <&3)
stopped=$(count)
"$stubsave" inspect state | sed -n '1,4p;$p'
echo "QEMU is gone; the guest had printed $letters and counted to $stopped"

say "The state comes back into a fresh QEMU, verified before QEMU sees a byte"
[ -z "$over" ] || run allocate --force --direction restore save.disk
start_qemu -incoming defer
run restore --qmp monitor -i state --require-trailer $over
more=$(head -c 5 <&3)
stop_qemu
echo "the guest goes on: ...$more"
last=$(printf %s "$letters" | tail -c 1)
next=$(printf %s "$last" | tr 'A-Z' 'B-ZA')
[ "$(printf %s "$more" | head -c 1)" = "$next" ] || fail "$more does not go on after $letters"
[ "$(count)" -gt "$stopped" ] || fail "the count did not go on"
echo "it printed $next after $last, and counted from $stopped to $(count): it went on where it stopped"

say "One bit of the state flipped: refused, and QEMU gets nothing"
cp state flipped
# Bit 0 of byte 5000. QEMU alone would load most such states without a word.
byte=$(od -An -tu1 -j5000 -N1 flipped)
printf "\\$(printf %o $((byte ^ 1)))" | dd of=flipped bs=1 seek=5000 conv=notrunc status=none
start_qemu -incoming defer
refuse 2 restore --qmp monitor -i flipped
stop_qemu

say "On the disk: one bit flipped, cut off, too small"
head -c "$(($(wc -c < state) - 8256))" state > bare
run allocate save2.disk --size 1MiB
printf '$ stubsave write save2.disk < bare\n'
"$stubsave" write save2.disk < bare
byte=$(od -An -tu1 -j5000 -N1 save2.disk)
cp save2.disk flipped.disk
printf "\\$(printf %o $((byte ^ 1)))" | dd of=flipped.disk bs=1 seek=5000 conv=notrunc status=none
refuse 2 read flipped.disk
head -c 6144 save2.disk > cut.disk
refuse 3 read cut.disk
run allocate small.disk --size 64KiB
printf '$ stubsave write --codec none small.disk < bare\n'
code=0; "$stubsave" write --codec none small.disk < bare 2> message || code=$?
sed 's/^/  /' message
[ "$code" -eq 7 ] || fail "expected exit code 7, got $code"
run read save2.disk -o again
cmp again bare

say "Done: the guest went on where it stopped, and no damage was taken for a good state"
