"""oracle.py - a second opinion on every file ciphermill writes, from the Python package `cryptography`.

    oracle.py encrypt|decrypt --mode MODE --key-hex HEX [--iv-hex HEX] [--ctr-start 0|1]
                              [--context-hex HEX] [--salt-hex HEX] IN OUT
    oracle.py batch       one JSON object per line in, one per line out, so that Python starts only once
    oracle.py selftest    the two implementations of cobblestone against each other

Modes and the bytes they make:
    aes-ctr         ciphertext. The IV is the whole first counter block (16 bytes), or 12 bytes followed by
                    --ctr-start (0 unless told) as a 32-bit big-endian number
    aes-cbc-pkcs7   ciphertext with PKCS#7 padding
    aes-gcm         ciphertext, then the 16-byte tag. The IV has 12 or 16 bytes
    cobblestone     C2SP chunked encryption, Cobblestone-128 or -256 by the key's length:
                    salt (24), commitment (32), chunks. `cryptography` does it, with a salt of its own choice;
                    --salt-hex (encrypt only) selects the version below, built of HKDF-Expand and AES-GCM

Files are streamed, so their size does not matter. OUT appears only when all went well. Exit status: 0 done,
1 forged or broken input (tag, padding, commitment), 2 wrong usage.

A batch line: {"op": "decrypt", "mode": ..., "key_hex": ..., "iv_hex": ..., "ctr_start": ..., "context_hex": ...,
"salt_hex": ..., "in": PATH, "out": PATH} or "sha256_only": true instead of "out". Anything under "id" comes back.
The answer: {"ok": true, "bytes_in": n, "bytes_out": n, "sha256": HEX of the output} or
{"ok": false, "kind": "forged" | "usage" | "io", "error": TEXT}.
"""

import argparse
import hashlib
import json
import os
import sys

from cryptography import cobblestone
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

PIECE = 4 << 20
TAG = 16
MODES = ("aes-ctr", "aes-cbc-pkcs7", "aes-gcm", "cobblestone")


class Forged(Exception):
    """The input is not what the key's owner wrote."""


class Usage(Exception):
    """The caller asked for something that makes no sense."""


class Chain:
    """Feeds what comes out of one transform into the next."""

    def __init__(self, *links):
        self.links = links

    def update(self, data):
        for link in self.links:
            data = link.update(data)
        return data

    def finalize(self):
        tail = b""
        for link in self.links:
            tail = link.update(tail) + link.finalize()
        return tail


class GcmSeal:
    """AES-GCM with the tag behind the ciphertext."""

    def __init__(self, key, iv):
        self.inner = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()

    def update(self, data):
        return self.inner.update(data)

    def finalize(self):
        return self.inner.finalize() + self.inner.tag


class GcmOpen:
    """The reverse: the last 16 bytes are held back, since only the end tells that they are the tag."""

    def __init__(self, key, iv):
        self.inner = Cipher(algorithms.AES(key), modes.GCM(iv)).decryptor()
        self.held = b""

    def update(self, data):
        data = self.held + data
        cut = max(0, len(data) - TAG)
        self.held = data[cut:]
        return self.inner.update(data[:cut])

    def finalize(self):
        if len(self.held) < TAG:
            raise Forged("shorter than a tag")
        return self.inner.finalize_with_tag(self.held)


class Chunks:
    """Cobblestone from its description: the derivation, and chunks numbered into the nonce."""

    SALT, COMMITMENT, CHUNK = 24, 32, 16384

    def __init__(self, key, context):
        self.key, self.context = key, context
        self.buffer, self.count, self.cipher = b"", 0, None

    def derive(self, salt):
        name = {16: b"AEAD_AES_128_GCM", 32: b"AEAD_AES_256_GCM"}[len(self.key)]
        info = b"c2sp.org/chunked-encryption@v1+" + name + b"\0" + salt + self.context
        size = len(self.key)
        okm = HKDFExpand(hashes.SHA512(), size + 12 + self.COMMITMENT, info).derive(self.key)
        self.cipher = AESGCM(okm[:size])
        self.base = int.from_bytes(okm[size : size + 12], "big")
        return okm[size + 12 :]

    def nonce(self):
        nonce = (self.base ^ self.count).to_bytes(12, "big")
        self.count += 1
        return nonce

    def whole(self, data, size):
        """The whole pieces of `size` bytes that are there now."""
        data = self.buffer + data
        end = len(data) - len(data) % size
        self.buffer = data[end:]
        return [data[at : at + size] for at in range(0, end, size)]


class ChunkSeal(Chunks):
    def __init__(self, key, context, salt):
        super().__init__(key, context)
        self.head = salt + self.derive(salt)

    def take_head(self):
        head, self.head = self.head, b""
        return head

    def update(self, data):
        out = [self.take_head()]
        for chunk in self.whole(data, self.CHUNK):
            out.append(self.cipher.encrypt(self.nonce(), chunk, None))
        return b"".join(out)

    def finalize(self):
        return self.take_head() + self.cipher.encrypt(self.nonce(), self.buffer, None)


