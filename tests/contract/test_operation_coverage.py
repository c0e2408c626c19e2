"""Nothing that Lamina says it serves goes unproven."""

from tests.contract.operations import SERVED
from tests.contract.sdk import performed


def test_every_served_operation_was_performed_by_the_sdk() -> None:
    missing = sorted(str(operation) for operation in SERVED - set(performed))
    assert not missing, "never answered with a 2xx that the SDK deserialised:\n" + "\n".join(missing)


def test_the_served_operations_are_the_ninety_eight_of_the_contract() -> None:
    assert len(SERVED) == 98
