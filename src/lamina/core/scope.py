"""Whose data a call may touch: the condition that the stores add below every service."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Scope:
    """An organization, within it a namespace, within that a parent resource (a bucket, say).

    Every read and write of a store takes one, and sees nothing outside of it.
    """

    organization_id: str
    namespace_id: str | None = None
    parent_id: str | None = None

    def within(self, parent_id: str) -> Self:
        """The same scope, narrowed to one parent."""
        return replace(self, parent_id=parent_id)

    def of_organization(self) -> Self:
        """The scope of the whole organization, for what belongs to no namespace."""
        return replace(self, namespace_id=None, parent_id=None)

    def of_namespace(self) -> Self:
        """The scope of the namespace, without a parent."""
        return replace(self, parent_id=None)

    @property
    def namespace(self) -> str:
        """The namespace's id; a programming error where the scope has none."""
        if self.namespace_id is None:
            raise LookupError("this scope names no namespace")
        return self.namespace_id


EVERYWHERE = Scope("*")
"""No tenant at all: for what is asked before it is known who asks (whose key is this, whose upload)."""
