# A guest that shows whether it goes on where it stopped, and whether its disk does: a boot sector that
# says BOOT and then the letters A to Z for ever on its first serial port, one at every second tick of
# the clock (9.1 letters a second), and writes after each Z how often it has done so to a sector of its disk.
# It says ! if the disk refuses. Between the ticks the processor sleeps: others need it.

.set SERIAL, 0x3f8
.set DISK, 0x1f0
.set DISK_CONTROL, 0x3f6
.set SECTOR, 64           # written to; hvm.py reads there
.set BUFFER, 0x8000

.code16
.globl _start
_start:
        cli
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x7000, %sp
        ljmp $0, $1f
1:      cld
        movw $BUFFER, %di
        movw $256, %cx
        rep stosw
        movl $0x5350414c, BUFFER       # LAPS
        # No interrupts from the disk: it is asked.
        movw $DISK_CONTROL, %dx
        movb $2, %al
        outb %al, %dx
        movw $banner, %si
2:      lodsb
        testb %al, %al
        jz 3f
        call say
        jmp 2b

3:      sti
        hlt
        hlt
        movb letter, %al
        call say
        incb letter
        cmpb $'Z'+1, letter
        jne 3b
        movb $'A', letter
        incl BUFFER+4
        call write
        jmp 3b

# A letter to the serial port, once it is free. Keeps all but AH and DX.
say:    movb %al, %ah
        movw $SERIAL+5, %dx
4:      inb %dx, %al
        testb $0x20, %al
        jz 4b
        movb %ah, %al
        movw $SERIAL, %dx
        outb %al, %dx
        ret

# The buffer to the sector, and out of QEMU's caches to the disk.
write:  call ready
        movw $DISK+2, %dx
        movb $1, %al                   # so many sectors
        outb %al, %dx
        incw %dx
        movb $SECTOR, %al
        outb %al, %dx
        xorb %al, %al
        incw %dx
        outb %al, %dx
        incw %dx
        outb %al, %dx
        incw %dx
        movb $0xe0, %al                # by number, the first disk
        outb %al, %dx
        incw %dx
        movb $0x30, %al                # WRITE SECTORS
        outb %al, %dx
        call ready
        movw $DISK, %dx
        movw $BUFFER, %si
        movw $256, %cx
        rep outsw
        call ready
        movb $0xe7, %al                # FLUSH CACHE
        outb %al, %dx
        call ready
        testb $0x21, %al               # error, fault
        jz 5f
        movb $'!', %al
        call say
5:      ret

# Until the disk is not busy. Gives its status in AL, that port in DX.
ready:  movw $DISK+7, %dx
6:      inb %dx, %al
        testb $0x80, %al
        jnz 6b
        ret

banner: .asciz "BOOT "
letter: .byte 'A'

        .org 510
        .word 0xaa55
