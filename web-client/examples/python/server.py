"""A course platform's back end in Python: it opens sessions for its learners' pages, and believes no verdict whose
signature does not hold. The API key stays here; a page gets a token that is good for one session.

    INVIGIL_URL=https://invigil.example INVIGIL_KEY=ivk_… WEBHOOK_SECRET=whsec_… LESSON=… LEARNER=… PORT=3000 python server.py
"""

import json
import os
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

INVIGIL_URL, INVIGIL_KEY = os.environ["INVIGIL_URL"], os.environ["INVIGIL_KEY"]
LESSON, LEARNER = os.environ["LESSON"], os.environ["LEARNER"]
WEBHOOK = Webhook(os.environ["WEBHOOK_SECRET"])
BODY_LIMIT = 1 << 20
# Verdicts by session: where a platform has its database.
verdicts = {}


class Refused(Exception):
    """Why a request is not answered, and with which status."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def invigil(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {INVIGIL_KEY}", "content-type": "application/json"}
    request = urllib.request.Request(f"{INVIGIL_URL}/api/v1{path}", data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        # A refusal is problem+json and says what is wrong: for the platform's log, not for the learner.
        raise Refused(502, f"invigil: {error.code} {error.read().decode()}") from error


def access(reason, session):
    """What `getToken` of the page asks for. Here a platform looks up who is logged in and which lesson they chose, and
    that the session which the page names is theirs."""
    if session:
        found = invigil("GET", f"/sessions/{urllib.request.quote(session, safe='')}")
        if found["learner"] != LEARNER:
            raise Refused(403, "not your session")
        if found["closed_at"] is None:
            return {"session": session, **invigil("POST", f"/sessions/{session}/tokens", {})}
        if reason == "expired":
            raise Refused(409, "the session has ended")
    return invigil("POST", "/sessions", {"lesson": LESSON, "learner": LEARNER})


def receive(body, headers):
    """A verdict arrives, perhaps more than once: what is done with it must be the same the second time."""
    try:
        event = WEBHOOK.verify(body, {name.lower(): value for name, value in headers.items()})
    except WebhookVerificationError as error:
        raise Refused(401, "the signature does not hold") from error
    session, verdict = event["data"]["session"], event["data"]["verdict"]
    verdicts[session] = verdict
    print(f"verdict {session} {verdict['status']}", flush=True)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            self.answer(self.read())
        except Refused as refused:
            self.send(refused.status, "text/plain", str(refused).encode())

    def read(self):
        length = int(self.headers.get("content-length", 0))
        if length > BODY_LIMIT:
            raise Refused(413, "too large")
        return self.rfile.read(length)

    def answer(self, body):
        if self.path == "/token":
            asked = json.loads(body)
            given = access(asked["reason"], asked["session"])
            self.send(200, "application/json", json.dumps(given).encode())
        elif self.path == "/invigil-webhook":
            receive(body, self.headers)
            self.send(204, None, b"")
        else:
            raise Refused(404, "no such path")

    def send(self, status, content_type, body):
        self.send_response(status)
        if content_type:
            self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Requests are not logged: their paths and addresses concern people."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Handler)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