class ChunkOpen(Chunks):
    def update(self, data):
        if self.cipher is None:
            data, self.buffer = self.buffer + data, b""
            head = self.SALT + self.COMMITMENT
            if len(data) < head:
                self.buffer = data
                return b""
            if not bytes_eq(self.derive(data[: self.SALT]), data[self.SALT : head]):
                raise Forged("the commitment does not match: another key or context")
            data = data[head:]
        out = []
        for chunk in self.whole(data, self.CHUNK + TAG):
            out.append(self.cipher.decrypt(self.nonce(), chunk, None))
        return b"".join(out)

    def finalize(self):
        # The last chunk is always shorter than a whole one, so that a cut at a chunk's border shows.
        if self.cipher is None or len(self.buffer) < TAG:
            raise Forged("cut short")
        return self.cipher.decrypt(self.nonce(), self.buffer, None)


def need(condition, what):
    if not condition:
        raise Usage(what)


def transform(op, mode, key, iv=None, ctr_start=None, context=None, salt=None):
    """What turns the input into the output: an object with update(bytes) and finalize(), both giving bytes."""
    need(op in ("encrypt", "decrypt"), f"no operation {op!r}")
    need(mode in MODES, f"no mode {mode!r}")
    seal = op == "encrypt"
    need(len(key) in (16, 24, 32), "a key has 16, 24 or 32 bytes")
    need((iv is None) == (mode == "cobblestone"), "cobblestone takes no IV, every other mode needs one")
    need(ctr_start is None or (mode == "aes-ctr" and len(iv) == 12), "ctr-start goes with aes-ctr and a 12-byte IV")
    need(mode == "cobblestone" or (context is None and salt is None), "context and salt belong to cobblestone")
    if mode == "aes-ctr":
        need(len(iv) in (12, 16), "the IV of aes-ctr has 12 or 16 bytes")
        block = iv if len(iv) == 16 else iv + (ctr_start or 0).to_bytes(4, "big")
        cipher = Cipher(algorithms.AES(key), modes.CTR(block))
        return cipher.encryptor() if seal else cipher.decryptor()
    if mode == "aes-cbc-pkcs7":
        need(len(iv) == 16, "the IV of aes-cbc-pkcs7 has 16 bytes")
        cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
        if seal:
            return Chain(padding.PKCS7(128).padder(), cipher.encryptor())
        return Chain(cipher.decryptor(), padding.PKCS7(128).unpadder())
    if mode == "aes-gcm":
        need(len(iv) in (12, 16), "the IV of aes-gcm has 12 or 16 bytes")
        return GcmSeal(key, iv) if seal else GcmOpen(key, iv)
    need(len(key) in (16, 32), "a cobblestone key has 16 or 32 bytes")
    context = context or b""
    if salt is not None:
        need(seal and len(salt) == Chunks.SALT, "a salt has 24 bytes, and is given to encrypt only")
        return ChunkSeal(key, context, salt)
    bits = len(key) * 8
    return getattr(cobblestone, f"Cobblestone{bits}{'Encryptor' if seal else 'Decryptor'}")(key, context)


def checked(step, *args):
    """Every way in which the package says that the input is not genuine, under one name."""
    try:
        return step(*args)
    except InvalidTag:
        raise Forged("the tag does not match") from None
    except ValueError as e:  # PKCS#7, or CBC data that are not whole blocks
        raise Forged(str(e)) from None


def stream(work, source, write):
    """Runs `work` over the file at `source`. Returns bytes read, bytes written and their SHA-256."""
    digest, read, written = hashlib.sha256(), 0, 0

    def put(data):
        nonlocal written
        digest.update(data)
        written += len(data)
        write(data)

    with open(source, "rb", buffering=0) as file:
        while data := file.read(PIECE):
            read += len(data)
            put(checked(work.update, data))
        put(checked(work.finalize))
    return {"bytes_in": read, "bytes_out": written, "sha256": digest.hexdigest()}


def to_file(work, source, target):
    part = f"{target}.oracle-{os.getpid()}"
    try:
        with open(part, "wb") as file:
            facts = stream(work, source, file.write)
        os.replace(part, target)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise
    return facts


def unhex(name, text):
    try:
        return None if text is None else bytes.fromhex(text)
    except (ValueError, TypeError):
        raise Usage(f"{name} is not hexadecimal") from None


def work_of(get):
    key = unhex("key", get("key_hex"))
    need(key is not None, "no key")
    ctr_start = get("ctr_start")
    need(ctr_start is None or ctr_start in (0, 1), "ctr-start is 0 or 1")
    iv, context, salt = (unhex(name, get(f"{name}_hex")) for name in ("iv", "context", "salt"))
    return transform(get("op"), get("mode"), key, iv, ctr_start, context, salt)


