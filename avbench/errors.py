"""The one exception a user is meant to see.

Anything a user can cause and can mend (a missing column, an unknown name, a full disk) is a `UserError`. The command
line prints its message alone and exits with code 2. Everything else is a defect of avbench and keeps its traceback.
"""


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the file, the value and the way out."""


class MediaError(UserError):
    """A file that is not the media it should be: unreadable, without picture, without sound, too short."""


class WeightsMissing(UserError):
    """Published network weights are not on this machine; the message says which file, from where, how to place it."""


class EnvironmentFault(UserError):
    """The machine cannot go on (disk full, no ffmpeg): the run stops, and the same command resumes it later."""


class SiteFault(UserError):
    """A whole site refuses or does not answer: asking it for the next item would be rude and in vain.

    Attributes:
        pause_s: How long the site is to be left alone, seconds; None leaves it to the caller.
    """

    def __init__(self, message: str, pause_s: float | None = None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class TransientFault(UserError):
    """What may well work a little later: the server is busy (429, 5xx), it stopped answering, the line broke.

    Attributes:
        retry_after_s: How long the server asked to wait, seconds; None where it did not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
