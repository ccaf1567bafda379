"""`MotoProcess`: moto with authentication on, which all of its process has to share."""

import json
from collections.abc import Mapping, Sequence

from polystow_testing._child import ServerProcess
from polystow_testing.s3._signatures import Credentials


class MotoProcess(ServerProcess):
    """moto as a child process that checks signatures in headers, and what each user may do.

    Ended with the context: `with` and `async with`. Presigned URLs and requests without a
    signature are answered with 500, since moto's authentication knows neither.

    Args:
        users: What each user may do to all buckets, in the words of IAM. A user with no actions
            may do nothing.
        buckets: Buckets that are there from the start.
        start_timeout_s: Seconds that the child has for its start; default 20.

    Example:
        >>> users = {"owner": ["s3:*"], "reader": ["s3:GetObject"]}
        >>> with MotoProcess(users, buckets=("bucket",)) as server:  # doctest: +SKIP
        ...     connect(server.endpoint, server.credentials("reader"))
    """

    def __init__(
        self,
        users: Mapping[str, Sequence[str]],
        *,
        buckets: tuple[str, ...] = (),
        start_timeout_s: float = 20.0,
    ) -> None:
        given = {user: list(actions) for user, actions in users.items()}
        super().__init__(
            "polystow_testing.s3._serve_moto",
            [f"--users={json.dumps(given)}", *(f"--bucket={bucket}" for bucket in buckets)],
            start_timeout_s=start_timeout_s,
        )

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return str(self.told["endpoint"])

    def credentials(self, user: str) -> Credentials:
        """A user's key and secret, which moto has made."""
        access_key_id, secret_access_key = self.told["users"][user]
        return Credentials(access_key_id, secret_access_key)