def answer(line):
    """One line of a batch."""
    request = {}
    try:
        try:
            request = json.loads(line)
            need(isinstance(request, dict), "a line is one JSON object")
        except ValueError as e:
            request = {}
            raise Usage(f"not JSON: {e}") from None
        only = bool(request.get("sha256_only"))
        need("in" in request and only != ("out" in request), 'a line has "in", and either "out" or "sha256_only"')
        work = work_of(request.get)
        if only:
            facts = stream(work, request["in"], lambda _: None)
        else:
            facts = to_file(work, request["in"], request["out"])
        reply = {"ok": True, **facts}
    except Forged as e:
        reply = {"ok": False, "kind": "forged", "error": str(e)}
    except Usage as e:
        reply = {"ok": False, "kind": "usage", "error": str(e)}
    except OSError as e:
        reply = {"ok": False, "kind": "io", "error": str(e)}
    if isinstance(request, dict) and "id" in request:
        reply["id"] = request["id"]
    return reply


def batch():
    # Not `for line in sys.stdin`: each answer must leave before the next question is waited for.
    while line := sys.stdin.readline():
        if line.strip():
            print(json.dumps(answer(line)), flush=True)


def selftest():
    """Cobblestone twice: by `cryptography`, and by the classes above. Each opens what the other wrote."""

    def whole(work, data, piece):
        out = [checked(work.update, data[at : at + piece]) for at in range(0, len(data), piece)]
        return b"".join(out) + checked(work.finalize)

    def refused(work, data):
        try:
            whole(work, data, 9999)
        except Forged:
            return True
        return False

    count = 0
    for size in (16, 32):
        for length in (0, 1, 16383, 16384, 16385, 32768, 100000):
            for context in (b"", b"a context"):
                for piece in (7919, 1 << 20):
                    key, salt, clear = os.urandom(size), os.urandom(24), os.urandom(length)
                    ours = whole(ChunkSeal(key, context, salt), clear, piece)
                    theirs = whole(transform("encrypt", "cobblestone", key, context=context), clear, piece)
                    assert len(ours) == len(theirs) == 56 + length + 16 * (length // 16384 + 1)
                    assert whole(transform("decrypt", "cobblestone", key, context=context), ours, piece) == clear
                    assert whole(ChunkOpen(key, context), theirs, piece) == clear
                    # With the salt they chose, ours is theirs to the byte.
                    assert whole(ChunkSeal(key, context, theirs[:24]), clear, piece) == theirs
                    flipped = bytearray(ours)
                    flipped[os.urandom(2)[0] % len(ours)] ^= 1
                    for bad in (bytes(flipped), ours[:-1], ours[:56], ours + b"\0"):
                        assert refused(ChunkOpen(key, context), bad)
                        assert refused(transform("decrypt", "cobblestone", key, context=context), bad)
                    assert refused(ChunkOpen(key, context + b"x"), ours)
                    count += 1
    for mode, iv in (("aes-ctr", 12), ("aes-ctr", 16), ("aes-cbc-pkcs7", 16), ("aes-gcm", 12), ("aes-gcm", 16)):
        for size in (16, 24, 32):
            for length in (0, 1, 15, 16, 17, 100000):
                key, nonce, clear = os.urandom(size), os.urandom(iv), os.urandom(length)
                sealed = whole(transform("encrypt", mode, key, nonce), clear, 4099)
                assert whole(transform("decrypt", mode, key, nonce), sealed, 13) == clear
                if mode == "aes-gcm":
                    assert refused(transform("decrypt", mode, key, nonce), sealed[:-1])
                if mode == "aes-gcm" and iv == 12:
                    assert sealed == AESGCM(key).encrypt(nonce, clear, None)
                count += 1
    print(f"{count} cases agree")


def main():
    parser = argparse.ArgumentParser(prog="oracle.py", description="See the head of this file.")
    verbs = parser.add_subparsers(dest="op", required=True)
    for op in ("encrypt", "decrypt"):
        verb = verbs.add_parser(op)
        verb.add_argument("--mode", required=True, choices=MODES)
        verb.add_argument("--key-hex", required=True)
        for name in ("--iv-hex", "--context-hex", "--salt-hex"):
            verb.add_argument(name)
        verb.add_argument("--ctr-start", type=int, choices=(0, 1))
        verb.add_argument("source", metavar="IN")
        verb.add_argument("target", metavar="OUT")
    verbs.add_parser("batch")
    verbs.add_parser("selftest")
    args = parser.parse_args()
    try:
        if args.op == "batch":
            batch()
        elif args.op == "selftest":
            selftest()
        else:
            to_file(work_of(vars(args).get), args.source, args.target)
    except Forged as e:
        print(f"forged: {e}", file=sys.stderr)
        return 1
    except (Usage, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
