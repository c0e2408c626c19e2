"""Why a command ends badly, each with the exit code that scripts can test for."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the commands end with."""

    DONE = 0
    INCOMPLETE = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED_KEY = 4
    REFUSED_REQUEST = 5
    SERVER_ERROR = 6


class Failure(Exception):
    """A command cannot go on. The message is one line that says why, and what would help."""

    exit_code = ExitCode.INCOMPLETE


class UsageFailure(Failure):
    """What was asked for makes no sense: an option, a setting or a file."""

    exit_code = ExitCode.USAGE


class Unreachable(Failure):
    """No server answers at the URL."""

    exit_code = ExitCode.UNREACHABLE


class ApiFailure(Failure):
    """The server answered with an error. `status` is the HTTP status, `body` what it sent."""

    def __init__(self, message: str, status: int, body: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.exit_code = _exit_code(status)


def _exit_code(status: int) -> ExitCode:
    if status in {401, 403}:
        return ExitCode.REFUSED_KEY
    return ExitCode.SERVER_ERROR if status >= 500 else ExitCode.REFUSED_REQUEST
