import { city } from "../api/city";
import { address, currentToken } from "../api/http";
import { usePresence } from "../stores/presence";
import { useSession } from "../stores/session";
import { pageClock } from "./clock";
import { PresenceClient } from "./globalPresenceClient";
import { sayGoodbye } from "./goodbye";
import { newId } from "./ids";
import { CityPresence } from "./presence";
import { openSocket, type SocketWorld } from "./reconnectingSocket";
import { tellRoomNews } from "./roomNews";
import { steadyClock } from "./ticker";

/** The world outside as this page has it. */
export const socketWorld: SocketWorld = { open: openSocket, clock: steadyClock, random: Math.random };

/** The page's one presence socket. Its session is the page's: a duplicated tab is another one. */
export const cityPresence = new CityPresence(
  socketWorld,
  {
    snapshot: (users) => usePresence.getState().snapshot(users),
    updates: (users) => usePresence.getState().updates(users),
    rooms: tellRoomNews,
    link: (state) => usePresence.getState().setLink(state),
    refused: (token) => useSession.getState().end(token),
    left: ({ token }, sessionId) => sayGoodbye(token, sessionId),
  },
  newId(),
);

/** Presence for those who watch single agents. */
export const globalPresenceClient = new PresenceClient({
  open: () => new EventSource(address("/api/v1/presence/stream", { token: currentToken() ?? undefined })),
  poll: async (subjects) => (await city.presence(subjects)).presences,
  clock: pageClock,
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") globalPresenceClient.pause();
  else globalPresenceClient.resume();
});
