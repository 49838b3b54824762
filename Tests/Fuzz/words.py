"""Words and lines of the text protocols, to begin with: QMP, the rendezvous, xenstore's values."""

QMP_LINES: list[bytes] = [
    b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": '
    b'"Debian 1:7.2+dfsg-7+deb12u18"}, "capabilities": ["oob"]}}',
    b'{"return": {}, "id": 1}',
    b'{"return": {"status": "running", "singlestep": false, "running": true}, "id": 2}',
    b'{"return": [{"cpu-index": 0, "qom-path": "/machine/unattached/device[0]"}], "id": "x"}',
    b'{"error": {"class": "GenericError", "desc": "State blocked by non-migratable"}, "id": 1}',
    b'{"id": 1, "error": {"class": "CommandNotFound", "desc": "no \\"such\\" \\u00e9\\n"}}',
    b'{"timestamp": {"seconds": 1700000000, "microseconds": 5}, "event": "STOP"}',
    b'{"event": "MIGRATION", "data": {"status": "completed"}, "timestamp": {"seconds": -1}}',
    b'{"event": "RESUME", "data": {"a": [1, -0.5e+10, true, null, "\\ud83d\\ude00"]}}',
    b'{"return": {}, "error": {}, "event": "X", "QMP": {}, "id": 1}',
    b'{"retur\\u006e": {}, "i\\u0064": 1}',
    b'{"return": {}, "return": 1, "id": 1}',
    b'{"return": "\\u0000\\ud800 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "id": 1}',
    b'{"id": 18446744073709551615, "return": [[[[[]]]], {"": {}}]}',
    b'[{"a": 1e5}, 0, -1, 0.0, "\\b\\f\\n\\r\\t\\/\\\\"]',
    b'"text"', b"1", b"null", b" {} ", b"{}x", b'{"a":}', b"",
]  # fmt: skip

COMMANDS: list[bytes] = [
    b'{"execute": "qmp_capabilities", "id": 1}',
    b'{"execute": "query-cpus-fast", "id": 2}',
    b'{"execute": "xen-set-global-dirty-log", "arguments": {"enable": true}, "id": 3}',
    b'{"execute": "xen-set-global-dirty-log", "arguments": {"enable": false}}',
    b'{"execute": "stop", "id": {"a": [1]}}',
    b'{"execute": "xen-save-devices-state", "id": 7, '
    b'"arguments": {"filename": "/f", "live": true}}',
    b'{"exec-oob": "x", "id": null}',
    b'{"execute": 1}',
]

QMP_WORDS: list[bytes] = [
    *(b'"%s"' % word for word in (
        b"QMP", b"version", b"qemu", b"major", b"minor", b"micro", b"package", b"capabilities",
        b"return", b"error", b"class", b"desc", b"id", b"event", b"data", b"timestamp",
        b"execute", b"arguments", b"enable", b"status", b"MIGRATION", b"RESUME", b"completed",
        b"xen-save-devices-state", b"xen-set-global-dirty-log", b"GenericError")),
    b"\\u0000", b"\\u00e9", b"\\ud83d", b"\\ude00", b"\\ud83d\\ude00", b"\\/", b"\\\\", b'\\"',
    b"?\n", b'{"blocked-reasons":["a"]}', b"true", b"false", b"null", b"{}", b"[]", b":", b",", b"\n>", b"\n", b"\r\n", b"1e+5", b"-0",
    b'"id":1', b'"return":{}', b"\xc3\xa9", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\x80",
    b"18446744073709551616", b"/*", b"\x0b", b"\x0c",
]  # fmt: skip

_ID = b"0123456789abcdef0123456789abcdef"

CELLS: list[bytes] = [
    b"", b"1 idle", b"2 idle",
    *(b"1 " + _ID + b" " + rest for rest in (
        b"accepted", b"ready", b"unsupported", b"progress 4096 running", b"loaded 216382",
        b"committed 12288 stopped", b"failed 7 1048576 paused small",
        *(b"failed 13 0 unknown " + reason for reason in (
            b"device", b"foreign", b"disk", b"large", b"runs", b"incoming", b"settled", b"empty",
            b"qemu", b"system", b"verb")),
        b"reset 67108864 10000", b"cont 5000", b"keep 5000",
        b"save xvdz " + _ID + b" 67108864 60000", b"load fd:5 " + _ID + b" 4611686018427387904 1",
        *(b"take xvdq " + _ID + b" 1000 3600000"[:-8] + b" " + wish + b" 3600000" for wish in (
            b"paused", b"pause", b"keep")))),
    *(b"2 " + _ID + b" " + rest for rest in (
        b"accepted", b"ready", b"unsupported", b"failed 13 0 running blocked State blocked",
        b"failed 13 0 paused qemu \\x1b[31m " + b"a" * 100, b"reset,ignore-blockers 67108864 10000",
        b"take,ignore-blockers xvdq " + _ID + b" 1000 keep 60000")),
    b"3 " + _ID + b" unsupported", b"3 " + _ID + b" save what ever", b",ignore-blockers", b"blocked", b"fd:1048576", b"65535",
    b"18446744073709551615",
]  # fmt: skip

VALUES: list[bytes] = [
    b"7:1f", b"fd:0", b"ffffffff:ffffffff", b"0", b"4294967295", b"00007", b"transfer", b"attached",
    b"xvdz", b"xvdq", b"/local/domain/5/device-model/4/qmp-vchan", b"/local/domain/0/backend/vbd",
    b"-machine\0xenfv\0-device\0e1000,id=nic0,script=/etc/x\0-usb\0-m\x00512\0-nodefaults",
    b"-drive\0file=/dev/xvda,if=ide\0-incoming\0fd:5\0-cpu\0qemu64", b"ENOENT", b"EAGAIN",
    b"EACCES",
    b"E2BIG", b"EQUOTA", b"EINVAL", b"EEXIST", b"/vm/75757a59-0182-4b21-89d1-62b5127d8c8d",
]  # fmt: skip
