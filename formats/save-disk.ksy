# The save disk, version 1, for Kaitai Struct (https://kaitai.io).
#
# save-disk.md is normative; Tests/Formats/check_ksy.py holds this file against its tables and
# against the fixtures. Letters with numbers (R11, K5 ...) are the checks of its section 7.
#
# A file that parses with this definition has the right shape. It is NOT thereby good: Kaitai Struct
# cannot say, and this file does not check,
#   - the hashes and digests: header hash (H3), record hash (R8), stream digest (S4), log digest (C4);
#   - what a compressed body decodes to (D7);
#   - the rules that need a memory of earlier records, apart from the sequence number: which record
#     may follow which (K1), the index of the open stream (K2, beyond "less than maxStreams"), names
#     used twice (B6), and all sums (D5, S1, S2, C6, C7, C8);
#   - what the reader does not accept or limits by itself (R6, D2, D6), and which names it knows (B9);
#   - the order of the checks, hence the verdict: a field that is not valid here may mean corrupt, not
#     a save disk or unsupported, and the end of data means incomplete, also where 64 zero bytes
#     stand in place of a record (R3: here, a record type that is not valid). D4 is found at `codec`
#     rather than at `storedBytes`, because only then has all been read that it needs;
#   - where reading ends on a device longer than `capacityBytes` (E in section 7).
# A log that ends in an abort parses; its verdict is incomplete.

meta:
  id: save_disk
  title: Save disk
  file-extension: savedisk
  license: MIT
  ks-version: '0.10'
  endian: le

doc: |
  One or more named byte streams, chiefly the device state of a virtual machine, carried once from one
  writer to one reader: a header of one block, then a log of records that ends with a commit or an
  abort. Every record starts at a multiple of 64.
doc-ref: save-disk.md

seq:
  - id: header
    type: header
    size: 4096
    doc: Block 0, written by the allocator.
    doc-ref: save-disk.md, section 4
  - id: records
    type: record(_index)
    repeat: until
    repeat-until: _.is_final
    doc: The log.
    doc-ref: save-disk.md, section 5
  - id: padding
    size: (4096 - _io.pos % 4096) % 4096
    if: is_committed
    valid:
      expr: _.length == 0 or _.max == 0
    doc: |
      `padding` of the commit: zero up to the next multiple of 4096, where the save disk ends.
    doc-ref: save-disk.md, section 5.6
  - id: trailing
    size-eos: true
    valid:
      expr: _.length == 0 or not is_committed or _io.size == header.capacity_bytes
    doc: |
      `trailing`: what stands behind the save disk. There is nothing behind one in an archive. On a
      disk that fills its whole capacity, and behind an abort, this has no meaning. (A block device
      whose size is not `capacityBytes` is no archive either; that cannot be told here.)
    doc-ref: save-disk.md, section 7

instances:
  is_committed:
    value: records.last.kind == record_type::commit
    doc: The log ends with a commit, not with an abort.
  disk_bytes:
    value: _io.size - trailing.length
    if: is_committed
    doc: Length of the save disk, a multiple of 4096.

