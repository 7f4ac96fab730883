"""Reads a log that the test wrote, with a C2SP library of another party, and prints what it finds as JSON.

usage: check_log.py <folder> <vkey> <cosigner vkey> <witness vkey> <proof index> <old size>
"""
import base64
import json
import pathlib
import sys

import aics_tlog as tlog

folder, vkey, cosigner, witness, index, old_size = sys.argv[1:]
index, old_size = int(index), int(old_size)
note = tlog.parse_note((pathlib.Path(folder) / "checkpoint").read_bytes())
result = tlog.verify_checkpoint(
    note, tlog.parse_vkey(vkey), [tlog.parse_vkey(cosigner), tlog.parse_vkey(witness)], 2
)
reader = tlog.FileSystemTileReader(folder)
size = result.size
entry = tlog.read_entry(reader, index, size)
proof = tlog.inclusion_proof_from_tiles(reader, index, size)
consistency = tlog.consistency_proof_from_tiles(reader, old_size, size)
old_root = tlog.tree_root_from_tiles(reader, old_size, size)
root = tlog.tree_root_from_tiles(reader, size)


def text(data):
    return base64.b64encode(data).decode()


print(
    json.dumps(
        {
            "log_ok": result.log_ok,
            "ok": result.ok,
            "error": result.error,
            "origin": result.origin,
            "size": size,
            "timestamps": result.timestamps,
            "root_of_tiles_is_signed": root == result.root,
            "entry": entry.decode(),
            "inclusion": [text(each) for each in proof],
            "included": tlog.verify_inclusion(tlog.leaf_hash(entry), index, size, proof, root),
            "consistency": [text(each) for each in consistency],
            "consistent": tlog.verify_consistency(old_size, size, old_root, root, consistency),
        }
    )
)
