import { openSocket, type SocketWorld } from "./reconnectingSocket";
import { steadyClock } from "./ticker";

/** The browser's WebSocket, timers and random numbers. */
export const socketWorld: SocketWorld = { open: openSocket, clock: steadyClock, random: Math.random };