types:
  header:
    doc: Block 0. Magic and hash have the same place in every future version.
    doc-ref: save-disk.md, section 4
    seq:
      - id: magic
        contents: [0x89, STUBSAVE, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0]
        doc: |
          `magic`: 0x89, STUBSAVE, CR LF, 0x1A, LF, three zeros.
      - id: version
        type: u4
        valid: 1
        doc: |
          `version`: must be 1.
      - id: required_features
        type: u4
        valid: 0
        doc: |
          `requiredFeatures`: one bit for each feature without which the log cannot be read.
      - id: direction
        type: u4
        enum: direction
        valid:
          any-of:
            - direction::save
            - direction::restore
        doc: |
          `direction`: save or restore.
      - id: chunk_bytes
        type: u4
        valid:
          any-of:
            - 65536
            - 131072
            - 262144
            - 524288
            - 1048576
        doc: |
          `chunkBytes`: raw bytes of a full chunk; bounds the body of every record.
      - id: transfer_id
        size: 16
        valid:
          expr: _.max != 0
        doc: |
          `transferID`: random, fresh for each header, not zero.
      - id: capacity_bytes
        type: u8
        valid:
          expr: _ == 0 or (_ % 4096 == 0 and _ >= 8192 and _ <= 0x4000000000000000)
        doc: |
          `capacityBytes`: 0, the disk grows; else the size of the disk.
      - id: max_raw_bytes
        type: u8
        doc: |
          `maxRawBytes`: 0, no limit stated; else the most raw bytes that all streams may have.
      - id: allowed_codecs
        type: u4
        valid:
          expr: (_ & 3) == 3
        doc: |
          `allowedCodecs`: bit n set, codec n may be used. Bits 0 and 1 must be set.
      - id: max_streams
        type: u4
        valid:
          min: 1
          max: 16
        doc: |
          `maxStreams`: the most streams.
      - id: recipient_domid
        type: u4
        valid:
          expr: _ <= 0x7fef or _ == 0xffffffff
        doc: |
          `recipientDomid`: domid of the stubdomain the disk is made for; 0xFFFFFFFF, not stated.
      - id: target_domid
        type: u4
        valid:
          expr: _ <= 0x7fef or _ == 0xffffffff
        doc: |
          `targetDomid`: domid of the HVM guest; 0xFFFFFFFF, not stated.
      - id: target_uuid
        size: 16
        doc: |
          `targetUUID`: UUID of the HVM guest in the order in which it is printed; zero, not stated.
      - id: compatible_features
        type: u4
        doc: |
          `compatibleFeatures`: one bit for each feature that a reader need not know. Any value.
      - id: reserved
        size: 3980
        valid:
          expr: _.max == 0
        doc: |
          `reserved`: zero.
      - id: hash
        size: 16
        doc: |
          `hash`: XXH3-128 of header bytes 0 to 4079, in canonical form. Not checked here.

  record:
    doc: A record header, its body, and zero padding up to a multiple of 64.
    doc-ref: save-disk.md, section 5.1
    params:
      - id: index
        type: s4
        doc: Number of records before this one.
    seq:
      - id: hash
        size: 8
        doc: |
          `hash`: XXH3-64 with the transfer seed, in canonical form, of the record from its byte 8 to
          the end of its body. Not checked here.
      - id: type
        type: u4
        valid:
          expr: _ >= 0x80000000 or (_ >= 1 and _ <= 5)
        doc: |
          `type`: see `kind`. Bit 31 set: optional, to be skipped by whoever does not know it. Bit 30:
          private. Bit 29, of an optional one: may be copied by whoever does not know it.
      - id: stream
        type: u4
        valid:
          expr: |
            is_optional
            or (is_final and _ == 0)
            or (not is_final and _ < _root.header.max_streams)
        doc: |
          `stream`: index of the stream in the order of their begin; 0 in commit and abort.
      - id: sequence
        type: u8
        valid:
          eq: index
        doc: |
          `sequence`: number of records before this one, of whatever type.
      - id: stored_bytes
        type: u4
        valid:
          expr: |
            _ <= _root.header.chunk_bytes
            and (_root.header.capacity_bytes == 0
                 or _io.pos + 36 + (_ + 63) / 64 * 64 <= _root.header.capacity_bytes)
            and (kind != record_type::stream_begin or _ == 64)
            and (kind != record_type::stream_end or _ == 64)
            and (kind != record_type::commit or _ == 128)
            and (kind != record_type::abort or _ == 8)
        doc: |
          `storedBytes`: length of the body as stored. At this point 28 bytes of the record have been
          read, so the record with its padding ends 36 + align(storedBytes, 64) bytes on.
      - id: raw_bytes
        type: u4
        valid:
          expr: |
            is_optional
            or (is_chunk and _ >= 1 and _ <= _root.header.chunk_bytes)
            or (not is_chunk and _ == 0)
        doc: |
          `rawBytes`: length of a chunk when decoded; 0 in the other records of this version.
      - id: codec
        type: u4
        valid:
          expr: |
            is_optional
            or (is_chunk and _ <= 31 and ((_root.header.allowed_codecs >> _) & 1) == 1
                and stored_bytes_fit_codec)
            or (not is_chunk and _ == 0)
        doc: |
          `codec`: of a chunk, see `coding`; 0 in the other records of this version.
      - id: reserved
        size: 28
        valid:
          expr: _.max == 0
        doc: |
          `reserved`: zero.
      - id: body
        size: stored_bytes
        type:
          switch-on: kind
          cases:
            'record_type::stream_begin': stream_begin
            'record_type::stream_end': stream_end
            'record_type::commit': commit
            'record_type::abort': abort
        doc: |
          `body`: bytes as coded in a chunk, bytes of unknown meaning in an optional record.
      - id: padding
        size: (64 - stored_bytes % 64) % 64
        valid:
          expr: _.length == 0 or _.max == 0
        doc: |
          `padding`: zero up to the next multiple of 64.
    instances:
      kind:
        value: type
        enum: record_type
        doc: |
          The type by name. The type is the whole number: 0x80000002 is not a chunk.
      coding:
        value: codec
        enum: codec
        if: is_chunk
        doc: The codec of a chunk by name.
      is_optional:
        value: type >= 0x80000000
        doc: An optional record; its stream, rawBytes, codec and body are not looked at.
      is_chunk:
        value: kind == record_type::chunk
      is_final:
        value: kind == record_type::commit or kind == record_type::abort
        doc: The last record of the log.
      stored_bytes_fit_codec:
        value: |
          (coding == codec::none and stored_bytes == raw_bytes)
          or (coding == codec::zeros and stored_bytes == 0)
          or (codec >= 2 and stored_bytes >= 1 and stored_bytes < raw_bytes)
        if: is_chunk
        doc: Check D4.
        doc-ref: save-disk.md, section 6

  stream_begin:
    doc: Opens a stream and names it.
    doc-ref: save-disk.md, section 5.3
    seq:
      - id: transfer_id
        size: 16
        valid:
          eq: _root.header.transfer_id
        doc: |
          `transferID`: the header's.
      - id: name_bytes
        type: u4
        valid:
          min: 1
          max: 32
        doc: |
          `nameBytes`: length of the name.
      - id: flags
        type: u4
        valid:
          max: 1
        doc: |
          `flags`: bit 0, whoever does not know the name must refuse the disk (B9, not checked here).
      - id: reserved
        size: 8
        valid:
          expr: _.max == 0
        doc: |
          `reserved`: zero.
      - id: name
        size: 32
        type: stream_name
        doc: |
          `name`: `nameBytes` bytes, then zero. In use: qemu, metadata. Private: what begins with x-.

  stream_name:
    doc: The name of a stream, filled up with zeros.
    doc-ref: save-disk.md, section 5.3
    seq:
      - id: first
        type: u1
        valid:
          expr: (_ >= 0x61 and _ <= 0x7a) or (_ >= 0x30 and _ <= 0x39)
        doc: One of a-z, 0-9.
      - id: others
        type: stream_name_byte
        repeat: expr
        repeat-expr: _parent.name_bytes - 1
      - id: padding
        size-eos: true
        valid:
          expr: _.length == 0 or _.max == 0
        doc: Zero.
    instances:
      text:
        pos: 0
        size: _parent.name_bytes
        type: str
        encoding: ASCII
        doc: The name as a string.

  stream_name_byte:
    seq:
      - id: value
        type: u1
        valid:
          expr: |
            (_ >= 0x61 and _ <= 0x7a) or (_ >= 0x30 and _ <= 0x39)
            or _ == 0x2d or _ == 0x2e or _ == 0x5f
        doc: One of a-z, 0-9, hyphen, full stop, underscore.

  stream_end:
    doc: Closes a stream. Its values are not compared with the chunks here.
    doc-ref: save-disk.md, section 5.5
    seq:
      - id: digest
        size: 16
        doc: |
          `digest`: XXH3-128 of all raw bytes of the stream, in canonical form.
      - id: raw_bytes
        type: u8
        doc: |
          `rawBytes`: sum of the `rawBytes` of the stream's chunks.
      - id: chunk_count
        type: u8
        doc: |
          `chunkCount`: number of the stream's chunks.
      - id: reserved
        size: 32
        valid:
          expr: _.max == 0
        doc: |
          `reserved`: zero.

  commit:
    doc: Ends a log that is complete.
    doc-ref: save-disk.md, section 5.6
    seq:
      - id: transfer_id
        size: 16
        valid:
          eq: _root.header.transfer_id
        doc: |
          `transferID`: the header's.
      - id: header_hash
        size: 16
        valid:
          eq: _root.header.hash
        doc: |
          `headerHash`: the header's `hash`.
      - id: log_digest
        size: 16
        doc: |
          `logDigest`: XXH3-128 of the log before the commit record, in canonical form.
      - id: log_bytes
        type: u8
        valid:
          eq: _parent._io.pos - 192 - 4096
        doc: |
          `logBytes`: length of what the log digest covers. The outer stream stands behind the body of
          the commit record, 192 bytes after its start; the log starts at 4096.
      - id: record_count
        type: u8
        valid:
          eq: _parent.sequence
        doc: |
          `recordCount`: number of records before the commit, optional ones included.
      - id: raw_bytes
        type: u8
        doc: |
          `rawBytes`: sum of the streams' `rawBytes`.
      - id: stored_bytes
        type: u8
        doc: |
          `storedBytes`: sum of the `storedBytes` of all chunks.
      - id: stream_count
        type: u4
        valid:
          min: 1
          max: _root.header.max_streams
        doc: |
          `streamCount`: number of streams.
      - id: reserved
        size: 44
        valid:
          expr: _.max == 0
        doc: |
          `reserved`: zero.

  abort:
    doc: Ends a log that the writer gave up.
    doc-ref: save-disk.md, section 5.7
    seq:
      - id: code
        type: u4
        enum: abort_code
        doc: |
          `code`: why the writer gave up. Other codes may come; a reader treats all alike.
      - id: reserved
        size: 4
        valid:
          expr: _.max == 0
        doc: |
          `reserved`: zero.

enums:
  direction:
    1:
      id: save
      doc: Stubdomain to dom0.
    2:
      id: restore
      doc: Dom0 to stubdomain.
  record_type:
    0x00000001: stream_begin
    0x00000002: chunk
    0x00000003: stream_end
    0x00000004: commit
    0x00000005: abort
  codec:
    0:
      id: none
      doc: The raw bytes.
    1:
      id: zeros
      doc: No bytes; decodes to zero bytes.
    2:
      id: lz4
      doc: One LZ4 block, no frame.
    3:
      id: zlib
      doc: One zlib stream.
    4:
      id: zstd
      doc: One Zstandard frame of a single segment that states its length.
  abort_code:
    1:
      id: source_failed
      doc: The source of the state failed or ended with an error.
    2:
      id: state_too_large
      doc: The state is larger than `maxRawBytes`.
    3:
      id: disk_full
      doc: The state does not fit into `capacityBytes`.
    4:
      id: stopped
      doc: The writer was told to stop, or its deadline passed.
    5:
      id: other
      doc: Any other failure of the writer.
