/** End a presence session while its page is left: unlike `sendBeacon`, a `keepalive` request can send a token in a header. */
export function sendOffline(token: string, sessionId: string): void {
  void fetch("/api/v1/presence/heartbeat", {
    method: "POST",
    keepalive: true,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ status: "offline", session_id: sessionId }),
  }).catch(() => undefined); // The page is gone, so nobody can see the error.
}
