# The trailer of a state file (save-disk.md, section 10), for Kaitai Struct (https://kaitai.io).
#
# This is for a file that ends with its trailer; how it is found before zeros is in section 10 ("Finding it").
# save-disk.md is normative; Tests/Formats/check_ksy.py holds this file against its table. A state
# file starts with bytes of no known length, so that all is found from the footer, its last 64 bytes.
#
# Kaitai Struct cannot say, and this file does not check: `hash` (T4; and T1, which recognises a footer
# whose magic is damaged by it), `stateDigest` (T9) and the verdict. T7 is found at `metadataBytes`
# rather than at `stateBytes`, because only then have both been read. Whether the metadata is good as
# an archive (T10) is for save-disk.ksy: export its bytes and open them with that.

meta:
  id: state_trailer
  title: State file with stubsave's trailer
  license: MIT
  ks-version: '0.10'
  endian: le

doc: |
  A state file as the toolstack has it: QEMU's device state, unchanged, then metadata (nothing, or an
  archive in the format of save-disk.ksy), then the footer.
doc-ref: save-disk.md, section 10

instances:
  footer:
    pos: _io.size - 64
    size: 64
    type: footer
    doc: The last 64 bytes of the file, where nothing follows the trailer.
  state:
    pos: 0
    size: footer.state_bytes
    doc: The bytes of the stream qemu.
  metadata:
    pos: footer.state_bytes
    size: footer.metadata_bytes
    doc: Nothing, or an archive with the optional streams.

types:
  footer:
    doc-ref: save-disk.md, section 10
    seq:
      - id: magic
        contents: [0x89, STUBTRLR, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0]
        doc: |
          `magic`: 0x89, STUBTRLR, CR LF, 0x1A, LF, three zeros.
      - id: version
        type: u4
        valid: 1
        doc: |
          `version`: must be 1.
      - id: required_features
        type: u4
        valid: 0
        doc: |
          `requiredFeatures`: must be 0.
      - id: state_bytes
        type: u8
        doc: |
          `stateBytes`: length of the state.
      - id: metadata_bytes
        type: u8
        valid:
          expr: |
            _ <= _root._io.size - 64
            and state_bytes + _ + 64 == _root._io.size
            and _ % 4096 == 0
        doc: |
          `metadataBytes`: length of the metadata.
      - id: state_digest
        size: 16
        doc: |
          `stateDigest`: XXH3-128 without seed of the state, in canonical form. Not checked here.
      - id: hash
        size: 8
        doc: |
          `hash`: XXH3-64 without seed of the metadata followed by footer bytes 16 to 55, in canonical
          form. Not checked here.
