"""Values come in from four places, one table says how, and whatever is wrong is told with all that helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from varlogd.cli.effective import Effective, load
from varlogd.cli.settings import SETTINGS
from varlogd.config import Config
from varlogd.errors import ConfigError

FILE = "/etc/varlogd/varlogd.toml"


def loaded(
    toml: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Sequence[str]] | None = None,
) -> Effective:
    file = None if toml is None else FILE
    return load(flags or {}, environ or {}, file, read=lambda _: (toml or "").encode(), hostname=lambda: "web1")


def complaints(
    toml: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(toml, environ, flags)
    return str(caught.value).splitlines()


def test_with_nothing_given_everything_is_the_default() -> None:
    effective = loaded()
    assert effective.config == Config(name="web1")
    assert set(effective.origin) == {setting.key for setting in SETTINGS}
    assert set(effective.origin.values()) == {"default"}


PLACES = ("file", "environment", "flag")


@given(st.sets(st.sampled_from(PLACES)))
def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_default(given_in: set[str]) -> None:
    effective = loaded(
        toml='log_level = "error"' if "file" in given_in else None,
        environ={"VARLOGD_LOG_LEVEL": "warning"} if "environment" in given_in else {},
        flags={"log_level": ["debug"]} if "flag" in given_in else {},
    )
    expected = [("info", "default")]
    expected += [("error", f"file {FILE}")] if "file" in given_in else []
    expected += [("warning", "environment VARLOGD_LOG_LEVEL")] if "environment" in given_in else []
    expected += [("debug", "flag --log-level")] if "flag" in given_in else []
    assert (effective.config.log_level, effective.origin["log_level"]) == expected[-1]


def test_only_the_value_that_counts_is_checked() -> None:
    effective = loaded(toml='listen = "nonsense"', flags={"listen": ["[::1]:0"]})
    assert effective.config.listen == "[::1]:0"


WHOLE = Config(
    name="db1",
    listen="10.0.0.5:8514",
    advertise="db1.example.net:18514",
    join=("web1:8514", "web2:8514"),
    roots=("/var/log", "/srv/logs"),
    include=("nginx/*.log", "journal/*"),
    exclude=("**/secret/**",),
    journal=False,
    timestamps={"old/app*.log": "%d/%m/%Y, %H.%M"},
    redact={"card": r"\d{4}, (\d{4})", "pin": "pin='([0-9]+)'"},
    redact_builtin=False,
    tags={"role": "db", "dc": "eu"},
    allow_unauthenticated=True,
    log_format="json",
    log_level="debug",
    drain_s=9.0,
)


def test_every_place_says_the_same_in_its_own_way() -> None:
    toml = """
        name = "db1"
        listen = "10.0.0.5:8514"
        advertise = "db1.example.net:18514"
        join = ["web1:8514", "web2:8514"]
        roots = ["/var/log", "/srv/logs"]
        include = ["nginx/*.log", "journal/*"]
        exclude = ["**/secret/**"]
        journal = false
        redact_builtin = false
        tags = {role = "db", dc = "eu"}
        allow_unauthenticated = true
        log_format = "json"
        log_level = "debug"
        drain_s = 9
        query.scans_max = 2
        membership.probe_interval_s = 2
        [timestamps]
        "old/app*.log" = "%d/%m/%Y, %H.%M"
        [redact]
        card = '\\d{4}, (\\d{4})'
        pin = "pin='([0-9]+)'"
    """
    environ = {
        "VARLOGD_NAME": "db1",
        "VARLOGD_LISTEN": "10.0.0.5:8514",
        "VARLOGD_ADVERTISE": "db1.example.net:18514",
        "VARLOGD_JOIN": "web1:8514, web2:8514,",
        "VARLOGD_ROOTS": "/var/log,/srv/logs",
        "VARLOGD_INCLUDE": "nginx/*.log, journal/*",
        "VARLOGD_EXCLUDE": "**/secret/**",
        "VARLOGD_JOURNAL": "no",
        "VARLOGD_REDACT_BUILTIN": "false",
        "VARLOGD_TIMESTAMPS": """{ "old/app*.log" = "%d/%m/%Y, %H.%M" }""",
        "VARLOGD_REDACT": """{ card = '\\d{4}, (\\d{4})', pin = "pin='([0-9]+)'" }""",
        "VARLOGD_TAGS": "role=db,dc=eu",
        "VARLOGD_ALLOW_UNAUTHENTICATED": "1",
        "VARLOGD_LOG_FORMAT": "json",
        "VARLOGD_LOG_LEVEL": "debug",
        "VARLOGD_DRAIN_S": "9",
        "VARLOGD_QUERY_SCANS_MAX": "2",
        "VARLOGD_MEMBERSHIP_PROBE_INTERVAL_S": "2",
    }
    flags = {
        "name": ["ignored", "db1"],
        "listen": ["10.0.0.5:8514"],
        "advertise": ["db1.example.net:18514"],
        "join": ["web1:8514", "web2:8514"],
        "roots": ["/var/log", "/srv/logs"],
        "include": ["nginx/*.log", "journal/*"],
        "exclude": ["**/secret/**"],
        "tags": ["role=db", "dc=eu"],
        "allow_unauthenticated": ["true"],
        "log_format": ["json"],
        "log_level": ["debug"],
    }
    from_file = loaded(toml).config
    expected = structs.replace(
        WHOLE,
        query=structs.replace(WHOLE.query, scans_max=2),
        membership=structs.replace(WHOLE.membership, probe_interval_s=2.0),
    )
    assert from_file == expected
    assert loaded(environ=environ).config == expected
    unflagged = {key: getattr(WHOLE, key) for key in ("drain_s", "journal", "timestamps", "redact", "redact_builtin")}
    assert structs.replace(loaded(flags=flags).config, **unflagged) == WHOLE


def test_lists_replace_each_other() -> None:
    effective = loaded('join = ["web1:8514"]\ntags = {role = "db"}', {}, {"join": ["web2:1"], "tags": ["dc=eu"]})
    assert (effective.config.join, effective.config.tags) == (("web2:1",), {"dc": "eu"})


def test_a_message_has_key_value_remedy_and_origin() -> None:
    assert complaints(environ={"VARLOGD_LISTEN": "foo"}) == [
        "listen: 'foo' is not HOST:PORT (from the environment, VARLOGD_LISTEN)"
    ]
    assert complaints(flags={"log_level": ["loud"]}) == [
        "log_level: 'loud' is not one of debug, info, warning, error (from the flag, --log-level)"
    ]
    assert complaints("[query]\nscans_max = 0") == [
        f"query.scans_max: 0 is not a whole number from 1 to 256 (from the file, {FILE})"
    ]


def test_a_bad_pattern_is_told_in_a_line_that_says_where() -> None:
    assert complaints("redact = { card = 'a(b' }\nexclude = ['x[é]']") == [
        f"redact: 'a(b': missing ) (at character 2) (from the file, {FILE})",
        f"exclude: 'x[é]': only ASCII in […]: give two names instead (at character 3) (from the file, {FILE})",
    ]


def test_a_table_in_the_environment_is_one_table() -> None:
    (told,) = complaints(environ={"VARLOGD_REDACT": "{}\nlisten = 'x'"})
    assert told.startswith("redact: ") and "more than one table" in told
    (told,) = complaints(environ={"VARLOGD_TIMESTAMPS": "*.log=%Y"})
    assert told.startswith("timestamps: '*.log=%Y' is not { KEY = 'VALUE', … }: ")


def test_no_roots_are_an_error() -> None:
    assert complaints("roots = []") == [
        f"roots: a daemon without a directory has nothing to answer from (roots = () from the file, {FILE})"
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = complaints("drain_s = -1\nlog_format = 3", {"VARLOGD_JOIN": "a:1,b"}, {"tags": ["host=x"]})
    assert [line.split(":")[0] for line in told] == ["drain_s", "log_format", "join", "tags"]


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("rots = []", "rots: unknown key; did you mean roots?"),
        ("[membership]\nprobe_intervall_s = 1", "did you mean membership.probe_interval_s?"),
        ("[querry]\nstall_s = 1", "querry: unknown key; did you mean query?"),
        ("xyzzy = 1", "xyzzy: unknown key (from the file"),
        ("query = 3", "query: 3 is not a table"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_known_one(toml: str, says: str) -> None:
    (line,) = complaints(toml)
    assert says in line
    assert line.endswith(f"(from the file, {FILE})")


def test_an_unknown_variable_is_told_but_no_error() -> None:
    """Orchestrators set VARLOGD_PORT and its like for a service called varlogd."""
    effective = loaded(environ={"VARLOGD_PORT": "tcp://1", "VARLOGD_JION": "a:1", "VARLOG_URL": "x", "HOME": "/"})
    assert effective.config == Config(name="web1")
    assert effective.ignored == (
        "VARLOGD_JION: not a setting; did you mean VARLOGD_JOIN?",
        "VARLOGD_PORT: not a setting",
    )


def test_words_for_true_and_false() -> None:
    for text, value in {"true": True, "Yes": True, "1": True, "false": False, "no": False, "0": False}.items():
        assert loaded(environ={"VARLOGD_ALLOW_UNAUTHENTICATED": text}).config.allow_unauthenticated is value
    assert complaints(environ={"VARLOGD_ALLOW_UNAUTHENTICATED": "maybe"})


def test_keys_that_contradict_each_other_are_told_with_their_origins() -> None:
    told = complaints(
        "[membership]\nprobe_timeout_s = 0.9\n[query]\nstall_s = 30",
        {"VARLOGD_QUERY_TIMEOUT_MAX_S": "20"},
        {"listen": ["0.0.0.0:8514"]},
    )
    query, membership, listen = told
    assert query.startswith("query.stall_s must be at most timeout_max_s")
    assert f"stall_s = 30.0 from the file, {FILE}" in query
    assert "timeout_max_s = 20.0 from the environment, VARLOGD_QUERY_TIMEOUT_MAX_S" in query
    assert membership.startswith("membership.probe_timeout_s must be at most 5/9 of probe_interval_s")
    assert listen.startswith("listen: '0.0.0.0:8514' would let anybody")
    assert listen.endswith("(listen = '0.0.0.0:8514' from the flag, --listen)")


def test_a_bad_host_name_is_told_as_the_default() -> None:
    with pytest.raises(ConfigError, match=r"^name: 'my host' is not a name .* \(the default\)$"):
        load({}, {}, hostname=lambda: "my host")


def test_the_file_named_by_the_environment_is_read_unless_a_flag_names_another() -> None:
    def read(path: str) -> bytes:
        return f'name = "from-{path}"'.encode()

    environ = {"VARLOGD_CONFIG": "b"}
    assert load({}, environ, read=read).config.name == "from-b"
    assert load({}, environ, "a", read=read).config.name == "from-a"
    assert load({}, environ, read=read).ignored == ()


def test_a_file_that_cannot_be_used_is_told() -> None:
    def missing(path: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", path)

    with pytest.raises(ConfigError, match=r"^x\.toml: cannot be read: no such file or directory$"):
        load({}, {}, "x.toml", read=missing)
    with pytest.raises(ConfigError, match=r"^x\.toml: not TOML: .*at line 1"):
        load({}, {}, "x.toml", read=lambda _: b"name = ]\n")
    with pytest.raises(ConfigError, match=r"^x\.toml: not TOML: "):
        load({}, {}, "x.toml", read=lambda _: b"\xff")
