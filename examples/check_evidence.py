#!/usr/bin/env python3
"""Checks an evidence bundle of one session (docs/integrity.md) without any code of the program that made it.
python3 check_evidence.py FILE --trust TRUST [--root VKEY] [--checkpoint NOTE], with fastavro and cryptography from PyPI.
Exit codes: 0 verified, 1 tampered, 2 incomplete, 3 could not check, 64 wrong use."""
import argparse, base64, fastavro, hashlib, html, io, json, re, sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import quote, unquote
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
SCHEMAS = {"06a703b0e4077c9ac1d90b0f3d883c74fceb3621c8ef06b23e8791ab74180155": "5c05d5104382e074",  # By SHA-256: a CRC-64 is easy to forge.
           "9b3fdd9528ecc89576172c38bb1b874e05b5662fbd12c9c0dca7607db29bc40e": "fc3c36e5cc74476a"}
PARTS = {"trust": 0, "schemas": 1, "records": 1, "seals": 3, "log": 2, "report.html": 0}  # Items of an entry; 0: no list.
STYLE = ("body{font:15px sans-serif;margin:2em;overflow-wrap:anywhere}dl{display:grid;grid-template-columns:14em 1fr}"
         "dd{margin:0;white-space:pre-wrap}i{color:#fff;background:#a00}")
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
                    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]")
def need(holds, message):
    if not holds: raise ValueError(message)
sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
encoded = lambda text: quote(text if isinstance(text, str) else "", safe="-_.!~*'()")
def b64(text, size=None):
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text and size in (None, len(raw)), "expected canonical Base64")
    return raw
hashes = lambda raw: need(len(raw) % 32 == 0, "expected hashes of 32 bytes each") or [raw[at:at + 32] for at in range(0, len(raw), 32)]
def entries(raw, group):
    found, at = [], 0
    while at < len(raw):
        found.append(raw[at + 4:(at := at + 4 + int.from_bytes(raw[at:at + 4], "big"))])
    need(at == len(raw) and len(found) % group == 0, "a part ends within an entry")
    return list(zip(*[iter(found)] * group))
def parse_bundle(data):
    head, end, body = data.partition(b"\n\n")
    _, name, *lines = head.decode().split("\n")
    session, parts = unquote(name.removeprefix("session "), errors="strict"), {}
    need(end and session and (name, len(lines)) == ("session " + encoded(session), len(PARTS)), "expected the lines of a head")
    for (part, group), line in zip(PARTS.items(), lines):
        size, digest = re.fullmatch(rf"part {re.escape(part)} (0|[1-9][0-9]*) (\S+)", line, re.ASCII).groups()
        raw, body = body[:int(size)], body[int(size):]
        need((len(raw), sha(raw)) == (int(size), b64(digest)), f"the part {part} is not the one that the head names")
        parts[part] = entries(raw, group) if group else raw
    need(body == b"", "there are bytes behind the last part")
    return session, parts
def parse_note(raw):
    text, end, lines = raw.decode().rpartition("\n\n")
    need(len(raw) <= 65535 and end and lines.endswith("\n") and not re.search("[\x00-\x09\x0b-\x1f]", text + lines), "expected a signed note")
    found = [re.fullmatch(r"— ([^\s+\x7f]+) (\S+)", line).groups() for line in lines[:-1].split("\n")]
    signatures = [(name, b64(signature)[:4], b64(signature)[4:]) for name, signature in found]
    need(len(found) <= 64 and all(signature for _, _, signature in signatures), "expected a key id and a signature")
    return (text + "\n").encode(), signatures
