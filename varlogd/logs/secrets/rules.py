"""The built-in rules of redaction: what is known to be secret by the way it is written.

Each rule is an RE2 pattern whose groups are the secret (all of the match, if it has none) and, where a pattern alone
would take words for secrets, a judge of what a group holds. They are written for precision: a hash of a commit, a
checksum, a base64 text of unknown meaning, an ``Authorization: required`` are no secrets. What is a credential by
its prefix, its header or its key is.

- Bearer tokens come in three ways (RFC 6750, section 2): in a header, in a form, in a URL. A JSON Web Token (RFC
  7519) is one wherever it stands.
- AWS access key ids have a known prefix; the secret keys are 40 characters of base64, told by the name before them or
  by the id beside them. What signs a URL for others is a secret as long as it lasts.
- Passwords in URLs: ``scheme://user:PASSWORD@host`` (RFC 3986, section 3.2.1), and parameters of such names.
- A private key that stands in one line, with its line feeds escaped (JSON) or all of it in base64. One of several
  lines is found by `key_blocks`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Final, NamedTuple

from varlogd.query.pattern import GroupsPattern

_HEX: Final = b"0123456789abcdefABCDEF"
_WORD: Final = b"abcdefghijklmnopqrstuvwxyz_-."


class Rule(NamedTuple):
    """What a secret looks like. ``is_secret`` judges what a group has matched."""

    name: str
    pattern: GroupsPattern
    is_secret: Callable[[bytes], bool] = bool


def builtin_rules() -> tuple[Rule, ...]:
    """The rules; compiling them takes some milliseconds."""
    return tuple(Rule(name, GroupsPattern(text), judge) for name, text, judge in _BUILTIN)


def begun_rules() -> tuple[Rule, ...]:
    """The rules for the end of a line that may go on: secrets of which only the beginning is there."""
    return tuple(Rule(name, GroupsPattern(f"(?:{text})$"), judge) for name, text, judge in _BEGUN)


def _is_no_word(secret: bytes) -> bool:
    """Whether a token is more than words: ``required``, ``invalid_token`` and ``Unauthorized`` are none."""
    return bool((secret[:1].lower() + secret[1:]).strip(_WORD))


def _is_no_hash(secret: bytes) -> bool:
    """Whether there is more in it than hexadecimal digits."""
    return bool(secret.strip(_HEX))


def _is_no_port(secret: bytes) -> bool:
    """Whether what follows ``scheme://host:`` is no port with a path in which there is an ``@``."""
    digits = len(secret) - len(secret.lstrip(b"0123456789"))
    return not (0 < digits <= 5 and secret[digits : digits + 1] in (b"/", b"?", b"#"))


