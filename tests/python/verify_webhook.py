"""Verifies one webhook with the public `standardwebhooks` package, as a platform would.

Reads {"secret": …, "headers": {…}, "body": …} on stdin. Exits 0 if the webhook is genuine, 1 with the reason if not.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def main() -> int:
    given = json.load(sys.stdin)
    try:
        Webhook(given["secret"]).verify(given["body"], given["headers"])
    except WebhookVerificationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