class Key:
    def __init__(self, vkey, role=None, begin="", end="-", revoked=None):
        self.name, given, material = vkey.split("+", 2)
        self.public, self.role, self.begin, self.end, self.revoked = b64(material, 33)[1:], role, begin, end, revoked
        self.ids = {kind: sha(self.name.encode(), b"\n", bytes([kind]), self.public)[:4] for kind in (1, 4)}
        need(self.ids[b64(material)[0]].hex() == given, "expected a verifier key")
    def verify(self, text, signatures, kind):
        times = []  # The signed times of this key's signatures of that kind, which must all be right; a plain one has 0.
        for signature in [each[2] for each in signatures if each[:2] == (self.name, self.ids[kind])]:
            times.append(int.from_bytes(signature[:8], "big") if kind == 4 else 0)
            message, at = (b"cosignature/v1\ntime %d\n" % times[-1] + text, 8) if kind == 4 else (text, 0)
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature[at:], message)
        return times
    def counts_at(self, time):
        return self.begin <= time and (self.end == "-" or time < self.end) and not (self.revoked and time >= self.revoked)
def parse_trust(raw, root):
    if root:
        raw, signatures = parse_note(raw)
        need(root.verify(raw, signatures, 1), "the root key has not signed the trust file")
    text = raw[:raw.rindex(b"\n\n") + 1].decode() if b"\n\n" in raw else raw.decode()
    head, *lines, last = text.split("\n")
    tags = {tag: [line for line in lines if line.startswith(tag + " ")] for tag in ("key", "producer", "service", "origin", "witness")}
    need((head, last) == ("audit-trust/v1", "") and lines == sum(tags.values(), []), "expected a trust file")
    return {"keys": [Key(*line.split(" ")[1:5], *line.split(" ")[6:7]) for line in tags["key"]],
            "witnesses": [Key(line[8:]) for line in tags["witness"]], "services": [line[8:] for line in tags["service"]], "origin": (tags["origin"] or [None])[0]}
