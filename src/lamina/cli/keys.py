"""`lamina keys`: API keys of the user whose key is in use, or of another."""

from datetime import datetime
from typing import Annotated

import typer

from lamina.cli import options
from lamina.cli.answers import Keys, Me, NewKey
from lamina.cli.connection import Api, find, segment
from lamina.cli.failures import UsageFailure
from lamina.cli.output import put, put_json, put_rows, say
from lamina.core.types import JsonObject

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")

_User = Annotated[
    str | None, typer.Option("--user", help="Email of the user.  [default: the key's own user]")
]
_PERMISSIONS = ("read", "write", "delete", "admin")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    permission: Annotated[
        list[str] | None,
        typer.Option("--permission", "-p", help="read, write, delete or admin; may be repeated."),
    ] = None,
    expires: Annotated[datetime | None, typer.Option(help="Time (UTC) from which it is refused.")] = None,
    user: _User = None,
    url: options.Url = None,
    api_key: options.ApiKey = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a key and show it, once."""
    wanted = [one.lower() for one in permission or ["read"]]
    if unknown := [one for one in wanted if one not in _PERMISSIONS]:
        raise UsageFailure(f"no permission '{unknown[0]}'; there are {', '.join(_PERMISSIONS)}")
    body: JsonObject = {"name": name, "permissions": wanted}
    if expires is not None:
        body["expires_at"] = expires.isoformat()
    with Api(find(url, api_key, None, data_dir)) as api:
        made = api.post(_path(api, user), body, NewKey)
    if as_json:
        put_json(made.model_dump(exclude_none=True))
        return
    put(made.key)
    say(f"'{made.name}' may {', '.join(made.permissions)}. The key is not shown again.")


@app.command("list")
def list_(
    user: _User = None,
    url: options.Url = None,
    api_key: options.ApiKey = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """List keys, without their secrets."""
    with Api(find(url, api_key, None, data_dir)) as api:
        keys = api.get(_path(api, user), Keys).results
    if as_json:
        put_json([key.model_dump(exclude_none=True) for key in keys])
        return
    put_rows(
        ["name", "key", "permissions", "status", "created", "expires"],
        [
            [key.name, key.key_prefix, ",".join(key.permissions), key.status, key.created_at, key.expires_at]
            for key in keys
        ],
    )


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of the key.")],
    user: _User = None,
    url: options.Url = None,
    api_key: options.ApiKey = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Revoke a key: it is refused from now on."""
    with Api(find(url, api_key, None, data_dir)) as api:
        api.delete(f"{_path(api, user)}/{segment(name)}")
    if as_json:
        put_json({"revoked": name})
    else:
        put(f"revoked {name}")


def _path(api: Api, user: str | None) -> str:
    email = user or api.get("/me", Me).user_email
    if email is None:
        raise UsageFailure("the key in use belongs to no user; name one with --user")
    return f"/organizations/users/{segment(email)}/api-keys"
