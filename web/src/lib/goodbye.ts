/** Ends a session while its page is left: unlike `sendBeacon`, a request that is kept alive can say who asks. */
export function sayGoodbye(token: string, sessionId: string): void {
  void fetch("/api/v1/presence/heartbeat", {
    method: "POST",
    keepalive: true,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ status: "offline", session_id: sessionId }),
  }).catch(() => undefined); // nobody is left to be told
}
