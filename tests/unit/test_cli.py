"""The commands against an HTTP server whose answers the test chooses: keys, errors, exit codes, output."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lamina.cli import checks, connection
from lamina.transfer.progress import Progress
from tests.unit.served import Run, Served

INVALID = {
    "success": False,
    "status": 422,
    "error": {
        "message": "The request is not valid.",
        "type": "ValidationError",
        "details": {
            "validation_errors": [
                {"type": "missing", "location": ["body", "name"], "message": "Field required"}
            ]
        },
    },
}
ME = {"organization_id": "org_1", "user_email": "admin@lamina.local"}


# -- which server, which key


def test_a_missing_server_is_told_in_one_line_with_what_would_help(run: Run) -> None:
    result = run("status", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "lamina serve" in result.stderr


def test_the_admin_key_of_the_data_folder_is_used(run: Run, served: Served, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.key").write_text("sk_from_folder\n")
    served.will("GET /v1/me", ME)
    served.will("GET /v1/organizations/users/admin%40lamina.local/api-keys", {"results": []})
    assert run("keys", "list", "--url", served.url, "--data-dir", "state").exit_code == 0
    assert set(served.keys()) == {"Bearer sk_from_folder"}


def test_a_key_that_is_given_wins_over_the_folder(run: Run, served: Served, tmp_path: Path) -> None:
    (tmp_path / "lamina-data").mkdir()
    (tmp_path / "lamina-data" / "admin.key").write_text("sk_from_folder")
    served.will("GET /v1/me", ME)
    served.will("GET /v1/organizations/users/admin%40lamina.local/api-keys", {"results": []})
    run("keys", "list", LAMINA_URL=served.url, LAMINA_API_KEY="sk_given")
    assert set(served.keys()) == {"Bearer sk_given"}


def test_the_folders_key_never_leaves_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMINA_HOST", raising=False)
    (tmp_path / "admin.key").write_text("sk_secret")
    assert connection.find("http://127.0.0.1:1", None, None, tmp_path).api_key == "sk_secret"
    assert connection.find("https://lamina.example", None, None, tmp_path).api_key is None
    assert connection.find("http://127.0.0.1.evil.example", None, None, tmp_path).api_key is None


def test_the_server_is_where_the_settings_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_HOST", "0.0.0.0")
    monkeypatch.setenv("LAMINA_PORT", "8123")
    assert connection.find(None, None, None, tmp_path).url == "http://127.0.0.1:8123"
    assert connection.find("http://host:1/v1/", None, None, tmp_path).url == "http://host:1"


# -- how errors read


@pytest.mark.parametrize(
    ("status", "exit_code"), [(401, 4), (403, 4), (404, 5), (409, 5), (422, 5), (500, 6), (501, 6)]
)
def test_each_kind_of_refusal_has_its_exit_code(
    run: Run, served: Served, status: int, exit_code: int
) -> None:
    served.will("GET /v1/me", {"error": {"message": "No.", "type": "Error"}}, status)
    result = run("keys", "list", "--url", served.url)
    assert result.exit_code == exit_code
    assert "No." in result.stderr
    assert f"HTTP {status}" in result.stderr
    assert result.stdout == ""


def test_a_validation_error_names_its_fields_in_the_same_line(run: Run, served: Served) -> None:
    served.will("GET /v1/me", ME)
    served.will("POST /v1/organizations/users/admin%40lamina.local/api-keys", INVALID, 422)
    result = run("keys", "create", "x", "--url", served.url, "--json")
    assert "body.name: Field required" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_an_answer_that_is_no_envelope_is_still_one_line(run: Run, served: Served) -> None:
    served.will("GET /v1/me", "<html>Bad Gateway</html>", 502)
    result = run("keys", "list", "--url", served.url)
    assert result.exit_code == 6
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_server_that_is_something_else_is_told_apart(run: Run, served: Served) -> None:
    served.will("GET /v1/me", {"hello": "world"})
    result = run("keys", "list", "--url", served.url)
    assert result.exit_code == 1
    assert "no Lamina server" in result.stderr


def test_a_busy_server_is_asked_again_when_it_says(
    run: Run, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("lamina.cli.connection.time.sleep", waits.append)
    served.will("GET /v1/me", {"error": {"message": "Too many requests."}}, 429, Retry_After="7")
    served.will("GET /v1/me", ME)
    served.will("GET /v1/organizations/users/admin%40lamina.local/api-keys", {"results": []})
    assert run("keys", "list", "--url", served.url).exit_code == 0
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LAMINA_PORT", "70000", "70000"),
        ("LAMINA_DEFAULT_NAMESPACE", "a", "3 characters"),
        ("LAMINA_MODELS", '{"transcribe": 3}', "transcribe"),
        ("LAMINA_MODELS", "{not JSON", "models"),
        ("LAMINA_BOOTSTRAP_API_KEY", "secret-but-wrong", "sk_"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_before_anything_is_made(
    run: Run, tmp_path: Path, name: str, value: str, said: str
) -> None:
    result = run("serve", "--data-dir", "fresh", **{name: value})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert said in result.stderr
    assert "secret" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300])
def test_a_folder_that_cannot_hold_data_is_refused_in_one_line(run: Run, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("serve", "--data-dir", folder)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "--data-dir" in result.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


# -- what is written


def test_a_new_key_is_all_that_stdout_holds(run: Run, served: Served) -> None:
    served.will("GET /v1/me", ME)
    made = {"name": "reader", "key": "sk_new", "permissions": ["read"]}
    served.will("POST /v1/organizations/users/admin%40lamina.local/api-keys", made)
    result = run("keys", "create", "reader", "--url", served.url)
    assert result.stdout == "sk_new\n"
    assert served.requests[-1][2] == {"name": "reader", "permissions": ["read"]}


def test_an_unknown_permission_is_refused_before_anything_is_asked(run: Run, served: Served) -> None:
    result = run("keys", "create", "reader", "-p", "write", "-p", "fly", "--url", served.url)
    assert result.exit_code == 2
    assert "read, write, delete, admin" in result.stderr
    assert served.requests == []


def test_rows_are_tab_separated_where_no_person_reads_them(run: Run, served: Served) -> None:
    served.will("GET /v1/me", ME)
    key = {"name": "reader", "key_prefix": "sk_abcdefg...", "permissions": ["read", "write"]}
    served.will("GET /v1/organizations/users/admin%40lamina.local/api-keys", {"results": [key]})
    lines = run("keys", "list", "--url", served.url).stdout.splitlines()
    assert lines[0].split("\t")[:4] == ["name", "key", "permissions", "status"]
    assert lines[1].split("\t")[:4] == ["reader", "sk_abcdefg...", "read,write", "active"]


# -- doctor


def test_the_doctor_is_content_with_this_machine(run: Run) -> None:
    result = run("doctor", "--json", "--port", "0")
    found = {one["check"]: one for one in json.loads(result.stdout)}
    assert result.exit_code == 0, result.stdout
    assert {one["level"] for one in found.values()} <= {"ok", "warning"}
    assert any(name.startswith("model ") for name in found)


def test_the_doctor_says_how_to_mend_a_port_that_is_taken(run: Run, served: Served) -> None:
    port = served.url.rpartition(":")[2]
    result = run("doctor", "--port", port)
    assert result.exit_code == 1
    assert f"port {port}" in result.stderr
    assert "LAMINA_PORT" in result.stdout
    served.will("GET /v1/health", {"status": "OK"})
    assert run("doctor", "--port", port).exit_code == 0


def test_the_doctor_names_a_misspelt_and_a_wrong_setting(run: Run) -> None:
    result = run("doctor", "--port", "0", LAMINA_PROT="1")
    assert "LAMINA_PROT" in result.stdout
    result = run("doctor", LAMINA_PORT="many")
    assert result.exit_code == 1
    assert "LAMINA_PORT" in result.stdout


def test_the_doctor_refuses_the_folders_that_a_start_would(run: Run, tmp_path: Path) -> None:
    def failed(folder: Path) -> str:
        result = run("doctor", "--port", "0", "--data-dir", str(folder))
        assert result.exit_code == 1, result.stdout
        return str(result.stdout)

    newer = tmp_path / "newer"
    newer.mkdir()
    with closing(sqlite3.connect(newer / "records.sqlite")) as records, records:
        records.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        records.execute("INSERT INTO alembic_version VALUES ('9999')")
    assert "Install that version or newer" in failed(newer)
    (tmp_path / "half").mkdir()
    Progress.at(tmp_path / "half" / "backup.json", "half").write()
    assert "half a copy" in failed(tmp_path / "half")


def test_the_doctor_finds_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    finding = checks.data_folder(file / "data")
    assert finding.level is checks.Level.FAILED
    assert "--data-dir" in (finding.mend or "")


def test_the_doctor_warns_of_a_key_that_others_can_read(tmp_path: Path) -> None:
    key = tmp_path / "admin.key"
    key.write_text("sk_secret")
    key.chmod(0o644)
    assert checks._admin_key(tmp_path).level is checks.Level.WARNING
    key.chmod(0o600)
    assert checks._admin_key(tmp_path).level is checks.Level.OK