def _key_in_base64() -> str:
    """What a PEM file of a private key begins with when all of the file is in base64, and the rest of it."""
    kinds = (b"", b"RSA ", b"EC ", b"DSA ", b"OPENSSH ", b"ENCRYPTED ")
    heads = (b64encode(b"-----BEGIN " + kind + b"PRIVATE KEY") for kind in kinds)
    # The last group of four depends on what follows.
    return "(?:" + "|".join(head[: len(head) // 4 * 4 - 4].decode() for head in heads) + ")([A-Za-z0-9+/]+=*)"


_QUOTE: Final = r"""(?:\\*["'])?"""
_IS: Final = rf"{_QUOTE}[ \t]*(?:=>|[:=])[ \t]*\[?{_QUOTE}"
_GAP: Final = r"(?:[ \t]|%20|\+)+"
_AWS_ID: Final = r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"
_AWS_NAMES: Final = r"secret[_-]?access[_-]?key|(?:aws|amz|amazon)[a-z0-9_.-]*(?:secret|key|token)|secretkey"
_USER: Final = r"""://[^\s/?#:@\[\]"'<>|\\^`]*:"""
_PASSWORD: Final = r"""[^\s/?#"'<>]+|[^\s@"'<>]+"""
_KEY_HEAD: Final = (
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r"""(?:\\+[nr]|[ \t]|(?:Proc-Type|DEK-Info|Version|Comment):[^\n"]*?\\+n)*"""
)

_BUILTIN: Final[tuple[tuple[str, str, Callable[[bytes], bool]], ...]] = (
    (
        "authorization",
        rf"(?i)authorization{_IS}(?:bearer|basic|token|digest|negotiate|ntlm|apikey){_GAP}([^ \t\r\"'\\,;<>]+)",
        bool,
    ),
    ("authorization without a scheme", rf"(?i)authorization{_IS}([a-z0-9._~+/=-]{{16,}})", _is_no_word),
    ("bearer", rf"(?i)\bbearer(?:[:=]|{_GAP})+([a-z0-9._~+/-]{{16,}}=*)", _is_no_word),
    ("token", rf"(?i)\b(?:access|refresh|id|auth|bearer)_?token{_IS}([a-z0-9._~+/%-]{{16,}}=*)", _is_no_word),
    ("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{10,}", bool),
    ("aws key id", rf"{_AWS_ID}\b", bool),
    (
        "aws key",
        rf"(?i)(?:{_AWS_NAMES})(?:{_IS}|>)([a-z0-9/+]{{40}}=?)(?:[^a-z0-9/+=]|$)",
        _is_no_hash,
    ),
    (
        "aws key beside its id",
        rf"{_AWS_ID}" r"""["']?[ \t,:;|]+["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)""",
        _is_no_hash,
    ),
    ("aws session", rf"(?i)session[_-]?token(?:{_IS}|>)([a-z0-9/+]{{64,}}=*)", _is_no_hash),
    ("aws signature", r"(?i)x-amz-(?:security-token|signature)=([a-z0-9%+/=_-]{16,})", bool),
    (
        "password in a url",
        rf"{_USER}({_PASSWORD})@",
        _is_no_port,
    ),
    (
        "password as a parameter",
        r"""(?i)[?&;](?:password|passwd|pwd|passphrase|api_?key|client_secret|access_token)=([^\s&;"'<>#]+)""",
        bool,
    ),
    (
        "key in a line",
        _KEY_HEAD + r"([A-Za-z0-9+/]{16,}(?:[A-Za-z0-9+/=]|\\+[nr/]|[ \t][A-Za-z0-9+/=]{16,})*)",
        bool,
    ),
    ("key in base64", _key_in_base64(), bool),
)

_BEGUN: Final[tuple[tuple[str, str, Callable[[bytes], bool]], ...]] = (
    # Whether it is a word cannot be told yet, nor whether it is a hash.
    ("authorization without a scheme", rf"(?i)authorization{_IS}([a-z0-9._~+/=-]+)", bool),
    ("bearer", rf"(?i)\bbearer(?:[:=]|{_GAP})+([a-z0-9._~+/-]+=*)", bool),
    ("token", rf"(?i)\b(?:access|refresh|id|auth|bearer)_?token{_IS}([a-z0-9._~+/%-]+=*)", bool),
    ("jwt", r"\b(eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,2})", bool),
    ("aws key id", r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{0,15})", bool),
    ("aws key", rf"(?i)(?:{_AWS_NAMES})(?:{_IS}|>)([a-z0-9/+]{{1,40}}=?)", bool),
    ("aws key beside its id", rf"{_AWS_ID}" r"""["']?[ \t,:;|]+["']?([A-Za-z0-9/+]{1,40})""", bool),
    ("aws session", rf"(?i)session[_-]?token(?:{_IS}|>)([a-z0-9/+]+=*)", bool),
    ("aws signature", r"(?i)x-amz-(?:security-token|signature)=([a-z0-9%+/=_-]+)", bool),
    # It may have an @ in it: then what looks like the host is a part of it.
    ("password in a url", rf"{_USER}({_PASSWORD})", _is_no_port),
    ("key in a line", rf"{_KEY_HEAD}([A-Za-z0-9+/](?:[A-Za-z0-9+/= \t]|\\+[nr/]?)*)", bool),
)