def climb(node, last, first, path):
    """RFC 9162, sections 2.1.3.2 and 2.1.4.2: the hashes of the old and the new tree at the end of the path."""
    old = new = first
    for sibling in path:
        need(last > 0, "expected a proof without further hashes")
        if node & 1 or node == last:
            old, new = sha(b"\1", sibling, old), sha(b"\1", sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = sha(b"\1", new, sibling)
        node, last = node >> 1, last >> 1
    need(last == 0, "expected a whole proof")
    return old, new
def extends(old_size, old_root, size, root, path):
    need(0 < old_size < size, "expected checkpoints in ascending order")
    first, *path = [old_root, *path] if old_size & (old_size - 1) == 0 else path or [b""]
    shift = ((old_size - 1) ^ old_size).bit_length() - 1
    return climb((old_size - 1) >> shift, (size - 1) >> shift, first, path) == (old_root, root)
def text_of(row, name):
    value = "" if row[name] is None else row[name]
    if name == "timestamp":
        value = (datetime(1970, 1, 1) + timedelta(microseconds=value)).isoformat(timespec="microseconds") + "Z"
    elif isinstance(value, float):  # As ECMA-262: the shortest digits, an exponent from 1e21 and below 1e-6.
        special = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN", "0.0": "0", "-0.0": "0"}.get(repr(value))
        value = special or format(Decimal(repr(value)).normalize(), "f" if 1e-6 <= abs(value) < 1e21 else "e")
    text = value.hex() if isinstance(value, bytes) else str(value).lower() if isinstance(value, bool) else str(value)
    return HIDDEN.sub(lambda found: f"<i>U+{ord(found[0]):04X}</i>", html.escape(text))
def members(text):
    try: return dict(json.loads(text or "{}", parse_constant=lambda name: need(False, name)).items())
    except (ValueError, AttributeError): return {}
def labels_of(row):
    kind = lambda note: "encrypted" if note.get("encrypted") is True else "erased" if "erased" in note else None
    notes = {name: kind(note) for name, note in members(row["field_notes"]).items() if isinstance(note, dict)}
    return {name: label for name, label in notes.items() if label}
def render(session, records):
    style, title = base64.b64encode(sha(STYLE.encode())).decode(), text_of({"session": session}, "session")
    page = ("<!doctype html>\n<meta charset='utf-8'>\n<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
            f"style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'\">\n<title>Session {title}</title>\n<style>{STYLE}</style>\n"
            f"<h1>Session {title}</h1>\n<p>Events: {len(records)}. Runs: {len({row['run_id'] for row in records})}. Times are UTC, by the "
            "producer's clock. This page shows what the records say.\nWhether they are whole and unchanged is the verdict of a check of "
            "the bundle, not of this page.</p>\n")
    for number, row in enumerate(sorted(records, key=lambda row: (row["timestamp"], row["run_seq"], row["run_id"])), 1):
        heading = " · ".join([str(number), *(text_of(row, name) for name in ("timestamp", "event_type", "agent_id"))])
        labels = labels_of(row)
        names = {name: f"{name} ({labels[name]})" if name in labels else name for name in row if row[name] is not None or labels.get(name) == "erased"}
        rows = "".join(f"<dt>{term}</dt><dd>{text_of(row, name)}</dd>\n" for name, term in names.items())
        page += f"<section>\n<h2>{heading}</h2>\n<dl>\n{rows}</dl>\n</section>\n"
    return page.encode()
def read_records(session, messages, texts):
    """Of each record: run_id, run_seq and fingerprint, its leaf and its fields. They must be whole and in ascending order."""
    plain = lambda text: json.loads(text, object_hook=lambda each: {key: each[key] for key in each if key != "logicalType"})
    schemas, found = {SCHEMAS[sha(text).hex()]: fastavro.parse_schema(plain(text)) for (text,) in texts}, []
    for (message,) in messages:
        fingerprint, body, again = message[9:1:-1].hex(), message[10:], io.BytesIO()
        row = fastavro.schemaless_reader(io.BytesIO(body), schemas[fingerprint], None)
        fastavro.schemaless_writer(again, schemas[fingerprint], row)
        need(message[:2] == b"\xc3\x01" and again.getvalue() == body and row["session_id"] == session, "expected records of the session")
        found.append((row["run_id"].hex(), row["run_seq"], fingerprint, sha(b"\0", body), row))
    places, named = [each[:2] for each in found], sorted({each[2] for each in found})
    need(places and places == sorted(set(places)) and list(schemas) == named, "expected records in ascending order, and their schemas")
    return found
def signed_by(trust, raw, role, notes):
    text, signatures = parse_note(raw)
    known = [key for key in trust["keys"] if (key.name, key.ids[1]) in [each[:2] for each in signatures]]
    own = [key for key in known if key.role == role and key.verify(text, signatures, 1)]
    need(own or not known, f"expected a signature of a {role} key")
    notes += [("unchecked", f"the trust file has no {role} key {[(name, key_id.hex()) for name, key_id, _ in signatures[:3]]}")] if not own else []
    return own[0] if own else None
def read_checkpoint(trust, raw, notes):
    notary, (text, signatures) = signed_by(trust, raw, "notary", notes), parse_note(raw)
    if notary is None: return None
    origin, size, root, _ = text.decode().split("\n")
    need(trust["origin"] in (None, "origin " + origin), "expected the origin of the trust file")
    cosigned = {key: key.verify(text, signatures, 4) for key in trust["keys"] + trust["witnesses"] if key.role in ("notary", None)}
    if not cosigned[notary]: return notes.append(("unchecked", f"the checkpoint of {size} seals has no signed time"))
    time = datetime.fromtimestamp(cosigned[notary][0], timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    need(notary.counts_at(time), f"the key {notary.name} does not count at {time}")
    return origin, int(size), b64(root, 32), time  # None before: it does not count.
def read_log(trust, log, notes):
    anchors = []
    for path, note in log:
        anchor = read_checkpoint(trust, note, notes)
        if anchor is None: return anchors
        holds = anchors[-1][0] == anchor[0] and extends(*anchors[-1][1:3], *anchor[1:3], hashes(path)) if anchors else not path
        need(holds, f"the log of {anchor[1]} seals does not extend the one before")
        anchors.append(anchor)
    return anchors
def check_approval(trust, row, time, notes):
    said, status, digest, asis = members(row.get("approval")), row["approval_status"], "sha256 [0-9a-f]{64}", lambda text: re.escape(encoded(text))
    if not isinstance(said.get("signature"), str) or said["signature"] == "[redacted:signature]" or "approval" in labels_of(row): return
    (text, signatures), shown = parse_note(said["signature"].encode()), said.get("shown_sha256")
    form = (f"audit-approval/v1\nid {'[0-9a-f-]{36}' if status is None else row['approval_id']}\nsession {asis(row['session_id'])}\ntool {asis(row['tool_name'])}\nbehalf (none|of \\S+)\n"
            f"arguments {digest if trust['keyed'] else 'sha256 ' + (row['arguments_sha256'] or b'').hex()}\nasked (none|{digest})\n"
            f"decision {'overridden' if status is None else asis(status)}\napprover {asis(said.get('approver_kind'))} {asis(row['approver_id'])}\n"
            f"identity {asis(said.get('identity_source'))}\nshown {'sha256 ' + asis(shown) if isinstance(shown, str) else 'none'}\ndecided \\S+\nexpires \\S+\n")
    need(len(signatures) == 1 and re.fullmatch(form, text.decode()), "the signature is of another decision than its record")
    key = next((key for key in trust["keys"] if (key.name, key.ids[1]) == signatures[0][:2]), None)
    notes += [("unchecked", f"the trust file has no approver key {signatures[0][0]}")] if key is None else []
    need(key is None or (key.role == "approver" and key.verify(text, signatures, 1) and key.counts_at(time)
                         and key.name in (encoded(row["approver_id"]), *trust["services"])), "the key of an approval does not count")
def check_seal(trust, entry, records, anchors, notes):
    note, leaves, proof = entry
    head, *lines = parse_note(note)[0].decode().splitlines()
    seal = dict(line.split(" ", 1) for line in lines)
    run, first, last, count = seal["run"], *map(int, seal["range"].split(" ")), int(seal["count"])
    own, rest, found, at = {each[1]: each for each in records if each[0] == run and first <= each[1] <= last}, hashes(leaves), [], first
    need(head == "audit-seal/v1 producer" and own and count == len(own) + len(rest), f"{run} {first}: expected a leaf for each other record of the seal")
    for low, high in [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("gap ")] + [(last + 1, last + 1)]:
        need(at <= low <= high and low - at <= count, "expected ascending gaps")
        found += [own[number][3] if number in own else rest.pop(0) for number in range(at, low)]
        at = high + 1
    need(len(found) == count and sha(*found) == b64(seal["digest"].removeprefix("list-sha256 ")), f"{run} {first}: other records or leaves than were sealed")
    same = all((each[2], each[4]["producer_id"]) == (seal["schema"], unquote(seal["producer"])) for each in own.values())
    signer, (index, *path) = signed_by(trust, note, "producer", notes), proof.decode().splitlines() or ["index -1"]
    need(same and (signer is None or seal["state"][:7] == "adopted" or signer.name == seal["producer"]), f"{run} {first}: another producer")
    anchor = next((each for each in anchors if proof and each[1] > int(index[6:])), None)
    notes += [("unchecked", f"{run} {first}: no checkpoint that counts holds the seal")] if anchor is None else []
    if anchor:
        top = climb(int(index[6:]), anchor[1] - 1, sha(b"\0", note), [b64(each, 32) for each in path])[1]
        need(top == anchor[2], f"{run} {first}: the log does not have the seal")
        need(signer is None or signer.counts_at(anchor[3]), f"{run} {first}: its key does not count at {anchor[3]}")
        for each in own.values(): check_approval(trust, each[4], anchor[3], notes)
    return run, first, last
def check_session(records, ranges, notes):
    runs = {run: [each[4] for each in records if each[0] == run] for run in sorted({each[0] for each in records})}
    kinds, resumed = {run: [row["event_type"] for row in rows] for run, rows in runs.items()}, {}
    for run, rows in runs.items():
        numbers = [row["session_seq"] for row in rows]
        need(numbers == sorted(set(numbers)) and numbers[0] >= 0, f"run {run}: session_seq does not ascend")
        notes += [("incomplete", f"run {run} has a gap")] if numbers[-1] >= len(numbers) else []
        found = [re.search('"from_run_id":"([0-9a-f]{32})"', row["content"] or "") for row in rows if row["event_type"] == "session_resumed"]
        resumed[run] = next((each[1] for each in found if each), None)
        notes += [("incomplete", f"run {resumed[run]} is not there")] if resumed[run] not in (None, *runs) else []
    ended = [run for run in runs if kinds[run][-1] in ("session_end", "session_timeout")]
    begun = [run for run in runs if {"session_start", "session_resumed"} & {*kinds[run]}]
    still = [run for run in begun if run not in ended and run not in [resumed[other] for other in runs if other != run]]
    notes += [("incomplete", f"the session has no end {' '.join(still)}")] if still or not ended else []
    bare = [each for each in records if not any(each[0] == run and first <= each[1] <= last for run, first, last in ranges)]
    notes += [("incomplete", f"{len(bare)} records have no seal")] if bare else []
def examine(data, trust_file, root, outside, notes):
    session, parts = parse_bundle(data)
    trust = parse_trust(parts["trust"], root if trust_file is None else None)
    if any(sha(text).hex() not in SCHEMAS for (text,) in parts["schemas"]): return notes.append(("unchecked", "a schema is not known here"))
    records = read_records(session, parts["records"], parts["schemas"])
    need(render(session, [each[4] for each in records]) == parts["report.html"], "another report than that of the records")
    try: trust = trust if trust_file is None else parse_trust(trust_file, root)
    except Exception as fault: return notes.append(("unchecked", f"the given trust file: {fault!r}"))
    notes += [("unchecked", "the keys are the bundle's own: give the trust file or its root key")] if trust_file is None and root is None else []
    trust["keyed"] = any("tool_input" in labels_of(each[4]) for each in records)  # Then digests of arguments go with a key.
    anchors = read_log(trust, parts["log"], notes)
    ranges = [check_seal(trust, entry, records, anchors, notes) for entry in parts["seals"]]
    need(all((one[0], one[2]) < other[:2] for one, other in zip(ranges, ranges[1:])), "expected seals in ascending order")
    check_session(records, ranges, notes)
    newer = outside is not None and read_checkpoint(trust, outside, notes)
    same = newer and [each for each in anchors if each[1] == newer[1]]
    notes += [("unchecked", "the bundle has no proof to the given checkpoint: export it again with it")] if newer and not same else []
    need(not same or (same[0][0], same[0][2]) == (newer[0], newer[2]), "the given checkpoint is of another log")
def check(data, trust=None, root=None, checkpoint=None):
    """The verdict, and why; trust and checkpoint: bytes, root: a verifier key."""
    notes, known = [], data.startswith(b"audit-evidence/v1\n")
    notes += [("unchecked", "it is no bundle of version 1")] if not known else []
    try: known and examine(data, trust, root and Key(root), checkpoint, notes)
    except Exception as fault:  # Whatever cannot be read was not written by an exporter.
        notes.append(("tampered", repr(fault)))
    return next((each for each in ("tampered", "unchecked", "incomplete") if each in [note[0] for note in notes]), "verified"), notes
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.error = lambda message: (print(f"check_evidence: {message}", file=sys.stderr), sys.exit(64))
    for name in ("file", "--trust", "--root", "--checkpoint"):
        parser.add_argument(name, type=str if name == "--root" else argparse.FileType("rb"))
    verdict, notes = check(*(each.read() if isinstance(each, io.BufferedReader) else each for each in vars(parser.parse_args()).values()))
    print("\n".join([verdict, *(f"  {each}: {message}" for each, message in notes)]))
    sys.exit({"verified": 0, "tampered": 1, "incomplete": 2, "unchecked": 3}[verdict])
if __name__ == "__main__": main()
