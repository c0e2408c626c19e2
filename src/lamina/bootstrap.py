"""The first start: an organization, its admin, the namespace `default`, and the admin's key."""

import os
import sys
from pathlib import Path
from typing import Final

from lamina.api.services import Services
from lamina.core.paging import PageRequest
from lamina.core.scope import EVERYWHERE, Scope
from lamina.core.settings import API_KEY
from lamina.platform.access import Permission
from lamina.platform.api_keys import ADMIN_KEY, ApiKeyCreate, new_key
from lamina.platform.namespaces import NamespaceCreate
from lamina.platform.organizations import UserCreate, UserRole

ADMIN_EMAIL: Final = "admin@lamina.local"


async def bootstrap(services: Services, folder: Path) -> None:
    """Make what a new installation needs; on every later start, nothing.

    Each part is made only when it is missing, so a first start that was cut short is finished by
    the next. The key is printed once and kept in `admin.key` (mode 0600).
    """
    organizations = services.organizations
    found = await organizations.organizations.list_page(EVERYWHERE, PageRequest(limit=1))
    organization = found.items[0] if found.items else await organizations.create("Lamina")
    scope = Scope(organization.organization_id)
    user = await organizations.users.find(scope, ADMIN_EMAIL)
    if user is None:
        wish = UserCreate.model_construct(
            email=ADMIN_EMAIL, user_name="Administrator", role=UserRole.ADMIN, status=None, avatar_url=None,
            metadata=None,
        )  # fmt: skip
        user = await organizations.create_user(scope, wish)
    name = services.settings.default_namespace
    if await services.namespaces.namespaces.find(scope, name) is None:
        await services.namespaces.create(scope, NamespaceCreate(namespace_name=name))
    keys = await services.keys.list_page(scope, user, include_revoked=False)
    if not any(key.name == ADMIN_KEY for key in keys.items):
        path = folder / "admin.key"
        chosen = services.settings.bootstrap_api_key
        text = chosen.get_secret_value() if chosen else _kept(path) or new_key()
        # The file comes first: a start that is cut short between the two leaves nobody without a key.
        _keep(path, text)
        await services.keys.create(
            scope,
            user,
            ApiKeyCreate(name=ADMIN_KEY, permissions=[Permission.ADMIN], description="Made at first start."),
            created_by=user.user_id,
            key=text,
        )
        sys.stdout.write(f"Admin API key: {text}  (also in {path})\n")
        sys.stdout.flush()


def _kept(path: Path) -> str | None:
    """The key in the file of an earlier start, if it is one."""
    text = path.read_text().strip() if path.exists() else ""
    return text if API_KEY.fullmatch(text) else None


def _keep(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
